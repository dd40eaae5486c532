# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The packages of all repositories, in a libsolv pool.

One class per package family; :class:`DebPool` reads Debian's C(Packages) files. Parsing them takes longer than
solving, so libsolv's own binary form of each file is kept in a cache, keyed by the file's digest. libsolv does not keep
everything (priorities, sizes, digests): those are read from the C(Packages) file itself, by the offset of the stanza,
for the few packages that somebody asks about.
"""

from __future__ import annotations

import abc
import array
import bisect
import contextlib
import dataclasses
import fnmatch
import functools
import json
import mmap
import os
import re
import tempfile
import time
import typing as t
import zlib

from ansible_collections.os_image.composer.plugins.module_utils._errors import RepositoryError
from ansible_collections.os_image.composer.plugins.module_utils._io import atomic_file
from ansible_collections.os_image.composer.plugins.module_utils._libraries import import_library
from ansible_collections.os_image.composer.plugins.module_utils._repository.model import (
    PackageIndex,
    RepositoryMetadata,
)
from ansible_collections.os_image.composer.plugins.module_utils._resolver.mentions import Mentions

#: What a repository gets that states no priority, as in apt's pins.
DEFAULT_PRIORITY = 500

# Raised whenever the cache's own form changes.
_CACHE_VERSION = 1
_CACHE_DAYS = 60

# What libsolv needs of a stanza. Descriptions are two thirds of a Packages file, and nobody resolves with them.
_RELATION_FIELDS = re.compile(
    rb"^(?:Package|Version|Architecture|Multi-Arch|Depends|Pre-Depends|Provides|Conflicts|Breaks|Replaces): .*\n"
    rb"(?:[ \t].*\n)*|^\n",
    re.MULTILINE,
)
_STANZA_END = re.compile(rb"\n\n+")
_MARKED_FIELDS = re.compile(
    rb"^(?:(Essential|Important|Protected): yes|Priority: (required|important|standard))$", re.MULTILINE
)
_RELATION = re.compile(r"(?P<name>[^\s:]+)(?::(?P<arch>[^\s]+))?(?: (?P<operator><<|<=|=|>=|>>|<|>) (?P<version>\S+))?")
_CONTROL_RELATION = re.compile(r"\s*([^\s(<\[]+)\s*(?:\(\s*(<<|<=|=|>=|>>)\s*([^\s)]+)\s*\))?")

Stanza = t.Dict[str, str]


@dataclasses.dataclass(frozen=True)
class Package:
    """A package as its repository describes it.

    :ivar version: In full, with epoch and revision.
    :ivar location: Path of the file below the repository's base URL.
    :ivar installed_size: Bytes.
    :ivar source: C(name) or C(name (version)) of the source package.
    :ivar fields: The whole stanza.
    """

    name: str
    version: str
    arch: str
    repository: RepositoryMetadata
    location: str
    size: int
    sha256: str
    installed_size: int
    source: str
    fields: t.Mapping[str, str]

    @property
    def url(self) -> str:
        """Where the package lies."""
        return f"{self.repository.base_url}/{self.location}"

    @property
    def filename(self) -> str:
        """The name of its file in the package cache."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.arch}.deb"


class Alternative(t.NamedTuple):
    """One alternative of a dependency.

    :ivar target: The name that is asked for.
    :ivar solvables: Everything of the pool that satisfies it, real packages and providers, of all versions.
    """

    target: str
    solvables: t.Tuple[int, ...]


#: The alternatives of a dependency, in order; one of them has to be met.
Clause = t.Tuple[Alternative, ...]


@dataclasses.dataclass(frozen=True)
class _Source:
    """One package index in the pool: its solvables are numbered one after the other, as its stanzas are."""

    repository: RepositoryMetadata
    index: PackageIndex
    priority: int
    first: int
    offsets: t.Sequence[int]
    marks: t.Mapping[str, t.Sequence[int]]
    data: mmap.mmap
    mentions: Mentions

    @property
    def end(self) -> int:
        """The number after that of the last solvable."""
        return self.first + len(self.offsets) - 1


