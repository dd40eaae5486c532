# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""From requested packages to everything that is installed: apt's choice where it holds, libsolv's where it does not."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import ResolveError
from ansible_collections.os_image.composer.plugins.module_utils._resolver.pool import PackagePool
from ansible_collections.os_image.composer.plugins.module_utils._resolver.preference import PreferenceWalk

_PROBLEMS_SHOWN = 5


def solve(pool: PackagePool, requested: t.Sequence[int]) -> set[int]:
    """Return the packages that have to be installed for the requested ones, these included.

    :param requested: In the order of the request.
    :raises ResolveError: No set of packages fits; the message says what is in the way of what.
    """
    preferred = PreferenceWalk(pool, requested).run()
    if _solution(pool, preferred) == preferred:
        return preferred
    # apt considers one version of each package; only where that leads nowhere another one is taken.
    jobs = _jobs(pool, requested) + _favours(pool, preferred)
    others = _other_versions(pool, requested)
    with pool.without(others):
        found = _solution(pool, jobs=jobs)
    if found is None:
        found = _solution(pool, jobs=jobs)
    if found is None:
        raise _explain(pool, requested)
    return found


def _jobs(pool: PackagePool, solvables: t.Iterable[int]) -> list[t.Any]:
    return [
        pool.pool.Job(pool.solv.Job.SOLVER_INSTALL | pool.solv.Job.SOLVER_SOLVABLE, solvable) for solvable in solvables
    ]


def _favours(pool: PackagePool, solvables: t.Iterable[int]) -> list[t.Any]:
    return [
        pool.pool.Job(pool.solv.Job.SOLVER_FAVOR | pool.solv.Job.SOLVER_SOLVABLE, solvable)
        for solvable in sorted(solvables)
    ]


def _solution(
    pool: PackagePool, solvables: t.Iterable[int] = (), *, jobs: t.Sequence[t.Any] | None = None
) -> set[int] | None:
    """Solve; V(None) when there is no solution."""
    solver = _solver(pool)
    if solver.solve(_jobs(pool, sorted(solvables)) if jobs is None else list(jobs)):
        return None
    return {solvable.id for solvable in solver.transaction().newsolvables()}


def _solver(pool: PackagePool) -> t.Any:
    solver = pool.pool.Solver()
    solver.set_flag(pool.solv.Solver.SOLVER_FLAG_IGNORE_RECOMMENDED, 1)
    return solver


def _other_versions(pool: PackagePool, requested: t.Iterable[int]) -> list[int]:
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


def _explain(pool: PackagePool, requested: t.Sequence[int]) -> ResolveError:
    solver = _solver(pool)
    problems = solver.solve(_jobs(pool, requested))
    asked = set(requested)
    sentences: list[str] = []
    for problem in problems:
        for rule in problem.findallproblemrules():
            for info in rule.allinfos():
                sentence = _sentence(pool, info, asked)
                if sentence and sentence not in sentences:
                    sentences.append(sentence)
    shown = "\n".join(f"- {sentence}" for sentence in sentences[: _PROBLEMS_SHOWN * 4])
    return ResolveError(
        f"The requested packages cannot be installed together:\n{shown}\nRepositories searched: {pool.searched()}.",
        remedy="Take one of the packages in conflict out of the template, or ask for a version that fits.",
        details={"problems": sentences},
    )


def _sentence(pool: PackagePool, info: t.Any, asked: t.Container[int]) -> str | None:
    """Say in words what a rule of the solver means; V(None) for rules that only restate the request."""
    solver = pool.solv.Solver
    subject = _described(pool, info.solvable, asked) if info.solvable else ""
    if info.type == solver.SOLVER_RULE_PKG_REQUIRES:
        return f"{subject} needs {info.dep.str()!r}; available: {_available(pool, info.dep)}."
    if info.type == solver.SOLVER_RULE_PKG_NOTHING_PROVIDES_DEP:
        return f"{subject} needs {info.dep.str()!r}, which no repository has{_other_offers(pool, info.dep)}."
    if info.type == solver.SOLVER_RULE_PKG_CONFLICTS:
        return f"{subject} conflicts with {info.dep.str()!r}, which is {_described(pool, info.othersolvable, asked)}."
    if info.type == solver.SOLVER_RULE_PKG_SAME_NAME:
        return f"Only one of {subject} and {_described(pool, info.othersolvable, asked)} can be installed."
    if info.type in (solver.SOLVER_RULE_PKG_OBSOLETES, solver.SOLVER_RULE_PKG_IMPLICIT_OBSOLETES):
        return f"{subject} replaces {_described(pool, info.othersolvable, asked)}."
    if info.type == solver.SOLVER_RULE_PKG_NOT_INSTALLABLE:
        return f"{subject} is not for the architecture {pool.arch!r}."
    if info.type in (solver.SOLVER_RULE_JOB, solver.SOLVER_RULE_BEST):
        return None
    return t.cast(str, info.problemstr()) + "."


def _described(pool: PackagePool, solvable: t.Any, asked: t.Container[int]) -> str:
    origin = pool.repository(solvable.id).name
    return f"{pool.label(solvable.id)} ({'requested, ' if solvable.id in asked else ''}from {origin})"


def _available(pool: PackagePool, dep: t.Any) -> str:
    offers = [f"{pool.label(found.id)} ({pool.repository(found.id).name})" for found in pool.pool.whatprovides(dep)]
    if not offers:
        return "nothing" + _other_offers(pool, dep)
    return ", ".join(offers[:_PROBLEMS_SHOWN]) + (" and others" if len(offers) > _PROBLEMS_SHOWN else "")


def _other_offers(pool: PackagePool, dep: t.Any) -> str:
    name = dep.str().split(" ")[0]
    offers = [f"{pool.version(number)} ({pool.repository(number).name})" for number in pool.versions(name)]
    return f" (of {name!r} they have {', '.join(offers[:_PROBLEMS_SHOWN])})" if offers else ""


__all__ = ("solve",)
