# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Btrfs."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._filesystem.mounted import MountedFileSystem
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.usage import Usage
from ansible_collections.os_image.composer.plugins.module_utils._size import MIB

# What leads to the uppermost subvolume: option -> value.
_UPPERMOST: t.Mapping[str, str] = {"subvol": "/", "subvolid": "5"}


class Btrfs(MountedFileSystem):
    """Btrfs: one device, everything in the top-level subvolume."""

    names = ("btrfs",)
    fstab_type = "btrfs"
    tools: t.ClassVar[t.Tuple[str, ...]] = ("mkfs.btrfs", "mount")
    shaping_tools: t.ClassVar[t.Tuple[str, ...]] = ("mkfs.btrfs",)
    # Btrfs itself takes 255 bytes; templates at most what this says.
    label_length = 16
    own_mount_options = frozenset(
        ("compress", "compress-force", "subvol", "subvolid", "autodefrag", "commit", "discard")
    )
    kernel_modules = ("btrfs",)
    grub_modules = ("btrfs",)
    # With two copies of the metadata; see btrfs_min_dev_size().
    least_size = 110 * MIB
    mkfs_options = ("-O", "-R", "-d", "-m", "-n", "--checksum", "--csum")

    def check_mount_option(self, option: str) -> str | None:
        name, _sign, value = option.partition("=")
        if _UPPERMOST.get(name, value) == value:
            return None
        return f"The mount option {option} names a subvolume, but the build makes none beside the uppermost one."

    def required_size(self, size: int, usage: Usage) -> int:
        # Two copies of the metadata (an inode, its names and its extents), in chunks of a tenth of a small disk.
        metadata = 2 * (usage.inodes * 1024 + usage.size // 500)
        chunks = 2 * min(256 * MIB, max(32 * MIB, size // 10))
        return max(self.least_size, usage.size + usage.size // 100 + max(metadata, chunks) + 32 * MIB)


__all__ = ("Btrfs",)
