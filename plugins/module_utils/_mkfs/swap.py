# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Swap space, made by mkswap."""

from __future__ import annotations

import os

from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.maker import Maker
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.volume import Source, Volume
from ansible_collections.os_image.composer.plugins.module_utils._sparse import copy_into


class SwapMaker(Maker):
    """Makes swap space."""

    def write(self, volume: Volume, source: Source, runner: CommandRunner) -> None:
        path = volume.scratch_file("swap")
        # mkswap wants a file that only root can read.
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.truncate(volume.size)
        label = ["--label", volume.label] if volume.label else []
        # The page size of the machines that the image is for, not of the build host.
        command = [find_tool("mkswap"), "--uuid", volume.identifier, "--pagesize", "4096", *label]
        runner.run([*command, path], what=f"Making swap space on the partition {volume.name!r}")
        copy_into(path, volume.image, volume.offset)
        os.unlink(path)


__all__ = ("SwapMaker",)
