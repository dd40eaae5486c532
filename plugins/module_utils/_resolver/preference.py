# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The preferences of apt among the packages that would do.

A SAT solver finds some set of packages that fits; apt finds the one that its users know. So the choice is made by a
walk in apt's manner (that of C(apt-get install) with C(APT::Install-Recommends) off, in an empty system):

- The requested packages are taken first, all of them, and nothing may displace them.
- Then each one's dependencies are followed in depth, pre-dependencies first, in the order in which they are written.
- A dependency that something chosen meets already needs nothing more.
- Else its alternatives are tried in order; of one alternative the real package comes before providers, an essential
  provider before others, then the one of higher priority, then the one that the indexes name last.
- A package that cannot be had (a dependency without any candidate, a conflict with what may not be displaced) is
  left, and the next alternative is tried. What a requested package needs without any alternative is as firm as the
  request itself; what conflicts with that is out for good.
- What nothing needs or recommends in the end is dropped.

The walk never takes back a choice, so its set may be broken; that is for the solver to tell and to mend.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._resolver.deb_pool import DebPool
from ansible_collections.os_image.composer.plugins.module_utils._resolver.pool import Alternative, Clause

_PRIORITIES: t.Mapping[str, int] = {"required": 1, "important": 2, "standard": 3, "optional": 4, "extra": 5}
_MOST_FRAMES = 10000


