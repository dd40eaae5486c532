# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Compressed file systems that are never written to: made from a directory by their own programs, without a mount."""

from __future__ import annotations

import abc
import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool
from ansible_collections.os_image.composer.plugins.module_utils._disk.content import Usage
from ansible_collections.os_image.composer.plugins.module_utils._disk.filesystem import (
    FileSystem,
    Source,
    Volume,
    register,
    too_small,
)
from ansible_collections.os_image.composer.plugins.module_utils._size import KIB
from ansible_collections.os_image.composer.plugins.module_utils._sparse import copy_into


class PackedFileSystem(FileSystem):
    """A compressed file system; how large it becomes shows when it is made."""

    is_checked = False
    is_read_only = True

    def check_label(self, label: str) -> str | None:
        return f"{self.name} has no label."

    def required_size(self, size: int, usage: Usage) -> int:
        return 16 * KIB

    def content_size(self, usage: Usage) -> int:
        """Return the size without compression: the other one is not known before the disk is laid out."""
        return usage.size + usage.inodes * 256 + usage.size // 100

    @abc.abstractmethod
    def pack(self, directory: str, path: str, volume: Volume, runner: CommandRunner) -> None:
        """Make the file system C(path) from a directory."""

    def write(self, volume: Volume, source: Source, runner: CommandRunner) -> None:
        directory = source.directory
        if directory is None:
            directory = volume.scratch_file("empty")
            os.mkdir(directory, 0o755)
            os.utime(directory, (volume.epoch, volume.epoch))
        path = volume.scratch_file(self.name)
        self.pack(directory, path, volume, runner)
        size = os.stat(path).st_size
        if size > volume.size:
            raise too_small(volume, size, source.usage)
        copy_into(path, volume.image, volume.offset)
        os.unlink(path)


@register
class Squashfs(PackedFileSystem):
    """SquashFS, by default with zstd, which kernels read since 4.14."""

    names = ("squashfs",)
    tools: t.ClassVar[t.Mapping[str, str]] = {"mksquashfs": "squashfs-tools"}
    version_commands: t.ClassVar[t.Mapping[str, t.Sequence[str]]] = {"mksquashfs": ("-version",)}
    mkfs_options = ("-Xbcj", "-Xcompression-level", "-Xdict-size", "-b", "-comp")
    mkfs_switches = ("-Xhc", "-no-fragments", "-no-xattrs")
    has_getopt = False

    def identifier(self, build_digest: str, purpose: str) -> str:
        return ""

    def pack(self, directory: str, path: str, volume: Volume, runner: CommandRunner) -> None:
        # Higher levels take many times as long for a few per cent.
        options = [] if "-comp" in volume.options else ["-comp", "zstd", "-Xcompression-level", "3"]
        if "-Xcompression-level" in volume.options:
            options = options[:2]
        command = [find_tool("mksquashfs", package="squashfs-tools"), directory, path, "-noappend", "-no-progress"]
        # The variable limits all times; -all-time beside it would be an error.
        runner = runner.with_environment({"SOURCE_DATE_EPOCH": str(volume.epoch)})
        what = f"Making the squashfs file system on the partition {volume.name!r}"
        runner.run([*command, "-quiet", *options, *volume.options], what=what)


@register
class Erofs(PackedFileSystem):
    """EROFS with lz4; all files get the image's time."""

    names = ("erofs",)
    tools: t.ClassVar[t.Mapping[str, str]] = {"mkfs.erofs": "erofs-utils"}
    version_commands: t.ClassVar[t.Mapping[str, t.Sequence[str]]] = {"mkfs.erofs": ("-V",)}
    mkfs_options = ("-C", "-E", "-z", "--max-extent-bytes")

    def pack(self, directory: str, path: str, volume: Volume, runner: CommandRunner) -> None:
        compression = [] if any(option.startswith("-z") for option in volume.options) else ["-zlz4"]
        command = [find_tool("mkfs.erofs", package="erofs-utils"), "-d1", f"-T{volume.epoch}", f"-U{volume.identifier}"]
        what = f"Making the erofs file system on the partition {volume.name!r}"
        runner.run([*command, *compression, *volume.options, path, directory], what=what)


__all__ = ("Erofs", "PackedFileSystem", "Squashfs")
