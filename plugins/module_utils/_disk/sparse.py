# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Writing sparse files into an image: what is a hole in the file stays a hole in the image."""

from __future__ import annotations

from ansible_collections.os_image.composer.plugins.module_utils._artifact.sparse import extents

_CHUNK = 1 << 20


def copy_into(source: str, image: str, offset: int) -> None:
    """Write a file into an image at C(offset), leaving the image as it is where the file has holes."""
    buffer = memoryview(bytearray(_CHUNK))
    with open(source, "rb", buffering=0) as reader, open(image, "r+b", buffering=0) as writer:
        for start, length in extents(reader.fileno()):
            reader.seek(start)
            writer.seek(offset + start)
            while length:
                count = reader.readinto(buffer[: min(_CHUNK, length)]) or 0
                written = 0
                while written < count:
                    written += writer.write(buffer[written:count]) or 0
                length -= count


__all__ = ("copy_into",)
