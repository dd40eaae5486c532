# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Modules of RPM repositories: which streams are active, as libdnf decides it, in a pool of libsolv of their own.

A stream is active when somebody enables it, when it is its module's default, or when an active one needs it; of each
module there is one at most. Builds of one stream that need the same modules are active together: their packages are
told apart by versions.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import ResolveError
from ansible_collections.os_image.composer.plugins.module_utils._resolver.modulemd import (
    Artifact,
    Defaults,
    ModuleIndex,
    Stream,
)
from ansible_collections.os_image.composer.plugins.module_utils._resolver.request import listed

#: The module that stands for the distribution itself.
PLATFORM = "platform"
#: Where a merge of defaults has found two.
_CONFLICT = object()


@dataclasses.dataclass
class _MergedDefaults:
    """The defaults of one module, of all repositories."""

    modified: int
    stream: t.Any
    profiles: dict[str, frozenset[str]]


class Owned(t.NamedTuple):
    """What streams say about packages.

    :ivar active: The packages of those that are active.
    :ivar inactive: The packages of all others, with the stream.
    :ivar names: Names that only the packages of active streams may have, or provide.
    """

    active: t.AbstractSet[Artifact]
    inactive: t.Mapping[Artifact, str]
    names: t.AbstractSet[str]


class Modules:
    """The modules of all repositories.

    :param solv: The library.
    :param arch: The family's name of the architecture.
    :param indexes: What the repositories say, in their order, and whether each may only add packages.
    :ivar streams: All builds of all streams.
    :ivar active: Those that packages are taken from; to be decided first.
    :ivar notes: What the user should know, in full sentences.
    """

    def __init__(self, solv: t.Any, arch: str, indexes: t.Sequence[tuple[ModuleIndex, bool]]) -> None:
        self._solv = solv
        self._arch = arch
        #: What is wrong with the metadata, in full sentences.
        self.problems = [problem for index, _outsider in indexes for problem in index.problems]
        known = _names(index for index, outsider in indexes if not outsider)
        added = [_without(index, known) for index, outsider in indexes if outsider]
        # What is somebody else's has nothing to say about the packages of the distribution.
        self._outsiders = {id(stream) for index in added for stream in index.streams}
        parts = [index for index, outsider in indexes if not outsider] + added
        # Those with a static context are met first.
        self.streams = [
            stream for static in (True, False) for index in parts for stream in index.streams if stream.static is static
        ]
        self._labels = _labels_of_contexts(self.streams)
        self._merge_note = ""
        try:
            self._defaults = _merged(parts)
        except ValueError as exc:
            # So does libdnf.
            self._defaults = {}
            self._merge_note = f"No module has a default stream, because the repositories contradict each other: {exc}."
        self.active: list[Stream] = []
        self.notes: list[str] = []

    # -- what there is

    def names(self) -> list[str]:
        """Return the names of all modules."""
        return sorted({stream.name for stream in self.streams})

    def streams_of(self, name: str) -> list[str]:
        """Return the names of a module's streams."""
        return sorted({stream.stream for stream in self.streams if stream.name == name})

    def default_stream(self, name: str) -> str | None:
        """Return the stream that a module has where nobody asks for another."""
        found = self._defaults.get(name)
        return found.stream if found is not None and isinstance(found.stream, str) else None

    def default_profiles(self, name: str, stream: str) -> list[str]:
        """Return the profiles that are installed where nobody names one."""
        found = self._defaults.get(name)
        return sorted(found.profiles.get(stream, ())) if found is not None else []

    def platforms(self) -> list[str]:
        """Return the streams of the platform that modules need."""
        return sorted(
            {
                wanted
                for stream in self.streams
                for name, streams in stream.requires
                if name == PLATFORM
                for wanted in streams
                if "-" not in wanted
            }
        )

    # -- which are active

    def check(self, name: str, stream: str) -> None:
        """Check that there is a stream.

        :raises ValueError: There is not; the message is a full sentence.
        """
        known = self.streams_of(name)
        if not known:
            near = [other for other in self.names() if name in other or other in name]
            there = listed(near or self.names()) or "none"
            raise ValueError(f"There is no module {name!r}; {'similar ones' if near else 'modules'}: {there}.")
        if stream not in known:
            default = self.default_stream(name)
            marked = [f"{other} (default)" if other == default else other for other in known]
            raise ValueError(f"The module {name!r} has no stream {stream!r}; there is: {listed(marked)}.")

    def decide(self, enabled: t.Mapping[str, str], platform: str | None) -> None:
        """Decide which streams are active.

        :param enabled: Streams by module, which take the place of the default ones.
        :param platform: The stream of the platform; V(None) if there is none.
        :raises ResolveError: What was enabled does not fit together.
        """
        self.active, self.notes = [], [self._merge_note] if self._merge_note else []
        wanted: list[tuple[Stream, bool]] = []
        for stream in self.streams:
            if stream.name in enabled:
                if enabled[stream.name] == stream.stream:
                    wanted.append((stream, False))
            elif self.default_stream(stream.name) == stream.stream:
                wanted.append((stream, True))
        if not wanted:
            return
        pool = self._pool(platform)
        # First as if all were demanded, so that nothing is lost in silence.
        attempts = (
            (False, True, ""),
            (True, True, "Default streams of modules are left out, because they do not fit"),
            (True, False, "Of some streams of modules older builds are taken, because the newest do not fit"),
        )
        problems: list[str] = []
        for weak, best, note in attempts:
            names, found = self._solve(pool, wanted, weak=weak, best=best)
            if names is not None:
                self.active = [stream for stream in self.streams if self._labels[id(stream)] in names]
                if problems:
                    self.notes.append(f"{note}: {'; '.join(problems)}.")
                return
            problems = problems or found
        asked = [f"{name}:{stream}" for name, stream in sorted(enabled.items())]
        raise ResolveError(
            f"The streams of modules that are asked for ({listed(asked)}) cannot be enabled together:\n"
            + "\n".join(f"- {problem}." for problem in problems),
            remedy="Take one of the streams in conflict out of systemConfig.modules and systemConfig.packages, or ask "
            "for another one of its module.",
            details={"problems": problems},
        )

    def _pool(self, platform: str | None) -> t.Any:
        pool = self._solv.Pool()
        pool.setdisttype(self._solv.Pool.DISTTYPE_RPM)
        pool.setarch(self._arch)
        available = pool.add_repo("available")
        for stream in self.streams:
            solvable = self._add(pool, available, stream.name, stream.stream, self._labels[id(stream)])
            solvable.evr, solvable.arch = str(stream.version), stream.arch or "noarch"
            for name, streams in stream.requires:
                self._add_requirement(pool, solvable, name, streams)
        if platform:
            system = pool.add_repo("system")
            label = f"{PLATFORM}:{platform}:00000000"
            solvable = self._add(pool, system, PLATFORM, platform, label)
            solvable.evr, solvable.arch = "0", "noarch"
            pool.installed = system
        pool.createwhatprovides()
        return pool

    def _add(self, pool: t.Any, repo: t.Any, name: str, stream: str, label: str) -> t.Any:
        solvable = repo.add_solvable()
        solvable.name = label
        module = pool.Dep(f"module({name})")
        solvable.add_deparray(self._solv.SOLVABLE_PROVIDES, module)
        # There is one of each module; nothing conflicts with itself.
        solvable.add_deparray(self._solv.SOLVABLE_CONFLICTS, module)
        solvable.add_deparray(self._solv.SOLVABLE_PROVIDES, pool.Dep(f"module({name}:{stream})"))
        return solvable

    def _add_requirement(self, pool: t.Any, solvable: t.Any, name: str, streams: t.Sequence[str]) -> None:
        # libdnf takes every hyphen for a sign of negation, wherever it stands.
        wanted = [stream for stream in streams if "-" not in stream]
        for stream in streams:
            if "-" in stream:
                solvable.add_deparray(self._solv.SOLVABLE_CONFLICTS, pool.Dep(f"module({name}:{stream[1:]})"))
        if not wanted:
            solvable.add_deparray(self._solv.SOLVABLE_REQUIRES, pool.Dep(f"module({name})"))
            return
        *others, dep = [pool.Dep(f"module({name}:{stream})") for stream in wanted]
        for other in reversed(others):
            dep = other.Rel(self._solv.REL_OR, dep)
        solvable.add_deparray(self._solv.SOLVABLE_REQUIRES, dep)

    def _solve(
        self, pool: t.Any, wanted: t.Sequence[tuple[Stream, bool]], *, weak: bool, best: bool
    ) -> tuple[set[str] | None, list[str]]:
        job = self._solv.Job
        jobs = []
        for stream, optional in wanted:
            flags = job.SOLVER_INSTALL | job.SOLVER_SOLVABLE_PROVIDES
            flags |= job.SOLVER_FORCEBEST if best else 0
            flags |= job.SOLVER_WEAK if weak and optional else 0
            jobs.append(pool.Job(flags, pool.Dep(f"module({stream.label})").id))
        solver = pool.Solver()
        for flag in ("KEEP_ORPHANS", "BEST_OBEY_POLICY", "YUM_OBSOLETES", "ALLOW_DOWNGRADE"):
            solver.set_flag(getattr(self._solv.Solver, f"SOLVER_FLAG_{flag}"), 1)
        problems = solver.solve(jobs)
        if problems:
            return None, list(dict.fromkeys(self._words(problem) for problem in problems))
        return {solvable.name for solvable in solver.transaction().newsolvables()}, []

    @staticmethod
    def _words(problem: t.Any) -> str:
        infos = [info for rule in problem.findallproblemrules() for info in rule.allinfos()]
        return "; ".join(dict.fromkeys(info.problemstr() for info in infos)) or str(problem)

    # -- what they mean for packages

    def owned(self, *, outsider: bool) -> Owned:
        """Return what streams say about packages.

        :param outsider: Those of repositories that may only add packages; all others otherwise.
        """
        active = {id(stream) for stream in self.active}
        ours: set[Artifact] = set()
        theirs: dict[Artifact, str] = {}
        names: set[str] = set()
        given_up: dict[tuple[str, str], frozenset[str]] = {}
        for stream in self._latest_active():
            key = (stream.label, stream.arch)
            given_up[key] = given_up.get(key, frozenset()) | stream.demodularized
        for stream in self.streams:
            if (id(stream) in self._outsiders) is not outsider:
                continue
            if id(stream) not in active:
                theirs.update(dict.fromkeys(stream.artifacts, stream.label))
                continue
            ours.update(stream.artifacts)
            free = given_up.get((stream.label, stream.arch), frozenset())
            names.update(
                artifact.name
                for artifact in stream.artifacts
                if artifact.arch not in ("src", "nosrc") and artifact.name not in free
            )
        return Owned(ours, theirs, names)

    def in_use(self, enabled: t.Iterable[str], chosen: t.AbstractSet[Artifact]) -> dict[str, str]:
        """Return the streams that a system depends on from now on, by module, sorted.

        :param enabled: Modules that somebody has enabled a stream of.
        :param chosen: The packages of the system.
        """
        active = {stream.name: stream for stream in self.active if id(stream) not in self._outsiders}
        names = {stream.name for stream in self.active if not chosen.isdisjoint(stream.artifacts)}.union(enabled)
        queue = [name for name in names if name in active]
        found: dict[str, str] = {}
        while queue:
            stream = active[queue.pop()]
            if stream.name not in found:
                found[stream.name] = stream.stream
                queue.extend(name for name, _streams in stream.requires if name in active)
        return dict(sorted(found.items()))

    def _latest_active(self) -> list[Stream]:
        newest: dict[tuple[str, str], int] = {}
        for stream in self.active:
            key = (self._labels[id(stream)], stream.arch)
            newest[key] = max(newest.get(key, 0), stream.version)
        return [stream for stream in self.active if stream.version == newest[(self._labels[id(stream)], stream.arch)]]


