# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""A root tree as a cpio archive that the kernel unpacks: the form newc (initramfs buffer format of the kernel)."""

from __future__ import annotations

import os
import shutil
import stat
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import DiskError
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import (
    OpenDirectories,
    TreeFiles,
    by_descriptor,
)

_LARGEST = 0xFFFFFFFF
# What decides about what programs and users may do; others are labels and remarks.
_PERMISSIONS: t.Mapping[str, str] = {
    "security.capability": "capabilities",
    "system.posix_acl_access": "access control list",
    "system.posix_acl_default": "default access control list",
}
_CHUNK = 1 << 20


class CpioWriter:
    """Writes an archive that depends on nothing but the tree: no inode numbers, no devices, no directory order.

    :ivar lost: The files whose permissions are more than the format holds, by their absolute paths: the names of what
        they lose.
    :param stream: Gets the archive.
    :param epoch: No time in it is later.
    """

    def __init__(self, stream: t.BinaryIO, *, epoch: int) -> None:
        self._stream = stream
        self._epoch = epoch
        self._inodes = 0
        self.lost: t.Dict[str, t.List[str]] = {}

    def add_tree(self, tree: str, *, without: t.Callable[[str], bool] = lambda path: False) -> None:
        """Add everything in a tree, sorted.

        :param without: Tells whether a path (relative, of a file) is left out.
        """
        names = [".", *(name for name in _walk(tree) if not without(name))]
        with OpenDirectories(TreeFiles(tree), links=False) as directories:
            self._add(names, directories)

    def _add(self, names: t.Sequence[str], directories: OpenDirectories) -> None:
        links: t.Dict[t.Tuple[int, int], t.List[str]] = {}
        for name in names:
            status = os.lstat(_place(name, directories))
            if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
                links.setdefault((status.st_dev, status.st_ino), []).append(name)
        numbers: t.Dict[t.Tuple[int, int], int] = {}
        for name in names:
            path = _place(name, directories)
            status = os.lstat(path)
            if stat.S_ISSOCK(status.st_mode):
                continue
            lost = [
                _PERMISSIONS[key] for key in sorted(os.listxattr(path, follow_symlinks=False)) if key in _PERMISSIONS
            ]
            if lost:
                self.lost[os.path.normpath(f"/{name}")] = lost
            key = (status.st_dev, status.st_ino)
            same = links.get(key, [name])
            if key in links:
                inode = numbers.setdefault(key, self._next_inode() if key not in numbers else 0)
            else:
                inode = self._next_inode()
            # By custom the data of a file with several names comes with the last of them.
            size = status.st_size if stat.S_ISREG(status.st_mode) and name == same[-1] else 0
            target = os.fsencode(os.readlink(path)) if stat.S_ISLNK(status.st_mode) else b""
            if size > _LARGEST:
                raise DiskError(
                    f"/{name} has {size} bytes, and an initrd cannot hold files of 4 GiB or more.",
                    remedy="Remove it from the image.",
                )
            self._header(os.fsencode(name), status, inode, len(same), size or len(target))
            if size:
                # A regular file, and nobody makes anything else of it meanwhile.
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                with os.fdopen(descriptor, "rb") as source:
                    shutil.copyfileobj(source, self._stream, _CHUNK)
            self._stream.write(target)
            self._pad(size or len(target))

    def add_link(self, name: str, target: str) -> None:
        """Add a symbolic link."""
        data = os.fsencode(target)
        status = os.stat_result((stat.S_IFLNK | 0o777, 0, 0, 1, 0, 0, len(data), 0, self._epoch, 0))
        self._header(os.fsencode(name), status, self._next_inode(), 1, len(data))
        self._stream.write(data)
        self._pad(len(data))

    def finish(self) -> None:
        """Write what ends an archive."""
        self._header(b"TRAILER!!!", os.stat_result((0,) * 10), 0, 1, 0)

    def _next_inode(self) -> int:
        self._inodes += 1
        return self._inodes

    def _header(self, name: bytes, status: os.stat_result, inode: int, links: int, size: int) -> None:
        is_device = stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)
        rdev = status.st_rdev if is_device else 0
        fields = (
            inode,
            status.st_mode,
            status.st_uid,
            status.st_gid,
            links,
            max(0, min(int(status.st_mtime), self._epoch)),
            size,
            0,
            0,
            os.major(rdev),
            os.minor(rdev),
            len(name) + 1,
            0,
        )
        header = b"070701" + b"".join(b"%08X" % field for field in fields) + name + b"\0"
        self._stream.write(header)
        self._pad(len(header))

    def _pad(self, length: int) -> None:
        self._stream.write(bytes(-length % 4))


def _place(name: str, directories: OpenDirectories) -> str:
    """Return the host's path of something in a tree, by the descriptor of the directory that it lies in."""
    parent, last = os.path.split(name)
    return by_descriptor(directories.get(parent or "/")[0], last)


def _walk(tree: str) -> t.Iterator[str]:
    """Yield the paths of everything in a tree, each directory before what is in it, sorted."""
    files = TreeFiles(tree)
    pending = [""]
    while pending:
        directory = pending.pop()
        with files.directory(directory or "/", links=False) as descriptor, os.scandir(descriptor) as entries:
            found = sorted(
                ((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries),
                key=lambda item: os.fsencode(item[0]),
            )
        below = []
        for last, is_directory in found:
            name = os.path.join(directory, last)
            yield name
            if is_directory:
                below.append(name)
        pending.extend(reversed(below))


__all__ = ("CpioWriter",)
