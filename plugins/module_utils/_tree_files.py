# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Files of a root tree, which packages and scripts have filled: no path leads out of it, whatever they put there.

The kernel itself follows each path, with the tree as the root directory (openat2(2) with C(RESOLVE_IN_ROOT)), and what
it has found is worked on by its descriptor. So there is no moment between a look and an act, and no path of the host is
ever put together from names that a package chose. Only regular files are opened, so that neither a FIFO nor a device
holds a build, and what is read into memory has a limit.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import errno
import fnmatch
import hashlib
import os
import posixpath
import re
import shutil
import stat
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._size import show_size

# <asm-generic/unistd.h>: the same number on all architectures.
_OPENAT2 = 437
# <linux/openat2.h>
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_IN_ROOT = 0x10

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# As many as the kernel follows.
_MAX_LINKS = 40
_CHUNK = 1 << 20

#: How many bytes of a file are read into memory: more than any database of packages, policy or list of files has.
LARGEST_TEXT = 64 << 20

_KINDS: t.Mapping[int, str] = {
    stat.S_IFBLK: "a block device",
    stat.S_IFCHR: "a character device",
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFSOCK: "a socket",
}

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    """struct open_how of <linux/openat2.h>."""

    _fields_: t.ClassVar = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


def open_below(directory: int, path: str, flags: int, mode: int = 0, *, links: bool = True) -> int:
    """Open a path with a directory as its root directory; returns the descriptor.

    :param directory: A descriptor.
    :param links: Whether symbolic links are followed, which then stay below the directory, too.
    :raises OSError: As open(2) does; C(ELOOP) also for a link where none is followed.
    """
    resolve = _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS | (0 if links else _RESOLVE_NO_SYMLINKS)
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    name = os.fsencode(path)
    if b"\0" in name:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
    while True:
        descriptor: int = _libc.syscall(
            ctypes.c_long(_OPENAT2),
            ctypes.c_int(directory),
            ctypes.c_char_p(name),
            ctypes.byref(how),
            ctypes.c_size_t(ctypes.sizeof(how)),
        )
        if descriptor >= 0:
            return descriptor
        code = ctypes.get_errno()
        if code == errno.ENOSYS:
            raise ChrootError(
                "The build host's kernel cannot open files of a root tree safely: it has no openat2.",
                remedy="Use Linux 5.6 or newer, and in a container a seccomp profile that knows the system call.",
            )
        # Something was renamed meanwhile (EAGAIN), or a signal came.
        if code not in (errno.EAGAIN, errno.EINTR):
            raise OSError(code, os.strerror(code), path)


def by_descriptor(descriptor: int, name: str | None = None) -> str:
    """Return a path by which calls that take no descriptor reach what is opened, or something in that directory."""
    return f"/proc/self/fd/{descriptor}" + ("" if name is None else f"/{name}")


def make_node(directory: int, name: str, mode: int, device: int, *, uid: int, gid: int, mtime: int) -> None:
    """Make a device node or a FIFO, which programs in a tree cannot.

    :param directory: The descriptor of the directory that gets it.
    :param mode: Its kind (C(S_IFCHR) and so on) and its permissions.
    :param device: Its number; without a meaning for a FIFO.
    :param mtime: Seconds since the epoch.
    """
    os.mknod(name, stat.S_IFMT(mode) | 0o600, device, dir_fd=directory)
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.chown(by_descriptor(descriptor), uid, gid)
        os.chmod(by_descriptor(descriptor), stat.S_IMODE(mode))
        os.utime(by_descriptor(descriptor), (mtime, mtime))
    finally:
        os.close(descriptor)


