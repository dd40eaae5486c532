# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Headers of RPM packages: what a package says about itself, in its file and in the database of installed packages.

The form is described in U(https://rpm-software-management.github.io/rpm/manual/format_v4.html): a table of entries
(tag, type, offset, count; 32 bits each, big-endian), then a store with their values. Only a few types are read here.
"""

from __future__ import annotations

import struct
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError

#: Tags of packages: U(https://rpm-software-management.github.io/rpm/manual/tags.html).
NAME = 1000
SUMMARY = 1004
BUILD_TIME = 1006
VENDOR = 1011
LICENSE = 1014
PACKAGER = 1015
URL = 1020
_OLD_FILE_NAMES = 1027
_DIRECTORY_INDEXES, _BASE_NAMES, _DIRECTORY_NAMES = 1116, 1117, 1118
#: The scripts that run when a package is installed: before and after it, before and after the transaction, triggers.
SCRIPTS = (1023, 1024, 1151, 1152, 1065, 5066)

_LEAD_SIZE = 96
_LEAD_MAGIC = b"\xed\xab\xee\xdb"
_MAGIC = b"\x8e\xad\xe8\x01"
_COUNTS = struct.Struct(">II")
_ENTRY = struct.Struct(">IIII")
_INT32, _STRING, _STRINGS, _TEXTS = 4, 6, 8, 9
# rpm's own limits: headerMax and the number of tags of a header.
_MAX_SIZE = 256 << 20
_MAX_ENTRIES = 0xFFFF


class RpmFormatError(ChrootError):
    """A file is not an RPM package, or is damaged."""


def parse_header(data: bytes, wanted: t.Collection[int]) -> dict[int, str | int]:
    """Return some values of a header, by their tags; of lists the first, those that are missing not at all.

    :param data: The header without its magic number, as the database of installed packages has it.
    :raises RpmFormatError: It is damaged.
    """
    try:
        count, size = _COUNTS.unpack_from(data)
        store = _COUNTS.size + count * _ENTRY.size
        if count > _MAX_ENTRIES or store + size > len(data):
            raise RpmFormatError("The header of a package is cut short.")
        values: dict[int, str | int] = {}
        for index in range(count):
            tag, kind, offset, number = _ENTRY.unpack_from(data, _COUNTS.size + index * _ENTRY.size)
            if tag not in wanted or not number:
                continue
            if kind == _INT32:
                values[tag] = struct.unpack_from(">I", data, store + offset)[0]
            elif kind in (_STRING, _STRINGS, _TEXTS):
                end = data.index(b"\0", store + offset, store + size)
                values[tag] = data[store + offset : end].decode("utf-8", errors="replace")
        return values
    except (struct.error, ValueError) as exc:
        raise RpmFormatError(f"The header of a package is damaged: {exc}.") from exc


def read_files(path: str, texts: t.Collection[int]) -> tuple[list[str], list[str]]:
    """Return the paths of all files of a .rpm file, links and directories too, and the texts of some tags.

    :raises OSError: It cannot be read.
    :raises RpmFormatError: It is not a package.
    """
    with open(path, "rb") as stream:
        data = _skip_to_header(stream, path)
    lists = _parse_lists(data, {_OLD_FILE_NAMES, _DIRECTORY_INDEXES, _BASE_NAMES, _DIRECTORY_NAMES, *texts})
    directories = lists.get(_DIRECTORY_NAMES, [])
    try:
        names = [
            f"{directories[t.cast(int, number)]}{name}"
            for number, name in zip(lists.get(_DIRECTORY_INDEXES, []), lists.get(_BASE_NAMES, []))
        ]
    except IndexError as exc:
        raise RpmFormatError(f"{path} lists files in directories that it does not name.") from exc
    names += [str(name) for name in lists.get(_OLD_FILE_NAMES, [])]
    return names, [str(text) for tag in texts for text in lists.get(tag, [])]


def _parse_lists(data: bytes, wanted: t.Collection[int]) -> dict[int, list[str | int]]:
    """Return all values of some tags of a header."""
    try:
        count, size = _COUNTS.unpack_from(data)
        store = _COUNTS.size + count * _ENTRY.size
        if count > _MAX_ENTRIES or store + size > len(data):
            raise RpmFormatError("The header of a package is cut short.")
        values: dict[int, list[str | int]] = {}
        for index in range(count):
            tag, kind, offset, number = _ENTRY.unpack_from(data, _COUNTS.size + index * _ENTRY.size)
            if tag not in wanted or not number:
                continue
            start = store + offset
            if kind == _INT32:
                values[tag] = list(struct.unpack_from(f">{number}I", data, start))
            elif kind in (_STRING, _STRINGS, _TEXTS):
                # Each ends with a NUL.
                found = data[start : store + size].split(b"\0", number)
                if len(found) <= number:
                    raise RpmFormatError("The header of a package is cut short.")
                values[tag] = [text.decode("utf-8", errors="surrogateescape") for text in found[:number]]
        return values
    except struct.error as exc:
        raise RpmFormatError(f"The header of a package is damaged: {exc}.") from exc


def read_header(path: str, wanted: t.Collection[int]) -> dict[int, str | int]:
    """Return some values of the header of a .rpm file, as :func:`parse_header` does.

    :raises OSError: It cannot be read.
    :raises RpmFormatError: It is not a package.
    """
    with open(path, "rb") as stream:
        return parse_header(_skip_to_header(stream, path), wanted)


def _skip_to_header(stream: t.BinaryIO, path: str) -> bytes:
    """Return the header of an opened .rpm file, which comes after that with its signatures."""
    if stream.read(_LEAD_SIZE)[:4] != _LEAD_MAGIC:
        raise RpmFormatError(f"{path} is not an RPM package: it does not begin like one.")
    signatures = _read_blob(stream, path)
    # The header begins at a multiple of eight.
    stream.seek(-len(signatures) % 8, 1)
    return _read_blob(stream, path)


def _read_blob(stream: t.BinaryIO, path: str) -> bytes:
    magic = stream.read(8)
    counts = stream.read(_COUNTS.size)
    if magic[:4] != _MAGIC or len(counts) != _COUNTS.size:
        raise RpmFormatError(f"{path} is not an RPM package: it has no header.")
    count, size = _COUNTS.unpack(counts)
    if count > _MAX_ENTRIES or size > _MAX_SIZE:
        raise RpmFormatError(f"{path} is not an RPM package: its header is larger than any can be.")
    return counts + stream.read(count * _ENTRY.size + size)


__all__ = (
    "BUILD_TIME",
    "LICENSE",
    "NAME",
    "PACKAGER",
    "SCRIPTS",
    "SUMMARY",
    "URL",
    "VENDOR",
    "RpmFormatError",
    "parse_header",
    "read_files",
    "read_header",
)
