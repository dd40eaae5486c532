# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""libsolv's solver: sets of packages that fit together, and why there is none, in words."""

from __future__ import annotations

import itertools
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import ResolveError
from ansible_collections.os_image.composer.plugins.module_utils._resolver.pool import KEPT_OUT, PackagePool
from ansible_collections.os_image.composer.plugins.module_utils._resolver.request import listed

_PROBLEMS_SHOWN = 5
# Each reason is looked for in all packages.
_PROBLEMS_TOLD = 200


def install_jobs(pool: PackagePool, solvables: t.Iterable[int]) -> list[t.Any]:
    """Return jobs that want just these packages."""
    job = pool.solv.Job
    return [pool.pool.Job(job.SOLVER_INSTALL | job.SOLVER_SOLVABLE, solvable) for solvable in solvables]


def solution(pool: PackagePool, jobs: t.Sequence[t.Any], *, weak: bool = False) -> set[int] | None:
    """Solve; V(None) when there is no solution.

    :param weak: Install what packages recommend, too.
    """
    solver = _solver(pool, weak=weak)
    if solver.solve(list(jobs)):
        return None
    return {solvable.id for solvable in solver.transaction().newsolvables()}


def _solver(pool: PackagePool, *, weak: bool) -> t.Any:
    solver = pool.pool.Solver()
    solver.set_flag(pool.solv.Solver.SOLVER_FLAG_IGNORE_RECOMMENDED, 0 if weak else 1)
    return solver


def explain(pool: PackagePool, jobs: t.Sequence[t.Any], asked: t.Container[int]) -> ResolveError:
    """Say why there is no solution.

    :param asked: The packages that were requested.
    """
    # It owns the problems: it has to live as long as they do.
    solver = _solver(pool, weak=False)
    found = dict.fromkeys(filter(None, _reasons(pool, solver.solve(list(jobs)), asked)))
    sentences = list(found)
    shown = "\n".join(f"- {sentence}" for sentence in sentences[: _PROBLEMS_SHOWN * 4])
    return ResolveError(
        f"The requested packages cannot be installed together:\n{shown}\nRepositories searched: {pool.searched()}.",
        remedy="Take one of the packages in conflict out of the template, or ask for a version that fits.",
        details={"problems": sentences},
    )


def _reasons(pool: PackagePool, problems: t.Iterable[t.Any], asked: t.Container[int]) -> t.Iterator[str | None]:
    infos = (info for problem in problems for rule in problem.findallproblemrules() for info in rule.allinfos())
    for info in itertools.islice(infos, _PROBLEMS_TOLD):
        yield _sentence(pool, info, asked)


def _sentence(pool: PackagePool, info: t.Any, asked: t.Container[int]) -> str | None:
    """Say in words what a rule of the solver means; V(None) for rules that only restate the request."""
    solver = pool.solv.Solver
    subject = _described(pool, info.solvable, asked) if info.solvable else ""
    if info.type == solver.SOLVER_RULE_PKG_REQUIRES:
        return f"{subject} needs {pool.shown(info.dep)!r}; available: {_available(pool, info.dep)}."
    if info.type == solver.SOLVER_RULE_PKG_NOTHING_PROVIDES_DEP:
        return f"{subject} needs {pool.shown(info.dep)!r}, which no repository has{_other_offers(pool, info.dep)}."
    if info.type == solver.SOLVER_RULE_PKG_CONFLICTS:
        other = _described(pool, info.othersolvable, asked)
        return f"{subject} conflicts with {pool.shown(info.dep)!r}, which is {other}."
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
    """Return what there is in the place of a dependency, as the rest of a sentence that says that nothing meets it."""
    name = pool.shown(dep).split(" ")[0].partition(":any")[0]
    offers = [f"{pool.version(number)} ({pool.repository(number).name})" for number in pool.versions(name)]
    text = f" (of {name!r} they have {', '.join(offers[:_PROBLEMS_SHOWN])})" if offers else ""
    if offers and pool.shown(dep) == f"{name}:any":
        text += ", without Multi-Arch: allowed"
    others = pool.kept_out(dep)
    excluded = listed(list(dict.fromkeys(repository for _arch, repository, installable in others if installable)))
    foreign = listed([f"{arch} ({repository})" for arch, repository, installable in others if not installable])
    if excluded:
        text += f"; {KEPT_OUT} keep it out of {excluded}"
    streams = pool.inactive_streams(dep)
    if streams:
        text += f"; it is of the module streams {listed(streams)}, which are not active"
    if foreign:
        text += f"; it is there for another architecture only: {foreign}"
    place = "" if text else pool.elsewhere.place_of(name)
    return f"{text}; it is in {place}" if place else text


__all__ = ("explain", "install_jobs", "solution")