def remove_tree(path: str, *, ignore_errors: bool = False) -> None:
    """Remove a directory with everything in it, however deep: a script can make directories in directories for ever.

    No symbolic link is followed, and one directory is open at a time.

    :param ignore_errors: Leave what cannot be removed, as long as it is no programming error.
    :raises OSError: Something cannot be removed.
    """
    try:
        above = os.open(os.path.dirname(path) or ".", _DIRECTORY & ~os.O_NOFOLLOW)
        try:
            _remove_directory(above, os.path.basename(path))
        finally:
            os.close(above)
    except OSError:
        if not ignore_errors:
            raise


def _remove_directory(above: int, name: str) -> None:
    """Remove a directory by the descriptor of the one above."""
    # Of each directory on the way: its name, what it lies in, and the directories in it that are still there.
    levels: list[tuple[str, os.stat_result, list[str]]] = []
    current = os.dup(above)

    def go_to(place: str) -> None:
        nonlocal current
        current, left = os.open(place, _DIRECTORY, dir_fd=current), current
        os.close(left)

    try:
        following: str | None = name
        while following is not None:
            outer = os.fstat(current)
            go_to(following)
            levels.append((following, outer, _remove_files(current)))
            while levels and not levels[-1][2]:
                done, outer, _directories = levels.pop()
                go_to("..")
                if not os.path.samestat(os.fstat(current), outer):
                    raise OSError(errno.ESTALE, "was moved while it was being removed", done)
                os.rmdir(done, dir_fd=current)
            following = levels[-1][2].pop() if levels else None
    finally:
        os.close(current)


def _remove_files(directory: int) -> list[str]:
    """Remove what is no directory from a directory; returns the names of the others."""
    with os.scandir(directory) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in found:
        if not is_directory:
            os.unlink(name, dir_fd=directory)
    return [name for name, is_directory in found if is_directory]


