# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Installers: what a family of packages has to know to fill a root tree, one class for each."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._chroot.sandbox import Sandbox
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_file
from ansible_collections.os_image.composer.plugins.module_utils._progress import Progress
from ansible_collections.os_image.composer.plugins.module_utils._template.provider_model import Repository
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles

_FETCH_AGAIN = "Run the module os_image.composer.pkg_fetch again."
_PROBLEMS_SHOWN = 10

Repositories = t.Sequence[Repository]


class SpoiledTreeError(Exception):
    """The packages could not be installed in this way, but can be in another, in a tree that is made again."""


@dataclasses.dataclass(frozen=True)
class LockedPackage:
    """A package of the lock, with its file in the package cache."""

    name: str
    version: str
    arch: str
    sha256: str
    size: int
    path: str
    repository: str = ""

    @classmethod
    def of(cls, entry: t.Mapping[str, t.Any], cache: str) -> LockedPackage:
        """Take it from an entry of the lock."""
        return cls(
            name=entry["name"],
            version=entry["version"],
            arch=entry["arch"],
            sha256=entry["sha256"],
            size=entry["size"],
            path=os.path.join(cache, entry["filename"]),
            repository=entry.get("repository", ""),
        )


@dataclasses.dataclass(frozen=True)
class Leftovers:
    """What the programs of a family leave in a tree, which is not part of an image.

    :ivar files: Directories, each with the pattern of names of files in it.
    :ivar downloads: Directories whose files go, while the directories in them stay.
    """

    files: tuple[tuple[str, str], ...] = ()
    downloads: tuple[str, ...] = ()


