# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""XFS."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._filesystem.mounted import MountedFileSystem
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.usage import Usage
from ansible_collections.os_image.composer.plugins.module_utils._size import MIB


class Xfs(MountedFileSystem):
    """XFS."""

    names = ("xfs",)
    fstab_type = "xfs"
    tools: t.ClassVar[t.Tuple[str, ...]] = ("mkfs.xfs", "mount")
    shaping_tools: t.ClassVar[t.Tuple[str, ...]] = ("mkfs.xfs",)
    label_length = 12
    own_mount_options = frozenset(("inode64", "inode32", "largeio", "logbufs", "logbsize", "allocsize", "discard"))
    kernel_modules = ("xfs",)
    grub_modules = ("xfs",)
    # mkfs.xfs refuses less since version 5.19.
    least_size = 300 * MIB
    mkfs_options = ("-d", "-i", "-l", "-m", "-n")
    fixed_suboptions: t.ClassVar[t.Mapping[str, t.Tuple[str, ...]]] = {
        # Files and devices of the build host.
        "-d": ("file", "name"),
        "-l": ("logdev",),
        "-m": ("uuid",),
    }

    def check_label(self, label: str) -> str | None:
        return "A label of xfs cannot have blanks." if " " in label else super().check_label(label)

    def required_size(self, size: int, usage: Usage) -> int:
        # The log has 64 MiB, and grows with large file systems; the kernel keeps back 32 MiB, and a part of each
        # allocation group for its trees.
        log = max(64 * MIB, size // 2048)
        inodes = usage.inodes * 640
        return max(self.least_size, usage.size + usage.size // 100 + inodes + log + 34 * MIB + size // 100)


__all__ = ("Xfs",)
