# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Inodes of an erofs: what is in it, with modes and owners, which no program lists.

Format: C(Documentation/filesystems/erofs.rst) and C(fs/erofs/erofs_fs.h) of the kernel. Directories and links are never
compressed, so that this needs no algorithm.
"""

from __future__ import annotations

import dataclasses
import stat
import struct
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import CommandError

_SUPERBLOCK_AT = 1024
_MAGIC = 0xE0F5E1E2
_HAS_CHECKSUM = 0x1
# Beyond that nids, addresses and sizes have more bits than here.
_FEATURE_48BIT = 0x80
_COMPACT = struct.Struct("<HHHHIIIIHHI")
_EXTENDED = struct.Struct("<HHHHQIIIIQII16x")
_DIRENT = struct.Struct("<QHBx")
_FLAT_PLAIN, _FLAT_INLINE = 0, 2
_SLOT = 32
_MOST_INODES = 2_000_000
_LARGEST_DIRECTORY = 64 << 20
_LONGEST_TARGET = 4096


@dataclasses.dataclass(frozen=True)
class Inode:
    """An inode.

    :ivar mode: With the kind, see C(stat).
    :ivar target: For links.
    """

    mode: int
    uid: int
    gid: int
    size: int
    target: str = ""


def read_inodes(raw: str, offset: int, size: int) -> t.Dict[str, Inode]:
    """Return everything in an erofs but its root directory, by absolute path.

    :param raw: The file that holds it.
    :param offset: Its first byte there.
    :raises CommandError: It is damaged.
    """
    with open(raw, "rb") as stream:
        try:
            return _Volume(stream, offset, size).walk()
        except (struct.error, OverflowError) as exc:
            raise _damaged(str(exc)) from exc


def _damaged(why: str) -> CommandError:
    return CommandError(f"The erofs file system is damaged: {why}.")


def _crc32c(data: bytes) -> int:
    """Return CRC-32C as the kernel's crc32c() does it, which does not turn over the result."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _bit in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc


class _Volume:
    def __init__(self, stream: t.BinaryIO, offset: int, size: int) -> None:
        self._stream = stream
        self._offset = offset
        self._size = size
        superblock = self._read(_SUPERBLOCK_AT, 128)
        magic, checksum, compat, bits, _slots, self._root = struct.unpack_from("<IIIBBH", superblock)
        metadata, features = struct.unpack_from("<I", superblock, 40)[0], struct.unpack_from("<I", superblock, 80)[0]
        if magic != _MAGIC or not 9 <= bits <= 16:
            raise _damaged("it has no valid superblock")
        if compat & _HAS_CHECKSUM and _crc32c(self._covered(1 << bits)) != checksum:
            raise _damaged("the checksum of its superblock is wrong")
        if features & _FEATURE_48BIT:
            raise CommandError("The erofs file system is of a newer kind, which is not read.")
        self._block = 1 << bits
        self._metadata = metadata << bits

    def _read(self, position: int, count: int) -> bytes:
        if position < 0 or position + count > self._size:
            raise _damaged("something lies behind its end")
        self._stream.seek(self._offset + position)
        data = self._stream.read(count)
        if len(data) != count:
            raise _damaged("it ends early")
        return data

    def _covered(self, block: int) -> bytes:
        """Return what the checksum of the superblock is over: the rest of its block, itself left out."""
        size = block if block <= _SUPERBLOCK_AT else block - _SUPERBLOCK_AT
        data = self._read(_SUPERBLOCK_AT, min(size, self._size - _SUPERBLOCK_AT))
        return data[:4] + bytes(4) + data[8:]

    def walk(self) -> t.Dict[str, Inode]:
        """Return everything that the root directory leads to."""
        found: t.Dict[str, Inode] = {}
        seen = {self._root}
        waiting = [("", self._root)]
        while waiting:
            parent, nid = waiting.pop()
            inode, data = self._inode(nid)
            if not stat.S_ISDIR(inode.mode):
                raise _damaged(f"{parent or '/'} is not a directory")
            for name, child in self._names(data(), parent):
                path = f"{parent}/{name}"
                entry, content = self._inode(child)
                if path in found or len(found) >= _MOST_INODES:
                    raise _damaged(f"it has {path} twice" if path in found else "it has too many files")
                if stat.S_ISLNK(entry.mode):
                    target = content().decode("utf-8", errors="surrogateescape")
                    entry = dataclasses.replace(entry, target=target)
                if stat.S_ISDIR(entry.mode):
                    if child in seen:
                        raise _damaged(f"the directory {path} is in more than one place")
                    seen.add(child)
                    waiting.append((path, child))
                found[path] = entry
        return found

    def _inode(self, nid: int) -> t.Tuple[Inode, t.Callable[[], bytes]]:
        """Return an inode, and what reads its content if that is stored as it is."""
        position = self._metadata + nid * _SLOT
        form = struct.unpack("<H", self._read(position, 2))[0]
        if form & 1:
            fields = _EXTENDED.unpack(self._read(position, _EXTENDED.size))
            _form, attributes, mode, _reserved, size, address, _number, uid, gid = fields[:9]
            end = position + _EXTENDED.size
        else:
            fields = _COMPACT.unpack(self._read(position, _COMPACT.size))
            _form, attributes, mode, _links, size, _reserved, address, _number, uid, gid, _reserved2 = fields
            end = position + _COMPACT.size
        end += 12 + 4 * (attributes - 1) if attributes else 0
        layout = form >> 1 & 7

        def content() -> bytes:
            most = _LONGEST_TARGET if stat.S_ISLNK(mode) else _LARGEST_DIRECTORY
            if layout not in (_FLAT_PLAIN, _FLAT_INLINE) or size > most:
                raise _damaged("a directory or link is stored as none can be")
            tail = size % self._block if layout == _FLAT_INLINE else 0
            whole = self._read(address * self._block, size - tail) if size > tail else b""
            return whole + (self._read(end, tail) if tail else b"")

        return Inode(mode, uid, gid, size if stat.S_ISREG(mode) or stat.S_ISLNK(mode) else 0), content

    def _names(self, data: bytes, parent: str) -> t.Iterator[t.Tuple[str, int]]:
        for begin in range(0, len(data), self._block):
            block = data[begin : begin + self._block]
            first = _DIRENT.unpack_from(block)[1]
            if first < _DIRENT.size or first % _DIRENT.size or first > len(block):
                raise _damaged(f"the directory {parent or '/'} has no valid table")
            entries = [_DIRENT.unpack_from(block, at)[:2] for at in range(0, first, _DIRENT.size)]
            ends = [offset for _nid, offset in entries[1:]] + [len(block)]
            for (nid, offset), end in zip(entries, ends):
                raw = block[offset:end].split(b"\0", 1)[0]
                if raw in (b".", b".."):
                    continue
                if not raw or b"/" in raw or offset > end:
                    raise _damaged(f"the directory {parent or '/'} has the name {raw.decode('utf-8', 'replace')!r}")
                yield raw.decode("utf-8", errors="surrogateescape"), nid


__all__ = ("Inode", "read_inodes")
