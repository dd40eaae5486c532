# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The difference of two trees: which files are not the same in both, whatever their times are."""

from __future__ import annotations

import contextlib
import os
import stat
import typing as t

_CHUNK = 1 << 20


def differing_files(first: str, second: str) -> list[str]:
    """Return the paths, below both roots, of what is not the same in two trees, sorted.

    A directory that only one of them has stands for all that is in it.

    :param first: A root directory; no link in it is followed.
    """
    found: list[str] = []
    pending = [""]
    while pending:
        place = pending.pop()
        with _Directory(first, place) as one, _Directory(second, place) as other:
            for name in sorted({*one.entries, *other.entries}):
                path = f"{place}/{name}"
                mine, theirs = one.entries.get(name), other.entries.get(name)
                if mine is None or theirs is None or _form(mine) != _form(theirs):
                    found.append(path)
                elif stat.S_ISDIR(mine.st_mode):
                    pending.append(path)
                elif not _same_content(one.descriptor, other.descriptor, name, mine):
                    found.append(path)
    return sorted(found)


class _Directory:
    """A directory of a tree, opened while a block runs, with what it has."""

    def __init__(self, root: str, place: str) -> None:
        self.descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for name in place.split("/"):
            if name:
                above = self.descriptor
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                self.descriptor = os.open(name, flags, dir_fd=above)
                os.close(above)
        with os.scandir(self.descriptor) as entries:
            self.entries = {entry.name: entry.stat(follow_symlinks=False) for entry in entries}

    def __enter__(self) -> _Directory:
        return self

    def __exit__(self, *_exception: object) -> None:
        os.close(self.descriptor)


def _form(status: os.stat_result) -> tuple[t.Any, ...]:
    size = status.st_size if stat.S_ISREG(status.st_mode) else 0
    return status.st_mode, status.st_uid, status.st_gid, status.st_rdev, size


def _same_content(first: int, second: int, name: str, status: os.stat_result) -> bool:
    if stat.S_ISLNK(status.st_mode):
        return os.readlink(name, dir_fd=first) == os.readlink(name, dir_fd=second)
    if not stat.S_ISREG(status.st_mode):
        return True
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.ExitStack() as stack:
        one, other = (
            stack.enter_context(os.fdopen(os.open(name, flags, dir_fd=directory), "rb"))
            for directory in (first, second)
        )
        while True:
            chunk = one.read(_CHUNK)
            if chunk != other.read(_CHUNK):
                return False
            if not chunk:
                return True


__all__ = ("differing_files",)
