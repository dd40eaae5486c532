# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""File systems that only the kernel fills faithfully: a loop device in the private namespace, and a copy.

mkfs.xfs takes files only with their owners and modes, and mkfs.btrfs (6.2) fills holes and forgets the mode of the root
directory. So both are made empty and mounted. The mount lies in this process's own mount namespace, and its loop device
goes with it, however the process ends.
"""

from __future__ import annotations

import abc
import errno
import os
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool
from ansible_collections.os_image.composer.plugins.module_utils._errors import CommandError, DiskError
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.usage import BLOCK
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.maker import Maker
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.volume import Source, Volume, too_small
from ansible_collections.os_image.composer.plugins.module_utils._namespace import mount_point
from ansible_collections.os_image.composer.plugins.module_utils._size import align_down, show_size
from ansible_collections.os_image.composer.plugins.module_utils._sparse import copy_into

_FULL = re.compile(rf"No space left|{re.escape(os.strerror(errno.ENOSPC))}")


class MountedMaker(Maker):
    """Makes a file system that the kernel fills."""

    #: Mount options of the running system that already hold while the file system is filled.
    filling_options: t.ClassVar[t.Tuple[str, ...]] = ()
    #: Mount options beside those.
    mount_options: t.ClassVar[t.Tuple[str, ...]] = ("loop", "noatime")

    @abc.abstractmethod
    def make(self, path: str, volume: Volume, runner: CommandRunner) -> None:
        """Make an empty file system in the file C(path), which has its size."""

    def write(self, volume: Volume, source: Source, runner: CommandRunner) -> None:
        if volume.size < self.fs.least_size:
            raise DiskError(
                f"The partition {volume.name!r} has {show_size(volume.size)}, but {self.fs.name} needs at least "
                f"{show_size(self.fs.least_size)}.",
                remedy="Enlarge the partition, or set its fsType to ext4.",
            )
        path = volume.scratch_file(self.fs.name)
        with open(path, "xb") as stream:
            stream.truncate(align_down(volume.size, BLOCK))
        self.make(path, volume, runner)
        try:
            self._fill(path, volume, source, runner)
        except CommandError as exc:
            if _FULL.search(str(exc)):
                required = max(self.fs.required_size(volume.size, source.usage), volume.size)
                raise too_small(volume, required, source.usage) from exc
            raise
        copy_into(path, volume.image, volume.offset)
        os.unlink(path)

    def _fill(self, path: str, volume: Volume, source: Source, runner: CommandRunner) -> None:
        if source.directory is None:
            return
        target = mount_point(os.path.dirname(volume.scratch))
        options = [word for word in volume.mount_options if word.partition("=")[0] in self.filling_options]
        command = [
            find_tool("mount"),
            "-t",
            self.fs.name,
            "-o",
            ",".join([*self.mount_options, *options]),
        ]
        done = runner.run([*command, path, target], check=False, merge_output=True)
        if done.rc != 0:
            unknown = "leave out mkfsOptions that it does not know, or " if volume.options else ""
            name = self.fs.name
            raise DiskError(
                f"The {name} file system on the partition {volume.name!r} cannot be mounted to fill it: "
                f"{done.text.strip()}",
                remedy=f"Let the kernel of the build host have {name} and loop devices (modprobe {name}; a container "
                f"needs /dev/loop-control and /dev/loop*), {unknown}or set fsType to ext4, which needs neither.",
            )
        try:
            # The directory's own owner, mode and time are copied, too.
            command = [find_tool("cp"), "--archive", f"{source.directory}/.", f"{target}/"]
            runner.run(command, what=f"Filling the {self.fs.name} file system on the partition {volume.name!r}")
            _limit_times(target, volume.epoch)
        finally:
            runner.run([find_tool("umount"), target], what=f"Unmounting {volume.name!r}")
        os.rmdir(target)


def _limit_times(directory: str, epoch: int) -> None:
    """Give everything that is newer than the image its time."""
    limit = epoch * 1_000_000_000
    for parent, directories, names in os.walk(directory, topdown=False):
        for name in (*directories, *names, "."):
            path = os.path.join(parent, name)
            if os.lstat(path).st_mtime_ns > limit:
                os.utime(path, ns=(limit, limit), follow_symlinks=False)


__all__ = ("MountedMaker",)
