# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The disk: its partition table, its layout, and the files that it becomes."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._artifact_format import (
    FORMATS,
    size_problem,
    subformat_problem,
)
from ansible_collections.os_image.composer.plugins.module_utils._compression import (
    COMPRESSIONS,
    UNSUPPORTED_COMPRESSIONS,
    compression_name,
    level_problem,
)
from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import (
    DiskLayout,
    Partition,
    disk_layout,
    layout_problems,
    with_any_size,
)
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.filesystem import FileSystem
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.kinds import file_system
from ansible_collections.os_image.composer.plugins.module_utils._image_type import IMAGE_TYPES, ImageTypeTraits
from ansible_collections.os_image.composer.plugins.module_utils._partition_type import BIOS_BOOT, PARTITION_TYPES
from ansible_collections.os_image.composer.plugins.module_utils._template.located import LocatedMapping, Path
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Disk
from ansible_collections.os_image.composer.plugins.module_utils._template.rule import Finding, Subject, doubles

SUBJECT = Subject("Disk")

_PARTITION_DEVICE = re.compile(
    r"/dev/((sd|vd|xvd|hd)[a-z]+[0-9]+|(nvme[0-9]+n[0-9]+|mmcblk[0-9]+|nbd[0-9]+|loop[0-9]+)p[0-9]+"
    r"|disk/by-(partuuid|partlabel|uuid|label)/.*|disk/.*-part[0-9]+)\Z"
)


def partitions(template: LocatedMapping) -> t.List[t.Tuple[Path, LocatedMapping]]:
    """Return all partitions with their YAML paths."""
    return [(("disk", "partitions", index), item) for index, item in enumerate(template["disk"]["partitions"])]


def file_system_of(partition: t.Mapping[str, t.Any]) -> FileSystem | None:
    """Return the file system of a partition; V(None) when it is left empty."""
    name = partition.get("fsType")
    return file_system(name) if name else None


def is_mbr(template: LocatedMapping) -> bool:
    """Tell whether the disk has a partition table of the kind MBR."""
    return bool(template["disk"]["partitionTableType"] == "mbr")


def is_bios_boot(partition: t.Mapping[str, t.Any]) -> bool:
    """Tell whether a partition is where GRUB has its core on a GPT disk."""
    name = partition.get("typeUUID") or partition.get("type")
    if name:
        return bool(PARTITION_TYPES.get(name, name).lower() == BIOS_BOOT)
    return "bios_grub" in partition.get("flags", ())


def image_traits(template: LocatedMapping) -> ImageTypeTraits:
    """Return what is known of the template's image type."""
    return IMAGE_TYPES[template["target"]["imageType"]]


def planned_disk(template: LocatedMapping) -> Disk | None:
    """Return the disk that the image makes, or that its installer does; V(None) when there is none.

    How large the disk of the installed machine is need not be known.
    """
    disk = Disk.from_data(template["disk"])
    if image_traits(template).is_disk:
        return disk
    return with_any_size(disk) if disk.partitions else None


def planned_layout(template: LocatedMapping) -> DiskLayout | None:
    """Return the layout of the disk; V(None) when it has none, which is another rule's business."""
    disk = planned_disk(template)
    return None if disk is None or layout_problems(disk) else disk_layout(disk)


def sized_partitions(template: LocatedMapping) -> t.Iterator[t.Tuple[Partition, Path]]:
    """Yield each partition whose size the template decides, and where it does; none where there is no layout."""
    layout = planned_layout(template)
    for partition, (path, item) in zip(layout.partitions if layout else (), partitions(template)):
        if not partition.fits_content:
            yield partition, (*path, "size" if "size" in item else "end")


@SUBJECT.rule(
    "disk",
    "target",
    example="""
    disk:
      size: 1GiB
      partitions:
        - {id: boot, type: esp, fsType: fat32, start: 1MiB, end: 257MiB, mountPoint: /boot/efi}
        - {id: root, fsType: ext4, start: 256MiB, end: 2GiB, mountPoint: /}
    """,
)
def disk_can_be_laid_out(template: LocatedMapping) -> t.Iterator[Finding]:
    """The disk has a size and partitions; these lie within it, do not overlap, and have ids and mount points."""
    disk = planned_disk(template)
    for problem in layout_problems(disk) if disk is not None else ():
        yield problem.path, problem.message


@SUBJECT.rule(
    "disk",
    "target",
    example="""
    target:
      imageType: initrd
    disk:
      artifacts:
        - type: qcow2
    """,
)
def disk_fits_the_image_type(template: LocatedMapping) -> t.Iterator[Finding]:
    """An initrd has no disk; only a raw image has artifacts; only an installer has a disk to write to."""
    kind, traits, disk = template["target"]["imageType"], image_traits(template), template["disk"]
    if not traits.can_hold_disk and disk["partitions"]:
        yield ("disk", "partitions"), f"An {kind} has no disk, so partitions have no effect. Remove them."
    if not traits.is_disk and disk["artifacts"]:
        yield (
            ("disk", "artifacts"),
            f"An image of the type {kind} is one file; artifacts have no effect. Remove them, or use imageType: raw.",
        )
    if not traits.is_medium and "path" in disk:
        yield ("disk", "path"), "disk.path is where an installer ISO writes to. Remove it, or use imageType: iso."


