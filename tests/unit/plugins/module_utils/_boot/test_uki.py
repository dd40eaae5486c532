# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Unified kernel images from stubs that are not what they should be."""

from __future__ import annotations

import pathlib
import struct

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._boot.uki import Section, write_uki
from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError

STUB = pathlib.Path("/usr/lib/systemd/boot/efi/linuxx64.efi.stub")


def pe_header(data: bytes) -> int:
    return int(struct.unpack_from("<I", data, 0x3C)[0])


@pytest.mark.parametrize("kind", ["no program", "32 bit", "signed", "truncated"])
def test_a_wrong_stub_is_refused(tmp_path: pathlib.Path, kind: str) -> None:
    stub = bytearray(STUB.read_bytes())
    header = pe_header(stub)
    if kind == "no program":
        stub[header : header + 4] = b"ELF!"
    elif kind == "32 bit":
        struct.pack_into("<H", stub, header + 24, 0x10B)
    elif kind == "signed":
        struct.pack_into("<II", stub, header + 24 + 112 + 32, 4096, 512)
    else:
        del stub[header + 10 :]
    (tmp_path / "stub").write_bytes(stub)
    messages = {
        "no program": "is not a 64-bit EFI program",
        "32 bit": "is not a 64-bit EFI program",
        "signed": "is signed already, so that nothing can be added",
        "truncated": "is damaged",
    }
    with pytest.raises(BootError, match=messages[kind]):
        write_uki(str(tmp_path / "stub"), str(tmp_path / "out"), [Section(".linux", b"kernel")])
    assert not (tmp_path / "out").exists()


def test_too_many_sections_are_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(BootError, match="has no room for 100 more sections"):
        write_uki(str(STUB), str(tmp_path / "out"), [Section(f".s{number}", b"x") for number in range(100)])


def test_sections_do_not_overlap_and_the_image_ends_behind_them(tmp_path: pathlib.Path) -> None:
    (tmp_path / "kernel").write_bytes(b"k" * 5000)
    sections = [Section(".cmdline", b"quiet\0"), Section(".linux", str(tmp_path / "kernel"))]
    write_uki(str(STUB), str(tmp_path / "out"), sections)
    data = (tmp_path / "out").read_bytes()
    header = pe_header(data)
    count = struct.unpack_from("<H", data, header + 6)[0]
    table = header + 24 + struct.unpack_from("<H", data, header + 20)[0]
    extents = sorted(struct.unpack_from("<IIII", data, table + 40 * index + 8) for index in range(count))
    by_address = sorted((address, size) for size, address, _raw, _at in extents)
    assert all(one[0] + one[1] <= other[0] for one, other in zip(by_address, by_address[1:]))
    assert all(at + raw <= len(data) for _size, _address, raw, at in extents)
    assert struct.unpack_from("<I", data, header + 24 + 56)[0] >= by_address[-1][0] + by_address[-1][1]
