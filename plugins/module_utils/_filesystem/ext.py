# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""ext2, ext3 and ext4: filled by mke2fs from a directory, without a mount, the same bytes on every run."""

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
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.filesystem import (
    FileSystem,
    with_suboptions,
)
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.usage import BLOCK, Usage
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.volume import Source, Volume, too_small
from ansible_collections.os_image.composer.plugins.module_utils._size import MIB, align_down, align_up

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

_INODE_SIZE = 256
_INODE_RATIO = 16384
_BLOCKS_PER_GROUP = 8 * BLOCK

# Bytes below which mke2fs makes no journal, without a word: of ext3 that leaves ext2, which is not mounted as ext3.
_LEAST_WITH_JOURNAL = 2048 * BLOCK

# ext2fs_default_journal_size(): blocks of the file system -> blocks of its journal.
_JOURNALS: t.Sequence[t.Tuple[int, int]] = (
    (32768, 1024),
    (256 * 1024, 4096),
    (512 * 1024, 8192),
    (4096 * 1024, 16384),
    (8192 * 1024, 32768),
    (16384 * 1024, 65536),
    (32768 * 1024, 131072),
)
_BIGGEST_JOURNAL = 262144

# What mke2fs says when the content does not fit after all.
_FULL = re.compile(rb"Could not allocate (block|inode)|No space|no space|ENOSPC|Disk full", re.IGNORECASE)


