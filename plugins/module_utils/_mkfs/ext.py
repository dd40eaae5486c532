# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""ext2, ext3 and ext4, filled by mke2fs from a directory, without a mount, the same bytes on every run."""

from __future__ import annotations

import dataclasses
import os
import re
import stat
import struct
import subprocess
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool
from ansible_collections.os_image.composer.plugins.module_utils._errors import CommandError
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.ext import INODE_SIZE, Ext
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.filesystem import with_suboptions
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.usage import BLOCK
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.maker import Maker
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.volume import Source, Volume, too_small
from ansible_collections.os_image.composer.plugins.module_utils._size import align_down

_CONFIGURATION = """[defaults]
\tblocksize = 4096
\tinode_size = 256
\tinode_ratio = 16384
\treserved_ratio = 0
\tenable_periodic_fsck = 0
[fs_types]
\text2 = {
\t}
\text3 = {
\t}
\text4 = {
\t}
"""

# What mke2fs says when the content does not fit after all.
_FULL = re.compile(rb"Could not allocate (block|inode)|No space|no space|ENOSPC|Disk full", re.IGNORECASE)


class ExtMaker(Maker):
    """Makes ext2, ext3 and ext4."""

    fs: Ext

    def write(self, volume: Volume, source: Source, runner: CommandRunner) -> None:
        configuration = volume.scratch_file("mke2fs.conf")
        with open(configuration, "w", encoding="ascii") as stream:
            stream.write(_CONFIGURATION)
        # mke2fs takes its clock from the first variable, e2fsck from the second.
        runner = runner.with_environment(
            {
                "MKE2FS_CONFIG": configuration,
                "E2FSPROGS_FAKE_TIME": str(volume.epoch),
                "E2FSCK_TIME": str(volume.epoch),
            }
        )
        self._make(volume, source, runner)
        _fix_inodes(volume, source, runner)
        self._finish(volume, runner)

    def _make(self, volume: Volume, source: Source, runner: CommandRunner) -> None:
        extended, given = with_suboptions(
            "-E",
            {
                "offset": str(volume.offset),
                "hash_seed": volume.seed,
                "root_owner": "0:0",
                "nodiscard": "",
                # The image is a new sparse file: it is full of zeros already.
                "lazy_itable_init": "1",
                "lazy_journal_init": "1",
            },
            volume.options,
        )
        features, given = with_suboptions("-O", dict.fromkeys(("none", *self.fs.features), ""), given)
        command = [find_tool("mke2fs"), "-q", "-F", "-t", self.fs.name, "-O", features]
        command += [
            "-b",
            str(BLOCK),
            "-I",
            str(INODE_SIZE),
            "-N",
            str(self.fs.inodes(volume.size, source.usage)),
            "-m",
            "0",
        ]
        command += ["-U", volume.identifier, "-E", extended]
        if volume.label:
            command += ["-L", volume.label]
        if source.directory is not None:
            command += ["-d", source.directory]
        command += [*given, volume.image, f"{align_down(volume.size, BLOCK) // 1024}k"]
        try:
            done = runner.run(command, what=f"Making the {self.fs.name} file system on the partition {volume.name!r}")
        except CommandError as exc:
            if _FULL.search(str(exc).encode("utf-8")):
                required = max(self.fs.required_size(volume.size, source.usage), volume.size)
                raise too_small(volume, required, source.usage) from exc
            raise
        if b"Could not allocate" in done.stderr:
            raise too_small(volume, self.fs.required_size(volume.size, source.usage), source.usage)

    def _finish(self, volume: Volume, runner: CommandRunner) -> None:
        """Index the directories, which mke2fs leaves to others."""
        address = _address(volume)
        what = f"Checking the file system on the partition {volume.name!r}"
        done = runner.run([find_tool("e2fsck"), "-f", "-y", "-D", address], check=False, what=what)
        # 1 means that something was changed: the directories.
        if done.rc not in (0, 1):
            raise CommandError(f"{what} ended with status {done.rc}: {done.text.strip()}")


def _address(volume: Volume) -> str:
    return f"{volume.image}?offset={volume.offset}"


@dataclasses.dataclass(frozen=True)
class _InodeTimes:
    """Times of an inode in an image that are not what they should be."""

    number: int
    fields: t.Tuple[str, ...]


# Of an inode: access, change and modification, and the finer parts of change, modification and access.
_TIMES = struct.Struct("<3I")
_TIMES_AT = 0x08
_EXTRAS_AT = 0x84


