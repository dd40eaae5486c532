# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The packages of all repositories, in a libsolv pool.

What is the same for every package family is here: repositories with their priorities, which packages may be taken from
them, names and versions. One subclass per family knows how its package indexes are read.
"""

from __future__ import annotations

import abc
import bisect
import contextlib
import dataclasses
import fnmatch
import functools
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import MetadataError
from ansible_collections.os_image.composer.plugins.module_utils._libraries import import_library
from ansible_collections.os_image.composer.plugins.module_utils._repository.model import (
    PackageIndex,
    RepositoryMetadata,
)
from ansible_collections.os_image.composer.plugins.module_utils._resolver.elsewhere import Elsewhere
from ansible_collections.os_image.composer.plugins.module_utils._resolver.package_form import problems, shortened
from ansible_collections.os_image.composer.plugins.module_utils._resolver.solv_cache import SolvCache
from ansible_collections.os_image.composer.plugins.module_utils._template.provider_model import DEFAULT_PRIORITY

#: Tells what is done from now on, as the end of a sentence ("reading the index"), and with C(limited=False) that this
#: has a time limit of its own.
At = t.Callable[..., None]

#: Why a repository's package may not be chosen.
KEPT_OUT = "allowPackages, excludePackages, a negative priority or what it would replace"


@dataclasses.dataclass(frozen=True)
class Package:
    """A package as its repository describes it.

    :ivar version: In full, with epoch and revision or release.
    :ivar url: Where it lies.
    :ivar filename: The name of its file in the package cache.
    :ivar installed_size: Bytes.
    :ivar source: The source package, as the family names it.
    :ivar sha256: Its digest; empty where the repository has its SHA-512 alone.
    :ivar license: The expression that the repository gives; empty where its indexes have none.
    :ivar component: The component of its repository; empty where that has none.
    """

    name: str
    version: str
    arch: str
    repository: RepositoryMetadata
    url: str
    filename: str
    size: int
    sha256: str
    installed_size: int
    source: str
    license: str = ""
    component: str = ""
    sha512: str = ""


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
class Source:
    """One package index in the pool: its solvables are numbered one after the other.

    :ivar first: The number of the first solvable.
    :ivar end: The number after that of the last solvable.
    """

    repository: RepositoryMetadata
    index: PackageIndex
    priority: int
    first: int
    end: int


class PackagePool(abc.ABC):
    """The packages of several repositories.

    Packages are handled by libsolv's numbers ("solvables"), names by strings.

    :param arch: The family's name of the architecture, for example C(amd64).
    :param cache_dir: Where the binary form of the indexes is kept; V(None) keeps nothing.
    """

    #: The word for the family in the names of the cache's files.
    family: t.ClassVar[str]
    #: How the names of the packages begin that a kernel's version is asked of.
    kernel_prefix: t.ClassVar[str]
    #: The architecture of packages that are the same on every one.
    no_arch: t.ClassVar[str]

    def __init__(self, *, arch: str, cache_dir: str | None) -> None:
        self.solv = import_library("solv")
        self.arch = arch
        self._cache = SolvCache(cache_dir)
        self._sources: list[Source] = []
        self._starts: list[int] = []
        self._excluded: list[int] = []
        #: What foreign repositories have and may not bring, with the reason, by the name of the repository.
        self.left_out: dict[str, list[str]] = {}
        #: What the repositories have that is not enabled.
        self.elsewhere = Elsewhere(())
        self._candidates: dict[str, int | None] = {}
        #: Is told of each step that takes time or could fail.
        self.at: At = _nobody
        self.pool = self.solv.Pool()
        self._set_semantics()

    @abc.abstractmethod
    def _set_semantics(self) -> None:
        """Tell libsolv the family, and the architectures that can be installed."""

    @abc.abstractmethod
    def _fill(self, repo: t.Any, repository: RepositoryMetadata, index: PackageIndex) -> None:
        """Read an index into a libsolv repository, from the cache where that has it.

        :raises MetadataError: It is not what libsolv can read.
        """

    def package(self, solvable: int) -> Package:
        """Return all that the repository says about a package.

        :raises MetadataError: It does not say enough, so that nobody can verify the package; or something that no
            package can have.
        """
        package = self._package(solvable)
        problem = next(
            problems(
                name=package.name,
                version=package.version,
                arch=package.arch,
                filename=package.filename,
                # In the place of the one there may be another, which was looked at.
                sha256=None if package.sha512 else package.sha256,
                sizes=(package.size, package.installed_size),
            ),
            None,
        )
        if problem is not None:
            raise self._unusable(solvable, problem)
        return package

    def _unusable(self, solvable: int, problem: str) -> MetadataError:
        """Return the error about a package that cannot be had.

        :param problem: The end of a sentence.
        """
        name = self.repository(solvable).name
        return MetadataError(
            f"The repository {name!r} describes the package {self.label(solvable)} {problem}.",
            remedy="Take the package from another repository, and tell the maintainers of this one.",
        )

    @abc.abstractmethod
    def _package(self, solvable: int) -> Package:
        """Read what the repository says about a package.

        :raises MetadataError: It does not say enough.
        """

    @abc.abstractmethod
    def requirements(self, solvable: int) -> list[Clause]:
        """Return what a package needs: pre-dependencies first, then dependencies, each in the package's own order."""

    @abc.abstractmethod
    def pre_requirements(self, solvable: int) -> list[Clause]:
        """Return what has to be there before the package is unpacked or its first script runs."""

    def conflicts(self, solvable: int) -> list[Clause]:  # noqa: ARG002
        """Return what a package cannot be installed together with, as far as the family's resolver asks for that."""
        return []

    def marked(self, mark: str) -> list[str]:  # noqa: ARG002
        """Return the names of packages that their index marks as C(essential), or with a priority, in its order."""
        return []

    def date_of(self, solvables: t.Iterable[int]) -> int | None:  # noqa: ARG002
        """Return when the newest of some packages was built, in seconds since 1970; V(None) if nobody knows."""
        return None

    # -- filling

    def load(self, repositories: t.Sequence[RepositoryMetadata]) -> None:
        """Take in all repositories, in the order of their preference where priorities are equal.

        :raises MetadataError: An index is not what libsolv can read.
        """
        self.elsewhere = Elsewhere(repositories, at=lambda step: self.at(step, limited=False))
        for repository in repositories:
            for index in repository.indexes:
                self._load_index(repository, index)
        if self._excluded:
            self.pool.set_disabled_list(self._excluded)
        self.at(f"linking the packages of {self.searched()}")
        self._link()
        self._keep_outsiders_in_their_place()
        self._cache.forget_old()

    def _link(self) -> None:
        """Let libsolv find out who provides what."""
        self.pool.createwhatprovides()

    def _load_index(self, repository: RepositoryMetadata, index: PackageIndex) -> None:
        self.at(f"reading the package index {index.path} of the repository {repository.name!r}")
        priority = repository.priority or DEFAULT_PRIORITY
        repo = self.pool.add_repo(f"{repository.name}/{index.component}/{index.arch}")
        # libsolv ranks repositories by this; versions are only compared within one rank. What an outsider has is never
        # another version of a package that others have; where it provides the same as they, they are preferred.
        repo.priority = 2 * priority - repository.is_outsider
        self._fill(repo, repository, index)
        first = next((solvable.id for solvable in repo.solvables_iter()), None)
        if first is None:
            return
        source = Source(repository, index, priority, first, first + repo.nsolvables)
        self._sources.append(source)
        self._starts.append(first)
        numbers = range(source.first, source.end)
        if priority < 0:
            self._excluded.extend(numbers)
        elif repository.allow_packages or repository.exclude_packages:
            allowed = _any_of(repository.allow_packages or ("*",))
            excluded = _any_of(repository.exclude_packages)
            for number in numbers:
                name = self.name(number)
                if excluded(name) or not allowed(name):
                    self._excluded.append(number)

    def _keep_outsiders_in_their_place(self) -> None:
        """Exclude what would take the place of other repositories' packages and comes from where it may not.

        Whoever adds a vendor's repository wants what the vendor makes, and not the vendor's C(base-files).
        """
        left_out: list[int] = []
        for source in self._sources:
            if not source.repository.is_outsider or source.priority < 0:
                continue
            known = set(self._excluded)
            for number in range(source.first, source.end):
                replaced = [] if number in known else self._replaced_by(number)
                if not replaced:
                    continue
                left_out.append(number)
                if self._would_win(number, replaced):
                    self.left_out.setdefault(source.repository.name, []).append(self.label(number))
        if left_out:
            self._excluded.extend(left_out)
            self.pool.set_disabled_list(self._excluded)
            self.pool.createwhatprovides()

    def _would_win(self, solvable: int, replaced: t.Sequence[int]) -> bool:
        """Tell whether a package would have been taken instead of some others."""
        mine = self.solvable(solvable)
        rank = self._sources[self._position(solvable)].priority
        ranks = [self._sources[self._position(other)].priority for other in replaced]
        if any(self.name(other) != mine.name for other in replaced):
            return rank >= max(ranks)
        return all((rank, mine.evrcmp(self.solvable(other))) > (theirs, 0) for other, theirs in zip(replaced, ranks))

    def _replaced_by(self, solvable: int) -> list[int]:
        """Return the packages of the provider, and of the build host, that a foreign package would replace."""
        return self._insiders(self.name(solvable))

    def _insiders(self, name: str) -> list[int]:
        """Return all versions of a package in repositories that may replace packages of each other."""
        dep = self.pool.Dep(name, False)
        found = () if dep is None else self.pool.whatprovides(dep)
        return [other.id for other in found if other.name == name and not self.is_foreign(other.id)]

    def is_foreign(self, solvable: int) -> bool:
        """Tell whether a package is in a foreign repository."""
        return self.repository(solvable).foreign

    def is_outsider(self, solvable: int) -> bool:
        """Tell whether a package is in a repository that may only add packages."""
        return self.repository(solvable).is_outsider

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
        return f"{shortened(self.name(solvable))} {shortened(self.version(solvable))}"

    def shown(self, dep: t.Any) -> str:
        """Return a dependency as people write it, as long as they read it."""
        return shortened(t.cast(str, dep.str()))

    def _position(self, solvable: int) -> int:
        """Return the number of a package's index."""
        return bisect.bisect_right(self._starts, solvable) - 1

    def repository(self, solvable: int) -> RepositoryMetadata:
        """Return the repository of a package."""
        return self._sources[self._position(solvable)].repository

    def names(self) -> set[str]:
        """Return the names of all packages that may be chosen."""
        excluded = set(self._excluded)
        return {solvable.name for solvable in self.pool.solvables_iter() if solvable.id not in excluded}

    def kept_out(self, wanted: str | t.Any) -> list[tuple[str, str, bool]]:
        """Return the packages that would meet a dependency, but may not be chosen.

        :param wanted: A name, or libsolv's object of a dependency.
        :returns: Architecture and repository of each, and whether only the repository is in the way.
        """
        dep = self.pool.Dep(wanted) if isinstance(wanted, str) else wanted
        name = dep.str()
        return sorted(
            {
                (solvable.arch, self.repository(solvable.id).name, solvable.arch in (self.arch, self.no_arch))
                for solvable in self.pool.solvables_iter()
                if self._is_kept_out(solvable)
                and (solvable.name == name or solvable.matchesdep(self.solv.SOLVABLE_PROVIDES, dep))
            }
        )

    def inactive_streams(self, wanted: str | t.Any) -> list[str]:  # noqa: ARG002
        """Return the streams of modules, none of them active, whose packages would meet a dependency.

        :param wanted: A name, or libsolv's object of a dependency.
        """
        return []

    def _is_kept_out(self, solvable: t.Any) -> bool:
        return not self._may_choose(solvable)

    def _may_choose(self, solvable: t.Any) -> bool:
        return bool(solvable.installable()) and solvable.id not in self._excluded

    def versions(self, name: str) -> list[int]:
        """Return all versions of a package that may be chosen: the most preferred repository first, then the newest."""
        dep = self.pool.Dep(name, False)
        if dep is None:
            return []
        found = [solvable for solvable in self.pool.whatprovides(dep) if solvable.name == name]

        def compare(left: t.Any, right: t.Any) -> int:
            ours, theirs = (self._sources[self._position(item.id)].priority for item in (left, right))
            return theirs - ours or -t.cast(int, left.evrcmp(right)) or left.id - right.id

        return [solvable.id for solvable in sorted(found, key=functools.cmp_to_key(compare))]

    def candidate(self, name: str) -> int | None:
        """Return the version that is taken when nobody asks for another: of the most preferred repository the newest.

        Of one version in several repositories it is that of the repository that was named first.
        """
        if name not in self._candidates:
            self._candidates[name] = next(iter(self.versions(name)), None)
        return self._candidates[name]


def _nobody(_step: str, *, limited: bool = True) -> None:  # noqa: ARG001
    """Stand for who wants to be told of steps."""


def _any_of(patterns: t.Iterable[str]) -> t.Callable[[str], bool]:
    """Return whether a name matches one of some globs, as a function."""
    expressions = [re.compile(fnmatch.translate(pattern)) for pattern in patterns]
    return lambda name: any(expression.match(name) for expression in expressions)


__all__ = ("KEPT_OUT", "Alternative", "At", "Clause", "Package", "PackagePool", "Source")
