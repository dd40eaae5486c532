# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The solution for DEB packages: apt's choice where it holds, libsolv's where it does not."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._resolver.deb_pool import DebPool
from ansible_collections.os_image.composer.plugins.module_utils._resolver.preference import PreferenceWalk
from ansible_collections.os_image.composer.plugins.module_utils._resolver.solve import explain, install_jobs, solution

# How often what is needed in an older version may lead to something else that is.
_ATTEMPTS = 4


def solve(pool: DebPool, requested: t.Sequence[int]) -> set[int]:
    """Return the packages that have to be installed for the requested ones, these included.

    :param requested: In the order of the request.
    :raises ResolveError: No set of packages fits; the message says what is in the way of what.
    """
    preferred = PreferenceWalk(pool, requested).run()
    if solution(pool, install_jobs(pool, sorted(preferred))) == preferred:
        return preferred
    # apt considers one version of each package; only where that leads nowhere another one is taken.
    jobs = install_jobs(pool, requested) + _favours(pool, preferred)
    others = _other_versions(pool, requested)
    with pool.without(others):
        found = solution(pool, jobs)
    if found is None:
        found = solution(pool, jobs)
    if found is None:
        raise explain(pool, install_jobs(pool, requested), set(requested))
    return _preferred_around(pool, requested, found) or found


def _preferred_around(pool: DebPool, requested: t.Sequence[int], found: set[int]) -> set[int] | None:
    """Walk once more with the older versions that a solution needs, so that all other choices are apt's.

    What the walk chooses may need other older versions, so the solver is asked again to stay near it.

    :returns: V(None) when the solution has no older versions, or what apt would choose does not fit with them.
    """
    versions: dict[str, int] = {}
    for _attempt in range(_ATTEMPTS):
        older = {pool.name(number): number for number in found if pool.candidate(pool.name(number)) != number}
        if not older.keys() - versions.keys() - {pool.name(number) for number in requested}:
            return None
        versions = {**older, **versions}
        walked = PreferenceWalk(pool, requested, versions=versions).run()
        if solution(pool, install_jobs(pool, sorted(walked))) == walked:
            return walked
        again = solution(pool, install_jobs(pool, requested) + _favours(pool, walked))
        if again is None:
            return None
        found = again
    return None


def _favours(pool: DebPool, solvables: t.Iterable[int]) -> list[t.Any]:
    return [
        pool.pool.Job(pool.solv.Job.SOLVER_FAVOR | pool.solv.Job.SOLVER_SOLVABLE, solvable)
        for solvable in sorted(solvables)
    ]


def _other_versions(pool: DebPool, requested: t.Iterable[int]) -> list[int]:
    kept = {pool.name(solvable): solvable for solvable in requested}
    numbers: dict[str, list[int]] = {}
    for solvable in pool.pool.solvables_iter():
        numbers.setdefault(solvable.name, []).append(solvable.id)
    return [
        number
        for name, alternatives in numbers.items()
        if len(alternatives) > 1
        for number in alternatives
        if number != (kept.get(name) or pool.candidate(name))
    ]


__all__ = ("solve",)
