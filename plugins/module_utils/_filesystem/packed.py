# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Compressed file systems that are never written to: how large they become shows when they are made."""

from __future__ import annotations

from ansible_collections.os_image.composer.plugins.module_utils._filesystem.filesystem import FileSystem
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.usage import Usage
from ansible_collections.os_image.composer.plugins.module_utils._size import KIB


class PackedFileSystem(FileSystem):
    """A compressed file system; how large it becomes shows when it is made."""

    is_checked = False
    is_read_only = True
    is_compressed = True
    label_length = 0

    def required_size(self, size: int, usage: Usage) -> int:
        return 16 * KIB

    def content_size(self, usage: Usage) -> int:
        """Return the size without compression: the other one is not known before the disk is laid out."""
        return usage.size + usage.inodes * 256 + usage.size // 100


__all__ = ("PackedFileSystem",)
