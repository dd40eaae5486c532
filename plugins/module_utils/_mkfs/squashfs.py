# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""SquashFS, made by mksquashfs."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.packed import PackedMaker
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.volume import Volume


class SquashfsMaker(PackedMaker):
    """Makes SquashFS."""

    def pack(self, directory: str, path: str, volume: Volume, runner: CommandRunner) -> None:
        what = f"Making the squashfs file system on the partition {volume.name!r}"
        make_squashfs(directory, path, volume.options, epoch=volume.epoch, runner=runner, what=what)


def make_squashfs(
    directory: str, path: str, options: t.Sequence[str], *, epoch: int, runner: CommandRunner, what: str
) -> None:
    """Make the SquashFS C(path) of a directory; the same bytes for the same content, whatever the number of processors.

    :param options: More arguments for mksquashfs.
    :param epoch: No time in it is later.
    """
    # Higher levels take many times as long for a few per cent.
    compression = [] if "-comp" in options else ["-comp", "zstd", "-Xcompression-level", "3"]
    if "-Xcompression-level" in options:
        compression = compression[:2]
    command = [find_tool("mksquashfs"), directory, path, "-noappend", "-no-progress", "-quiet"]
    # The variable limits all times; -all-time or -mkfs-time beside it would be an error.
    runner = runner.with_environment({"SOURCE_DATE_EPOCH": str(epoch)})
    runner.run([*command, *compression, *options], what=what)


__all__ = ("SquashfsMaker", "make_squashfs")
