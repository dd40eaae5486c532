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

from ansible_collections.os_image.composer.plugins.module_utils._chroot.namespace import mount_point
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool
from ansible_collections.os_image.composer.plugins.module_utils._disk.content import BLOCK, Usage
from ansible_collections.os_image.composer.plugins.module_utils._disk.filesystem import (
    FileSystem,
    Source,
    Volume,
    register,
    too_small,
    with_suboptions,
)
from ansible_collections.os_image.composer.plugins.module_utils._errors import CommandError, DiskError
from ansible_collections.os_image.composer.plugins.module_utils._size import MIB, align_down, show_size
from ansible_collections.os_image.composer.plugins.module_utils._sparse import copy_into

_FULL = re.compile(rf"No space left|{re.escape(os.strerror(errno.ENOSPC))}")


class MountedFileSystem(FileSystem):
    """A file system that is filled by the kernel."""

    is_checked = False
    # Identifiers, times and the order of allocation are the kernel's own.
    is_reproducible = False
    #: Mount options of the running system that already hold while the file system is filled.
    filling_options: t.ClassVar[t.Tuple[str, ...]] = ()
    #: Mount options beside those.
    mount_options: t.ClassVar[t.Tuple[str, ...]] = ("loop", "noatime")

    @abc.abstractmethod
    def make(self, path: str, volume: Volume, runner: CommandRunner) -> None:
        """Make an empty file system in the file C(path), which has its size."""

    def write(self, volume: Volume, source: Source, runner: CommandRunner) -> None:
        if volume.size < self.least_size:
            raise DiskError(
                f"The partition {volume.name!r} has {show_size(volume.size)}, but {self.name} needs at least "
                f"{show_size(self.least_size)}.",
                remedy="Enlarge the partition, or set its fsType to ext4.",
            )
        path = volume.scratch_file(self.name)
        with open(path, "xb") as stream:
            stream.truncate(align_down(volume.size, BLOCK))
        self.make(path, volume, runner)
        try:
            self._fill(path, volume, source, runner)
        except CommandError as exc:
            if _FULL.search(str(exc)):
                required = max(self.required_size(volume.size, source.usage), volume.size)
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
            find_tool("mount", package="mount"),
            "-t",
            self.name,
            "-o",
            ",".join([*self.mount_options, *options]),
        ]
        done = runner.run([*command, path, target], check=False, merge_output=True)
        if done.rc != 0:
            unknown = "leave out mkfsOptions that it does not know, or " if volume.options else ""
            raise DiskError(
                f"The {self.name} file system on the partition {volume.name!r} cannot be mounted to fill it: "
                f"{done.text.strip()}",
                remedy=f"Let the kernel of the build host have {self.name} and loop devices (modprobe {self.name}; a "
                f"container needs /dev/loop-control and /dev/loop*), {unknown}or set fsType to ext4, which needs "
                "neither.",
            )
        try:
            # The directory's own owner, mode and time are copied, too.
            command = [find_tool("cp", package="coreutils"), "--archive", f"{source.directory}/.", f"{target}/"]
            runner.run(command, what=f"Filling the {self.name} file system on the partition {volume.name!r}")
            _limit_times(target, volume.epoch)
        finally:
            runner.run([find_tool("umount", package="mount"), target], what=f"Unmounting {volume.name!r}")
        os.rmdir(target)


def _limit_times(directory: str, epoch: int) -> None:
    """Give everything that is newer than the image its time."""
    limit = epoch * 1_000_000_000
    for parent, directories, names in os.walk(directory, topdown=False):
        for name in (*directories, *names, "."):
            path = os.path.join(parent, name)
            if os.lstat(path).st_mtime_ns > limit:
                os.utime(path, ns=(limit, limit), follow_symlinks=False)


@register
class Xfs(MountedFileSystem):
    """XFS."""

    names = ("xfs",)
    tools: t.ClassVar[t.Mapping[str, str]] = {"mkfs.xfs": "xfsprogs", "mount": "mount"}
    version_commands: t.ClassVar[t.Mapping[str, t.Sequence[str]]] = {"mkfs.xfs": ("-V",)}
    label_length = 12
    grub_modules = ("xfs",)
    # mkfs.xfs refuses less since version 5.19.
    least_size = 300 * MIB
    # A mounted copy of the same image would be in the way.
    mount_options = (*MountedFileSystem.mount_options, "nouuid")
    mkfs_options = ("-d", "-i", "-l", "-m", "-n")
    fixed_suboptions: t.ClassVar[t.Mapping[str, t.Tuple[str, ...]]] = {
        # Files and devices of the build host.
        "-d": ("file", "name"),
        "-l": ("logdev",),
        "-m": ("uuid",),
    }

    def check_label(self, label: str) -> str | None:
        return "A label of xfs cannot have blanks." if " " in label else super().check_label(label)

    def required_size(self, size: int, usage: Usage) -> int:
        # The log has 64 MiB, and grows with large file systems; the kernel keeps back 32 MiB, and a part of each
        # allocation group for its trees.
        log = max(64 * MIB, size // 2048)
        inodes = usage.inodes * 640
        return max(self.least_size, usage.size + usage.size // 100 + inodes + log + 34 * MIB + size // 100)

    def make(self, path: str, volume: Volume, runner: CommandRunner) -> None:
        # Named, so that a newer mkfs.xfs does not choose what GRUB 2.06 or the kernel of the image cannot read.
        metadata = {name: "1" for name in ("crc", "finobt", "reflink", "bigtime", "inobtcount")}
        metadata.update(rmapbt="0", uuid=volume.identifier)
        features, given = with_suboptions("-m", metadata, volume.options)
        inodes, given = with_suboptions("-i", {"sparse": "1", "nrext64": "0"}, given)
        label = ["-L", volume.label] if volume.label else []
        command = [find_tool("mkfs.xfs", package="xfsprogs"), "-q", "-f", "-K", "-m", features, "-i", inodes, *label]
        what = f"Making the xfs file system on the partition {volume.name!r}"
        runner.run([*command, *given, path], what=what)


@register
class Btrfs(MountedFileSystem):
    """Btrfs: one device, everything in the top-level subvolume."""

    names = ("btrfs",)
    tools: t.ClassVar[t.Mapping[str, str]] = {"mkfs.btrfs": "btrfs-progs", "mount": "mount"}
    version_commands: t.ClassVar[t.Mapping[str, t.Sequence[str]]] = {"mkfs.btrfs": ("--version",)}
    # Btrfs itself takes 255 bytes; templates at most what this says.
    label_length = 16
    grub_modules = ("btrfs",)
    # With two copies of the metadata; see btrfs_min_dev_size().
    least_size = 110 * MIB
    mkfs_options = ("-O", "-R", "-d", "-m", "-n", "--checksum", "--csum")
    filling_options = ("compress", "compress-force")

    def required_size(self, size: int, usage: Usage) -> int:
        # Two copies of the metadata (an inode, its names and its extents), in chunks of a tenth of a small disk.
        metadata = 2 * (usage.inodes * 1024 + usage.size // 500)
        chunks = 2 * min(256 * MIB, max(32 * MIB, size // 10))
        return max(self.least_size, usage.size + usage.size // 100 + max(metadata, chunks) + 32 * MIB)

    def make(self, path: str, volume: Volume, runner: CommandRunner) -> None:
        label = ["-L", volume.label] if volume.label else []
        command = [find_tool("mkfs.btrfs", package="btrfs-progs"), "-q", "-f", "-K", "-U", volume.identifier, *label]
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


__all__ = ("Btrfs", "MountedFileSystem", "Xfs")
