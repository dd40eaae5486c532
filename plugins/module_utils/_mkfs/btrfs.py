# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Btrfs, made by mkfs.btrfs and filled by the kernel."""

from __future__ import annotations

from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool
from ansible_collections.os_image.composer.plugins.module_utils._errors import CommandError, DiskError
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.mounted import MountedMaker
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.volume import Volume


class BtrfsMaker(MountedMaker):
    """Makes Btrfs."""

    filling_options = ("compress", "compress-force")

    def make(self, path: str, volume: Volume, runner: CommandRunner) -> None:
        label = ["-L", volume.label] if volume.label else []
        command = [find_tool("mkfs.btrfs"), "-q", "-f", "-K", "-U", volume.identifier, *label]
        what = f"Making the btrfs file system on the partition {volume.name!r}"
        # It refuses a UUID that a device of the host has. The host's notes on devices that are gone do not count.
        runner = runner.with_environment({"BLKID_FILE": volume.scratch_file("blkid")})
        try:
            runner.run([*command, *volume.options, path], what=what)
        except CommandError as exc:
            if "non-unique UUID" not in str(exc):
                raise
            raise DiskError(
                f"A disk of the build host has the btrfs file system that the partition {volume.name!r} gets, with the "
                f"UUID {volume.identifier}; the kernel would take them for one.",
                remedy="Unmount or detach that copy of the image, or build on another host.",
            ) from exc


__all__ = ("BtrfsMaker",)
