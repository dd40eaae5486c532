# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The kinds of file systems, by the names that templates have for them (fsType)."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import DiskError
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.btrfs import Btrfs
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.erofs import Erofs
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.ext import Ext2, Ext3, Ext4
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.filesystem import FileSystem
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.squashfs import Squashfs
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.swap import Swap
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.vfat import Fat16, Fat32
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.xfs import Xfs

_CLASSES: t.Tuple[t.Type[FileSystem], ...] = (Fat32, Fat16, Ext2, Ext3, Ext4, Xfs, Btrfs, Squashfs, Erofs, Swap)

#: Name -> class.
FILE_SYSTEMS: t.Mapping[str, t.Type[FileSystem]] = {name: cls for cls in _CLASSES for name in cls.names}


def file_system(name: str) -> FileSystem:
    """Return the file system for a template's fsType.

    :raises DiskError: There is none.
    """
    if name not in FILE_SYSTEMS:
        raise DiskError(
            f"The file system {name!r} is not supported.", remedy=f"Use one of {', '.join(sorted(FILE_SYSTEMS))}."
        )
    return FILE_SYSTEMS[name](name)


__all__ = ("FILE_SYSTEMS", "file_system")