class PackagePool(abc.ABC):
    """The packages of several repositories.

    Packages are handled by libsolv's numbers ("solvables"), names by strings.

    :param arch: The family's name of the architecture, for example C(amd64).
    :param cache_dir: Where the binary form of the indexes is kept; V(None) keeps nothing.
    """

    #: The word for a package's file name in the cache of indexes.
    family: t.ClassVar[str]

    def __init__(self, *, arch: str, cache_dir: str | None) -> None:
        self.solv = import_library("solv", package="python3-solv")
        self.arch = arch
        self._cache_dir = cache_dir
        self._sources: list[_Source] = []
        self._starts: list[int] = []
        self._excluded: list[int] = []
        self._candidates: dict[str, int | None] = {}
        self._alternatives: dict[str, Alternative] = {}
        self._clauses: dict[str, Clause] = {}
        self._mentions: dict[str, tuple[int, int]] = {}
        self.pool = self.solv.Pool()
        self.pool.setdisttype(self._distribution_type())
        self.pool.setarch(arch)

    @abc.abstractmethod
    def _distribution_type(self) -> int:
        """Return libsolv's C(DISTTYPE_*)."""

    @abc.abstractmethod
    def _parse(self, repo: t.Any, index: PackageIndex) -> tuple[t.Sequence[int], dict[str, list[int]]]:
        """Read an index into a libsolv repository.

        :returns: The offset of each stanza, closed by the file's size, and the numbers of stanzas by mark.
        """

    @abc.abstractmethod
    def package(self, solvable: int) -> Package:
        """Return all that the repository says about a package."""

    @abc.abstractmethod
    def same_package(self, solvable: int, stanza: Stanza) -> bool:
        """Tell whether a stanza is the one that the solvable was made from."""

    # -- filling

    def load(self, repositories: t.Sequence[RepositoryMetadata]) -> None:
        """Take in all repositories, in the order of their preference where priorities are equal.

        :raises RepositoryError: An index is not what libsolv can read.
        """
        for repository in repositories:
            for index in repository.indexes:
                self._load_index(repository, index)
        if self._excluded:
            self.pool.set_disabled_list(self._excluded)
        self.pool.createwhatprovides()
        self._forget_old_indexes()

    def _load_index(self, repository: RepositoryMetadata, index: PackageIndex) -> None:
        priority = repository.priority or DEFAULT_PRIORITY
        repo = self.pool.add_repo(f"{repository.name}/{index.component}/{index.arch}")
        # libsolv ranks repositories by this; versions are only compared within one rank.
        repo.priority = priority
        cached = self._read_cached(repo, index)
        if cached is None:
            repo.empty()
            offsets, marks = self._parse(repo, index)
            if repo.nsolvables != len(offsets) - 1:
                raise RepositoryError(
                    f"The package index {index.path} of the repository {repository.name!r} has {len(offsets) - 1} "
                    f"stanzas, but only {repo.nsolvables} of them describe packages.",
                    remedy="The repository is damaged; tell its maintainers.",
                )
            self._write_cached(repo, index, offsets, marks)
        else:
            offsets, marks = cached
        first = next((solvable.id for solvable in repo.solvables_iter()), None)
        if first is None:
            return
        with open(index.path, "rb") as stream:
            data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        path = self._cache_path(index)
        mentions = Mentions(data, f"{path}.names" if path else None)
        source = _Source(repository, index, priority, first, offsets, marks, data, mentions)
        self._sources.append(source)
        self._starts.append(first)
        numbers = range(source.first, source.end)
        if priority < 0:
            self._excluded.extend(numbers)
        elif repository.allow_packages:
            allowed = [re.compile(fnmatch.translate(pattern)) for pattern in repository.allow_packages]
            self._excluded.extend(
                number for number in numbers if not any(pattern.match(self.name(number)) for pattern in allowed)
            )

    def _cache_path(self, index: PackageIndex) -> str | None:
        if self._cache_dir is None:
            return None
        return os.path.join(self._cache_dir, f"{index.sha256}.{self.family}-{self.arch}")

    def _read_cached(self, repo: t.Any, index: PackageIndex) -> tuple[t.Sequence[int], dict[str, list[int]]] | None:
        """Fill C(repo) from the cache; V(None) when there is no cache of this index, or it is damaged."""
        path = self._cache_path(index)
        if path is None:
            return None
        try:
            with open(f"{path}.index", "rb") as stream:
                header = json.loads(stream.readline())
                body = stream.read()
            with open(f"{path}.solv", "rb") as stream:
                checksum = zlib.crc32(stream.read())
            offsets = array.array("Q", body)
            if (
                header["version"] != _CACHE_VERSION
                or header["solv"] != checksum
                or header["offsets"] != zlib.crc32(body)
                or header["size"] != os.path.getsize(index.path)
            ):
                return None
            stream = self.solv.xfopen(f"{path}.solv")
            try:
                if not repo.add_solv(stream) or repo.nsolvables != len(offsets) - 1:
                    return None
            finally:
                stream.close()
            # The time tells which indexes nobody uses any more.
            for suffix in ("index", "solv"):
                os.utime(f"{path}.{suffix}")
            return offsets, header["marks"]
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            return None

    def _write_cached(
        self, repo: t.Any, index: PackageIndex, offsets: t.Sequence[int], marks: t.Mapping[str, t.Sequence[int]]
    ) -> None:
        path = self._cache_path(index)
        if path is None or self._cache_dir is None:
            return
        # A cache that cannot be written costs time, not correctness.
        with contextlib.suppress(OSError):
            os.makedirs(self._cache_dir, mode=0o755, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._cache_dir, prefix=".index.") as scratch:
                stream = self.solv.xfopen(os.path.join(scratch, "solv"), "w")
                repo.write(stream)
                stream.close()
                with open(os.path.join(scratch, "solv"), "rb") as written:
                    data = written.read()
            with atomic_file(f"{path}.solv") as target:
                target.write(data)
            body = array.array("Q", offsets).tobytes()
            header = {
                "version": _CACHE_VERSION,
                "solv": zlib.crc32(data),
                "offsets": zlib.crc32(body),
                "size": offsets[-1],
                "marks": {mark: list(numbers) for mark, numbers in marks.items()},
            }
            with atomic_file(f"{path}.index") as target:
                target.write(json.dumps(header).encode("ascii") + b"\n" + body)

    def _forget_old_indexes(self) -> None:
        if self._cache_dir is None:
            return
        oldest = time.time() - _CACHE_DAYS * 86400
        with contextlib.suppress(OSError), os.scandir(self._cache_dir) as entries:
            for entry in entries:
                if entry.name.endswith((".index", ".names", ".solv")) and entry.stat().st_mtime < oldest:
                    os.unlink(entry.path)

    @contextlib.contextmanager
    def without(self, solvables: t.Sequence[int]) -> t.Iterator[None]:
        """Leave some packages out of consideration for a while."""
        self.pool.set_disabled_list([*self._excluded, *solvables])
        self.pool.createwhatprovides()
        try:
            yield
        finally:
            self.pool.set_disabled_list(self._excluded)
            self.pool.createwhatprovides()

    # -- names, versions, repositories

    @property
    def repositories(self) -> list[RepositoryMetadata]:
        """The repositories, each once, in their order."""
        return list({id(source.repository): source.repository for source in self._sources}.values())

    def searched(self) -> str:
        """Return the repositories' names with their suites and components, for messages."""
        names = []
        for repository in self.repositories:
            parts = " ".join((repository.suite, *repository.components))
            names.append(repository.name if parts in ("", repository.name) else f"{repository.name} ({parts})")
        return ", ".join(names) or "none"

    @functools.cache  # noqa: B019  # pylint: disable=method-cache-max-size-none
    def solvable(self, number: int) -> t.Any:
        """Return libsolv's object."""
        return self.pool.id2solvable(number)

    def name(self, solvable: int) -> str:
        """Return a package's name."""
        return t.cast(str, self.solvable(solvable).name)

    def version(self, solvable: int) -> str:
        """Return a package's full version."""
        return t.cast(str, self.solvable(solvable).evr)

    def label(self, solvable: int) -> str:
        """Return name and version, for messages."""
        return f"{self.name(solvable)} {self.version(solvable)}"

    def _source(self, solvable: int) -> _Source:
        return self._sources[bisect.bisect_right(self._starts, solvable) - 1]

    def repository(self, solvable: int) -> RepositoryMetadata:
        """Return the repository of a package."""
        return self._source(solvable).repository

    @functools.cache  # noqa: B019  # pylint: disable=method-cache-max-size-none
    def stanza(self, solvable: int) -> Stanza:
        """Read what the repository's index says about a package.

        :raises RepositoryError: The index and the cache do not belong together.
        """
        source = self._source(solvable)
        position = solvable - source.first
        start, end = source.offsets[position], source.offsets[position + 1]
        stanza = parse_stanza(source.data[start:end])
        if not self.same_package(solvable, stanza):
            raise RepositoryError(
                f"The package index {source.index.path} is not the one that its cache was made from.",
                remedy=f"Remove the directory {self._cache_dir}; it is made anew.",
            )
        return stanza

    def names(self) -> set[str]:
        """Return the names of all packages that may be chosen."""
        excluded = set(self._excluded)
        return {solvable.name for solvable in self.pool.solvables_iter() if solvable.id not in excluded}

    def versions(self, name: str) -> list[int]:
        """Return all versions of a package that may be chosen: the most preferred repository first, then the newest."""
        dep = self.pool.Dep(name, False)
        if dep is None:
            return []
        found = [solvable for solvable in self.pool.whatprovides(dep) if solvable.name == name]

        def compare(left: t.Any, right: t.Any) -> int:
            ours, theirs = self._source(left.id).priority, self._source(right.id).priority
            return theirs - ours or -t.cast(int, left.evrcmp(right)) or left.id - right.id

        return [solvable.id for solvable in sorted(found, key=functools.cmp_to_key(compare))]

    def candidate(self, name: str) -> int | None:
        """Return the version that is taken when nobody asks for another: of the most preferred repository the newest.

        Of one version in several repositories it is that of the repository that was named first.
        """
        if name not in self._candidates:
            self._candidates[name] = next(iter(self.versions(name)), None)
        return self._candidates[name]

    def marked(self, mark: str) -> list[str]:
        """Return the names of packages whose candidate has a mark, in the order of the indexes."""
        names = []
        for source in self._sources:
            for position in source.marks.get(mark, ()):
                name = self.name(source.first + position)
                if self.candidate(name) == source.first + position:
                    names.append(name)
        return names

    # -- relations

    def alternative(self, relation: str) -> Alternative:
        """Return what satisfies a relation as libsolv writes it: C(name), C(name:any), C(name >= version)."""
        if relation not in self._alternatives:
            match = _RELATION.fullmatch(relation)
            if match is None:
                raise RepositoryError(f"The dependency {relation!r} is not written as a relation.")
            dep = self.pool.Dep(match["name"])
            if match["arch"]:
                dep = dep.Rel(self.solv.REL_MULTIARCH, self.pool.Dep(match["arch"]))
            if match["operator"]:
                dep = dep.Rel(self._operator(match["operator"]), self.pool.Dep(match["version"]))
            solvables = tuple(solvable.id for solvable in self.pool.whatprovides(dep))
            target = match["name"] + (f":{match['arch']}" if match["arch"] else "")
            self._alternatives[relation] = Alternative(target, solvables)
        return self._alternatives[relation]

    def _operator(self, text: str) -> int:
        flags = {"<": self.solv.REL_LT, "=": self.solv.REL_EQ, ">": self.solv.REL_GT}
        return functools.reduce(lambda value, char: value | flags[char], text, 0)

    @abc.abstractmethod
    def requirements(self, solvable: int) -> list[Clause]:
        """Return what a package needs: pre-dependencies first, then dependencies, each in the package's own order."""

    @abc.abstractmethod
    def pre_requirements(self, solvable: int) -> list[Clause]:
        """Return what has to be configured before the package is unpacked."""

    @abc.abstractmethod
    def conflicts(self, solvable: int) -> list[Clause]:
        """Return what a package cannot be installed with."""

    @abc.abstractmethod
    def recommendations(self, solvable: int) -> list[Clause]:
        """Return what a package recommends and suggests."""

    # -- the order in which names are met

    def is_named_first(self, left: str, right: str) -> bool:
        """Tell whether the indexes name the package C(left) before they name C(right)."""
        return self._first_mention(left) < self._first_mention(right)

    def _first_mention(self, name: str) -> tuple[int, int]:
        if name not in self._mentions:
            self._mentions[name] = (len(self._sources), 0)
            for number, source in enumerate(self._sources):
                place = source.mentions.place_of(name)
                if place is not None:
                    self._mentions[name] = (number, place)
                    break
        return self._mentions[name]


