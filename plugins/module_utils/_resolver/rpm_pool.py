# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Packages of RPM distributions: their C(primary) indexes in the pool, and of C(filelists) what is needed.

libsolv keeps everything that matters of a package, so that no index is parsed a second time.
"""

from __future__ import annotations

import contextlib
import functools
import html
import json
import os
import re
import tempfile
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import MetadataError
from ansible_collections.os_image.composer.plugins.module_utils._io import atomic_file, digest_of, sha256_bytes
from ansible_collections.os_image.composer.plugins.module_utils._repository.model import (
    PackageIndex,
    RepositoryMetadata,
)
from ansible_collections.os_image.composer.plugins.module_utils._repository.repository import quote_path
from ansible_collections.os_image.composer.plugins.module_utils._resolver.index_limits import (
    DESCRIPTION,
    LimitError,
    check_primary,
    check_rich,
)
from ansible_collections.os_image.composer.plugins.module_utils._resolver.modulemd import Artifact, read_modules
from ansible_collections.os_image.composer.plugins.module_utils._resolver.modules import PLATFORM, Modules
from ansible_collections.os_image.composer.plugins.module_utils._resolver.package_form import (
    base_problem,
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
from ansible_collections.os_image.composer.plugins.module_utils._template.provider_model import DEFAULT_PRIORITY

# The files that every primary index names (createrepo_c's cr_is_primary).
_PRIMARY_FILE = re.compile(r"/etc/|(?=.*bin/)|/usr/lib/sendmail$")
# A path in a dependency, rich ones included.
_PATH = re.compile(r"(?:^|(?<=[ (]))/[^ )]+")
_FILE_LIST_ENTRY = re.compile(rb"<package\s([^<>]*)>|<file(?:\s[^<>]*)?>([^<]*)</file>")
_FILE_LIST_ENDS = (b"</file>", b"</package>", b"\n")
_PACKAGE_ID = re.compile(rb"pkgid=[\"']([0-9a-f]+)[\"']")
# POOL_FLAG_WHATPROVIDESWITHDISABLED of libsolv's pool.h, which has no name in Python.
_WHATPROVIDES_WITH_DISABLED = 12
_CREDENTIALS = re.compile(r"//[^/]*@")
_BASE_MODULE = "base-module("
_FILE_LISTS_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<filelists xmlns="http://linux.duke.edu/metadata/filelists">\n'
)


class RpmPool(PackagePool):
    """Packages of RPM distributions."""

    family = "rpm"
    kernel_prefix = "kernel"
    no_arch = "noarch"

    def __init__(self, *, arch: str, cache_dir: str | None) -> None:
        super().__init__(arch=arch, cache_dir=cache_dir)
        self._repos: list[tuple[t.Any, str, RepositoryMetadata]] = []
        self._clauses: dict[int, list[Clause]] = {}
        self._files: set[str] = set()
        #: The modules of the repositories; V(None) where none has any.
        self.modules: Modules | None = None
        # What belongs to streams that are not active, or has a name that an active one claims.
        self._filtered: dict[int, str] = {}
        self._with_files: set[str] = set()

    def _set_semantics(self) -> None:
        # The default of Debian's libsolv is Debian's, which knows no noarch.
        self.pool.setdisttype(self.solv.Pool.DISTTYPE_RPM)
        # By its name alone libsolv would take packages of older machines too (i686 on x86_64).
        self.pool.setarch(f"{self.arch}:noarch")

    # -- filling

    def load(self, repositories: t.Sequence[RepositoryMetadata]) -> None:
        """Take in all repositories: as dnf does, the most preferred one first, which matters between equals."""
        ordered = sorted(repositories, key=lambda repository: -(repository.priority or DEFAULT_PRIORITY))
        super().load(ordered)
        indexes = [
            (repository, index)
            for repository in ordered
            if repository.priority >= 0
            for index in (self._further(repository, "modules"),)
            if index is not None
        ]
        if indexes:
            names = ", ".join(repository.name for repository, _index in indexes)
            self.at(f"reading the module metadata of {names}")
            self.modules = Modules(
                self.solv,
                self.arch,
                [
                    (read_modules(index, repository=repository.name), repository.is_outsider)
                    for repository, index in indexes
                ],
            )

    def _further(self, repository: RepositoryMetadata, component: str) -> PackageIndex | None:
        """Return another index of a repository, which may have to be fetched."""
        if repository.further is None:
            return None
        self.at(f"fetching the index {component} of the repository {repository.name!r}", limited=False)
        return repository.further(component)

    def _fill(self, repo: t.Any, repository: RepositoryMetadata, index: PackageIndex) -> None:
        name = f"{index.sha256}.{self.family}"
        if self._cache.read(repo, name) is None:
            self._parse(repo, name, repository, index)
        self._repos.append((repo, name, repository))

    def _parse(self, repo: t.Any, name: str, repository: RepositoryMetadata, index: PackageIndex) -> None:
        """Read an index by way of libsolv's binary form, and keep that.

        Writing it brings relations into another order, which depends on what else is in the pool; and where nothing
        else decides between packages, that order does. So every index is parsed in a pool of its own: the answer
        depends neither on what is in the cache nor on how it came there.
        """
        check_primary(index, repository=repository.name)
        pool = self.solv.Pool()
        pool.setdisttype(self.solv.Pool.DISTTYPE_RPM)
        parsed = pool.add_repo("index")
        stream = self.solv.xfopen(index.path)
        try:
            success = parsed.add_rpmmd(stream, None)
        finally:
            stream.close()
        if not success:
            raise MetadataError(
                f"The package index {index.path} of the repository {repository.name!r} cannot be read: {pool.errstr}.",
                remedy="The repository is damaged; tell its maintainers.",
            )
        with tempfile.TemporaryFile() as scratch:
            for mode, action in (("w", parsed.write), ("r", repo.add_solv)):
                # libsolv closes the descriptor that it gets.
                stream = self.solv.xfopen_fd("solv", os.dup(scratch.fileno()), mode)
                try:
                    action(stream)
                finally:
                    stream.close()
                scratch.seek(0)
        self._cache.write(parsed, name, Beside({}, b""))

    def _link(self) -> None:
        known = [self._restore_file_provides(repo, name) for repo, name, _repository in self._repos]
        # Asking for them later would take away who provides what.
        numbers = self.pool.addfileprovides_queue()
        self._files = {self.pool.id2str(number) for number in numbers}
        for (repo, name, _repository), before in zip(self._repos, known):
            if not before >= self._files:
                self._keep_file_provides(repo, name, self._files | before)
        super()._link()

    # Looking for files that others depend on takes longer than all the rest, so what was found is kept, by the
    # positions of the packages in their index.

    def _restore_file_provides(self, repo: t.Any, name: str) -> set[str]:
        """Add what an earlier run has found, and return the files that it looked for."""
        path, data = self._cache.path(f"{name}.provides"), repo.first_repodata()
        kept = None if path is None or data is None else _kept(path)
        if kept is None:
            return set()
        first = next((solvable.id for solvable in repo.solvables_iter()), 0)
        for file, positions in kept["owners"].items():
            dep = self.pool.Dep(file)
            for position in positions:
                self.pool.id2solvable(first + position).add_provides(dep, 1)
        for file in kept["files"]:
            key = self.solv.REPOSITORY_ADDEDFILEPROVIDES
            data.add_idarray(self.solv.SOLVID_META, key, self.pool.str2id(file))
        data.internalize()
        return set(kept["files"])

    def _keep_file_provides(self, repo: t.Any, name: str, files: t.Collection[str]) -> None:
        path = self._cache.path(f"{name}.provides")
        if path is None:
            return
        owners: dict[str, list[int]] = {}
        for position, solvable in enumerate(repo.solvables_iter()):
            for dep in solvable.lookup_deparray(self.solv.SOLVABLE_PROVIDES, 1):
                owners.setdefault(dep.str(), []).append(position)
        _keep(path, {"files": sorted(files), "owners": owners})

    def _replaced_by(self, solvable: int) -> list[int]:
        """Return what has the same name, what the package obsoletes, and what it claims to be by its provides."""
        found = super()._replaced_by(solvable)
        package = self.solvable(solvable)
        for dep in package.lookup_deparray(self.solv.SOLVABLE_OBSOLETES):
            name = dep.str().split(" ")[0]
            found += [other for other in self._insiders(name) if self._matches(other, dep)]
        for dep in package.lookup_deparray(self.solv.SOLVABLE_PROVIDES):
            found += self._insiders(dep.str().split(" ")[0])
        return list(dict.fromkeys(found))

    def _matches(self, solvable: int, dep: t.Any) -> bool:
        return bool(self.solvable(solvable).matchesdep(self.solv.SOLVABLE_PROVIDES, dep))

    # -- modules

    def enable_modules(self, enabled: t.Mapping[str, str]) -> None:
        """Enable streams of modules, decide which ones are active, and filter the packages of all others.

        :param enabled: Streams by module; C(platform) stands for the distribution itself.
        :raises ResolveError: The streams do not fit together.
        """
        if self.modules is None:
            return
        platform = enabled.get(PLATFORM) or self._platform()
        self.modules.decide({name: stream for name, stream in enabled.items() if name != PLATFORM}, platform)
        self._filter(self.modules)

    @contextlib.contextmanager
    def filtered_in_sight(self) -> t.Iterator[None]:
        """Let libsolv see for a while what is filtered, as dnf does: what replaces it counts where packages compete."""
        if not self._filtered:
            yield
            return
        self.pool.set_flag(_WHATPROVIDES_WITH_DISABLED, 1)
        self.pool.createwhatprovides()
        try:
            yield
        finally:
            self.pool.set_flag(_WHATPROVIDES_WITH_DISABLED, 0)
            self.pool.createwhatprovides()

    def artifact(self, solvable: int) -> Artifact:
        """Return a package as modules name it."""
        found = self.solvable(solvable)
        return Artifact(found.name, found.evr, found.arch)

    def _platform(self) -> str | None:
        """Return the stream of the platform, as the distribution's release package has it."""
        dep = self.pool.Dep("system-release", False)
        found = [] if dep is None else list(self.pool.whatprovides(dep))
        newest: dict[str, t.Any] = {}
        for solvable in found:
            known = newest.get(solvable.name)
            if known is None or solvable.evrcmp(known) > 0:
                newest[solvable.name] = solvable
        streams = {
            text[len(_BASE_MODULE) : -1].partition(":")[2]
            for solvable in newest.values()
            for text in (provided.str() for provided in solvable.lookup_deparray(self.solv.SOLVABLE_PROVIDES))
            if text.startswith(_BASE_MODULE)
        }
        if not streams and self.modules is not None:
            # Where nothing says what the distribution is, its modules do, if they agree.
            streams = set(self.modules.platforms())
        return streams.pop() if len(streams) == 1 else None

    def _filter(self, modules: Modules) -> None:
        if self._filtered:
            self.pool.set_disabled_list(self._excluded)
            self.pool.createwhatprovides()
        self._filtered = {}
        for outsider in (False, True):
            owned = modules.owned(outsider=outsider)
            rivals = {solvable.id for name in owned.names for solvable in self.pool.whatprovides(self.pool.Dep(name))}
            for source in self._sources:
                if source.repository.module_hotfixes or (outsider and not source.repository.is_outsider):
                    continue
                for number in range(source.first, source.end):
                    solvable = self.solvable(number)
                    key = self.artifact(number)
                    if key in owned.active:
                        continue
                    if key in owned.inactive:
                        self._filtered[number] = owned.inactive[key]
                    elif solvable.name in owned.names or number in rivals:
                        self._filtered[number] = ""
        if self._filtered:
            self.pool.set_disabled_list([*self._excluded, *self._filtered])
            self.pool.createwhatprovides()
        self._candidates.clear()
        self._clauses.clear()

    def _may_choose(self, solvable: t.Any) -> bool:
        return super()._may_choose(solvable) and solvable.id not in self._filtered

    def inactive_streams(self, wanted: str | t.Any) -> list[str]:
        """Return the streams, none of them active, whose packages would meet a dependency."""
        dep = self.pool.Dep(wanted) if isinstance(wanted, str) else wanted
        name = dep.str()
        streams = {
            self._filtered[solvable.id]
            for solvable in map(self.solvable, self._filtered)
            if solvable.name == name or solvable.matchesdep(self.solv.SOLVABLE_PROVIDES, dep)
        }
        return sorted(filter(None, streams))

    def _is_kept_out(self, solvable: t.Any) -> bool:
        return solvable.id not in self._filtered and super()._is_kept_out(solvable)

    # -- files

    def add_files(self, paths: t.Collection[str]) -> None:
        """Find out which packages have some files that the primary indexes do not name.

        :raises RepositoryError: A repository's file lists cannot be had.
        """
        wanted = {path for path in paths if not is_primary_file(path)} - self._with_files
        if not wanted:
            return
        self._with_files |= wanted
        for repo, _name, repository in self._repos:
            index = self._further(repository, "filelists")
            if index is None:
                continue
            self.at(f"reading the file lists {index.path} of the repository {repository.name!r}")
            packages = {self._checksum(solvable): solvable for solvable in repo.solvables_iter()}
            for checksum, path in self._owners(index, wanted):
                if checksum in packages:
                    packages[checksum].add_provides(self.pool.Dep(path))
        self._clauses.clear()
        self.pool.createwhatprovides()

    def _checksum(self, solvable: t.Any) -> str:
        checksum = solvable.lookup_checksum(self.solv.SOLVABLE_CHECKSUM)
        return "" if checksum is None else t.cast(str, checksum.hex())

    def _owners(self, index: PackageIndex, wanted: t.Collection[str]) -> list[tuple[str, str]]:
        """Return the packages, by their checksums, that have some files, each with the file."""
        kept = self._cache.path(f"{index.sha256}.{digest_of(sorted(wanted))[:16]}.files")
        known = None if kept is None else _kept(kept)
        if known is not None:
            return list(map(tuple, known["owners"]))
        owners = list(_owners_in(index.path, wanted))
        if kept is not None:
            _keep(kept, {"owners": owners})
        return owners

    def unknown_files(self) -> set[str]:
        """Return the files that dependencies name and primary indexes do not."""
        return {path for path in self._files if not is_primary_file(path)} - self._with_files

    def files_needed(self, solvables: t.Iterable[int], *, weak: bool) -> bool:
        """Tell whether anything that could be installed for some packages depends on an unknown file."""
        unknown = self.unknown_files()
        if not unknown or weak:
            # What a package supplements is not known from what it is installed with: then all of them count.
            return bool(unknown)
        keys = [self.solv.SOLVABLE_REQUIRES, self.solv.SOLVABLE_CONFLICTS]
        seen = set(solvables)
        queue = list(seen)
        known: set[int] = set()
        while queue:
            solvable = self.solvable(queue.pop())
            for key in keys:
                for dep in solvable.lookup_idarray(key, 0):
                    if dep in known:
                        continue
                    known.add(dep)
                    text = self.pool.dep2str(dep)
                    if "/" in text and unknown.intersection(_PATH.findall(text)):
                        return True
                    if key == self.solv.SOLVABLE_CONFLICTS:
                        continue
                    for provider in self.pool.whatprovides(dep):
                        if provider.id not in seen:
                            seen.add(provider.id)
                            queue.append(provider.id)
        return False

    # -- packages

    def _package(self, solvable: int) -> Package:
        """Read what libsolv has kept of a package."""
        found = self.solvable(solvable)
        repository = self.repository(solvable)
        name, version, arch = found.name, found.evr, found.arch
        checksum = found.lookup_checksum(self.solv.SOLVABLE_CHECKSUM)
        location, _medium = found.lookup_location() or ("", 0)
        size = found.lookup_num(self.solv.SOLVABLE_DOWNLOADSIZE)
        if checksum is None or checksum.typestr() != "sha256" or not location or not size:
            missing = "location" if not location else "SHA-256 checksum" if size else "size"
            raise self._unusable(solvable, f"without a usable {missing}")
        base_url = found.lookup_str(self.solv.SOLVABLE_MEDIABASE)
        for what, text, problem in (
            ("location", location, location_problem(location)),
            (
                "xml:base",
                _CREDENTIALS.sub("//", base_url or ""),
                base_problem(base_url, repository.base_url) if base_url else "",
            ),
        ):
            if problem:
                raise self._unusable(solvable, f"with the {what} '{shortened(text)}', {problem}")
        return Package(
            name=name,
            version=version,
            arch=arch,
            repository=repository,
            url=f"{(base_url or repository.base_url).rstrip('/')}/{quote_path(location)}",
            filename=f"{name}-{version.rpartition(':')[2]}.{arch}.rpm",
            size=size,
            sha256=checksum.hex(),
            installed_size=found.lookup_num(self.solv.SOLVABLE_INSTALLSIZE),
            source=found.lookup_sourcepkg() or "",
            license=found.lookup_str(self.solv.SOLVABLE_LICENSE) or "",
        )

    def date_of(self, solvables: t.Iterable[int]) -> int | None:
        """Return when the newest package was built."""
        times = (self.solvable(number).lookup_num(self.solv.SOLVABLE_BUILDTIME) for number in solvables)
        return max(times, default=0) or None

    # -- relations

    def requirements(self, solvable: int) -> list[Clause]:
        """Read C(Requires)."""
        return self.pre_requirements(solvable) + self._clauses_of(solvable, -1)

    def pre_requirements(self, solvable: int) -> list[Clause]:
        """Read what is needed by scripts before the package itself is there, C(Requires(pre)) for example."""
        return self._clauses_of(solvable, 1)

    def _clauses_of(self, solvable: int, marker: int) -> list[Clause]:
        return [
            clause
            for dep in self.solvable(solvable).lookup_deparray(self.solv.SOLVABLE_REQUIRES, marker)
            for clause in self._clauses_for(dep)
        ]

    def _clauses_for(self, dep: t.Any) -> list[Clause]:
        if dep.id not in self._clauses:
            text = dep.str()
            found = [solvable.id for solvable in self.pool.whatprovides(dep)]
            if text.startswith("("):
                # Which part of a rich dependency counts depends on the rest: it leads to everything that it names and
                # that is there.
                names = dict.fromkeys(self.name(number) for number in found)
                self._clauses[dep.id] = [
                    (Alternative(name, tuple(number for number in found if self.name(number) == name)),)
                    for name in names
                ]
            else:
                self._clauses[dep.id] = [(Alternative(text.split(" ")[0], tuple(found)),)]
        return self._clauses[dep.id]

    def providers(self, text: str) -> list[int]:
        """Return the packages that provide a name or have a file."""
        dep = self.pool.Dep(text, False)
        found = [] if dep is None else self.pool.whatprovides(dep)
        if text.startswith("/"):
            # libsolv knows only those files of the primary indexes by their names that some package depends on.
            found += self.pool.select(text, self.solv.Selection.SELECTION_FILELIST).solvables()
        return list(dict.fromkeys(solvable.id for solvable in found if self._may_choose(solvable)))

    def relation(self, name: str, operator: str, version: str) -> t.Any:
        """Return libsolv's object of a dependency on a version; C(==) is the same as C(=)."""
        flags = {"<": self.solv.REL_LT, "=": self.solv.REL_EQ, ">": self.solv.REL_GT}
        value = functools.reduce(lambda known, char: known | flags[char], operator, 0)
        return self.pool.Dep(name).Rel(value, self.pool.Dep(version))

    def rich(self, text: str) -> t.Any:
        """Return libsolv's object of a rich dependency; V(None) if it is none."""
        try:
            check_rich(text)
        except LimitError:
            return None
        return self.pool.parserpmrichdep(text)

    def meeting(self, dep: t.Any) -> list[int]:
        """Return the packages that meet a dependency."""
        return [solvable.id for solvable in self.pool.whatprovides(dep) if self._may_choose(solvable)]

    def obsoleters(self, solvables: t.Iterable[int]) -> list[int]:
        """Return the packages that obsolete some packages, by their names as RPM does it."""
        found: dict[int, None] = {}
        for number in solvables:
            target = self.solvable(number)
            for other in self.pool.whatmatchessolvable(self.solv.SOLVABLE_OBSOLETES, target):
                for dep in other.lookup_deparray(self.solv.SOLVABLE_OBSOLETES):
                    same_name = dep.str().split(" ")[0] == target.name
                    if same_name and target.matchesdep(self.solv.SOLVABLE_PROVIDES, dep) and self._may_choose(other):
                        found[other.id] = None
        return list(found)

    def names(self) -> set[str]:
        """Return the names of all packages that may be chosen."""
        return {solvable.name for solvable in self.pool.solvables_iter() if self._may_choose(solvable)}


