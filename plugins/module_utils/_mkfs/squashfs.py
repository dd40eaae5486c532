# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""SquashFS, made by mksquashfs."""

from __future__ import annotations

from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.packed import PackedMaker
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.volume import Volume


class SquashfsMaker(PackedMaker):
    """Makes SquashFS."""

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


__all__ = ("SquashfsMaker",)
