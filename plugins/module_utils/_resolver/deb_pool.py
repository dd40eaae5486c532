# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Packages of Debian and its descendants: their C(Packages) files in the pool.

libsolv does not keep everything (priorities, sizes, digests), nor the order of relations, which apt goes by: those are
read from the C(Packages) file itself, by the offset of the stanza, for the few packages that somebody asks about.
"""

from __future__ import annotations

import array
import bisect
import dataclasses
import functools
import itertools
import mmap
import os
import re
import tempfile
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import MetadataError
from ansible_collections.os_image.composer.plugins.module_utils._repository.model import (
    PackageIndex,
    RepositoryMetadata,
)
from ansible_collections.os_image.composer.plugins.module_utils._repository.repository import quote_path
from ansible_collections.os_image.composer.plugins.module_utils._resolver.index_limits import (
    PACKAGES,
    LimitError,
    check_number,
    check_stanzas,
    refuse,
)
from ansible_collections.os_image.composer.plugins.module_utils._resolver.mentions import Mentions
from ansible_collections.os_image.composer.plugins.module_utils._resolver.package_form import (
    location_problem,
    shortened,
)
from ansible_collections.os_image.composer.plugins.module_utils._resolver.pool import (
    Alternative,
    Clause,
    Package,
    PackagePool,
)
from ansible_collections.os_image.composer.plugins.module_utils._resolver.solv_cache import Beside

# What libsolv needs of a stanza. Descriptions are two thirds of a Packages file, and nobody resolves with them.
_RELATION_FIELDS = re.compile(
    rb"^(?:Package|Version|Architecture|Multi-Arch|Depends|Pre-Depends|Provides|Conflicts|Breaks|Replaces): .*\n"
    rb"(?:[ \t].*\n)*|^\n",
    re.MULTILINE,
)
_STANZA_END = re.compile(rb"\n\n+")
_BLANK_LINES = re.compile(rb"\n+")
# Bytes of an index that are looked at together.
_PORTION = 1 << 20
_MARKED_FIELDS = re.compile(
    rb"^(?:(Essential|Important|Protected): yes|Priority: (required|important|standard))$", re.MULTILINE
)
_RELATION = re.compile(r"(?P<name>[^\s:]+)(?::(?P<arch>[^\s]+))?(?: (?P<operator><<|<=|=|>=|>>|<|>) (?P<version>\S+))?")
_CONTROL_RELATION = re.compile(r"\s*([^\s(<\[]+)\s*(?:\(\s*(<<|<=|=|>=|>>)\s*([^\s)]+)\s*\))?")

# In the place of ":any": no name may have this, so that nobody else can provide it.
_ANY = "%any"
_ANY_ARCH = re.compile(rb"([A-Za-z0-9+.-]):any(?![A-Za-z0-9+.-])")
_ALLOWED = re.compile(rb"^Multi-Arch: allowed$", re.MULTILINE)
_FIELD = re.compile(rb"^([A-Za-z-]+): (.*(?:\n[ \t].*)*)$", re.MULTILINE)
_PROVIDES = re.compile(rb"^Provides: .*\n?(?:[ \t].*\n?)*", re.MULTILINE)
_PROVIDED = re.compile(rb"\s*([^\s(:]+)\s*((?:\(.*\))?)", re.DOTALL)

_DIGITS = re.compile(r"[0-9]{1,18}")

Stanza = t.Dict[str, str]


class NotARelationError(Exception):
    """A dependency is not written as one; its text is that of the error."""


@dataclasses.dataclass(frozen=True)
class _Stanzas:
    """The stanzas of one index.

    :ivar offsets: Of each stanza, closed by the file's size.
    :ivar marks: The numbers of stanzas by mark.
    """

    path: str
    offsets: t.Sequence[int]
    marks: t.Mapping[str, t.Sequence[int]]
    data: mmap.mmap
    mentions: Mentions


class DebPool(PackagePool):
    """Packages of Debian and its descendants."""

    family = "deb"
    kernel_prefix = "linux-"
    no_arch = "all"

    def __init__(self, *, arch: str, cache_dir: str | None) -> None:
        super().__init__(arch=arch, cache_dir=cache_dir)
        # One for each source.
        self._stanzas: list[_Stanzas] = []
        self._alternatives: dict[str, Alternative] = {}
        self._clauses: dict[str, Clause] = {}
        self._mentions: dict[str, tuple[int, int]] = {}

    def _set_semantics(self) -> None:
        self.pool.setdisttype(self.solv.Pool.DISTTYPE_DEB)
        self.pool.setarch(self.arch)

    # -- filling

    def _fill(self, repo: t.Any, repository: RepositoryMetadata, index: PackageIndex) -> None:
        name = f"{index.sha256}.{self.family}-{self.arch}"
        kept = self._cache.read(repo, name)
        offsets: t.Sequence[int] = ()
        marks: t.Mapping[str, t.Sequence[int]] = {}
        if kept is not None:
            offsets, marks = array.array("Q", kept.body), kept.facts["marks"]
        if not offsets or offsets[-1] != os.path.getsize(index.path):
            repo.empty()
            offsets, marks = self._parse(repo, repository, index)
            if repo.nsolvables != len(offsets) - 1:
                raise MetadataError(
                    f"The package index {index.path} of the repository {repository.name!r} has {len(offsets) - 1} "
                    f"stanzas, but only {repo.nsolvables} of them describe packages.",
                    remedy="The repository is damaged; tell its maintainers.",
                )
            facts = {"marks": {mark: list(numbers) for mark, numbers in marks.items()}}
            self._cache.write(repo, name, Beside(facts, array.array("Q", offsets).tobytes()))
        if not repo.nsolvables:
            return
        with open(index.path, "rb") as stream:
            data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        mentions = Mentions(data, self._cache.path(f"{name}.names"))
        self._stanzas.append(_Stanzas(index.path, offsets, marks, data, mentions))

    def _parse(
        self, repo: t.Any, repository: RepositoryMetadata, index: PackageIndex
    ) -> tuple[t.Sequence[int], dict[str, list[int]]]:
        """Return the offset of each stanza, closed by the file's size, and the numbers of stanzas by mark."""
        if not os.path.getsize(index.path):
            return array.array("Q", [0]), {}
        with open(index.path, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            offsets = array.array("Q", itertools.islice(_stanza_offsets(data), PACKAGES + 2))
            try:
                check_number(len(offsets) - 1)
            except LimitError as exc:
                raise refuse(exc, index=index, repository=repository.name) from exc
            with tempfile.TemporaryFile() as reduced:
                for bounds in _portions(offsets):
                    part = data[bounds[0] : bounds[-1]]
                    check_stanzas(
                        part, [bound - bounds[0] for bound in bounds], index=index, repository=repository.name
                    )
                    reduced.write(_reduced(part, index))
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
                raise MetadataError(f"The package index {index.path} cannot be read: {self.pool.errstr}.")
            marks: dict[str, list[int]] = {}
            for bounds in _portions(offsets):
                for match in _MARKED_FIELDS.finditer(data[bounds[0] : bounds[-1]]):
                    mark = (match[1] or match[2]).decode("ascii").lower()
                    marks.setdefault(mark, []).append(bisect.bisect_right(offsets, bounds[0] + match.start()) - 1)
        return offsets, marks

    # -- stanzas

    @functools.cache  # noqa: B019  # pylint: disable=method-cache-max-size-none
    def stanza(self, solvable: int) -> Stanza:
        """Read what the repository's index says about a package.

        :raises MetadataError: The index and the cache do not belong together.
        """
        number = self._position(solvable)
        stanzas = self._stanzas[number]
        position = solvable - self._starts[number]
        start, end = stanzas.offsets[position], stanzas.offsets[position + 1]
        stanza = parse_stanza(stanzas.data[start:end])
        if not self._same_package(solvable, stanza):
            raise MetadataError(
                f"The package index {stanzas.path} is not the one that its cache was made from.",
                remedy=f"Remove the directory {self._cache.directory}; it is made anew.",
            )
        return stanza

    def _same_package(self, solvable: int, stanza: Stanza) -> bool:
        """Compare name and version."""
        # libsolv leaves out an epoch of zero, and nothing else.
        version = stanza.get("Version", "")
        known = self.version(solvable)
        return stanza.get("Package") == self.name(solvable) and known in (version, version.partition(":")[2])

    def marked(self, mark: str) -> list[str]:
        """Return the names of packages whose candidate has a mark, in the order of the indexes.

        No foreign repository says what is essential: what the template allows it to replace stays what it was.
        """
        names = []
        for source, stanzas in zip(self._sources, self._stanzas):
            if source.repository.foreign:
                continue
            for position in stanzas.marks.get(mark, ()):
                name = self.name(source.first + position)
                candidate = self.candidate(name)
                if candidate == source.first + position or (candidate is not None and self.is_foreign(candidate)):
                    names.append(name)
        return names

    def _package(self, solvable: int) -> Package:
        """Read the whole stanza of a package."""
        stanza = self.stanza(solvable)
        repository = self.repository(solvable)
        try:
            name, version, arch = stanza["Package"], stanza["Version"], stanza["Architecture"]
            place = stanza["Filename"]
            sha512 = _sha512(stanza) if "SHA512" in stanza and "SHA256" not in stanza else ""
            sha256 = "" if sha512 else stanza["SHA256"].lower()
            # The field counts units of 1024 bytes.
            size, installed_size = _number(stanza["Size"]), _number(stanza.get("Installed-Size") or "0") * 1024
        except KeyError as exc:
            raise self._unusable(solvable, f"without a usable {exc.args[0]}") from exc
        except ValueError as exc:
            raise self._unusable(solvable, f"with the size '{shortened(str(exc))}', which is no number") from exc
        problem = location_problem(place)
        if problem:
            raise self._unusable(solvable, f"with the file name '{shortened(place)}', {problem}")
        return Package(
            name=name,
            version=version,
            arch=arch,
            repository=repository,
            # Of a repository without suites it often begins with ./, which not every server takes.
            url=f"{repository.base_url}/{quote_path(re.sub(r'^(?:[.]/+)+', '', place), keep='%')}",
            filename=_filename(name, version, arch),
            size=size,
            sha256=sha256,
            sha512=sha512,
            installed_size=installed_size,
            source=stanza.get("Source", name),
            component=self._sources[self._position(solvable)].index.component,
        )

    # -- relations

    def alternative(self, relation: str) -> Alternative:
        """Return what satisfies a relation as libsolv writes it: C(name), C(name:any), C(name >= version).

        :raises NotARelationError: It is not written as one.
        """
        if relation not in self._alternatives:
            match = _RELATION.fullmatch(relation)
            if match is None:
                raise NotARelationError(shortened(relation))
            dep = self.pool.Dep(match["name"])
            if match["arch"] == "any":
                dep = self.pool.Dep(f"{match['name']}{_ANY}")
            elif match["arch"]:
                dep = dep.Rel(self.solv.REL_MULTIARCH, self.pool.Dep(match["arch"]))
            if match["operator"]:
                dep = dep.Rel(self._operator(match["operator"]), self.pool.Dep(match["version"]))
            solvables = tuple(solvable.id for solvable in self.pool.whatprovides(dep))
            target = match["name"] + (f":{match['arch']}" if match["arch"] else "")
            self._alternatives[relation] = Alternative(target, solvables)
        return self._alternatives[relation]

    def shown(self, dep: t.Any) -> str:
        """Return a dependency as people write it."""
        return super().shown(dep).replace(_ANY, ":any")

    def _operator(self, text: str) -> int:
        flags = {"<": self.solv.REL_LT, "=": self.solv.REL_EQ, ">": self.solv.REL_GT}
        return functools.reduce(lambda value, char: value | flags[char], text, 0)

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
        try:
            return [
                self._clause(text)
                for field in fields
                if field in stanza
                for text in stanza[field].split(",")
                if text and not text.isspace()
            ]
        except NotARelationError as exc:
            raise self._unusable(solvable, f"with the dependency '{exc}', which is not written as one") from exc

    def _clause(self, text: str) -> Clause:
        if text not in self._clauses:
            self._clauses[text] = tuple(self.alternative(normal_relation(part)) for part in text.split("|"))
        return self._clauses[text]

    # -- the order in which names are met

    def is_named_first(self, left: str, right: str) -> bool:
        """Tell whether the indexes name the package C(left) before they name C(right)."""
        return self._first_mention(left) < self._first_mention(right)

    def _first_mention(self, name: str) -> tuple[int, int]:
        if name not in self._mentions:
            self._mentions[name] = (len(self._stanzas), 0)
            for number, stanzas in enumerate(self._stanzas):
                place = stanzas.mentions.place_of(name)
                if place is not None:
                    self._mentions[name] = (number, place)
                    break
        return self._mentions[name]


def _portions(offsets: t.Sequence[int]) -> t.Iterator[t.Sequence[int]]:
    """Yield the offsets in portions of a few megabytes, the end of each being the beginning of the next."""
    first = 0
    for number in range(1, len(offsets)):
        if offsets[number] - offsets[first] >= _PORTION or number == len(offsets) - 1:
            yield offsets[first : number + 1]
            first = number


def _reduced(data: bytes, index: PackageIndex) -> bytes:
    """Return what libsolv needs of some stanzas."""
    fields = b"".join(_RELATION_FIELDS.findall(data))
    try:
        fields.decode("utf-8")
    except UnicodeDecodeError as exc:
        start = int(exc.start)
        raise MetadataError(
            f"The package index {index.path} is not UTF-8: {fields[start : start + 20]!r}.",
            remedy="The repository is damaged; tell its maintainers.",
        ) from exc
    return _with_any(fields)


def _with_any(data: bytes) -> bytes:
    """Let only packages with C(Multi-Arch: allowed) provide C(name:any), as apt does; libsolv takes any package.

    :param data: Stanzas with the fields that libsolv reads.
    """
    any_arch = _ANY.encode("ascii")
    stanzas = _ANY_ARCH.sub(rb"\1" + any_arch, data).split(b"\n\n")
    for number, stanza in enumerate(stanzas):
        if _ALLOWED.search(stanza) is None:
            continue
        fields = dict(_FIELD.findall(stanza))
        name, version = fields.get(b"Package", b"").strip(), fields.get(b"Version", b"").strip()
        provided = [b"%s%s (= %s)" % (name, any_arch, version)]
        for text in fields.get(b"Provides", b"").split(b","):
            match = _PROVIDED.match(text)
            if match is not None:
                provided.append(match[1] + any_arch + match[2].rstrip())
        own = [fields[b"Provides"].strip()] if b"Provides" in fields else []
        rest = _PROVIDES.sub(b"", stanza).rstrip(b"\n")
        stanzas[number] = rest + b"\nProvides: " + b", ".join(own + provided)
    return b"\n\n".join(stanzas)


def _number(text: str) -> int:
    """Read a number of bytes.

    :raises ValueError: It is none; its text is that of the error.
    """
    if not _DIGITS.fullmatch(text):
        raise ValueError(text)
    return int(text)


def _sha512(stanza: Stanza) -> str:
    """Return a digest that decides where the file is fetched to begin with.

    :raises KeyError: It is none.
    """
    digest = stanza["SHA512"].lower()
    if not re.fullmatch(r"[0-9a-f]{128}", digest):
        raise KeyError("SHA512")
    return digest


def _filename(name: str, version: str, arch: str) -> str:
    return f"{name}_{version.replace(':', '%3a')}_{arch}.deb"


def _stanza_offsets(data: mmap.mmap) -> t.Iterator[int]:
    """Give the offset of each stanza, and the file's size last."""
    blank = _BLANK_LINES.match(data)
    start = blank.end() if blank else 0
    for match in _STANZA_END.finditer(data, start):
        yield start
        start = match.end()
    if start < len(data):
        yield start
    yield len(data)


def parse_stanza(data: bytes) -> Stanza:
    """Read one stanza of deb822; continuation lines are joined to their field by a newline."""
    fields: dict[str, list[str]] = {}
    field = ""
    for line in data.decode("utf-8", errors="replace").splitlines():
        if line[:1] in (" ", "\t"):
            if field:
                fields[field].append(line.strip())
        elif ":" in line:
            field, _colon, value = line.partition(":")
            fields[field] = [value.strip()]
    return {name: "\n".join(lines) for name, lines in fields.items()}


def normal_relation(text: str) -> str:
    """Write a relation of a control file as libsolv does: C(name (>= 1) [amd64]) becomes C(name >= 1)."""
    match = _CONTROL_RELATION.match(text)
    if match is None:
        raise NotARelationError(shortened(text.strip()))
    return match[1] + (f" {match[2]} {match[3]}" if match[2] else "")


__all__ = ("DebPool", "NotARelationError", "Stanza", "normal_relation", "parse_stanza")
