# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Partitions: their names, types and mount points."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._bootloader import BOOT_TYPES
from ansible_collections.os_image.composer.plugins.module_utils._checks.disk import (
    file_system_of,
    is_bios_boot,
    is_mbr,
    partitions,
    planned_layout,
)
from ansible_collections.os_image.composer.plugins.module_utils._checks.paths import (
    LINKS,
    VIRTUAL,
    enclosing,
    is_normal,
)
from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import ALIGNMENT
from ansible_collections.os_image.composer.plugins.module_utils._partition_type import ESP, MBR_ESP, PARTITION_TYPES
from ansible_collections.os_image.composer.plugins.module_utils._size import SECTOR, show_size
from ansible_collections.os_image.composer.plugins.module_utils._template.located import LocatedMapping
from ansible_collections.os_image.composer.plugins.module_utils._template.rule import Finding, Subject, doubles

SUBJECT = Subject("Partitions")

_NOT_MOUNTED = ("", "none")

# The initramfs mounts / and /usr; everything else is mounted by programs that lie here.
_PROGRAMS = re.compile(r"/usr/(bin|sbin|lib(32|64)?|lib/(systemd|[a-z0-9_]+-linux-gnu[a-z0-9]*))\Z")

# Types of other architectures, by parts of their names.
_FOREIGN: t.Mapping[str, t.Tuple[str, ...]] = {
    "x86_64": ("-arm64",),
    "aarch64": ("-amd64", "-x86-64"),
    "armv7hl": ("-amd64", "-x86-64", "-arm64"),
}

# Where systemd mounts partitions by their types, as the Discoverable Partitions Specification says. Its type tmp is
# that of /var/tmp; many take it for /tmp.
_MOUNTED_BY_TYPE: t.Mapping[str, t.Tuple[str, ...]] = {
    "linux-home": ("/home",),
    "home": ("/home",),
    "linux-srv": ("/srv",),
    "srv": ("/srv",),
    "linux-var": ("/var",),
    "var": ("/var",),
    "linux-tmp": ("/var/tmp", "/tmp"),
    "tmp": ("/var/tmp", "/tmp"),
    "linux-root-amd64": ("/",),
    "linux-root-arm64": ("/",),
    "root-x86-64": ("/",),
    "root-arm64": ("/",),
}


def is_esp(partition: t.Mapping[str, t.Any]) -> bool:
    """Tell whether a partition is an EFI system partition."""
    if partition.get("mbrType"):
        return int(partition["mbrType"], 16) == MBR_ESP
    name = partition.get("typeUUID") or partition.get("type")
    if name:
        return bool(PARTITION_TYPES.get(name, name).lower() == ESP)
    return "esp" in partition.get("flags", ())


def is_mounted(partition: t.Mapping[str, t.Any]) -> bool:
    """Tell whether a partition has a mount point."""
    return partition["mountPoint"] not in _NOT_MOUNTED


def _stored_label(partition: t.Mapping[str, t.Any]) -> str:
    """Return the label as the file system keeps it."""
    fs = file_system_of(partition)
    return fs.stored_label(partition["fsLabel"]) if fs is not None else str(partition["fsLabel"])


@SUBJECT.rule(
    "disk",
    example="""
    disk:
      size: 2GiB
      partitions:
        - {id: boot, type: esp, fsType: fat32, fsLabel: SYSTEM, size: 256MiB, mountPoint: /boot/efi}
        - {id: root, fsType: ext4, fsLabel: SYSTEM, end: "0", mountPoint: /}
    """,
)
def partition_names_are_unique(template: LocatedMapping) -> t.Iterator[Finding]:
    """GPT names and labels occur once."""
    for key, what in (("name", "name"), ("fsLabel", "file system label")):
        values = [
            ((*path, key), _stored_label(item) if key == "fsLabel" else item[key])
            for path, item in partitions(template)
        ]
        for path, value in doubles(values):
            yield path, f"The {what} {value!r} is used twice. Give each partition its own."


