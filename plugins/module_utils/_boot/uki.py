# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Unified kernel images: kernel, initrd and command line in one EFI program that can be signed as a whole.

Sections are appended to the stub that the image's own systemd brings; format:
U(https://uapi-group.org/specifications/specs/unified_kernel_image/) and the PE format of Microsoft's specification.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import struct
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError

_PE32_PLUS = 0x20B
_SECTION_HEADER = struct.Struct("<8sIIIIIIHHI")
# Initialized data, readable.
_CHARACTERISTICS = 0x40000040
_PAGE = 4096
_LONGEST_NAME = 64


@dataclasses.dataclass(frozen=True)
class Section:
    """A section to append.

    :ivar name: At most eight characters, with its full stop: C(.linux).
    :ivar data: The content itself, or the path of the file that has it.
    """

    name: str
    data: t.Union[bytes, str]

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data) if isinstance(self.data, bytes) else os.stat(self.data).st_size


def write_uki(stub_path: str, destination: str, sections: t.Sequence[Section]) -> None:
    """Write a unified kernel image; the same input gives the same bytes.

    :param stub_path: systemd's stub.
    :raises BootError: The stub is not what it should be, or its header has no room.
    """
    with open(stub_path, "rb") as stream:
        image = bytearray(stream.read())
    try:
        paddings = _extend_header(image, sections, stub_path)
    except struct.error as exc:
        raise BootError(f"The EFI stub {stub_path} is damaged: {exc}.") from exc
    with open(destination, "xb") as stream:
        stream.write(image)
        for section, padding in zip(sections, paddings):
            if isinstance(section.data, bytes):
                stream.write(section.data)
            else:
                with open(section.data, "rb") as source:
                    shutil.copyfileobj(source, stream, 1 << 20)
            stream.write(bytes(padding))


def _extend_header(image: bytearray, sections: t.Sequence[Section], stub_path: str) -> t.List[int]:
    """Announce the new sections in the stub's header; returns the zero bytes that follow each section's content."""
    header = struct.unpack_from("<I", image, 0x3C)[0]
    optional = header + 24
    if image[header : header + 4] != b"PE\0\0" or struct.unpack_from("<H", image, optional)[0] != _PE32_PLUS:
        raise BootError(f"The EFI stub {stub_path} is not a 64-bit EFI program.")
    count = struct.unpack_from("<H", image, header + 6)[0]
    table = optional + struct.unpack_from("<H", image, header + 20)[0]
    section_alignment, file_alignment = struct.unpack_from("<II", image, optional + 32)
    header_size = struct.unpack_from("<I", image, optional + 60)[0]
    present = [_SECTION_HEADER.unpack_from(image, table + _SECTION_HEADER.size * index) for index in range(count)]
    # The entry for the certificate table is the fifth of the data directories.
    if struct.unpack_from("<II", image, optional + 112 + 4 * 8) != (0, 0):
        raise BootError(f"The EFI stub {stub_path} is signed already, so that nothing can be added to it.")
    room = min([header_size, *(raw for _n, _vs, _va, size, raw, *_rest in present if size)])
    if table + _SECTION_HEADER.size * (count + len(sections)) > room:
        raise BootError(f"The header of the EFI stub {stub_path} has no room for {len(sections)} more sections.")
    # A symbol table behind the last section would lie in the way; it is only for debugging.
    del image[max(raw + size for _n, _vs, _va, size, raw, *_rest in present) :]
    struct.pack_into("<II", image, header + 12, 0, 0)
    image += bytes(-len(image) % file_alignment)

    step = max(section_alignment, _PAGE)
    address = _round_up(max(va + size for _n, size, va, *_rest in present), step)
    position = len(image)
    initialized = struct.unpack_from("<I", image, optional + 8)[0]
    paddings = []
    for index, section in enumerate(sections):
        size = section.size
        padding = -size % file_alignment
        _SECTION_HEADER.pack_into(
            image,
            table + _SECTION_HEADER.size * (count + index),
            section.name.encode("ascii"),
            size,
            address,
            size + padding,
            position,
            0,
            0,
            0,
            0,
            _CHARACTERISTICS,
        )
        paddings.append(padding)
        position += size + padding
        initialized += size + padding
        address = _round_up(address + size, step)
    struct.pack_into("<H", image, header + 6, count + len(sections))
    struct.pack_into("<I", image, optional + 8, initialized)
    struct.pack_into("<I", image, optional + 56, _round_up(address, section_alignment))
    # The checksum; firmware does not look at it.
    struct.pack_into("<I", image, optional + 64, 0)
    return paddings


def read_sections(path: str) -> t.Dict[str, t.Tuple[int, int]]:
    """Return the sections of an EFI program: name -> (first byte in the file, size of the content).

    :raises BootError: It is no EFI program, or a damaged one.
    """
    size = os.stat(path).st_size
    with open(path, "rb") as stream:
        head = stream.read(64)
        if len(head) < 64 or head[:2] != b"MZ":
            raise BootError(f"{path} is not an EFI program.")
        header = struct.unpack_from("<I", head, 0x3C)[0]
        stream.seek(header)
        coff = stream.read(24)
        if len(coff) < 24 or coff[:4] != b"PE\0\0":
            raise BootError(f"{path} is not an EFI program.")
        count, optional = struct.unpack_from("<H", coff, 6)[0], struct.unpack_from("<H", coff, 20)[0]
        stream.seek(header + 24 + optional)
        table = stream.read(_SECTION_HEADER.size * count)
        names = [
            entry[0].rstrip(b"\0")
            for entry in _SECTION_HEADER.iter_unpack(table[: len(table) - len(table) % _SECTION_HEADER.size])
        ]
        symbols, number = struct.unpack_from("<II", coff, 12)
        names = [_long_name(stream, symbols + 18 * number, name) for name in names]
    if len(table) < _SECTION_HEADER.size * count:
        raise BootError(f"The EFI program {path} is damaged: its table of sections ends early.")
    sections = {}
    for name, (_name, virtual, _address, raw_size, raw, *_rest) in zip(names, _SECTION_HEADER.iter_unpack(table)):
        # What is smaller in the file than in memory is filled up with zeros; what is larger was padded.
        length = min(virtual, raw_size) if virtual else raw_size
        if raw + length > size:
            raise BootError(f"The EFI program {path} is damaged: it ends before its sections do.")
        sections[name.decode("ascii", errors="replace")] = (raw, length)
    return sections


def _long_name(stream: t.BinaryIO, strings: int, name: bytes) -> bytes:
    """Return the name of a section: one of more than eight characters stands in the table of strings.

    :param strings: Where that table is, behind the symbols.
    :param name: What the table of sections has: the name, or a slash and its place.
    """
    if not re.match(rb"/[0-9]{1,7}\Z", name):
        return name
    stream.seek(strings + int(name[1:]))
    found, end, _rest = stream.read(_LONGEST_NAME + 1).partition(b"\0")
    return found if end and found else name


def _round_up(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment


__all__ = ("Section", "read_sections", "write_uki")
