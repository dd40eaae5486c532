# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""SquashFS: compressed, and never written to."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.packed import PackedFileSystem
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.volume import Volume


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

    def pack(self, directory: str, path: str, volume: Volume, runner: CommandRunner) -> None:
        # Higher levels take many times as long for a few per cent.
        options = [] if "-comp" in volume.options else ["-comp", "zstd", "-Xcompression-level", "3"]
        if "-Xcompression-level" in volume.options:
            options = options[:2]
        command = [find_tool("mksquashfs"), directory, path, "-noappend", "-no-progress"]
        # The variable limits all times; -all-time beside it would be an error.
        runner = runner.with_environment({"SOURCE_DATE_EPOCH": str(volume.epoch)})
        what = f"Making the squashfs file system on the partition {volume.name!r}"
        runner.run([*command, "-quiet", *options, *volume.options], what=what)


__all__ = ("Squashfs",)