@SUBJECT.rule(
    "disk",
    example="""
    disk:
      size: 2GiB
      partitions:
        - {id: boot, type: esp, fsType: fat32, size: 256MiB, mountPoint: /boot/efi}
        - {id: data, fsType: ext4, end: "0", mountPoint: /data}
    """,
)
def root_exists_once(template: LocatedMapping) -> t.Iterator[Finding]:
    """Exactly one partition is mounted on /, with a file system that can hold it."""
    roots = [(path, item) for path, item in partitions(template) if item["mountPoint"] == "/"]
    if not roots and template["disk"]["partitions"]:
        yield ("disk", "partitions"), "No partition has the mountPoint /. Give the root partition mountPoint: /."
    for path, item in roots[1:]:
        yield (
            (*path, "mountPoint"),
            f"The partition {item['id']!r} is a second one with the mountPoint /. Change one of the two.",
        )
    for path, item in roots[:1]:
        fs = file_system_of(item)
        if fs is not None and not fs.keeps_owners:
            yield (
                (*path, "fsType"),
                f"The root file system cannot be {item['fsType']}, which keeps no owners and permissions. Use ext4.",
            )


@SUBJECT.rule(
    "disk",
    example="""
    disk:
      size: 2GiB
      partitions:
        - {id: boot, type: esp, fsType: fat32, size: 256MiB, mountPoint: /boot/efi}
        - {id: root, fsType: ext4, size: 1GiB, mountPoint: /}
        - {id: locks, fsType: ext4, size: 64MiB, mountPoint: /run/lock}
        - {id: etc, fsType: ext4, size: 64MiB, mountPoint: /etc}
        - {id: libraries, fsType: ext4, end: "0", mountPoint: /lib/firmware}
    """,
)
def mount_points_are_sound(template: LocatedMapping) -> t.Iterator[Finding]:
    """Mount points are normal paths, not virtual or behind links, and do not have what is needed to mount them."""
    for path, item in partitions(template):
        problem = "" if item["mountPoint"] in _NOT_MOUNTED else mount_point_problem(item["mountPoint"])
        if problem:
            yield (*path, "mountPoint"), problem


def mount_point_problem(value: str) -> str:
    """Return why nothing can be mounted at a path, and what to do; nothing when it can."""
    link = enclosing(value, LINKS)
    if not is_normal(value):
        return f"The mountPoint {value} must be written without //, . and .., and without a / at its end."
    if enclosing(value, VIRTUAL):
        return f"The mountPoint {value} belongs to a virtual file system. Use another directory."
    if link:
        return f"The mountPoint {value} lies behind the symbolic link {link}. Use {LINKS[link]}{value[len(link) :]}."
    if value in ("/etc", "/etc/systemd"):
        return (
            f"{value} cannot be a partition of its own: what shall be mounted is read from there. "
            "Leave it on the root file system."
        )
    if _PROGRAMS.match(value):
        return (
            f"{value} cannot be a partition of its own: it has the programs that mount it. Only the whole of /usr "
            "is mounted before they run. Use /usr, or leave it where it is."
        )
    return ""


@SUBJECT.rule(
    "disk",
    example="""
    disk:
      size: 2GiB
      partitions:
        - {id: boot, type: esp, fsType: fat32, size: 256MiB, mountPoint: /boot/efi}
        - {id: root, fsType: ext4, size: 1GiB, mountPoint: /}
        - {id: firmware, fsType: ext4, end: "0", mountPoint: /boot/efi/firmware}
    """,
)
def mount_points_nest(template: LocatedMapping) -> t.Iterator[Finding]:
    """Nothing is mounted below the ESP."""
    esps = [item["mountPoint"] for _path, item in partitions(template) if is_esp(item) and is_mounted(item)]
    for path, item in partitions(template):
        above = enclosing(item["mountPoint"], [esp for esp in esps if esp != item["mountPoint"]])
        if above:
            yield (
                (*path, "mountPoint"),
                f"The mountPoint {item['mountPoint']} lies on the EFI system partition ({above}), which is the "
                "firmware's. Use another directory.",
            )


