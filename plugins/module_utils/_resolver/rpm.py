# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The resolver of the RPM family: what dnf would install."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._repository.rpm import RpmRepository
from ansible_collections.os_image.composer.plugins.module_utils._resolver.request import Request, Selection
from ansible_collections.os_image.composer.plugins.module_utils._resolver.resolver import Resolver
from ansible_collections.os_image.composer.plugins.module_utils._resolver.rpm_pool import RpmPool
from ansible_collections.os_image.composer.plugins.module_utils._resolver.rpm_request import RpmFinder, module_parts
from ansible_collections.os_image.composer.plugins.module_utils._resolver.solve import explain, solution


class RpmResolver(Resolver):
    """Decides as dnf does: the solver is the same, and so is what it is asked.

    :ivar weak: Install what packages recommend, too.
    :ivar modules: Streams of modules that are enabled.
    """

    repository_type = RpmRepository
    pool_type = RpmPool

    def __init__(self, *, arch: str, cache_dir: str | None, weak: bool = False, modules: t.Sequence[str] = ()) -> None:
        self.weak = weak
        self.modules = tuple(modules)
        self.pool: RpmPool = RpmPool(arch=arch, cache_dir=cache_dir)
        self.finder: RpmFinder = RpmFinder(self.pool)

    @property
    def notes(self) -> list[str]:
        modules = self.pool.modules
        return [] if modules is None else [*modules.problems, *modules.notes]

    def modules_in_use(self, chosen: t.AbstractSet[int], requests: t.Sequence[Request]) -> list[dict[str, t.Any]]:
        modules = self.pool.modules
        if modules is None:
            return []
        asked = [request.text.strip() for request in requests if request.text.startswith("@")]
        enabled = [text.partition(":")[0] for text in self.modules]
        profiles: dict[str, set[str]] = {}
        for text in asked:
            name, _stream, profile = module_parts(text)
            enabled.append(name)
            profiles.setdefault(name, set()).update([profile] if profile else [])
        return [
            {"name": name, "stream": stream, "profiles": sorted(profiles.get(name, ()))}
            for name, stream in modules.in_use(enabled, {self.pool.artifact(number) for number in chosen}).items()
        ]

    def select(self, requests: t.Sequence[Request]) -> Selection:
        self.finder.enable_modules(self.modules, requests)
        self.finder.select_files(requests)
        return self.finder.select(requests)

    def solve(self, selection: Selection) -> set[int]:
        solvables = selection.solvables
        if self.pool.files_needed(solvables, weak=self.weak):
            self.pool.add_files(self.pool.unknown_files())
        found = self._solution(selection)
        if found is None:
            raise explain(self.pool, self._jobs(selection), set(solvables))
        return found

    def alone(self, selection: Selection) -> set[int]:
        return self._solution(selection) or set(selection.solvables)

    def _solution(self, selection: Selection) -> set[int] | None:
        with self.pool.filtered_in_sight():
            return solution(self.pool, self._jobs(selection), weak=self.weak)

    def _jobs(self, selection: Selection) -> list[t.Any]:
        """Ask for one package of each choice, and for the best one: no older version because a newer does not fit."""
        job = self.pool.solv.Job
        flags = job.SOLVER_INSTALL | job.SOLVER_SOLVABLE_ONE_OF | job.SOLVER_FORCEBEST
        return [
            self.pool.pool.Job(flags, self.pool.pool.towhatprovides(sorted(choice))) for choice in selection.choices
        ]


__all__ = ("RpmResolver",)
