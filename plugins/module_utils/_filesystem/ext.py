# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""ext2, ext3 and ext4."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._filesystem.filesystem import FileSystem
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.usage import BLOCK, Usage
from ansible_collections.os_image.composer.plugins.module_utils._size import MIB, align_up

#: Bytes.
INODE_SIZE = 256
_INODE_RATIO = 16384
_BLOCKS_PER_GROUP = 8 * BLOCK

# Bytes below which mke2fs makes no journal, without a word: of ext3 that leaves ext2, which is not mounted as ext3.
_LEAST_WITH_JOURNAL = 2048 * BLOCK

# ext2fs_default_journal_size(): blocks of the file system -> blocks of its journal.
_JOURNALS: t.Sequence[t.Tuple[int, int]] = (
    (32768, 1024),
    (256 * 1024, 4096),
    (512 * 1024, 8192),
    (4096 * 1024, 16384),
    (8192 * 1024, 32768),
    (16384 * 1024, 65536),
    (32768 * 1024, 131072),
)
_BIGGEST_JOURNAL = 262144


class Ext(FileSystem):
    """What ext2, ext3 and ext4 have in common."""

    #: All its features: neither the build host's mke2fs.conf nor a newer mke2fs changes an image. Left out are those
    #: that the bootloaders and kernels of the supported distributions cannot all read (orphan_file,
    #: metadata_csum_seed).
    features: t.ClassVar[t.Tuple[str, ...]]
    #: Bytes of a group's descriptor.
    descriptor_size: t.ClassVar[int] = 32

    tools: t.ClassVar[t.Tuple[str, ...]] = ("mke2fs", "debugfs", "e2fsck")
    shaping_tools: t.ClassVar[t.Tuple[str, ...]] = ("mke2fs",)
    own_mount_options = frozenset(("stripe", "init_itable", "errors", "discard"))
    # The driver of ext4 mounts all three.
    kernel_modules = ("ext4",)
    grub_modules = ("ext2",)
    is_staged = False
    own_directories = ("lost+found",)
    mkfs_options = ("-E", "-G", "-J", "-N", "-O", "-m")

    fixed_suboptions: t.ClassVar[t.Mapping[str, t.Tuple[str, ...]]] = {
        "-E": ("offset", "hash_seed", "root_owner"),
        # A journal on another device would be one of the build host.
        "-J": ("device",),
        # With these e2fsprogs, or what sets the times below, finds the file system in a form that it cannot work on.
        "-O": ("journal_dev", "meta_bg", "mmp"),
    }

    def inodes(self, size: int, usage: Usage) -> int:
        """Return how many inodes to make: as many as usual, and always room for as many files again as there are."""
        return max(size // _INODE_RATIO, usage.inodes * 2 + 64)

    def required_size(self, size: int, usage: Usage) -> int:
        overhead = self._overhead(size, self.inodes(size, usage))
        # Extent trees and directories grow a little beyond the plain count of blocks.
        least = _LEAST_WITH_JOURNAL if "has_journal" in self.features else 0
        return max((usage.blocks + usage.blocks // 200 + overhead) * BLOCK, least)

    def _foreign_feature(self, options: t.Sequence[str]) -> str | None:
        """What is mounted as ext2 or ext3 may not have more than that: tell which feature of mkfsOptions is more."""
        for feature in self.suboptions("-O", options):
            if not feature.startswith("^") and feature not in self.features:
                return f"{self.name} has no feature {feature}: nothing could mount it as {self.name}."
        return None

    def _overhead(self, size: int, inodes: int) -> int:
        """Return how many blocks the file system takes for itself."""
        blocks = size // BLOCK
        groups = max(1, -(-blocks // _BLOCKS_PER_GROUP))
        descriptor_blocks = -(-groups * self.descriptor_size // BLOCK)
        # resize_inode reserves descriptors for a file system that is 1024 times as big, up to one block of pointers.
        reserved = min(BLOCK // 4, max(0, -(-groups * 1024 * self.descriptor_size // BLOCK) - descriptor_blocks))
        supers = sum(1 for group in range(groups) if _has_super(group))
        journal = next((length for limit, length in _JOURNALS if blocks < limit), _BIGGEST_JOURNAL)
        if "has_journal" not in self.features:
            journal = 0
        tables = groups * align_up(align_up(inodes, groups) // groups * INODE_SIZE, BLOCK) // BLOCK
        return supers * (1 + descriptor_blocks + reserved) + groups * 2 + tables + journal + 8


class Ext2(Ext):
    """ext2: without a journal."""

    names = ("ext2",)
    fstab_type = "ext2"
    features = ("ext_attr", "resize_inode", "dir_index", "filetype", "sparse_super", "large_file")
    least_size = MIB

    def check_options(self, options: t.Sequence[str]) -> str | None:
        return super().check_options(options) or self._foreign_feature(options)


class Ext3(Ext):
    """ext3: ext2 with a journal."""

    names = ("ext3",)
    fstab_type = "ext3"
    features = ("has_journal", *Ext2.features)
    least_size = _LEAST_WITH_JOURNAL
    grows_online = True
    own_mount_options = Ext.own_mount_options | {"data", "commit"}

    def check_options(self, options: t.Sequence[str]) -> str | None:
        problem = super().check_options(options)
        if problem is None and "^has_journal" in self.suboptions("-O", options):
            return "Without its journal ext3 would be ext2."
        return problem or self._foreign_feature(options)


class Ext4(Ext):
    """ext4: with extents and checksums of its metadata."""

    names = ("ext4",)
    fstab_type = "ext4"
    features = (
        "has_journal",
        "ext_attr",
        "resize_inode",
        "dir_index",
        "filetype",
        "extent",
        "64bit",
        "flex_bg",
        "sparse_super",
        "large_file",
        "huge_file",
        "dir_nlink",
        "extra_isize",
        "metadata_csum",
    )
    descriptor_size = 64
    least_size = _LEAST_WITH_JOURNAL
    grows_online = True
    own_mount_options = Ext3.own_mount_options | {"delalloc", "nodelalloc", "journal_checksum"}


def _has_super(group: int) -> bool:
    """Whether a group has a copy of the superblock (sparse_super: groups 0, 1 and powers of 3, 5 and 7)."""
    if group <= 1:
        return True
    for base in (3, 5, 7):
        power = base
        while power < group:
            power *= base
        if power == group:
            return True
    return False


__all__ = ("INODE_SIZE", "Ext", "Ext2", "Ext3", "Ext4")