@SUBJECT.rule(
    "disk",
    example="""
    target:
      imageType: iso
    disk:
      path: /dev/nvme0n1p2
    """,
)
def installer_writes_to_a_whole_disk(template: LocatedMapping) -> t.Iterator[Finding]:
    """The device that an installer writes to is a disk, not one of its partitions."""
    device = template["disk"].get("path", "")
    if _PARTITION_DEVICE.match(device):
        yield (
            ("disk", "path"),
            f"{device} is a partition, but the installer makes a partition table of its own. "
            "Name the whole disk, such as /dev/nvme0n1.",
        )


@SUBJECT.rule(
    "disk",
    example="""
    disk:
      size: 2GiB
      partitionTableType: mbr
      partitions:
        - {id: boot, type: esp, fsType: fat32, size: 256MiB, mountPoint: /boot/efi, flags: [boot]}
        - {id: root, fsType: ext4, end: "0", mountPoint: /, flags: [boot]}
    """,
)
def mbr_is_not_asked_for_gpt(template: LocatedMapping) -> t.Iterator[Finding]:
    """What only a GPT can store is not asked of an MBR; one of its partitions may be the active one."""
    if not is_mbr(template):
        return
    active = False
    for path, item in partitions(template):
        if "typeUUID" in item:
            yield (
                (*path, "typeUUID"),
                "The types of an mbr are no UUIDs. Use type, or partitionTableType: gpt.",
            )
        elif is_bios_boot(item):
            yield (
                path,
                f"The BIOS boot partition {item['id']!r} is for GRUB on gpt; on mbr, GRUB lies behind the table. "
                "Remove it, or use partitionTableType: gpt.",
            )
        for index, flag in enumerate(item["flags"]):
            if flag == "boot" and active:
                yield (*path, "flags", index), "Two partitions have the flag boot; an mbr has one active partition."
            active = active or flag == "boot"


@SUBJECT.rule(
    "disk",
    example="""
    disk:
      artifacts:
        - {type: raw, compression: gz}
        - {type: raw, compression: gzip}
    """,
)
def artifacts_are_unique(template: LocatedMapping) -> t.Iterator[Finding]:
    """Each artifact is asked for once."""
    values = (
        (("disk", "artifacts", index), (item["type"], item.get("compression")))
        for index, item in enumerate(template["disk"]["artifacts"])
    )
    for path, (kind, compression) in doubles(values):
        yield (
            path,
            f"The artifact {kind}{f' with {compression}' if compression else ''} is asked for twice. Remove one.",
        )


@SUBJECT.rule(
    "disk",
    "target",
    example="""
    disk:
      artifacts:
        - {type: raw, compression: gz, level: 19}
        - {type: vhd, subformat: streamOptimized}
    """,
)
def artifacts_can_be_made(template: LocatedMapping) -> t.Iterator[Finding]:
    """A variant belongs to its format, a level to its compression, and the disk is not too large for them."""
    # Of other images it would be another disk.
    layout = planned_layout(template) if image_traits(template).is_disk else None
    for index, item in enumerate(template["disk"]["artifacts"]):
        path = ("disk", "artifacts", index)
        problem = subformat_problem(item["type"], item.get("subformat"))
        if problem:
            yield (*path, "subformat"), problem
        problem = size_problem(item["type"], layout.size) if layout else None
        if problem:
            yield (*path, "type"), problem
        compression = item.get("compression")
        problem = level_problem(compression and compression_name(compression), item.get("level"))
        if problem:
            yield (*path, "level"), problem


@SUBJECT.rule(
    "disk",
    example="""
    disk:
      artifacts:
        - {type: raw, compression: bz2}
    """,
)
def compressions_can_be_made(template: LocatedMapping) -> t.Iterator[Finding]:
    """A compression that the original tool knows, but that takes longer than others for more bytes, is not made."""
    known = list(COMPRESSIONS)
    for index, item in enumerate(template["disk"]["artifacts"]):
        if item.get("compression") in UNSUPPORTED_COMPRESSIONS:
            yield (
                ("disk", "artifacts", index, "compression"),
                f"The compression {item['compression']} is not supported. Use {', '.join(known[:-1])} or {known[-1]}.",
            )


@SUBJECT.advice(
    "disk",
    example="""
    disk:
      artifacts:
        - {type: qcow2, compression: gz}
    """,
)
def artifacts_can_be_used_as_they_are(template: LocatedMapping) -> t.Iterator[Finding]:
    """A format that is compressed by itself is not compressed as a whole."""
    for index, item in enumerate(template["disk"]["artifacts"]):
        if item.get("compression") and FORMATS[item["type"]].is_compact(item.get("subformat")):
            yield (
                ("disk", "artifacts", index, "compression"),
                f"A {item['type']} file with {item['compression']} must be unpacked before a machine can start from "
                "it. Without compression it is compressed inside. Remove compression.",
            )


__all__ = (
    "SUBJECT",
    "file_system_of",
    "image_traits",
    "is_bios_boot",
    "is_mbr",
    "partitions",
    "planned_disk",
    "planned_layout",
    "sized_partitions",
)