class Installer(abc.ABC):
    """Installs the packages of a lock, and nothing else, into a tree.

    What is true for all trees of a family, whatever is installed, are the class's own attributes and methods.

    :param root: Absolute path of the tree.
    :param sandbox: Runs commands in it.
    :param arch: The packages' architecture in the family's words, for example V(amd64).
    :param newest: Modification times after this time may be cut to it.
    :param repositories: The provider's and the template's, with keys that are paths.
    :param documentation: Whether the packages' documentation is installed.
    """

    #: Host tools whose versions shape the tree.
    shaping_tools: t.ClassVar[t.Tuple[str, ...]] = ()
    leftovers: t.ClassVar[Leftovers] = Leftovers()
    #: Where the system's locale is written.
    locale_file: t.ClassVar[str] = "/etc/locale.conf"
    #: Where the name of the time zone is written beside the link C(/etc/localtime).
    timezone_file: t.ClassVar[str | None] = None
    #: The name of an initramfs in /boot; C({}) is the version of the kernel.
    initramfs_name: t.ClassVar[str] = "initramfs-{}.img"

    def __init__(
        self,
        root: str,
        sandbox: Sandbox,
        *,
        arch: str,
        newest: int,
        workers: int,
        progress: Progress,
        repositories: Repositories = (),
        documentation: bool = True,
    ) -> None:
        self._root = root
        self._sandbox = sandbox
        self._arch = arch
        self._newest = newest
        self._workers = max(1, min(workers, os.cpu_count() or 1))
        self._progress = progress
        self._repositories = repositories
        self._documentation = documentation

    @staticmethod
    @abc.abstractmethod
    def build_date(path: str) -> int:
        """Return when a package was built (seconds since 1970), as its file says.

        :raises OSError: The file cannot be read.
        :raises ChrootError: It is not a package.
        """

    @classmethod
    def layer_inputs(cls, repositories: Repositories, packages: t.Sequence[LockedPackage]) -> dict[str, t.Any]:
        """Return what shapes a layer beside the packages themselves: JSON values by name.

        :param packages: The packages of the layer.
        """
        return {}

    @staticmethod
    def forbidden_services(root: str) -> contextlib.AbstractContextManager[None]:
        """Keep scripts from starting services in a tree while the block runs."""
        return contextlib.nullcontext()

    @staticmethod  # noqa: B027
    def enable_modules(files: TreeFiles, modules: t.Sequence[t.Mapping[str, t.Any]]) -> None:
        """Let the image go on with the streams of modules that its packages are of."""

    @staticmethod
    @abc.abstractmethod
    def configure_sources(files: TreeFiles, repositories: Repositories) -> None:
        """Write the package sources of the image itself."""

    @abc.abstractmethod
    def prepare(self) -> None:
        """Make an empty tree ready for its first packages."""

    @abc.abstractmethod
    def install(self, packages: t.Sequence[LockedPackage], *, again: bool = False) -> None:
        """Install packages.

        :param again: This is the second try, after a first one that has spoiled its tree.
        :raises SpoiledTreeError: Another try in a new tree will do better; never in the second.
        :raises ChrootError: It failed; the message names the package.
        """

    @abc.abstractmethod
    def installed(self) -> t.Mapping[str, PackageState]:
        """Return what the tree's package database lists, by name."""

    def verify(self, packages: t.Sequence[LockedPackage]) -> None:
        """Check the size and digest of each package's file, right before it is installed.

        :raises ChrootError: A file is missing, or not what the lock names.
        """
        for package in packages:
            try:
                size = os.path.getsize(package.path)
                intact = size == package.size and sha256_file(package.path) == package.sha256
            except FileNotFoundError:
                raise missing_file(package) from None
            if not intact:
                raise ChrootError(
                    f"The file {package.path} in the package cache is not the package {package.name} "
                    f"{package.version} that the lock names.",
                    remedy=_FETCH_AGAIN,
                )

    def check(self, expected: t.Mapping[str, LockedPackage]) -> None:
        """Check that exactly the expected packages are installed, whole.

        :raises ChrootError: Something else is; the message names the packages.
        """
        problems = []
        installed = self.installed()
        for name in sorted({*expected, *installed}):
            want, have = expected.get(name), installed.get(name)
            if want is None and have is not None:
                problems.append(f"{name} {have.version} is installed, but not in the lock")
            elif have is None and want is not None:
                problems.append(f"{name} {want.version} is not installed")
            elif have is not None and want is not None:
                if have.problem:
                    problems.append(f"{name} is {have.problem}")
                elif (have.version, have.arch) != (want.version, want.arch):
                    problems.append(f"{name} is {have.version} ({have.arch}), not {want.version} ({want.arch})")
        if problems:
            shown = "; ".join(problems[:_PROBLEMS_SHOWN])
            if len(problems) > _PROBLEMS_SHOWN:
                shown += f"; and {len(problems) - _PROBLEMS_SHOWN} more"
            raise ChrootError(
                f"The root tree does not hold what the package lock demands: {shown}.",
                remedy="Look for the packages in the stage's log; report it when their scripts are not to blame.",
            )

    def _script_error(self, names: t.Sequence[str], why: str, output: str) -> ChrootError:
        tail = "\n".join(output.strip().splitlines()[-20:])
        subject = f"Installing the package {names[0]} failed: {why}." if names else "Installing packages failed."
        more = f" The packages {', '.join(names[1:6])} failed after it." if len(names) > 1 else ""
        log = f"\nThe full log is {self._progress.path}." if self._progress.path else ""
        return ChrootError(f"{subject}{more} The last lines were:\n{tail}{log}", details={"packages": list(names)})


@dataclasses.dataclass(frozen=True)
class PackageState:
    """A package as a tree's package database lists it.

    :ivar problem: What is wrong with it, as the rest of a sentence that begins with its name and "is"; or nothing.
    """

    version: str
    arch: str
    problem: str = ""


def missing_file(package: LockedPackage) -> ChrootError:
    """Return the error that says that a package has gone from the cache."""
    return ChrootError(
        f"The package {package.name} {package.version} is not in the package cache: {package.path} is missing.",
        remedy=_FETCH_AGAIN,
    )


__all__ = (
    "Installer",
    "Leftovers",
    "LockedPackage",
    "PackageState",
    "Repositories",
    "SpoiledTreeError",
    "missing_file",
)
