# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""EROFS: compressed, and never written to."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._filesystem.packed import PackedFileSystem


class Erofs(PackedFileSystem):
    """EROFS with lz4; all files get the image's time."""

    names = ("erofs",)
    fstab_type = "erofs"
    tools: t.ClassVar[t.Tuple[str, ...]] = ("mkfs.erofs",)
    shaping_tools: t.ClassVar[t.Tuple[str, ...]] = ("mkfs.erofs",)
    mkfs_options = ("-C", "-E", "-z", "--max-extent-bytes")
    # As a root it lies under a layer that can be written to.
    kernel_modules = ("erofs", "overlay", "loop")


__all__ = ("Erofs",)
