# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""File systems: what they can hold, how large they must be, and how they are mounted."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._checks.disk import (
    file_system_of,
    is_bios_boot,
    partitions,
    sized_partitions,
)
from ansible_collections.os_image.composer.plugins.module_utils._checks.partitions import is_mounted
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.filesystem import FileSystem
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.kinds import FILE_SYSTEMS, file_system
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.vfat import Fat16, Fat32
from ansible_collections.os_image.composer.plugins.module_utils._partition_type import PARTITION_TYPES, SWAP
from ansible_collections.os_image.composer.plugins.module_utils._size import MIB, show_size
from ansible_collections.os_image.composer.plugins.module_utils._template.located import LocatedMapping
from ansible_collections.os_image.composer.plugins.module_utils._template.rule import Finding, Subject

SUBJECT = Subject("File systems")

# What partition types call swap space.
_SWAP_TYPES = tuple(name for name, guid in PARTITION_TYPES.items() if guid == SWAP)

# A root file system below this holds no system.
_LEAST_ROOT = 256 * MIB
_LEAST_COMPRESSED_ROOT = 32 * MIB

# Mount option -> the file systems that know it, where not all do.
_OWNERS: t.Mapping[str, t.Sequence[str]] = {
    option: sorted(name for name, kind in FILE_SYSTEMS.items() if option in kind.own_mount_options)
    for option in frozenset().union(*(kind.own_mount_options for kind in FILE_SYSTEMS.values()))
}

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
        fs, purpose = file_system_of(item), item.get("type")
        if fs is None:
            if item["fsLabel"]:
                yield (*path, "fsLabel"), "A label without a file system has no effect. Add fsType, or remove fsLabel."
        elif is_bios_boot(item):
            yield (
                (*path, "fsType"),
                f"GRUB itself is written to the BIOS boot partition {item['id']!r}, which cannot hold {fs.name} "
                "beside. Remove fsType.",
            )
        elif not fs.holds_files:
            if is_mounted(item):
                yield (*path, "mountPoint"), "Swap cannot be mounted. Remove the mountPoint."
            if purpose is not None and purpose not in _SWAP_TYPES:
                yield (*path, "type"), f"A swap partition must have the type linux-swap, not {purpose}."
        elif purpose in _SWAP_TYPES:
            yield (*path, "fsType"), f"A partition of the type {purpose} cannot hold {fs.name}. Use fsType: linux-swap."


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
        fs = file_system_of(item)
        problem = fs.check_label(item["fsLabel"]) if fs is not None and item["fsLabel"] else None
        if fs is not None and problem:
            remedy = "Change" if fs.label_length else "Remove"
            yield (*path, "fsLabel"), f"{problem} {remedy} fsLabel."


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
        if partition.fs_type == Fat16.names[0] and partition.size > Fat16.biggest_size:
            yield (
                path,
                f"The partition {partition.id!r} has {partition.size // MIB} MiB, but FAT16 ends at "
                f"{Fat16.biggest_size // MIB} MiB. Set its fsType to {Fat32.names[0]}.",
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
        if not partition.fs_type:
            continue
        fs = file_system(partition.fs_type)
        needs = [(fs.least_size, f"a file system of the type {fs.name}")]
        if partition.mount_point == "/":
            needs.append((_LEAST_COMPRESSED_ROOT if fs.is_compressed else _LEAST_ROOT, "a root file system"))
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
        fs = file_system_of(item)
        problem = fs.check_options(item.get("mkfsOptions", ())) if fs is not None else None
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
        fs = file_system_of(item)
        if fs is not None and fs.is_read_only and "rw" in item["mountOptions"].split(","):
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
        fs = file_system_of(item)
        if fs is None or not is_mounted(item):
            continue
        for option in item["mountOptions"].split(","):
            problem = foreign_option_problem(fs, option) or fs.check_mount_option(option)
            if problem:
                yield (*path, "mountOptions"), f"{problem} Remove it."


def foreign_option_problem(fs: FileSystem, option: str) -> str | None:
    """Return why a file system does not know a mount option; V(None) when it may."""
    owners = _OWNERS.get(option.partition("=")[0], (fs.name,))
    if fs.name in owners:
        return None
    return f"The mount option {option} is one of {', '.join(owners)}; with it {fs.name} would not be mounted."


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
        for one, other in contradicting_options(item["mountOptions"]):
            yield (*path, "mountOptions"), f"The mount options {one} and {other} contradict each other. Keep one."


def contradicting_options(text: str) -> t.List[t.Tuple[str, str]]:
    """Return the pairs of mount options that say the opposite of each other."""
    options = text.split(",")
    return [(one, other) for one, other in _OPPOSITES if one in options and other in options]


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
        fs = file_system_of(item)
        is_swap = fs is not None and not fs.holds_files
        if item["mountOptions"] != "defaults" and not is_mounted(item) and not is_swap:
            yield (
                (*path, "mountOptions"),
                f"The partition {item['id']!r} is not mounted, so its mountOptions have no effect. "
                "Remove them, or add a mountPoint.",
            )


__all__ = ("SUBJECT", "contradicting_options", "foreign_option_problem")
