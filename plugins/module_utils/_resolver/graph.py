# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The dependency graph of what was chosen: install order, layers, reasons.

An edge leads from a package to one that it needs. The graph is small (hundreds of packages), and everything about it
is deterministic: equal solutions give equal bytes.
"""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._libraries import import_library
from ansible_collections.os_image.composer.plugins.module_utils._resolver.pool import Clause, PackagePool
from ansible_collections.os_image.composer.plugins.module_utils._resolver.request import REASONS


class DependencyGraph:
    """Who needs whom among the packages of one solution.

    :param pool: The packages.
    :param chosen: The solution.
    :param reasons: Of the requested packages, why they were asked for.
    """

    def __init__(self, pool: PackagePool, chosen: t.Iterable[int], reasons: t.Mapping[int, str]) -> None:
        self._networkx = import_library("networkx")
        self._names = {solvable: pool.name(solvable) for solvable in chosen}
        self._solvables = {name: solvable for solvable, name in self._names.items()}
        self._reasons = {
            name: reasons.get(solvable, "dependency") for name, solvable in sorted(self._solvables.items())
        }
        self.graph = self._networkx.DiGraph()
        self.graph.add_nodes_from(self._reasons)
        for name in self._reasons:
            solvable = self._solvables[name]
            for clause in pool.requirements(solvable):
                self._connect(name, clause, before=False)
            for clause in pool.pre_requirements(solvable):
                self._connect(name, clause, before=True)

    def _connect(self, name: str, clause: Clause, *, before: bool) -> None:
        for alternative in clause:
            met = sorted({self._names[number] for number in alternative.solvables if number in self._names})
            if met:
                target = alternative.target if alternative.target in met else met[0]
                if target != name:
                    known = self.graph.has_edge(name, target) and self.graph.edges[name, target]["before"]
                    self.graph.add_edge(name, target, before=before or known)
                return

    @property
    def packages(self) -> list[str]:
        """All names, sorted."""
        return list(self._reasons)

    def solvable(self, name: str) -> int:
        """Return the package of a name."""
        return self._solvables[name]

    def reason(self, name: str) -> str:
        """Return why a package is in: one of C(REASONS)."""
        return self._reasons[name]

    def depends(self, name: str) -> list[str]:
        """Return what a package needs, sorted."""
        return sorted(self.graph.successors(name))

    def closure(self, names: t.Iterable[str]) -> set[str]:
        """Return packages and everything that they need, directly or not."""
        reached = set(names)
        queue = list(reached)
        while queue:
            for name in self.graph.successors(queue.pop()):
                if name not in reached:
                    reached.add(name)
                    queue.append(name)
        return reached

    def install_order(self, names: t.Iterable[str]) -> list[str]:
        """Order packages so that each comes after what it needs.

        Where packages need each other, what has to be configured before another is unpacked comes first; where that
        is a circle too, the alphabet decides.
        """
        return self._ordered(self.graph.subgraph(names), circular=self._order_circle)

    def _order_circle(self, names: t.Iterable[str]) -> list[str]:
        before = self._networkx.DiGraph()
        before.add_nodes_from(names)
        before.add_edges_from(
            (name, target) for name, target, known in self.graph.subgraph(names).edges(data="before") if known
        )
        return self._ordered(before, circular=sorted)

    def _ordered(self, graph: t.Any, *, circular: t.Callable[[t.Iterable[str]], list[str]]) -> list[str]:
        condensed = self._networkx.condensation(graph)
        members: dict[int, list[str]] = {number: sorted(names) for number, names in condensed.nodes(data="members")}
        numbers = self._networkx.lexicographical_topological_sort(
            condensed.reverse(copy=False), key=lambda number: members[number][0]
        )
        order: list[str] = []
        for number in numbers:
            order.extend(circular(members[number]) if len(members[number]) > 1 else members[number])
        return order

    def why(self, name: str) -> list[str]:
        """Return the shortest chain of packages from a requested one to C(name), both included.

        Of several chains it is that of the best reason, then of the first names.
        """
        if name not in self._reasons:
            return []
        chain: dict[str, str | None] = {name: None}
        level = [name]
        while level:
            requested = [found for found in level if self._reasons[found] != "dependency"]
            if requested:
                found: str | None = min(requested, key=lambda item: (REASONS.index(self._reasons[item]), item))
                path = []
                while found is not None:
                    path.append(found)
                    found = chain[found]
                return path
            following = []
            for current in level:
                for parent in sorted(self.graph.predecessors(current)):
                    if parent not in chain:
                        chain[parent] = current
                        following.append(parent)
            level = sorted(following)
        return [name]


__all__ = ("DependencyGraph",)
