# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""A maker of file systems: writes one into a part of an image file."""

from __future__ import annotations

import abc

from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.filesystem import FileSystem
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.volume import Source, Volume


class Maker(abc.ABC):
    """Makes file systems of one kind.

    :param fs: What is known of it.
    """

    def __init__(self, fs: FileSystem) -> None:
        self.fs = fs

    @abc.abstractmethod
    def write(self, volume: Volume, source: Source, runner: CommandRunner) -> None:
        """Write the file system with its content.

        What it mounts, it mounts in this process's own mount namespace, and unmounts again.

        :raises DiskError: It cannot hold the content.
        :raises CommandError: A program failed.
        """


__all__ = ("Maker",)