@SUBJECT.rule(
    "disk",
    "systemConfig.bootloader",
    example="""
    disk:
      size: 2GiB
      partitions:
        - {id: boot, fsType: ext4, size: 256MiB, mountPoint: /boot}
        - {id: root, fsType: ext4, end: "0", mountPoint: /}
    """,
)
def efi_has_its_partition(template: LocatedMapping) -> t.Iterator[Finding]:
    """An EFI bootloader needs exactly one ESP, with a FAT file system, where the build expects it."""
    boot_type = template["systemConfig"]["bootloader"]["bootType"]
    if not BOOT_TYPES[boot_type].needs_esp or not template["disk"]["partitions"]:
        return
    esps = [(path, item) for path, item in partitions(template) if is_esp(item)]
    if not esps:
        yield (
            ("disk", "partitions"),
            f"There is no EFI system partition, but bootloader.bootType is {boot_type}. "
            "Add a partition with type: esp, fsType: fat32 and mountPoint: /boot/efi.",
        )
    for path, item in esps[1:]:
        yield (*path, "type"), f"The partition {item['id']!r} is a second EFI system partition. Keep one."
    for path, item in esps:
        fs = file_system_of(item)
        if fs is None or not fs.is_read_by_firmware:
            yield (
                path,
                f"The EFI system partition {item['id']!r} must have a FAT file system. Use fsType: fat32.",
            )
        if item["mountPoint"] not in ("/boot/efi", "/efi"):
            yield (
                (*path, "mountPoint"),
                f"The EFI system partition {item['id']!r} must be mounted on /boot/efi or /efi.",
            )


@SUBJECT.rule(
    "disk",
    "target",
    example="""
    disk:
      size: 2GiB
      partitions:
        - {id: boot, type: esp, fsType: fat32, size: 256MiB, mountPoint: /boot/efi}
        - {id: root, type: linux-root-arm64, fsType: ext4, end: "0", mountPoint: /}
    """,
)
def types_fit_the_architecture(template: LocatedMapping) -> t.Iterator[Finding]:
    """The root partition type and the flags agree with the architecture and the type."""
    arch = template["target"]["arch"]
    for path, item in partitions(template):
        kind = item.get("type", "")
        if any(part in kind for part in _FOREIGN.get(arch, ())):
            yield (*path, "type"), f"The type {kind} does not belong to {arch}. Use the one of that architecture."
        for index, flag in enumerate(item["flags"]):
            # On MBR, boot is the active partition, which may be any.
            if not is_esp(item) and (flag == "esp" or (flag == "boot" and not is_mbr(template))):
                yield (
                    (*path, "flags", index),
                    f"The flag {flag} only has an effect on an EFI system partition. Remove it, or use type: esp.",
                )
            if flag == "bios_grub" and not is_bios_boot(item) and not is_mbr(template):
                yield (
                    (*path, "flags", index),
                    "The flag bios_grub has no effect beside another type. Remove it, or use type: bios.",
                )


@SUBJECT.advice(
    "disk",
    example="""
    disk:
      size: 2GiB
      partitions:
        - {id: boot, type: esp, fsType: fat32, size: 256MiB, mountPoint: /boot/efi}
        - {id: root, fsType: ext4, size: 1GiB, mountPoint: /}
        - {id: data, type: linux-home, fsType: ext4, end: "0", mountPoint: /data}
    """,
)
def types_fit_their_mount_points(template: LocatedMapping) -> t.Iterator[Finding]:
    """A type that says where a partition is mounted agrees with the mount point."""
    for path, item in partitions(template):
        usual = _MOUNTED_BY_TYPE.get(item.get("type", ""), ()) if "typeUUID" not in item else ()
        if usual and is_mounted(item) and item["mountPoint"] not in usual and "no-auto" not in item["flags"]:
            yield (
                (*path, "type"),
                f"systemd takes a partition of the type {item['type']} for {usual[0]}, but it is mounted on "
                f"{item['mountPoint']}. Use type: linux.",
            )


@SUBJECT.advice(
    "disk",
    "target",
    example="""
    disk:
      size: 2GiB
      partitions:
        - {id: boot, type: esp, fsType: fat32, start: 63KiB, end: 257MiB, mountPoint: /boot/efi}
        - {id: root, fsType: ext4, end: "0", mountPoint: /}
    """,
)
def partitions_are_aligned(template: LocatedMapping) -> t.Iterator[Finding]:
    """Partitions begin at multiples of 1 MiB, which suits the blocks of every medium."""
    layout = planned_layout(template)
    for partition, (path, item) in zip(layout.partitions if layout else (), partitions(template)):
        # Nobody reads from where GRUB's core lies once the system is up.
        if partition.start % ALIGNMENT and not is_bios_boot(item):
            yield (
                (*path, "start"),
                f"The partition {partition.id!r} begins at {show_size(partition.start * SECTOR)}, which is no multiple "
                "of 1 MiB: most disks will write to it slowly. Move its start.",
            )


__all__ = ("SUBJECT", "is_esp", "is_mounted", "mount_point_problem")
