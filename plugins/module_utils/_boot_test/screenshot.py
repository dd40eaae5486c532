# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Pictures of a virtual machine's display.

QEMU writes PNG itself only since 7.1, and not in every build; the portable pixmap format it has always written.
"""

from __future__ import annotations

import re
import struct
import zlib

from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError

_HEADER = re.compile(rb"P6\s+(\d+)\s+(\d+)\s+255\s")


def png_of_pixmap(pixmap: bytes) -> bytes:
    """Turn a binary portable pixmap (P6, 8 bits a channel) into a PNG file (ISO/IEC 15948).

    :raises BootError: It is no such pixmap.
    """
    header = _HEADER.match(pixmap)
    if header is None:
        raise BootError("The virtual machine's picture of its display is not a portable pixmap.")
    width, height = int(header.group(1)), int(header.group(2))
    pixels = memoryview(pixmap)[header.end() :]
    row = width * 3
    if len(pixels) < row * height:
        raise BootError("The virtual machine's picture of its display is cut off.")
    # Each row starts with the number of its filter; 0 is none.
    rows = b"".join(b"\0" + pixels[start : start + row] for start in range(0, row * height, row))
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
            _chunk(b"IDAT", zlib.compress(rows, 6)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


__all__ = ("png_of_pixmap",)