def _names(indexes: t.Iterable[ModuleIndex]) -> set[str]:
    return {name for index in indexes for name in (*index.defaults, *(stream.name for stream in index.streams))}


def _without(index: ModuleIndex, names: t.Collection[str]) -> ModuleIndex:
    """Leave out some modules."""
    return ModuleIndex(
        tuple(stream for stream in index.streams if stream.name not in names),
        {name: found for name, found in index.defaults.items() if name not in names},
        index.problems,
    )


def _merged(indexes: t.Sequence[ModuleIndex]) -> dict[str, _MergedDefaults]:
    """Merge the defaults of repositories, as libmodulemd does it for repositories of equal rank.

    :raises ValueError: They cannot be merged; the message is the end of a sentence.
    """
    merged: dict[str, _MergedDefaults] = {}
    for index in indexes:
        for name, found in index.defaults.items():
            known = merged.get(name)
            if known is None:
                merged[name] = _MergedDefaults(found.modified, found.stream, dict(found.profiles))
            else:
                _merge(known, found)
    return merged


def _merge(known: _MergedDefaults, found: Defaults) -> None:
    if found.stream and not known.stream:
        known.stream = found.stream
    elif found.stream and known.stream is not _CONFLICT and known.stream != found.stream:
        if found.modified > known.modified:
            known.stream = found.stream
        elif found.modified == known.modified:
            known.stream = _CONFLICT
    for stream, profiles in found.profiles.items():
        before = known.profiles.get(stream, profiles)
        if before != profiles and found.modified == known.modified:
            raise ValueError(f"the default profiles of the stream {found.name}:{stream} differ")
        if before == profiles or found.modified > known.modified:
            known.profiles[stream] = profiles
    known.modified = max(known.modified, found.modified)


def _labels_of_contexts(streams: t.Sequence[Stream]) -> dict[int, str]:
    """Return the names under which builds are the same thing in several versions, by identity.

    A context that a machine has drawn says nothing; what is needed does, without the platform, which changes with each
    minor release.
    """
    static: dict[tuple[str, str], str] = {}
    for stream in streams:
        if stream.static:
            static.setdefault((stream.label, _needed(stream)), stream.context)
    labels = {}
    for stream in streams:
        if stream.static:
            context = stream.context
        else:
            needed = _needed(stream)
            context = static.get((stream.label, needed)) or needed or "NoRequires"
        labels[id(stream)] = f"{stream.label}:{context}"
    return labels


def _needed(stream: Stream) -> str:
    parts = [
        f"{name}:[{','.join(sorted(streams))}]" if streams else name
        for name, streams in stream.requires
        if name != PLATFORM
    ]
    return ";".join(sorted(parts))


__all__ = ("PLATFORM", "Modules")
