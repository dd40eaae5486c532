# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The signature of an EFI program, in the form that the PE format has for it.

A signature lies behind the program, in the attribute certificate table; besides, it only changes the checksum and the
entry of the data directory that tells where that table is. U(https://learn.microsoft.com/windows/win32/debug/pe-format)
"""

from __future__ import annotations

import struct

from ansible_collections.os_image.composer.plugins.module_utils._errors import SigningError

# Offset of the data directories in the optional header, by its magic number: PE32 and PE32+.
_DIRECTORIES = {0x10B: 96, 0x20B: 112}
_CERTIFICATES = 4
_CHECKSUM = 64
_ALIGNMENT = 8


def without_signature(data: bytes, *, what: str) -> bytes:
    """Return an EFI program without its signatures and its checksum, padded as signed ones are.

    :param what: The program, as the error message names it.
    :raises SigningError: It is not an EFI program, or there is something else behind it.
    """
    try:
        (header,) = struct.unpack_from("<I", data, 0x3C)
        optional = header + 24
        (magic,) = struct.unpack_from("<H", data, optional)
        entry = optional + _DIRECTORIES[magic] + 8 * _CERTIFICATES
        start, size = struct.unpack_from("<II", data, entry)
    except (struct.error, KeyError) as exc:
        raise SigningError(f"{what} is not an EFI program.") from exc
    if data[:2] != b"MZ" or data[header : header + 4] != b"PE\0\0":
        raise SigningError(f"{what} is not an EFI program.")
    if start and start + size != len(data):
        raise SigningError(f"{what} does not end with its signatures.")
    plain = bytearray(data[: start or None])
    plain[optional + _CHECKSUM : optional + _CHECKSUM + 4] = bytes(4)
    plain[entry : entry + 8] = bytes(8)
    return bytes(plain) + bytes(-len(plain) % _ALIGNMENT)


def differs_by_signature_alone(signed: bytes, unsigned: bytes) -> bool:
    """Tell whether one EFI program is the other one with a signature.

    :raises SigningError: One of them is not an EFI program.
    """
    return without_signature(signed, what="What was signed") == without_signature(unsigned, what="What is to be signed")


__all__ = ("differs_by_signature_alone", "without_signature")
