# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The makers of file systems, by what they make."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._filesystem.btrfs import Btrfs
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.erofs import Erofs
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.ext import Ext2, Ext3, Ext4
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.filesystem import FileSystem
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.kinds import file_system
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.squashfs import Squashfs
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.swap import Swap
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.vfat import Fat16, Fat32
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.xfs import Xfs
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.btrfs import BtrfsMaker
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.erofs import ErofsMaker
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.ext import ExtMaker
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.maker import Maker
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.squashfs import SquashfsMaker
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.swap import SwapMaker
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.vfat import VfatMaker
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.xfs import XfsMaker

#: The maker of each file system.
MAKERS: t.Mapping[t.Type[FileSystem], t.Type[Maker]] = {
    Fat32: VfatMaker,
    Fat16: VfatMaker,
    Ext2: ExtMaker,
    Ext3: ExtMaker,
    Ext4: ExtMaker,
    Xfs: XfsMaker,
    Btrfs: BtrfsMaker,
    Squashfs: SquashfsMaker,
    Erofs: ErofsMaker,
    Swap: SwapMaker,
}


def maker(name: str) -> Maker:
    """Return what makes the file system of a template's fsType.

    :raises DiskError: There is no such file system.
    """
    fs = file_system(name)
    return MAKERS[type(fs)](fs)


__all__ = ("MAKERS", "maker")
