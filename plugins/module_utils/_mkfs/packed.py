# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Compressed file systems, made from a directory by their own programs, without a mount."""

from __future__ import annotations

import abc
import os

from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.maker import Maker
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.volume import Source, Volume, too_small
from ansible_collections.os_image.composer.plugins.module_utils._sparse import copy_into


class PackedMaker(Maker):
    """Makes a compressed file system."""

    @abc.abstractmethod
    def pack(self, directory: str, path: str, volume: Volume, runner: CommandRunner) -> None:
        """Make the file system C(path) from a directory."""

    def write(self, volume: Volume, source: Source, runner: CommandRunner) -> None:
        directory = source.directory
        if directory is None:
            directory = volume.scratch_file("empty")
            os.mkdir(directory, 0o755)
            os.utime(directory, (volume.epoch, volume.epoch))
        path = volume.scratch_file(self.fs.name)
        self.pack(directory, path, volume, runner)
        size = os.stat(path).st_size
        if size > volume.size:
            raise too_small(volume, size, source.usage)
        copy_into(path, volume.image, volume.offset)
        os.unlink(path)


__all__ = ("PackedMaker",)