class Ext(FileSystem):
    """What ext2, ext3 and ext4 have in common."""

    #: All its features: neither the build host's mke2fs.conf nor a newer mke2fs changes an image. Left out are those
    #: that the bootloaders and kernels of the supported distributions cannot all read (orphan_file,
    #: metadata_csum_seed).
    features: t.ClassVar[t.Tuple[str, ...]]
    #: Bytes of a group's descriptor.
    descriptor_size: t.ClassVar[int] = 32

    tools: t.ClassVar[t.Tuple[str, ...]] = ("mke2fs", "debugfs", "e2fsck")
    shaping_tools: t.ClassVar[t.Tuple[str, ...]] = ("mke2fs",)
    own_mount_options = frozenset(("stripe", "init_itable", "errors", "discard"))
    # The driver of ext4 mounts all three.
    kernel_modules = ("ext4",)
    grub_modules = ("ext2",)
    is_staged = False
    own_directories = ("lost+found",)
    mkfs_options = ("-E", "-G", "-J", "-N", "-O", "-m")

    fixed_suboptions: t.ClassVar[t.Mapping[str, t.Tuple[str, ...]]] = {
        "-E": ("offset", "hash_seed", "root_owner"),
        # A journal on another device would be one of the build host.
        "-J": ("device",),
        # With these e2fsprogs, or what sets the times below, finds the file system in a form that it cannot work on.
        "-O": ("journal_dev", "meta_bg", "mmp"),
    }

    def required_size(self, size: int, usage: Usage) -> int:
        overhead = self._overhead(size, _inodes(size, usage))
        # Extent trees and directories grow a little beyond the plain count of blocks.
        least = _LEAST_WITH_JOURNAL if "has_journal" in self.features else 0
        return max((usage.blocks + usage.blocks // 200 + overhead) * BLOCK, least)

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

    def _foreign_feature(self, options: t.Sequence[str]) -> str | None:
        """What is mounted as ext2 or ext3 may not have more than that: tell which feature of mkfsOptions is more."""
        for feature in self.suboptions("-O", options):
            if not feature.startswith("^") and feature not in self.features:
                return f"{self.name} has no feature {feature}: nothing could mount it as {self.name}."
        return None

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
        features, given = with_suboptions("-O", dict.fromkeys(("none", *self.features), ""), given)
        command = [find_tool("mke2fs"), "-q", "-F", "-t", self.name, "-O", features]
        command += ["-b", str(BLOCK), "-I", str(_INODE_SIZE), "-N", str(_inodes(volume.size, source.usage)), "-m", "0"]
        command += ["-U", volume.identifier, "-E", extended]
        if volume.label:
            command += ["-L", volume.label]
        if source.directory is not None:
            command += ["-d", source.directory]
        command += [*given, volume.image, f"{align_down(volume.size, BLOCK) // 1024}k"]
        try:
            done = runner.run(command, what=f"Making the {self.name} file system on the partition {volume.name!r}")
        except CommandError as exc:
            if _FULL.search(str(exc).encode("utf-8")):
                required = max(self.required_size(volume.size, source.usage), volume.size)
                raise too_small(volume, required, source.usage) from exc
            raise
        if b"Could not allocate" in done.stderr:
            raise too_small(volume, self.required_size(volume.size, source.usage), source.usage)

    def _finish(self, volume: Volume, runner: CommandRunner) -> None:
        """Index the directories, which mke2fs leaves to others."""
        address = _address(volume)
        what = f"Checking the file system on the partition {volume.name!r}"
        done = runner.run([find_tool("e2fsck"), "-f", "-y", "-D", address], check=False, what=what)
        # 1 means that something was changed: the directories.
        if done.rc not in (0, 1):
            raise CommandError(f"{what} ended with status {done.rc}: {done.text.strip()}")

    def _overhead(self, size: int, inodes: int) -> int:
        """Return how many blocks the file system takes for itself."""
        blocks = size // BLOCK
        groups = max(1, -(-blocks // _BLOCKS_PER_GROUP))
        descriptor_blocks = -(-groups * self.descriptor_size // BLOCK)
        # resize_inode reserves descriptors for a file system that is 1024 times as big, up to one block of pointers.
        reserved = min(BLOCK // 4, max(0, -(-groups * 1024 * self.descriptor_size // BLOCK) - descriptor_blocks))
        supers = sum(1 for group in range(groups) if _has_super(group))
        journal = next((length for limit, length in _JOURNALS if blocks < limit), _BIGGEST_JOURNAL)
        if "has_journal" not in self.features:
            journal = 0
        tables = groups * align_up(align_up(inodes, groups) // groups * _INODE_SIZE, BLOCK) // BLOCK
        return supers * (1 + descriptor_blocks + reserved) + groups * 2 + tables + journal + 8


class Ext2(Ext):
    """ext2: without a journal."""

    names = ("ext2",)
    fstab_type = "ext2"
    features = ("ext_attr", "resize_inode", "dir_index", "filetype", "sparse_super", "large_file")
    least_size = MIB

    def check_options(self, options: t.Sequence[str]) -> str | None:
        return super().check_options(options) or self._foreign_feature(options)


class Ext3(Ext):
    """ext3: ext2 with a journal."""

    names = ("ext3",)
    fstab_type = "ext3"
    features = ("has_journal", *Ext2.features)
    least_size = _LEAST_WITH_JOURNAL
    grows_online = True
    own_mount_options = Ext.own_mount_options | {"data", "commit"}

    def check_options(self, options: t.Sequence[str]) -> str | None:
        problem = super().check_options(options)
        if problem is None and "^has_journal" in self.suboptions("-O", options):
            return "Without its journal ext3 would be ext2."
        return problem or self._foreign_feature(options)


class Ext4(Ext):
    """ext4: with extents and checksums of its metadata."""

    names = ("ext4",)
    fstab_type = "ext4"
    features = (
        "has_journal",
        "ext_attr",
        "resize_inode",
        "dir_index",
        "filetype",
        "extent",
        "64bit",
        "flex_bg",
        "sparse_super",
        "large_file",
        "huge_file",
        "dir_nlink",
        "extra_isize",
        "metadata_csum",
    )
    descriptor_size = 64
    least_size = _LEAST_WITH_JOURNAL
    grows_online = True
    own_mount_options = Ext3.own_mount_options | {"delalloc", "nodelalloc", "journal_checksum"}


def _address(volume: Volume) -> str:
    return f"{volume.image}?offset={volume.offset}"


def _inodes(size: int, usage: Usage) -> int:
    """Return how many inodes to make: as many as usual, and always room for as many files again as there are."""
    return max(size // _INODE_RATIO, usage.inodes * 2 + 64)


def _has_super(group: int) -> bool:
    """Whether a group has a copy of the superblock (sparse_super: groups 0, 1 and powers of 3, 5 and 7)."""
    if group <= 1:
        return True
    for base in (3, 5, 7):
        power = base
        while power < group:
            power *= base
        if power == group:
            return True
    return False


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


__all__ = ("Ext", "Ext2", "Ext3", "Ext4")
