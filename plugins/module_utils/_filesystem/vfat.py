# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""FAT16 and FAT32."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._filesystem.filesystem import FileSystem
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.usage import Usage
from ansible_collections.os_image.composer.plugins.module_utils._identity import derive_hex
from ansible_collections.os_image.composer.plugins.module_utils._size import MIB

#: What stands in place of a label.
NO_LABEL = "NO NAME"

# What every system shows as it is.
_LABEL = re.compile(r"[A-Za-z0-9_ -]+\Z")


class Vfat(FileSystem):
    """What FAT16 and FAT32 have in common: long file names, and neither owners nor holes."""

    #: How many bits count its clusters.
    width: t.ClassVar[int]

    fstab_type = "vfat"
    tools: t.ClassVar[t.Tuple[str, ...]] = ("mkfs.vfat", "mcopy", "mmd")
    shaping_tools: t.ClassVar[t.Tuple[str, ...]] = ("mkfs.vfat", "mcopy")
    mkfs_options = ("-R", "-f", "-r", "-s")
    mkfs_switches = ("-a",)
    keeps_owners = False
    keeps_holes = False
    label_length = 11
    own_mount_options = frozenset(
        ("codepage", "discard", "dmask", "errors", "flush", "fmask", "gid", "iocharset", "shortname", "uid", "umask")
    )
    kernel_modules = ("vfat", "nls_cp437", "nls_ascii", "nls_iso8859_1")
    grub_modules = ("fat",)
    is_read_by_firmware = True

    def identifier(self, build_digest: str, purpose: str) -> str:
        serial = derive_hex(build_digest, purpose, 8).upper()
        return f"{serial[:4]}-{serial[4:]}"

    def check_label(self, label: str) -> str | None:
        problem = super().check_label(label)
        if problem is None and not _LABEL.match(label):
            return (
                f"The label {label!r} of a FAT file system may only have letters, which are stored as capitals, "
                "digits, blanks, - and _."
            )
        if problem is None and label.upper() == NO_LABEL:
            return f"{NO_LABEL} is what FAT has in place of a label."
        return problem

    def stored_label(self, label: str) -> str:
        return label.upper()

    def content_size(self, usage: Usage) -> int:
        return max(super().content_size(usage), self.least_size + MIB)

    def required_size(self, size: int, usage: Usage) -> int:
        overhead = self._fats(size) + 64 * 1024
        return usage.size + overhead

    def _fats(self, size: int) -> int:
        """Return the bytes of both allocation tables for the usual cluster sizes."""
        cluster = 512 if size <= 260 * MIB else 4096 if size <= 8192 * MIB else 8192
        return 2 * 4 * (size // cluster)


class Fat16(Vfat):
    """FAT16."""

    names = ("fat16",)
    width = 16
    # Below that it would be FAT12.
    least_size = 4 * MIB
    #: The most bytes that it can have, of the largest clusters that every system reads.
    biggest_size: t.ClassVar[int] = 2048 * MIB
    mbr_type = 0x0E


class Fat32(Vfat):
    """FAT32."""

    names = ("fat32", "vfat")
    width = 32
    # It begins at 65525 clusters of one sector.
    least_size = 33 * MIB
    mbr_type = 0x0C


__all__ = ("NO_LABEL", "Fat16", "Fat32", "Vfat")