class DebPool(PackagePool):
    """Packages of Debian and its descendants."""

    family = "deb"

    def _distribution_type(self) -> int:
        return t.cast(int, self.solv.Pool.DISTTYPE_DEB)

    def _parse(self, repo: t.Any, index: PackageIndex) -> tuple[t.Sequence[int], dict[str, list[int]]]:
        with open(index.path, "rb") as stream:
            data = stream.read()
        offsets = array.array("Q", _stanza_offsets(data))
        with tempfile.TemporaryFile() as reduced:
            reduced.write(b"".join(_RELATION_FIELDS.findall(data)))
            reduced.write(b"\n")
            reduced.flush()
            reduced.seek(0)
            # libsolv closes the descriptor that it gets.
            stream = self.solv.xfopen_fd("Packages", os.dup(reduced.fileno()))
            try:
                parsed = repo.add_debpackages(stream)
            finally:
                stream.close()
        if not parsed:
            raise RepositoryError(f"The package index {index.path} cannot be read: {self.pool.errstr}.")
        marks: dict[str, list[int]] = {}
        for match in _MARKED_FIELDS.finditer(data):
            mark = (match[1] or match[2]).decode("ascii").lower()
            marks.setdefault(mark, []).append(bisect.bisect_right(offsets, match.start()) - 1)
        return offsets, marks

    def same_package(self, solvable: int, stanza: Stanza) -> bool:
        """Compare name and version."""
        # libsolv leaves out an epoch of zero, and nothing else.
        version = stanza.get("Version", "")
        known = self.version(solvable)
        return stanza.get("Package") == self.name(solvable) and known in (version, version.partition(":")[2])

    # libsolv sorts relations when it writes them; their own order, which apt goes by, is in the stanza alone.

    def requirements(self, solvable: int) -> list[Clause]:
        """Read C(Pre-Depends) and C(Depends)."""
        return self._clauses_of(solvable, "Pre-Depends", "Depends")

    def pre_requirements(self, solvable: int) -> list[Clause]:
        """Read C(Pre-Depends)."""
        return self._clauses_of(solvable, "Pre-Depends")

    def conflicts(self, solvable: int) -> list[Clause]:
        """Read C(Conflicts) and C(Breaks)."""
        return self._clauses_of(solvable, "Conflicts", "Breaks")

    def recommendations(self, solvable: int) -> list[Clause]:
        """Read C(Recommends) and C(Suggests)."""
        return self._clauses_of(solvable, "Recommends", "Suggests")

    def _clauses_of(self, solvable: int, *fields: str) -> list[Clause]:
        stanza = self.stanza(solvable)
        return [
            self._clause(text)
            for field in fields
            if field in stanza
            for text in stanza[field].split(",")
            if text and not text.isspace()
        ]

    def _clause(self, text: str) -> Clause:
        if text not in self._clauses:
            self._clauses[text] = tuple(self.alternative(normal_relation(part)) for part in text.split("|"))
        return self._clauses[text]

    def package(self, solvable: int) -> Package:
        """Read the whole stanza of a package.

        :raises RepositoryError: The stanza has no digest or size; nobody can verify such a package.
        """
        stanza = self.stanza(solvable)
        repository = self.repository(solvable)
        try:
            return Package(
                name=stanza["Package"],
                version=stanza["Version"],
                arch=stanza["Architecture"],
                repository=repository,
                location=stanza["Filename"],
                size=int(stanza["Size"]),
                sha256=stanza["SHA256"].lower(),
                # The field counts units of 1024 bytes.
                installed_size=int(stanza.get("Installed-Size", "0")) * 1024,
                source=stanza.get("Source", stanza["Package"]),
                fields=stanza,
            )
        except (KeyError, ValueError) as exc:
            raise RepositoryError(
                f"The repository {repository.name!r} describes the package {self.label(solvable)} without a usable "
                f"{exc.args[0] if isinstance(exc, KeyError) else 'size'}.",
                remedy="Such a package cannot be verified; take it from another repository.",
            ) from exc


