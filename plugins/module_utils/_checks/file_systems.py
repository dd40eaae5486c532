# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""File systems: what they can hold, how large they must be, and how they are mounted."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._checks.disk import (
    is_bios_boot,
    partitions,
    sized_partitions,
)
from ansible_collections.os_image.composer.plugins.module_utils._checks.partitions import FAT, SWAP, is_mounted
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.ext import LEAST_WITH_JOURNAL
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.kinds import file_system
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.vfat import BIGGEST_FAT16
from ansible_collections.os_image.composer.plugins.module_utils._size import KIB, MIB, show_size
from ansible_collections.os_image.composer.plugins.module_utils._template.located import LocatedMapping
from ansible_collections.os_image.composer.plugins.module_utils._template.rule import Finding, Subject

SUBJECT = Subject("File systems")

_COMPRESSED = frozenset(("squashfs", "erofs"))

# FAT32 begins at 65525 clusters of one sector. The others: what their mkfs asks for.
_LEAST_SIZES: t.Mapping[str, int] = {
    "fat32": 33 * MIB,
    "vfat": 33 * MIB,
    "fat16": 5 * MIB,
    "ext2": MIB,
    "ext3": LEAST_WITH_JOURNAL,
    "ext4": LEAST_WITH_JOURNAL,
    "xfs": 300 * MIB,
    "btrfs": 110 * MIB,
    "linux-swap": 40 * KIB,
    "swap": 40 * KIB,
}
# A root file system below this holds no system.
_LEAST_ROOT = 256 * MIB
_LEAST_COMPRESSED_ROOT = 32 * MIB

# Bytes.
_LABEL_LENGTHS: t.Mapping[str, int] = {
    **dict.fromkeys(FAT, 11),
    **dict.fromkeys(SWAP, 15),
    "xfs": 12,
    "erofs": 0,
    "squashfs": 0,
}
_LABEL_LENGTH = 16

# Options that only some file systems know, as mount(8) and the kernel's documentation of them tell. An option that a
# file system does not know keeps the kernel from mounting it.
_EXT = frozenset(("ext2", "ext3", "ext4"))
_OPTIONS: t.Mapping[str, t.FrozenSet[str]] = {
    **dict.fromkeys(("uid", "gid", "umask", "dmask", "fmask", "iocharset", "codepage", "shortname", "flush"), FAT),
    **dict.fromkeys(("compress", "compress-force", "subvol", "subvolid", "autodefrag"), frozenset(("btrfs",))),
    **dict.fromkeys(("inode64", "inode32", "largeio", "logbufs", "logbsize", "allocsize"), frozenset(("xfs",))),
    **dict.fromkeys(("delalloc", "nodelalloc", "journal_checksum"), frozenset(("ext4",))),
    **dict.fromkeys(("stripe", "init_itable"), _EXT),
    "data": _EXT - {"ext2"},
    "commit": (_EXT - {"ext2"}) | {"btrfs"},
    "errors": _EXT | FAT | {"squashfs"},
    "discard": _EXT | FAT | {"xfs", "btrfs"},
}
# What leads to the uppermost subvolume: option -> value.
_SUBVOLUMES: t.Mapping[str, str] = {"subvol": "/", "subvolid": "5"}

_OPPOSITES = (
    ("ro", "rw"),
    ("auto", "noauto"),
    ("atime", "noatime"),
    ("dev", "nodev"),
    ("exec", "noexec"),
    ("suid", "nosuid"),
    ("sync", "async"),
)


@SUBJECT.rule(
    "disk",
    example="""
    disk:
      size: 2GiB
      partitions:
        - {id: boot, type: esp, fsType: fat32, size: 256MiB, mountPoint: /boot/efi}
        - {id: swap, type: linux-swap, fsType: ext4, size: 128MiB}
        - {id: root, fsType: ext4, end: "0", mountPoint: /}
    """,
)
def file_systems_fit_their_use(template: LocatedMapping) -> t.Iterator[Finding]:
    """Swap is not mounted; types and file systems agree; GRUB has its partition for itself."""
    for path, item in partitions(template):
        kind, purpose = item.get("fsType"), item.get("type")
        if kind is None:
            if item["fsLabel"]:
                yield (*path, "fsLabel"), "A label without a file system has no effect. Add fsType, or remove fsLabel."
        elif is_bios_boot(item):
            yield (
                (*path, "fsType"),
                f"GRUB itself is written to the BIOS boot partition {item['id']!r}, which cannot hold {kind} beside. "
                "Remove fsType.",
            )
        elif kind in SWAP:
            if is_mounted(item):
                yield (*path, "mountPoint"), "Swap cannot be mounted. Remove the mountPoint."
            if purpose not in (None, "linux-swap", "swap"):
                yield (*path, "type"), f"A swap partition must have the type linux-swap, not {purpose}."
        elif purpose in ("linux-swap", "swap"):
            yield (*path, "fsType"), f"A partition of the type {purpose} cannot hold {kind}. Use fsType: linux-swap."


