# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""SquashFS: compressed, and never written to."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._filesystem.packed import PackedFileSystem


class Squashfs(PackedFileSystem):
    """SquashFS, by default with zstd, which kernels read since 4.14."""

    names = ("squashfs",)
    fstab_type = "squashfs"
    tools: t.ClassVar[t.Tuple[str, ...]] = ("mksquashfs",)
    shaping_tools: t.ClassVar[t.Tuple[str, ...]] = ("mksquashfs",)
    mkfs_options = ("-Xbcj", "-Xcompression-level", "-Xdict-size", "-b", "-comp")
    mkfs_switches = ("-Xhc", "-no-fragments", "-no-xattrs")
    has_getopt = False
    own_mount_options = frozenset(("errors",))
    # As a root it lies under a layer that can be written to.
    kernel_modules = ("squashfs", "overlay", "loop")

    def identifier(self, build_digest: str, purpose: str) -> str:
        return ""


__all__ = ("Squashfs",)
