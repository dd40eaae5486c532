# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The extraction of many packages at once into a tree, in the way that dpkg does it for one after another."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import os
import stat
import threading
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._chroot.deb_archive import (
    TAR_BLOCK,
    ByteStream,
    DebArchive,
    TarMember,
    read_tar,
)
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import (
    OpenDirectories,
    TreeFiles,
    make_node,
)

#: How a configuration file is called between its package's unpacking and its configuration.
CONFFILE_SUFFIX = ".dpkg-new"


class NotPlainError(Exception):
    """The packages cannot be extracted independently of each other; only dpkg itself knows what to do."""


@dataclasses.dataclass
class ExtractedPackage:
    """What was extracted of one package.

    :ivar paths: All paths, directories too, in the order of the archive.
    :ivar directories: The directories among them.
    """

    name: str
    paths: list[str]
    directories: list[TarMember]


class Extractor:
    """Extracts packages into a tree, several at a time.

    As dpkg does: configuration files get the suffix C(.dpkg-new); a directory that exists, also as a symbolic link to
    one, stays as it is, so that of several packages the first decides; a file that no package owns is replaced.

    :param root: Absolute path of the tree.
    :param owned: The paths of packages that are installed already.
    :param reserved: The paths that are diverted or overridden.
    :param newest: Modification times after this time (seconds since the epoch) are cut to it.
    :param conffiles_in_place: Leave configuration files under their own names too, because scripts of other packages
        use them before the package is configured: so it is in a new system, where all has been extracted once.
    :param is_wanted: Tells what of a package is extracted; the rest is left out, but stays in the list of its paths.
    """

    def __init__(
        self,
        root: str,
        *,
        owned: t.Collection[str],
        reserved: t.Collection[str],
        newest: int,
        conffiles_in_place: bool = False,
        is_wanted: t.Callable[[TarMember], bool] | None = None,
    ) -> None:
        self._files = TreeFiles(root)
        self._owned = owned
        self._reserved = reserved
        self._newest = newest
        self._conffiles_in_place = conffiles_in_place
        self._is_wanted = is_wanted
        self._lock = threading.Lock()
        # Paths without symbolic links of what was extracted, and who has it.
        self._owners: dict[str, str] = {}
        # Directories that are there, by the paths that packages have for them.
        self._directories = {"/"}
        self._stop = threading.Event()

    def extract(
        self,
        packages: t.Sequence[tuple[str, DebArchive]],
        *,
        workers: int,
        extracted: t.Callable[[int], None] | None = None,
    ) -> list[ExtractedPackage]:
        """Extract packages; returns what was extracted, in the order given.

        :param packages: Names and opened archives, in the order in which dpkg would unpack them.
        :param extracted: Told how many are done.
        :raises NotPlainError: Two packages have the same file, or something else needs dpkg's rules.
        """
        # The largest first, so that all processors have something to do until the end.
        order = sorted(range(len(packages)), key=lambda index: -os.path.getsize(packages[index][1].path))
        results: dict[int, ExtractedPackage] = {}
        with concurrent.futures.ThreadPoolExecutor(max_workers=workers) as pool:
            futures = {pool.submit(self._extract, *packages[index]): index for index in order}
            try:
                for future in concurrent.futures.as_completed(futures):
                    results[futures[future]] = future.result()
                    if extracted is not None:
                        extracted(len(results))
            except BaseException:
                self._stop.set()
                for future in futures:
                    future.cancel()
                raise
        ordered = [results[index] for index in range(len(packages))]
        self._settle_directories(ordered)
        return ordered

    def _extract(self, name: str, archive: DebArchive) -> ExtractedPackage:
        conffiles = archive.conffiles()
        done = ExtractedPackage(name, [], [])
        stream = archive.data()
        try:
            with OpenDirectories(self._files) as directories:
                for member in read_tar(stream):
                    if self._stop.is_set():
                        break
                    done.paths.append(member.path)
                    if self._is_wanted is not None and not self._is_wanted(member):
                        stream.skip(member.size)
                    elif member.file_type == stat.S_IFDIR:
                        done.directories.append(member)
                        self._make_directory(member, directories)
                    else:
                        self._make_file(name, member, stream, directories, conffile=member.path in conffiles)
                    stream.skip(-member.size % TAR_BLOCK)
        except EOFError as exc:
            raise ChrootError(f"The package {archive.path} is cut short.") from exc
        except OSError as exc:
            raise ChrootError(
                f"The package {name} cannot be extracted into {self._files.root}: {exc.strerror}: {exc.filename}."
            ) from exc
        return done

    def _directory(self, path: str, directories: OpenDirectories) -> tuple[int, str]:
        """Return the descriptor of a directory of the tree, and its path there without symbolic links."""
        path = path or "/"
        try:
            return directories.get(path)
        except FileNotFoundError:
            # A package that has files without having their directory; or a link that leads nowhere.
            parent, _slash, last = path.rpartition("/")
            descriptor, place = self._directory(parent, directories)
            with contextlib.suppress(FileExistsError):
                os.mkdir(last, 0o755, dir_fd=descriptor)
            if stat.S_ISLNK(os.stat(last, dir_fd=descriptor, follow_symlinks=False).st_mode):
                raise NotPlainError(f"{path} is a symbolic link, but not to a directory") from None
            return directories.get(path)
        except NotADirectoryError:
            kind = "a symbolic link, but not to" if self._files.is_link(path) else "not"
            raise NotPlainError(f"{path} is {kind} a directory") from None

    def _make_directory(self, member: TarMember, directories: OpenDirectories) -> None:
        if member.path == "/.":
            return
        if member.path in self._directories:
            return
        parent, _slash, last = member.path.rpartition("/")
        descriptor, _place = self._directory(parent, directories)
        try:
            os.mkdir(last, 0o755, dir_fd=descriptor)
        except FileExistsError:
            self._directory(member.path, directories)
        else:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            made = os.open(last, flags, dir_fd=descriptor)
            if member.mode != 0o755:
                os.fchmod(made, member.mode)
            if member.uid or member.gid:
                os.fchown(made, member.uid, member.gid)
            directories.keep(member.path, made)
        self._directories.add(member.path)

    def _make_file(
        self, name: str, member: TarMember, stream: ByteStream, directories: OpenDirectories, *, conffile: bool
    ) -> None:
        parent, _slash, last = member.path.rpartition("/")
        directory, above = self._directory(parent, directories)
        place = f"{above.rstrip('/')}/{last}"
        with self._lock:
            other = self._owners.setdefault(place, name)
        if other != name:
            raise NotPlainError(f"{name} and {other} both have {place}")
        if member.path in self._owned or place in self._owned:
            raise NotPlainError(f"{member.path} of {name} belongs to an installed package")
        if member.path in self._reserved:
            raise NotPlainError(f"{member.path} of {name} is diverted or overridden")
        if conffile:
            if _exists(directory, last):
                raise NotPlainError(f"the configuration file {member.path} of {name} exists already")
            if self._conffiles_in_place and member.file_type == stat.S_IFREG:
                content = stream.read(member.size)
                self._write(directory, last, member, ByteStream(iter([content])), directories)
                stream = ByteStream(iter([content]))
            last += CONFFILE_SUFFIX
        try:
            self._write(directory, last, member, stream, directories)
        except FileExistsError:
            if member.file_type == stat.S_IFLNK and _link_target(directory, last) == member.target:
                return
            if self._files.is_directory(f"{above.rstrip('/')}/{last}"):
                # A directory, or a link to one, where the package has something else: dpkg has rules for each case.
                raise NotPlainError(f"{member.path} of {name} exists as a directory") from None
            os.unlink(last, dir_fd=directory)
            self._write(directory, last, member, stream, directories)

    def _write(
        self, directory: int, last: str, member: TarMember, stream: ByteStream, directories: OpenDirectories
    ) -> None:
        kind = member.file_type
        mtime = min(member.mtime, self._newest) * 1_000_000_000
        if kind == stat.S_IFREG:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(last, flags, 0o600, dir_fd=directory)
            try:
                for piece in stream.pieces(member.size):
                    while piece:
                        piece = piece[os.write(descriptor, piece) :]
                if member.uid or member.gid:
                    os.fchown(descriptor, member.uid, member.gid)
                os.fchmod(descriptor, member.mode)
                os.utime(descriptor, ns=(mtime, mtime))
            finally:
                os.close(descriptor)
        elif kind == stat.S_IFLNK:
            os.symlink(member.target, last, dir_fd=directory)
            if member.uid or member.gid:
                os.chown(last, member.uid, member.gid, dir_fd=directory, follow_symlinks=False)
            os.utime(last, ns=(mtime, mtime), dir_fd=directory, follow_symlinks=False)
        elif kind == 0:
            parent, _slash, original = member.target.rpartition("/")
            source, _place = self._directory(parent, directories)
            os.link(original, last, src_dir_fd=source, dst_dir_fd=directory, follow_symlinks=False)
        else:
            make_node(
                directory,
                last,
                kind | member.mode,
                member.device,
                uid=member.uid,
                gid=member.gid,
                mtime=mtime // 1_000_000_000,
            )

    def _settle_directories(self, packages: t.Sequence[ExtractedPackage]) -> None:
        """Let the first of several packages with the same directory decide, whichever was faster."""
        seen: dict[str, TarMember] = {}
        for package in packages:
            for member in package.directories:
                first = seen.setdefault(member.path, member)
                if (first.mode, first.uid, first.gid) == (member.mode, member.uid, member.gid):
                    continue
                if member.path in self._directories and member.path not in self._owned:
                    with self._files.directory(member.path) as directory:
                        os.fchown(directory, first.uid, first.gid)
                        os.fchmod(directory, first.mode)


def _exists(directory: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _link_target(directory: int, name: str) -> str | None:
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError:
        return None


__all__ = ("CONFFILE_SUFFIX", "ExtractedPackage", "Extractor", "NotPlainError")