def _stanza_offsets(data: bytes) -> t.Iterator[int]:
    """Give the offset of each stanza, and the file's size last."""
    start = len(data) - len(data.lstrip(b"\n"))
    for match in _STANZA_END.finditer(data, start):
        yield start
        start = match.end()
    if start < len(data):
        yield start
    yield len(data)


def parse_stanza(data: bytes) -> Stanza:
    """Read one stanza of deb822; continuation lines are joined to their field by a newline."""
    stanza: Stanza = {}
    field = ""
    for line in data.decode("utf-8", errors="replace").splitlines():
        if line[:1] in (" ", "\t"):
            if field:
                stanza[field] += "\n" + line.strip()
        elif ":" in line:
            field, _colon, value = line.partition(":")
            stanza[field] = value.strip()
    return stanza


def normal_relation(text: str) -> str:
    """Write a relation of a control file as libsolv does: C(name (>= 1) [amd64]) becomes C(name >= 1)."""
    match = _CONTROL_RELATION.match(text)
    if match is None:
        raise RepositoryError(f"The dependency {text.strip()!r} is not written as a relation.")
    return match[1] + (f" {match[2]} {match[3]}" if match[2] else "")


__all__ = (
    "DEFAULT_PRIORITY",
    "Alternative",
    "Clause",
    "DebPool",
    "Package",
    "PackagePool",
    "Stanza",
    "normal_relation",
    "parse_stanza",
)