class TreeFiles:
    """Reads and writes files of a root tree; no path leads out of it.

    Absolute links such as /var/run -> /run are followed within the tree, and C(..) ends at its root.

    :param root: Absolute path of the tree.
    """

    def __init__(self, root: str) -> None:
        self.root = root

    # Where things are

    @contextlib.contextmanager
    def opened(self, path: str, flags: int = os.O_PATH, mode: int = 0, *, links: bool = True) -> t.Iterator[int]:
        """Open a path while the block runs; gives the descriptor.

        :param links: Whether symbolic links are followed at all.
        :raises ChrootError: Links go round in a circle, or the path leads through something that is not a directory.
        :raises OSError: As open(2) does.
        """
        descriptor = self._open(path, flags, mode, links=links)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _open(self, path: str, flags: int, mode: int = 0, *, links: bool = True) -> int:
        # Not kept: the tree may be a mount, which would be busy.
        root = os.open(self.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return open_below(root, path, flags, mode, links=links)
        except OSError as exc:
            if exc.errno == errno.ELOOP and links:
                raise ChrootError(f"The path {path} of the image leads round in a circle of symbolic links.") from None
            if exc.errno == errno.ENOTDIR:
                blocked = self._blocked(root, path)
                if blocked:
                    raise ChrootError(
                        f"The path {path} of the image leads through {blocked}, which is not a directory."
                    ) from None
            raise
        finally:
            os.close(root)

    @staticmethod
    def _blocked(root: int, path: str) -> str:
        """Return the part of a path that should be a directory and is not."""
        parts = [part for part in path.split("/") if part]
        for count in range(1, len(parts)):
            start = "/" + "/".join(parts[:count])
            with contextlib.suppress(OSError):
                descriptor = open_below(root, start, os.O_PATH)
                try:
                    if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
                        return start
                finally:
                    os.close(descriptor)
        return ""

    def place(self, descriptor: int) -> str:
        """Return the path of the tree, without symbolic links, of something in it that is opened."""
        return os.readlink(by_descriptor(descriptor))[len(os.path.realpath(self.root).rstrip("/")) :] or "/"

    def resolve(self, path: str, *, follow_last: bool = True) -> str:
        """Return where a path leads, as a path of the tree without symbolic links; missing parts are kept as they are.

        :param follow_last: Whether a link that the path itself names is followed too.
        :raises ChrootError: Links go round in a circle, or the path leads through something that is not a directory.
        """
        return self._resolve(path, follow_last=follow_last, links=0)

    def _resolve(self, path: str, *, follow_last: bool, links: int) -> str:
        if links > _MAX_LINKS:
            raise ChrootError(f"The path {path} of the image leads round in a circle of symbolic links.")
        parent, name = _split(path)
        if not name:
            return "/"
        # Without the slash that would make the kernel follow the last link nevertheless.
        flags = os.O_PATH | (0 if follow_last else os.O_NOFOLLOW)
        with contextlib.suppress(FileNotFoundError), self.opened(f"{parent}/{name}", flags) as descriptor:
            return self.place(descriptor)
        above = self._resolve(parent, follow_last=True, links=links)
        if name == "..":
            return posixpath.dirname(above)
        here = posixpath.join(above, name)
        target = self.link_target(here) if follow_last else None
        return (
            here if target is None else self._resolve(posixpath.join(above, target), follow_last=True, links=links + 1)
        )

    def host_path(self, path: str) -> str:
        """Return the host's path of a regular file or directory, without symbolic links, for a program of the host.

        :raises FileNotFoundError: There is none.
        :raises ChrootError: It is something else.
        """
        with self.opened(path) as descriptor:
            status = os.fstat(descriptor)
            if not stat.S_ISDIR(status.st_mode):
                _require_regular(path, status)
            return os.path.realpath(self.root).rstrip("/") + self.place(descriptor)

    @contextlib.contextmanager
    def directory(self, path: str, *, links: bool = True) -> t.Iterator[int]:
        """Open a directory while the block runs; gives a descriptor that other calls take as C(dir_fd)."""
        with self.opened(path, os.O_RDONLY | os.O_DIRECTORY, links=links) as descriptor:
            yield descriptor

    @contextlib.contextmanager
    def parent(self, path: str) -> t.Iterator[tuple[int, str]]:
        """Open the directory that a path lies in; gives its descriptor and the last name, which may be missing there.

        :raises ChrootError: The path has no last name.
        """
        above, name = _split(path)
        if name in ("", ".."):
            raise ChrootError(f"The path {path} of the image names no file.")
        with self.directory(above) as descriptor:
            yield descriptor, name

    # What they are

    def status(self, path: str, *, follow_last: bool = True) -> os.stat_result | None:
        """Return what stat(2) says; V(None) when there is nothing."""
        try:
            with self.opened(path, os.O_PATH | (0 if follow_last else os.O_NOFOLLOW)) as descriptor:
                return os.fstat(descriptor)
        except FileNotFoundError:
            return None

    def exists(self, path: str, *, follow_last: bool = True) -> bool:
        """Tell whether there is something; a link that leads nowhere is nothing, when it is followed."""
        return self.status(path, follow_last=follow_last) is not None

    def is_file(self, path: str) -> bool:
        """Tell whether there is a regular file."""
        status = self.status(path)
        return status is not None and stat.S_ISREG(status.st_mode)

    def is_directory(self, path: str) -> bool:
        """Tell whether there is a directory."""
        status = self.status(path)
        return status is not None and stat.S_ISDIR(status.st_mode)

    def is_link(self, path: str) -> bool:
        """Tell whether the path itself is a symbolic link."""
        status = self.status(path, follow_last=False)
        return status is not None and stat.S_ISLNK(status.st_mode)

    def is_executable(self, path: str) -> bool:
        """Tell whether there is a regular file that somebody may execute."""
        status = self.status(path)
        return status is not None and stat.S_ISREG(status.st_mode) and bool(status.st_mode & 0o111)

    def link_target(self, path: str) -> str | None:
        """Return what a symbolic link says; V(None) when there is none."""
        try:
            with self.opened(path, os.O_PATH | os.O_NOFOLLOW) as descriptor:
                return os.readlink("", dir_fd=descriptor)
        except OSError:
            return None

    # Reading

    def open(self, path: str) -> t.BinaryIO:
        """Open a regular file for reading.

        :raises FileNotFoundError: There is none.
        :raises ChrootError: It is something else, which is not even opened.
        """
        return t.cast(t.BinaryIO, os.fdopen(self._open_regular(path, os.O_RDONLY), "rb"))

    def _open_regular(self, path: str, flags: int) -> int:
        with self.opened(path) as descriptor:
            _require_regular(path, os.fstat(descriptor))
            return os.open(by_descriptor(descriptor), flags | os.O_CLOEXEC)

    def read_bytes(self, path: str, *, most: int = LARGEST_TEXT) -> bytes | None:
        """Return the content of a regular file; V(None) when there is none.

        :param most: How many bytes it may have.
        :raises ChrootError: It is larger, or no regular file.
        """
        try:
            with self.open(path) as stream:
                size = os.fstat(stream.fileno()).st_size
                data = stream.read(most + 1) if size <= most else b""
        except FileNotFoundError:
            return None
        if max(size, len(data)) > most:
            raise ChrootError(
                f"The file {path} of the image has {show_size(max(size, len(data)))}, and no more than "
                f"{show_size(most)} of it would be read.",
                remedy="Look for the package or script that has made it so large.",
            )
        return data

    def read(self, path: str, *, most: int = LARGEST_TEXT, errors: str = "surrogateescape") -> str:
        """Return the text of a regular file; nothing when it does not exist. See :meth:`read_bytes`."""
        return (self.read_bytes(path, most=most) or b"").decode("utf-8", errors=errors)

    def sha256(self, path: str) -> str:
        """Return the SHA-256 of a regular file as 64 hexadecimal digits."""
        return self.digest(path, hashlib.sha256())

    def digest(self, path: str, digest: hashlib._Hash) -> str:
        """Return the digest of a regular file as hexadecimal digits."""
        with self.open(path) as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
        return digest.hexdigest()

    def copy_out(self, path: str, destination: str) -> None:
        """Copy the content of a regular file to a new file of the host."""
        with self.open(path) as source, open(destination, "xb") as target:
            shutil.copyfileobj(source, target, _CHUNK)

    def copy_directory_out(self, path: str, destination: str) -> None:
        """Copy the regular files that lie in a directory into a new directory of the host, under names like theirs."""
        os.mkdir(destination, 0o700)
        for name in self.names(path):
            if self.is_file(f"{path}/{name}"):
                self.copy_out(f"{path}/{name}", f"{destination}/{name}")

    def names(self, directory: str) -> list[str]:
        """Return the names in a directory, sorted; none when it is none."""
        try:
            with self.directory(directory) as descriptor:
                return sorted(os.listdir(descriptor))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def glob(self, directory: str, pattern: str) -> list[str]:
        """Return the paths (of the tree) of the entries of a directory whose names match, sorted."""
        return [f"{directory.rstrip('/')}/{name}" for name in fnmatch.filter(self.names(directory), pattern)]

    def account_id(self, database: str, name: str) -> int | None:
        """Return the number of a user or group of the tree.

        :param database: V(passwd) or V(group).
        """
        return next((int(fields[2]) for fields in self.accounts(database) if fields[0] == name), None)

    def accounts(self, database: str) -> t.Iterator[list[str]]:
        """Give the fields of each user or group of the tree that has a number; lines for NIS (C(+::::::)) have none.

        :param database: V(passwd) or V(group).
        """
        for line in self.read(f"/etc/{database}").split("\n"):
            fields = line.split(":")
            if len(fields) > 2 and is_account_id(fields[2]):
                yield fields

    # Writing

    def make_directory(self, path: str, *, mode: int = 0o755, uid: int = 0, gid: int = 0) -> None:
        """Make a directory and its parents where they are missing.

        :raises ChrootError: Something else is there.
        """
        place = self.resolve(path)
        status = self.status(place, follow_last=False)
        if status is not None:
            if not stat.S_ISDIR(status.st_mode):
                raise ChrootError(f"The path {path} of the image is not a directory.")
            return
        self.make_directory(posixpath.dirname(place))
        with self.parent(place) as (above, name):
            os.mkdir(name, 0o700, dir_fd=above)
            descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
            try:
                os.fchown(descriptor, uid, gid)
                os.fchmod(descriptor, mode)
            finally:
                os.close(descriptor)

    @contextlib.contextmanager
    def new_directory(self, path: str) -> t.Iterator[int]:
        """Make a directory, and open it while the block runs; gives its descriptor.

        :raises ChrootError: There is something of that name.
        """
        with self._made_parent(path) as (above, name):
            try:
                os.mkdir(name, 0o755, dir_fd=above)
            except FileExistsError:
                raise ChrootError(
                    f"The path {path} of the image exists already.",
                    remedy="Look for the package or script that has made it.",
                ) from None
            descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def create(self, path: str, *, mode: int = 0o644, uid: int = 0, gid: int = 0, follow: bool = False) -> t.BinaryIO:
        """Make a file in place of whatever file is there, and open it; its parents are made when they are missing.

        :param follow: Where the path is a symbolic link, write to where it leads, instead of replacing the link.
        :raises ChrootError: It is a directory.
        """
        if follow:
            path = self.resolve(path)
        with self._made_parent(path) as (above, name):
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISDIR(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode):
                    raise ChrootError(f"The path {path} of the image is a directory, not a file.")
                os.unlink(name, dir_fd=above)
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(name, flags, 0o600, dir_fd=above)
        stream = t.cast(t.BinaryIO, os.fdopen(descriptor, "wb"))
        os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, mode)
        return stream

    def write(
        self, path: str, content: str | bytes, *, mode: int = 0o644, uid: int = 0, gid: int = 0, follow: bool = False
    ) -> None:
        """Replace a file; see :meth:`create`."""
        data = content.encode("utf-8", errors="surrogateescape") if isinstance(content, str) else content
        with self.create(path, mode=mode, uid=uid, gid=gid, follow=follow) as stream:
            stream.write(data)

    def copy(self, source: t.BinaryIO, path: str, *, mode: int, uid: int, gid: int) -> None:
        """Replace a file by what can be read from a stream, whatever its size."""
        with self.create(path, mode=0o600) as stream:
            shutil.copyfileobj(source, stream, _CHUNK)
            os.fchown(stream.fileno(), uid, gid)
            os.fchmod(stream.fileno(), mode)

    def append(self, path: str, text: str) -> None:
        """Write at the end of a regular file, which is made when it is missing, as its parents are."""
        try:
            descriptor = self._open_regular(path, os.O_WRONLY | os.O_APPEND)
        except FileNotFoundError:
            with self._made_parent(path) as (above, name):
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
                descriptor = os.open(name, flags, 0o666, dir_fd=above)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(text.encode("utf-8", errors="surrogateescape"))

    def truncate(self, path: str) -> None:
        """Empty a regular file."""
        os.close(self._open_regular(path, os.O_WRONLY | os.O_TRUNC))

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link in place of whatever file is there; its parents are made when they are missing."""
        with self._made_parent(path) as (above, name):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=above)
            os.symlink(target, name, dir_fd=above)

    def make_node(self, path: str, mode: int, device: int, *, uid: int, gid: int, mtime: int) -> None:
        """Make a device node or a FIFO in place of whatever file is there; see :func:`make_node`."""
        with self._made_parent(path) as (above, name):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=above)
            make_node(above, name, mode, device, uid=uid, gid=gid, mtime=mtime)

    @contextlib.contextmanager
    def _made_parent(self, path: str) -> t.Iterator[tuple[int, str]]:
        self.make_directory(_split(path)[0])
        with self.parent(path) as found:
            yield found

    def set_mode(self, path: str, mode: int) -> None:
        """Change the mode of something, symbolic links followed."""
        with self.opened(path) as descriptor:
            os.chmod(by_descriptor(descriptor), mode)

    def set_time(self, path: str, seconds: int) -> None:
        """Change the access and modification times of something that is no link; none on the way is followed."""
        with self.opened(path, links=False) as descriptor:
            os.utime(by_descriptor(descriptor), (seconds, seconds))

    def remove(self, path: str) -> None:
        """Remove a file or link when there is one."""
        with contextlib.suppress(FileNotFoundError), self.parent(path) as (above, name):
            os.unlink(name, dir_fd=above)

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory.

        :raises OSError: It is not empty, or none.
        """
        with self.parent(path) as (above, name):
            os.rmdir(name, dir_fd=above)

    def empty(self, directory: str, *, keep_directories: bool = False) -> None:
        """Remove everything in a directory, and keep it.

        :param keep_directories: Keep the directories in it too, as they are.
        """
        try:
            with self.directory(directory) as descriptor, os.scandir(descriptor) as entries:
                for entry in list(entries):
                    if not entry.is_dir(follow_symlinks=False):
                        os.unlink(entry.name, dir_fd=descriptor)
                    elif not keep_directories:
                        _remove_directory(descriptor, entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return


def is_account_id(text: str) -> bool:
    """Whether a text is the number of a user or group; the largest number stands for nobody in system calls."""
    return re.fullmatch("[0-9]{1,10}", text) is not None and int(text) < 0xFFFFFFFF


class OpenDirectories:
    """Directories of a tree that are opened one after another, and again and again; not for several threads.

    :param links: Whether symbolic links are followed.
    """

    # Each thread has such a cache, and a process may open a thousand files.
    _LIMIT = 16

    def __init__(self, files: TreeFiles, *, links: bool = True) -> None:
        self._files = files
        self._links = links
        self._root = os.open(files.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._prefix = len(os.readlink(by_descriptor(self._root)).rstrip("/"))
        self._opened: collections.OrderedDict[str, tuple[int, str]] = collections.OrderedDict()

    def __enter__(self) -> OpenDirectories:
        return self

    def __exit__(self, *_exception: object) -> None:
        for descriptor, _place in self._opened.values():
            os.close(descriptor)
        self._opened.clear()
        os.close(self._root)

    def get(self, path: str) -> tuple[int, str]:
        """Return the descriptor of a directory, and its path without symbolic links; both hold until the next but one.

        :raises OSError: There is none.
        """
        found = self._opened.get(path)
        if found is not None:
            self._opened.move_to_end(path)
            return found
        descriptor = open_below(self._root, path, os.O_RDONLY | os.O_DIRECTORY, links=self._links)
        return self.keep(path, descriptor)

    def keep(self, path: str, descriptor: int) -> tuple[int, str]:
        """Take over a directory that somebody has opened already."""
        place = os.readlink(by_descriptor(descriptor))[self._prefix :] or "/"
        self._opened[path] = (descriptor, place)
        if len(self._opened) > self._LIMIT:
            _path, (oldest, _place) = self._opened.popitem(last=False)
            os.close(oldest)
        return descriptor, place


def _split(path: str) -> tuple[str, str]:
    """Return the path of the directory above, and the last name; both absolute, without needless slashes."""
    parts = [part for part in path.split("/") if part and part != "."]
    return "/" + "/".join(parts[:-1]), parts[-1] if parts else ""


def _require_regular(path: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ChrootError(
            f"The path {path} of the image is {_KINDS[stat.S_IFMT(status.st_mode)]}, not a regular file.",
            remedy="Look for the package or script that has put it there.",
        )


__all__ = (
    "LARGEST_TEXT",
    "OpenDirectories",
    "TreeFiles",
    "by_descriptor",
    "is_account_id",
    "make_node",
    "open_below",
    "remove_tree",
)
