# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Swap space: never mounted."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._filesystem.filesystem import FileSystem
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.usage import Usage
from ansible_collections.os_image.composer.plugins.module_utils._partition_type import MBR_SWAP, SWAP


class Swap(FileSystem):
    """Swap space."""

    names = ("linux-swap", "swap")
    fstab_type = "swap"
    tools: t.ClassVar[t.Tuple[str, ...]] = ("mkswap",)
    shaping_tools: t.ClassVar[t.Tuple[str, ...]] = ("mkswap",)
    # mkswap refuses fewer than ten pages.
    least_size = 10 * 4096
    holds_files = False
    keeps_owners = False
    label_length = 15
    is_checked = False
    partition_type = SWAP
    mbr_type = MBR_SWAP

    def required_size(self, size: int, usage: Usage) -> int:
        return self.least_size


__all__ = ("Swap",)