class PreferenceWalk:
    """One walk through the dependencies of a request.

    :param pool: The packages.
    :param requested: The packages that were asked for, in order; a package's version here takes the place of its
        candidate.
    :param versions: Further packages, by name, that take the place of their candidates wherever they are needed.
    """

    def __init__(
        self, pool: DebPool, requested: t.Sequence[int], *, versions: t.Mapping[str, int] | None = None
    ) -> None:
        self._pool = pool
        self._requested = list(dict.fromkeys(requested))
        self._pinned = {pool.name(solvable): solvable for solvable in self._requested}
        # By name; a name without an entry has the candidate of the pool, one with None has been given up.
        self._versions = {**(versions or {}), **self._pinned}
        self._candidates: dict[str, int | None] = dict(self._versions)
        self._chosen: dict[str, int] = {}
        self._firm: set[str] = set()
        self._requirements: dict[int, list[Clause]] = {}
        self._conflicts: dict[int, list[tuple[int, ...]]] = {}
        self._usable: dict[int, Alternative] = {}

    def run(self) -> set[int]:
        """Walk, and return what was chosen."""
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(_MOST_FRAMES)
        try:
            for solvable in self._requested:
                self._firm.add(self._pool.name(solvable))
                self._chosen[self._pool.name(solvable)] = solvable
            # With a chain of dependencies that long, what was chosen is broken, and the solver takes over.
            with contextlib.suppress(RecursionError):
                for solvable in self._requested:
                    self._take(self._pool.name(solvable), asked=True)
        finally:
            sys.setrecursionlimit(limit)
        self._drop_unneeded()
        return set(self._chosen.values())

    # -- facts about packages

    def _candidate(self, name: str) -> int | None:
        if name not in self._candidates:
            self._candidates[name] = self._pool.candidate(name)
        return self._candidates[name]

    def _clauses(self, solvable: int) -> list[Clause]:
        """Return what a package needs, reduced to the versions that can be taken at all."""
        if solvable not in self._requirements:
            self._requirements[solvable] = [
                tuple(self._reduce(alternative) for alternative in clause)
                for clause in self._pool.requirements(solvable)
            ]
        return self._requirements[solvable]

    def _reduce(self, alternative: Alternative) -> Alternative:
        key = id(alternative)
        if key not in self._usable:
            usable = tuple(
                solvable for solvable in alternative.solvables if self._first_candidate(solvable) == solvable
            )
            self._usable[key] = Alternative(alternative.target, usable)
        return self._usable[key]

    def _first_candidate(self, solvable: int) -> int | None:
        name = self._pool.name(solvable)
        return self._versions.get(name) or self._pool.candidate(name)

    def _opponents(self, solvable: int) -> list[tuple[int, ...]]:
        """Return what a package conflicts with, reduced to the versions that can be taken at all, without itself."""
        if solvable not in self._conflicts:
            name = self._pool.name(solvable)
            self._conflicts[solvable] = [
                tuple(
                    other
                    for alternative in clause
                    for other in self._reduce(alternative).solvables
                    if self._pool.name(other) != name
                )
                for clause in self._pool.conflicts(solvable)
            ]
        return self._conflicts[solvable]

    def _is_chosen(self, solvable: int) -> bool:
        return self._chosen.get(self._pool.name(solvable)) == solvable

    def _is_met(self, clause: Clause) -> bool:
        return any(self._is_chosen(solvable) for alternative in clause for solvable in alternative.solvables)

    def _can_be_met(self, clause: Clause) -> bool:
        return any(
            self._candidate(self._pool.name(solvable)) == solvable
            for alternative in clause
            for solvable in alternative.solvables
        )

    def _is_broken(self, solvable: int) -> bool:
        return not all(self._is_met(clause) for clause in self._clauses(solvable)) or any(
            self._is_chosen(other) for opponents in self._opponents(solvable) for other in opponents
        )

    # -- choosing

    def _take(self, name: str, *, asked: bool = False) -> bool:
        """Choose a package and, in depth, what it needs.

        :param asked: It is requested: it stays even where something about it fails.
        :returns: Whether everything about it succeeded.
        """
        was_firm = name in self._firm
        chosen = name in self._chosen
        if was_firm and not chosen and not asked:
            return False
        solvable = self._candidate(name)
        if solvable is None:
            return False
        if chosen and not was_firm and not self._is_broken(solvable):
            return True
        if not all(self._can_be_met(clause) for clause in self._clauses(solvable)):
            if not was_firm:
                self._give_up(name)
            return False
        stays = was_firm or asked
        # What is needed is decided before the conflicts make room for it.
        needed = [clause for clause in self._clauses(solvable) if was_firm or not self._is_met(clause)]
        success = self._make_room(solvable, was_firm=was_firm, stays=stays)
        if not success and not stays:
            return False
        self._chosen[name] = solvable
        self._firm.add(name)
        try:
            satisfied = self._follow(
                needed, by_outsider=self._pool.is_outsider(solvable), was_firm=was_firm, stays=stays
            )
        finally:
            if not was_firm:
                self._firm.discard(name)
        if not satisfied and not stays:
            self._give_up(name)
        return success and satisfied

    def _give_up(self, name: str) -> None:
        self._chosen.pop(name, None)
        self._candidates[name] = None

    def _make_room(self, solvable: int, *, was_firm: bool, stays: bool) -> bool:
        """Displace what conflicts with a package; V(False) when something firm is in its way."""
        success = True
        for opponents in self._opponents(solvable):
            if not was_firm and not any(self._is_chosen(other) for other in opponents):
                continue
            for other in opponents:
                name = self._pool.name(other)
                if self._candidate(name) != other:
                    continue
                if self._is_chosen(other):
                    if name in self._firm:
                        success = False
                        if not stays:
                            return False
                        continue
                    del self._chosen[name]
                if was_firm:
                    self._candidates[name] = None
                    self._firm.add(name)
        return success

    def _follow(self, needed: t.Sequence[Clause], *, by_outsider: bool, was_firm: bool, stays: bool) -> bool:
        success = True
        for clause in needed:
            if self._is_met(clause):
                # Alternatives that something else has chosen do not become firm; the only solution does.
                if was_firm:
                    solutions = list(dict.fromkeys(self._solutions(clause)))
                    if len(solutions) == 1:
                        name = self._pool.name(solutions[0])
                        if name not in self._firm:
                            self._firm.add(name)
                            success = self._take(name) and success
                continue
            ranked = self._ranked(clause)
            if len(ranked) > 1 and not by_outsider:
                # What needs something gets it from where it comes from itself, if that has it.
                ranked.sort(key=self._pool.is_outsider)
            if not self._choose(ranked, was_firm=was_firm):
                success = False
                if not stays:
                    break
        return success

    def _choose(self, solutions: t.Sequence[int], *, was_firm: bool) -> bool:
        for solvable in solutions:
            name = self._pool.name(solvable)
            if self._candidate(name) != solvable:
                continue
            if was_firm and len(solutions) == 1:
                if name in self._firm and name not in self._chosen:
                    continue
                self._chosen[name] = solvable
                self._firm.add(name)
            if self._take(name):
                return True
        return False

    def _solutions(self, clause: Clause) -> t.Iterator[int]:
        for alternative in clause:
            for solvable in alternative.solvables:
                name = self._pool.name(solvable)
                if self._candidate(name) == solvable and not (name in self._firm and name not in self._chosen):
                    yield solvable

    def _ranked(self, clause: Clause) -> list[int]:
        ranked: list[int] = []
        for alternative in clause:
            solutions = list(self._solutions((alternative,)))
            if len(solutions) > 1:
                solutions.sort(key=functools.cmp_to_key(functools.partial(self._compare, alternative.target)))
            # One provider may stand in two neighbouring alternatives.
            ranked.extend(solvable for solvable in solutions if ranked[-1:] != [solvable])
        return ranked

    def _compare(self, target: str, left: int, right: int) -> int:
        ours, theirs = self._pool.name(left), self._pool.name(right)
        for prefer in (self._firm.__contains__, target.__eq__, self._essential, self._important):
            if prefer(ours) != prefer(theirs):
                return -1 if prefer(ours) else 1
        difference = self._priority(left) - self._priority(right)
        if difference:
            return difference
        return 1 if self._pool.is_named_first(ours, theirs) else -1

    def _essential(self, name: str) -> bool:
        # apt counts itself as essential.
        return name == "apt" or name in self._marked("essential")

    def _important(self, name: str) -> bool:
        return name == "apt" or name in self._marked("important") or name in self._marked("protected")

    @functools.cache  # noqa: B019  # pylint: disable=method-cache-max-size-none
    def _marked(self, mark: str) -> frozenset[str]:
        return frozenset(self._pool.marked(mark))

    @functools.cache  # noqa: B019  # pylint: disable=method-cache-max-size-none
    def _priority(self, solvable: int) -> int:
        return _PRIORITIES.get(self._pool.stanza(solvable).get("Priority", "").lower(), 5)

    # -- dropping

    def _drop_unneeded(self) -> None:
        """Drop what was chosen on a way that was given up later."""
        roots = [solvable for name, solvable in self._chosen.items() if name in self._pinned or self._essential(name)]
        if len(self._reach(roots, weak=False)) == len(self._chosen):
            return
        needed = self._reach(roots, weak=True)
        self._chosen = {name: solvable for name, solvable in self._chosen.items() if solvable in needed}

    def _reach(self, roots: t.Iterable[int], *, weak: bool) -> set[int]:
        reached = set(roots)
        queue = list(reached)
        while queue:
            solvable = queue.pop()
            clauses = list(self._clauses(solvable))
            if weak:
                clauses += self._pool.recommendations(solvable)
            for clause in clauses:
                for alternative in clause:
                    for other in alternative.solvables:
                        if other not in reached and self._is_chosen(other):
                            reached.add(other)
                            queue.append(other)
        return reached


__all__ = ("PreferenceWalk",)
