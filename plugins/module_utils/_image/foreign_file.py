# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Foreign files: what the header of an image refers to beside itself, found before any program reads the image.

QEMU opens what an image names as its base, its data or its extents: any file of the host, devices and pipes among them,
and by C(json:) and C(nbd:) also what is elsewhere in the network. Who made the image would choose what is read.

Formats: C(docs/interop/qcow2.txt) of QEMU; VMware's "Virtual Disk Format 5.0"; Microsoft's "Virtual Hard Disk Image
Format Specification" and [MS-VHDX].
"""

from __future__ import annotations

import os
import re
import struct
import typing as t
import uuid

from ansible_collections.os_image.composer.plugins.module_utils._size import SECTOR

# Longer ones are no names of files.
_LONGEST_NAME = 1 << 15
_DESCRIPTION = b"# Disk DescriptorFile"
# QEMU reads line by line. A blank that may be a line break as well would be looked for from each of a million again.
_EXTENT = re.compile(
    r'^[^\S\n]*(?:RW|RDONLY|NOACCESS)[^\S\n]+\d+[^\S\n]+(?P<type>\w+)(?:[^\S\n]+"(?P<name>[^"\n]*)")?', re.MULTILINE
)
_PARENT = re.compile(r'^[^\S\n]*parentFileNameHint[^\S\n]*=[^\S\n]*"?(?P<name>[^"\r\n]*)', re.MULTILINE)
_PARENT_ID = re.compile(r"^[^\S\n]*parentCID[^\S\n]*=[^\S\n]*(?P<id>[0-9a-fA-F]+)", re.MULTILINE)
_NO_PARENT = 0xFFFFFFFF

_QCOW_DATA_FILE = 1 << 2
# Extensions of the header lie in the first cluster.
_QCOW_LARGEST_CLUSTER = 2 << 20
_QCOW_DATA_FILE_NAME = 0x44415441

_VHD_DIFFERENCING = 4

_VHDX_REGIONS = 192 << 10
_VHDX_METADATA = uuid.UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e").bytes_le
_VHDX_PARENT = uuid.UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c").bytes_le
_VHDX_PATHS = ("relative_path", "absolute_win32_path", "volume_path")


def foreign_file(path: str) -> str | None:
    """Return what an image refers to beside itself, as far as its header says so; V(None) when there is nothing."""
    with open(path, "rb") as stream:
        for look in (_of_qcow, _of_vmdk, _of_vhdx, _of_vhd, _of_qed):
            try:
                found = look(stream)
            except (struct.error, OverflowError, ValueError, OSError):
                # Too damaged to refer to anything; what reads the image will say what is wrong.
                continue
            if found is not None:
                return found or "without a name"
    return None


def _read(stream: t.BinaryIO, offset: int, size: int) -> bytes:
    stream.seek(offset)
    return stream.read(size)


def _name(data: bytes, encoding: str = "utf-8") -> str:
    return data.decode(encoding, errors="replace").split("\0", 1)[0]


def _of_qcow(stream: t.BinaryIO) -> str | None:
    header = _read(stream, 0, 112)
    if header[:4] != b"QFI\xfb":
        return None
    version, offset, size = struct.unpack_from(">IQI", header, 4)
    if offset:
        return _name(_read(stream, offset, min(size, _LONGEST_NAME)))
    if version < 3 or not struct.unpack_from(">Q", header, 72)[0] & _QCOW_DATA_FILE:
        return None
    position = struct.unpack_from(">I", header, 100)[0]
    while position < _QCOW_LARGEST_CLUSTER:
        kind, size = struct.unpack(">II", _read(stream, position, 8))
        if kind == _QCOW_DATA_FILE_NAME:
            return _name(_read(stream, position + 8, min(size, _LONGEST_NAME)))
        if not kind:
            return ""
        position += 8 + -(-size // 8) * 8
    return ""


def _of_vmdk(stream: t.BinaryIO) -> str | None:
    header = _read(stream, 0, SECTOR)
    if header[:4] == b"COWD":
        # ESX's sparse extents have no description.
        return None
    if header[:4] == b"KDMV":
        capacity, _grain, begin, sectors = struct.unpack_from("<QQQQ", header, 12)
        text = _read(stream, begin * SECTOR, min(sectors * SECTOR, 1 << 20)) if begin else b""
        return _of_description(_name(text), is_alone=not capacity)
    text = header + stream.read(1 << 20)
    # QEMU skips comments and blanks before it looks for "version=".
    if text.lstrip().startswith(b"#") or text.lstrip().lower().startswith(b"version="):
        lines = [line.strip().lower() for line in text.splitlines()]
        if text.startswith(_DESCRIPTION) or any(line.startswith(b"version=") for line in lines):
            return _of_description(_name(text), is_alone=True)
    return None


def _of_description(text: str, *, is_alone: bool) -> str | None:
    """Look into the description of a VMDK.

    :param is_alone: There is nothing but the description, so that all extents are elsewhere.
    """
    parent_id = _PARENT_ID.search(text)
    if parent_id and int(parent_id["id"], 16) != _NO_PARENT:
        parent = _PARENT.search(text)
        return parent["name"] if parent else ""
    extents = list(_EXTENT.finditer(text))
    if is_alone:
        return next((extent["name"] for extent in extents if extent["name"]), "" if extents else None)
    # A whole one names itself, by the name that it had when it was made.
    for number, extent in enumerate(extents):
        name = extent["name"] or ""
        if number or extent["type"].upper() != "SPARSE" or re.search(r"[/\\:]", name):
            return name
    return None


def _of_vhdx(stream: t.BinaryIO) -> str | None:
    if _read(stream, 0, 8) != b"vhdxfile":
        return None
    regions = _read(stream, _VHDX_REGIONS, 64 << 10)
    for number in range(min(struct.unpack_from("<I", regions, 8)[0], 2047)):
        kind, begin = struct.unpack_from("<16sQ", regions, 16 + 32 * number)
        if kind != _VHDX_METADATA:
            continue
        table = _read(stream, begin, 64 << 10)
        for index in range(min(struct.unpack_from("<H", table, 10)[0], 2047)):
            item, offset, length = struct.unpack_from("<16sII", table, 32 + 32 * index)
            if item == _VHDX_PARENT:
                return _of_locator(_read(stream, begin + offset, min(length, 1 << 20)))
    return None


def _of_locator(data: bytes) -> str:
    """Return the path in a parent locator of VHDX."""
    found: t.Dict[str, str] = {}
    for number in range(struct.unpack_from("<H", data, 18)[0]):
        key, value, key_size, value_size = struct.unpack_from("<IIHH", data, 20 + 12 * number)
        found[_name(data[key : key + key_size], "utf-16-le")] = _name(data[value : value + value_size], "utf-16-le")
    return next((found[key] for key in _VHDX_PATHS if found.get(key)), "")


def _of_vhd(stream: t.BinaryIO) -> str | None:
    size = stream.seek(0, os.SEEK_END)
    for begin in (0, size - SECTOR):
        footer = _read(stream, max(begin, 0), SECTOR)
        if footer[:8] == b"conectix" and struct.unpack_from(">I", footer, 60)[0] == _VHD_DIFFERENCING:
            header = _read(stream, struct.unpack_from(">Q", footer, 16)[0], 1024)
            return _name(header[64:576], "utf-16-be")
    return None


def _of_qed(stream: t.BinaryIO) -> str | None:
    header = _read(stream, 0, 64)
    if header[:4] != b"QED\0" or not struct.unpack_from("<Q", header, 16)[0] & 1:
        return None
    offset, size = struct.unpack_from("<II", header, 56)
    return _name(_read(stream, offset, min(size, _LONGEST_NAME)))


__all__ = ("foreign_file",)