@SUBJECT.rule(
    "disk",
    example="""
    disk:
      size: 2GiB
      partitions:
        - {id: boot, type: esp, fsType: fat32, fsLabel: EFI/1, size: 256MiB, mountPoint: /boot/efi}
        - {id: root, fsType: xfs, fsLabel: root-file-system, end: "0", mountPoint: /}
    """,
)
def labels_fit_their_file_systems(template: LocatedMapping) -> t.Iterator[Finding]:
    """Labels have the length and the characters that the file system can store."""
    for path, item in partitions(template):
        label, kind = item["fsLabel"], item.get("fsType")
        if not label or kind is None:
            continue
        limit = _LABEL_LENGTHS.get(kind, _LABEL_LENGTH)
        if not limit:
            yield (*path, "fsLabel"), f"A file system of the type {kind} gets no label. Remove fsLabel."
        elif len(label.encode("utf-8")) > limit:
            yield (
                (*path, "fsLabel"),
                f"The label {label!r} is longer than the {limit} bytes that {kind} can store. Shorten it.",
            )
        elif kind in FAT and not re.match(r"[A-Za-z0-9_ -]+\Z", label):
            yield (
                (*path, "fsLabel"),
                f"The label {label!r} of a FAT file system may only have letters, which are stored as capitals, "
                "digits, blanks, - and _.",
            )
        elif not re.match(r"[!-~ ]+\Z", label):
            yield (*path, "fsLabel"), f"The label {label!r} may only have printable ASCII characters."
        else:
            problem = file_system(kind).check_label(label)
            if problem:
                yield (*path, "fsLabel"), f"{problem} Change fsLabel."


@SUBJECT.rule(
    "disk",
    "target",
    example="""
    disk:
      size: 8GiB
      partitions:
        - {id: boot, type: esp, fsType: fat32, size: 200MiB, mountPoint: /boot/efi}
        - {id: data, fsType: fat16, size: 4GiB, mountPoint: /srv}
        - {id: root, fsType: ext4, end: "0", mountPoint: /}
    """,
)
def fat16_ends_at_2_gib(template: LocatedMapping) -> t.Iterator[Finding]:
    """FAT16 counts no more clusters than fill 2 GiB."""
    for partition, path in sized_partitions(template):
        if partition.fs_type == "fat16" and partition.size > BIGGEST_FAT16:
            yield (
                path,
                f"The partition {partition.id!r} has {partition.size // MIB} MiB, but FAT16 ends at "
                f"{BIGGEST_FAT16 // MIB} MiB. Set its fsType to fat32.",
            )


@SUBJECT.rule(
    "disk",
    "target",
    example="""
    disk:
      size: 2GiB
      partitions:
        - {id: boot, type: esp, fsType: fat32, size: 20MiB, mountPoint: /boot/efi}
        - {id: data, fsType: xfs, size: 128MiB, mountPoint: /srv}
        - {id: root, fsType: ext4, end: "0", mountPoint: /}
    """,
)
def partitions_are_large_enough(template: LocatedMapping) -> t.Iterator[Finding]:
    """File systems have at least the size that they can be made with."""
    for partition, path in sized_partitions(template):
        needs = [(_LEAST_SIZES.get(partition.fs_type, 0), f"a file system of the type {partition.fs_type}")]
        if partition.mount_point == "/":
            least = _LEAST_COMPRESSED_ROOT if partition.fs_type in _COMPRESSED else _LEAST_ROOT
            needs.append((least, "a root file system"))
        least, what = max(needs)
        if partition.size < least:
            yield (
                path,
                f"The partition {partition.id!r} has {show_size(partition.size)}, but {what} needs at least "
                f"{show_size(least)}. Make it larger.",
            )