def _odd_times(image: str, offset: int, epoch: int) -> t.Iterator[_InodeTimes]:
    """Find the inodes whose times came from the build host.

    mke2fs before 1.47.1 takes the times of last access and last change from the source, and no mke2fs of those limits
    the time of last modification. Reads the superblock, the group descriptors and the used parts of the inode tables;
    layout: U(https://docs.kernel.org/filesystems/ext4/).
    """
    with open(image, "rb") as stream:
        stream.seek(offset + 1024)
        super_block = stream.read(1024)
        block_count = struct.unpack_from("<I", super_block, 0x04)[0]
        blocks_per_group, _clusters, inodes_per_group = struct.unpack_from("<3I", super_block, 0x20)
        inode_size = struct.unpack_from("<H", super_block, 0x58)[0]
        incompatible = struct.unpack_from("<I", super_block, 0x60)[0]
        descriptor_size = struct.unpack_from("<H", super_block, 0xFE)[0] if incompatible & 0x80 else 32
        groups = -(-block_count // blocks_per_group)
        stream.seek(offset + BLOCK)
        descriptors = stream.read(groups * descriptor_size)
        for group in range(groups):
            base = group * descriptor_size
            bitmap_block, table_block = struct.unpack_from("<2I", descriptors, base + 4)
            if incompatible & 0x80:
                bitmap_block |= struct.unpack_from("<I", descriptors, base + 0x24)[0] << 32
                table_block |= struct.unpack_from("<I", descriptors, base + 0x28)[0] << 32
            stream.seek(offset + bitmap_block * BLOCK)
            bitmap = int.from_bytes(stream.read(BLOCK), "little") & ((1 << inodes_per_group) - 1)
            used = bitmap.bit_length()
            if not used:
                continue
            stream.seek(offset + table_block * BLOCK)
            table = stream.read(used * inode_size)
            for index in range(used):
                number = group * inodes_per_group + index + 1
                if not bitmap >> index & 1 or (number < 11 and number != 2):
                    continue
                fields = _odd_fields(table, index * inode_size, epoch)
                if fields:
                    yield _InodeTimes(number, fields)


def _odd_fields(table: bytes, base: int, epoch: int) -> t.Tuple[str, ...]:
    access, change, modification = _TIMES.unpack_from(table, base + _TIMES_AT)
    finer = _TIMES.unpack_from(table, base + _EXTRAS_AT)
    if access == change == epoch and modification <= epoch and not any(finer):
        return ()
    odd = [name for name, value in (("atime", access), ("ctime", change)) if value != epoch]
    if modification > epoch:
        odd.append("mtime")
    names = ("ctime_extra", "mtime_extra", "atime_extra")
    return (*odd, *(name for name, value in zip(names, finer) if value))


def _fix_inodes(volume: Volume, source: Source, runner: CommandRunner) -> None:
    """Give the root directory its owner and mode, and all inodes times that do not tell when they were built."""
    lines = []
    if source.directory is not None:
        status = os.stat(source.directory)
        lines = [
            f"sif <2> mode 0{stat.S_IFDIR | stat.S_IMODE(status.st_mode):o}",
            f"sif <2> uid {status.st_uid}",
            f"sif <2> gid {status.st_gid}",
            f"sif <2> mtime @{min(int(status.st_mtime), volume.epoch)}",
        ]
    for inode in _odd_times(volume.image, volume.offset, volume.epoch):
        for field in inode.fields:
            if field.endswith("_extra"):
                lines.append(f"sif <{inode.number}> {field} 0")
            elif inode.number != 2 or field != "mtime":
                lines.append(f"sif <{inode.number}> {field} @{volume.epoch}")
    if not lines:
        return
    what = f"Fixing the times on the partition {volume.name!r}"
    command = [find_tool("debugfs"), "-w", "-f", "-", _address(volume)]
    # It repeats each of some 50,000 lines, which nobody wants to read.
    process = runner.start(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    with process:
        _stdout, stderr = process.communicate("\n".join([*lines, ""]).encode("ascii"))
    # What is not understood ends up on standard error, below the version, and not in the exit status.
    problems = stderr.decode("utf-8", errors="replace").splitlines()[1:]
    if process.returncode != 0 or problems:
        raise CommandError(f"{what} failed: {' '.join(problems[:5])}")


__all__ = ("ExtMaker",)
