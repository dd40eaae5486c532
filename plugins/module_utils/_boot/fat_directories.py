# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The directories of a FAT file system, followed once: mtools would go around in a circle of them until it crashes.

See Microsoft's "FAT: General Overview of On-Disk Format", version 1.03.
"""

from __future__ import annotations

import collections
import os
import struct
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import CommandError

_BOOT_SECTOR = 512
_ENTRY = 32
_DIRECTORY, _VOLUME = 0x10, 0x08
_END, _DELETED = 0x00, 0xE5
# Of all directories together: two million entries.
_MOST_BYTES = 64 << 20


class _Fat:
    """A FAT file system in a file, as far as its directories are concerned.

    :ivar root_cluster: The first one of the root directory; 0 where that lies elsewhere.
    :raises ValueError: It is none.
    """

    def __init__(self, descriptor: int, offset: int) -> None:
        self._descriptor = descriptor
        self._offset = offset
        sector = self._read(0, _BOOT_SECTOR)
        if len(sector) < _BOOT_SECTOR:
            raise ValueError("it is cut short")
        size, per_cluster, reserved, copies, self._entries, total = struct.unpack_from("<HBHBHH", sector, 11)
        (fat_size,) = struct.unpack_from("<H", sector, 22)
        (total_32, fat_size_32) = struct.unpack_from("<II", sector, 32)
        fat_size = fat_size or fat_size_32
        if not size or not per_cluster or not fat_size or not copies:
            raise ValueError("its boot sector is none")
        self._fat = reserved * size
        self._table = (reserved + copies * fat_size) * size
        self._data = self._table + self._entries * _ENTRY
        self.cluster_size = size * per_cluster
        self._clusters = max(0, (total or total_32) * size - self._data) // self.cluster_size
        self._bits = 12 if self._clusters < 4085 else 16 if self._clusters < 65525 else 32
        if not struct.unpack_from("<H", sector, 22)[0]:
            # What other programs go by.
            self._bits = 32
        self.root_cluster = struct.unpack_from("<I", sector, 44)[0] if self._bits == 32 else 0

    def _read(self, position: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, self._offset + position)

    def root(self) -> bytes:
        """Return the root directory of FAT12 and FAT16."""
        return self._read(self._table, self._entries * _ENTRY)

    def cluster(self, number: int) -> bytes:
        """Return the content of a cluster."""
        return self._read(self._data + (number - 2) * self.cluster_size, self.cluster_size)

    def following(self, number: int) -> int:
        """Return the cluster that follows in a chain; 0 when none does."""
        position = self._fat + number * self._bits // 8
        data = self._read(position, 4).ljust(4, b"\0")
        value = int.from_bytes(data[: 2 if self._bits < 32 else 4], "little")
        if self._bits == 12:
            value = value >> 4 if number & 1 else value & 0xFFF
        elif self._bits == 32:
            value &= 0x0FFFFFFF
        return value if self.is_cluster(value) else 0

    def is_cluster(self, number: int) -> bool:
        """Tell whether there is such a cluster."""
        return 2 <= number < self._clusters + 2


def refuse_circles(image: str, offset: int) -> None:
    """Look whether each directory is in one place only.

    :param image: The image file.
    :param offset: First byte of the file system in it.
    :raises CommandError: One is not.
    """
    descriptor = os.open(image, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fat = _Fat(descriptor, offset)
        _follow(fat)
    except ValueError:
        # What it is, and what is wrong with it, mtools says.
        return
    finally:
        os.close(descriptor)


def _follow(fat: _Fat) -> None:
    seen: t.Set[int] = set()
    waiting: t.Deque[t.Tuple[str, int]] = collections.deque()

    def take(directory: str, content: bytes) -> bool:
        """Note the directories in a directory; tell whether it may have more entries."""
        for start in range(0, len(content) - _ENTRY + 1, _ENTRY):
            entry = content[start : start + _ENTRY]
            if entry[0] == _END:
                return False
            # Long names have the bit of volumes set, too.
            if entry[0] == _DELETED or entry[11] & _VOLUME or not entry[11] & _DIRECTORY or entry[:1] == b".":
                continue
            number = int.from_bytes(entry[26:28], "little") | int.from_bytes(entry[20:22], "little") << 16
            if not fat.root_cluster:
                number &= 0xFFFF
            waiting.append((f"{directory}/{_name(entry)}", number))
        return True

    if fat.root_cluster:
        waiting.append(("", fat.root_cluster))
    else:
        take("", fat.root())
    while waiting:
        directory, number = waiting.popleft()
        if not number:
            # The root directory is nowhere but at the root.
            raise _damage(directory)
        while number and fat.is_cluster(number):
            if number in seen:
                raise _damage(directory)
            seen.add(number)
            if len(seen) * fat.cluster_size > _MOST_BYTES:
                raise CommandError(f"The FAT file system has directories of more than {_MOST_BYTES} bytes.")
            if not take(directory, fat.cluster(number)):
                break
            number = fat.following(number)


def _damage(directory: str) -> CommandError:
    where = directory or "/"
    return CommandError(
        f"The FAT file system is damaged: directories go around in a circle, or share clusters: {where}."
    )


def _name(entry: bytes) -> str:
    parts = [part.decode("ascii", errors="backslashreplace").rstrip() for part in (entry[:8], entry[8:11])]
    text = ".".join(filter(None, parts))
    return text if text.isprintable() else repr(text)


__all__ = ("refuse_circles",)