@SUBJECT.rule(
    "disk",
    example="""
    disk:
      size: 2GiB
      partitions:
        - {id: boot, type: esp, fsType: fat32, size: 256MiB, mountPoint: /boot/efi}
        - {id: root, fsType: ext4, end: "0", mountPoint: /, mkfsOptions: ["-L", root]}
    """,
)
def mkfs_options_leave_the_build_its_own(template: LocatedMapping) -> t.Iterator[Finding]:
    """Options for the program that makes a file system are not those that the build itself gives."""
    for path, item in partitions(template):
        options = item.get("mkfsOptions")
        problem = file_system(item["fsType"]).check_options(options) if options and item.get("fsType") else None
        if problem:
            yield (*path, "mkfsOptions"), f"{problem} Change mkfsOptions."


@SUBJECT.rule(
    "disk",
    example="""
    disk:
      size: 2GiB
      partitions:
        - {id: boot, type: esp, fsType: fat32, size: 256MiB, mountPoint: /boot/efi}
        - {id: root, fsType: erofs, end: "0", mountPoint: /, mountOptions: "rw,noatime"}
    """,
)
def compressed_file_systems_are_read_only(template: LocatedMapping) -> t.Iterator[Finding]:
    """squashfs and erofs are written once, by the build, and are not mounted to be written."""
    for path, item in partitions(template):
        if item.get("fsType") in _COMPRESSED and "rw" in item["mountOptions"].split(","):
            yield (
                (*path, "mountOptions"),
                f"{item['fsType']} cannot be written, so it cannot be mounted with rw. Remove the option.",
            )


@SUBJECT.rule(
    "disk",
    example="""
    disk:
      size: 2GiB
      partitions:
        - {id: boot, type: esp, fsType: fat32, size: 256MiB, mountPoint: /boot/efi}
        - {id: root, fsType: ext4, size: 1GiB, mountPoint: /, mountOptions: "noatime,compress=zstd"}
        - {id: data, fsType: btrfs, end: "0", mountPoint: /srv, mountOptions: subvol=@data}
    """,
)
def mount_options_belong_to_their_file_system(template: LocatedMapping) -> t.Iterator[Finding]:
    """Mount options are those of the file system, which otherwise is not mounted; Btrfs has one subvolume."""
    for path, item in partitions(template):
        kind = item.get("fsType")
        for option in item["mountOptions"].split(",") if kind is not None and is_mounted(item) else ():
            name, _sign, value = option.partition("=")
            owners = _OPTIONS.get(name)
            if owners is not None and kind not in owners:
                yield (
                    (*path, "mountOptions"),
                    f"The mount option {option} is one of {', '.join(sorted(owners))}; with it {kind} would not be "
                    "mounted. Remove it.",
                )
            elif _SUBVOLUMES.get(name, value) != value:
                yield (
                    (*path, "mountOptions"),
                    f"The mount option {option} names a subvolume, but the build makes none beside the uppermost one. "
                    "Remove it.",
                )


@SUBJECT.rule(
    "disk",
    example="""
    disk:
      size: 2GiB
      partitions:
        - {id: boot, type: esp, fsType: fat32, size: 256MiB, mountPoint: /boot/efi}
        - {id: root, fsType: ext4, end: "0", mountPoint: /, mountOptions: "ro,noatime,rw"}
    """,
)
def mount_options_do_not_conflict(template: LocatedMapping) -> t.Iterator[Finding]:
    """Mount options do not say the opposite of each other."""
    for path, item in partitions(template):
        options = item["mountOptions"].split(",")
        for one, other in _OPPOSITES:
            if one in options and other in options:
                yield (*path, "mountOptions"), f"The mount options {one} and {other} contradict each other. Keep one."


@SUBJECT.advice(
    "disk",
    example="""
    disk:
      size: 2GiB
      partitions:
        - {id: boot, type: esp, fsType: fat32, size: 256MiB, mountPoint: /boot/efi}
        - {id: root, fsType: ext4, size: 1GiB, mountPoint: /}
        - {id: spare, fsType: ext4, end: "0", mountPoint: none, mountOptions: noatime}
    """,
)
def mount_options_have_effect(template: LocatedMapping) -> t.Iterator[Finding]:
    """Mount options are given where something is mounted."""
    for path, item in partitions(template):
        if item["mountOptions"] != "defaults" and not is_mounted(item) and item.get("fsType") not in SWAP:
            yield (
                (*path, "mountOptions"),
                f"The partition {item['id']!r} is not mounted, so its mountOptions have no effect. "
                "Remove them, or add a mountPoint.",
            )


__all__ = ("SUBJECT",)
