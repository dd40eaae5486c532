# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A shim that is none: an EFI program with the section that a shim has of its vendor."""

from __future__ import annotations

import pathlib
import struct

from ansible_collections.os_image.composer.plugins.module_utils._boot.uki import Section, write_uki

_STUB = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
_NAME = b".vendor_cert\0"

TRUSTED, DISTRUSTED = b"certificate of the vendor", b"hashes of what the vendor has revoked"


def vendor(*, begin: int = 16) -> bytes:
    """Return what a shim has of its vendor.

    :param begin: Where the certificate should begin.
    """
    sizes = struct.pack("<IIII", len(TRUSTED), len(DISTRUSTED), begin, begin + len(TRUSTED))
    return sizes + TRUSTED + DISTRUSTED


def make_shim(path: pathlib.Path, content: bytes | None = None) -> pathlib.Path:
    """Write one.

    :param content: Of the section, for one that is damaged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_uki(_STUB, str(path), [Section(".vendor_", vendor() if content is None else content)])
    data = bytearray(path.read_bytes())
    header = struct.unpack_from("<I", data, 0x3C)[0]
    # A name of more than eight characters stands in the table of strings behind the symbols, of which there are none.
    struct.pack_into("<II", data, header + 12, len(data), 0)
    place = data.index(b".vendor_")
    data[place : place + 8] = b"/4".ljust(8, b"\0")
    path.write_bytes(data + struct.pack("<I", 4 + len(_NAME)) + _NAME)
    return path


__all__ = ("DISTRUSTED", "TRUSTED", "make_shim", "vendor")