def _kept(path: str) -> dict[str, t.Any] | None:
    """Read what :func:`_keep` has kept; V(None) when it is not there, or damaged."""
    try:
        with open(path, "rb") as stream:
            checksum, text = stream.readline().strip(), stream.read()
        if checksum != sha256_bytes(text).encode("ascii"):
            return None
        os.utime(path)
        return t.cast("dict[str, t.Any]", json.loads(text))
    except (OSError, ValueError):
        return None


def _keep(path: str, value: t.Mapping[str, t.Any]) -> None:
    """Keep an object for the next run."""
    text = json.dumps(value).encode("ascii")
    # A cache that cannot be written costs time, not correctness.
    with contextlib.suppress(OSError), atomic_file(path) as target:
        target.write(sha256_bytes(text).encode("ascii") + b"\n" + text)


def is_primary_file(path: str) -> bool:
    """Tell whether primary indexes name such a file."""
    return _PRIMARY_FILE.match(path) is not None


def _owners_in(path: str, wanted: t.Collection[str]) -> t.Iterator[tuple[str, str]]:
    """Search a file list."""
    sought = {html.escape(name, quote=False).encode("utf-8"): name for name in wanted}
    package = b""
    for attributes, name in _entries(path):
        if attributes:
            package = attributes
        elif name in sought:
            match = _PACKAGE_ID.search(package)
            if match is not None:
                yield match[1].decode("ascii"), sought[name]


def _entries(path: str) -> t.Iterator[tuple[bytes, bytes]]:
    """Yield the attributes of each package, and the name of each file after it."""
    rest = b""
    with open(path, "rb") as stream:
        while True:
            chunk = stream.read(1 << 22)
            if not chunk:
                break
            rest += chunk
            # No element is cut in two, however it is written; and what never ends is none.
            end = max(rest.rfind(mark) + len(mark) if mark in rest else 0 for mark in _FILE_LIST_ENDS)
            if not end and len(rest) > DESCRIPTION:
                rest = b""
                continue
            for match in _FILE_LIST_ENTRY.finditer(rest, 0, end):
                yield match[1] or b"", match[2] or b""
            rest = rest[end:]
    for match in _FILE_LIST_ENTRY.finditer(rest):
        yield match[1] or b"", match[2] or b""


__all__ = ("RpmPool", "is_primary_file")
