# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The protection of the root file system by dm-verity: its hash partition, and what starts it."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._bootloader import bootloaders_that
from ansible_collections.os_image.composer.plugins.module_utils._checks.boot import bootloader_traits
from ansible_collections.os_image.composer.plugins.module_utils._checks.disk import (
    image_traits,
    partitions,
    planned_layout,
)
from ansible_collections.os_image.composer.plugins.module_utils._checks.partitions import is_mounted
from ansible_collections.os_image.composer.plugins.module_utils._partition_type import PARTITION_TYPES
from ansible_collections.os_image.composer.plugins.module_utils._size import show_size
from ansible_collections.os_image.composer.plugins.module_utils._template.located import LocatedMapping, Path
from ansible_collections.os_image.composer.plugins.module_utils._template.rule import Finding, Subject

SUBJECT = Subject("Immutability")

_HASH_TYPES = ("root-x86-64-verity", "root-arm64-verity")
# What the original tool calls it.
_HASH_IDS = ("roothashmap", "hash")

_BLOCK = 4096
# SHA-256 hashes in a block.
_HASHES = _BLOCK // 32

_LAYOUT = """
    disk:
      size: 2GiB
      partitions:
        - {{id: boot, type: esp, fsType: fat32, size: 256MiB, mountPoint: /boot/efi}}
        - {{id: root, fsType: ext4, size: 1GiB, mountPoint: /{root}}}
        - {{id: roothashmap, type: root-x86-64-verity, size: {size}{hashes}}}
    systemConfig:
      immutability:
        enabled: true
      kernel:
        uki: true
    """


def _is_enabled(template: LocatedMapping) -> bool:
    return bool(template["systemConfig"]["immutability"]["enabled"])


def hash_partitions(template: LocatedMapping) -> t.List[t.Tuple[Path, LocatedMapping]]:
    """Return the partitions for the hash tree of the root file system."""
    guids = [PARTITION_TYPES[name] for name in _HASH_TYPES]
    return [
        (path, item)
        for path, item in partitions(template)
        if item["id"] in _HASH_IDS or item.get("type") in _HASH_TYPES or item.get("typeUUID", "").lower() in guids
    ]


def hash_tree_size(size: int) -> int:
    """Return the bytes that dm-verity needs for the hashes of a device: its superblock, and levels of blocks."""
    total, blocks = 1, -(-size // _BLOCK)
    while blocks > 1:
        blocks = -(-blocks // _HASHES)
        total += blocks
    return total * _BLOCK


@SUBJECT.rule(
    "disk",
    "target",
    "systemConfig.immutability",
    example="""
    systemConfig:
      immutability:
        enabled: true
      kernel:
        uki: true
    """,
)
def verity_has_its_hash_partition(template: LocatedMapping) -> t.Iterator[Finding]:
    """A protected root file system has one partition for its hash tree."""
    if not _is_enabled(template):
        return
    if not image_traits(template).can_hold_disk:
        yield (
            ("systemConfig", "immutability", "enabled"),
            "An initrd has no root file system on a disk that could be protected. Use enabled: false.",
        )
        return
    places = hash_partitions(template)
    if not places and template["disk"]["partitions"]:
        yield (
            ("systemConfig", "immutability", "enabled"),
            "dm-verity keeps the hashes of the root file system on a partition of its own, and there is none. "
            "Add one with id: roothashmap, and type: root-x86-64-verity or root-arm64-verity.",
        )
    for path, item in places[1:]:
        yield path, f"The partition {item['id']!r} is a second one for the hashes of the root file system. Keep one."


@SUBJECT.rule(
    "disk",
    "systemConfig.immutability",
    example=_LAYOUT.format(root="", size="16MiB", hashes=", fsType: ext4, mountPoint: /hashes"),
)
def hash_partition_is_left_alone(template: LocatedMapping) -> t.Iterator[Finding]:
    """The hash partition is not mounted."""
    for path, item in hash_partitions(template) if _is_enabled(template) else ():
        if is_mounted(item):
            yield (
                (*path, "mountPoint"),
                f"The partition {item['id']!r} holds hashes and no files, so it cannot be mounted. "
                "Use mountPoint: none.",
            )


@SUBJECT.rule(
    "disk",
    "target",
    "systemConfig.immutability",
    example=_LAYOUT.format(root="", size="4MiB", hashes=""),
)
def hash_partition_is_large_enough(template: LocatedMapping) -> t.Iterator[Finding]:
    """The hash partition can hold the hashes of the whole root partition: a 127th of its size."""
    layout = planned_layout(template)
    if not _is_enabled(template) or layout is None or layout.root is None:
        return
    least = hash_tree_size(layout.root.size)
    sizes = {partition.id: partition.size for partition in layout.partitions}
    for path, item in hash_partitions(template)[:1]:
        if sizes[item["id"]] < least:
            yield (
                (*path, "size" if "size" in item else "end"),
                f"The partition {item['id']!r} has {show_size(sizes[item['id']])}, but the hashes of a root partition "
                f"of {show_size(layout.root.size)} need {show_size(least)}. Make it larger.",
            )


@SUBJECT.rule(
    "disk",
    "systemConfig.immutability",
    example=_LAYOUT.format(root=', mountOptions: "rw,noatime"', size="16MiB", hashes=""),
)
def protected_root_is_read_only(template: LocatedMapping) -> t.Iterator[Finding]:
    """A protected root file system is not mounted to be written."""
    for path, item in partitions(template) if _is_enabled(template) else ():
        if item["mountPoint"] == "/" and "rw" in item["mountOptions"].split(","):
            yield (
                (*path, "mountOptions"),
                "A root file system that dm-verity protects cannot be written, so it cannot be mounted with rw. "
                "Remove the option.",
            )


@SUBJECT.rule(
    "systemConfig.immutability",
    "systemConfig.bootloader",
    example=_LAYOUT.format(root="", size="16MiB", hashes="")
    .replace("kernel:", "bootloader:")
    .replace("uki: true", "provider: grub"),
)
def verity_has_its_bootloader(template: LocatedMapping) -> t.Iterator[Finding]:
    """The root hash reaches the kernel by systemd-boot, which reads it from the ESP."""
    traits = bootloader_traits(template)
    if _is_enabled(template) and not traits.is_whole_on_esp:
        yield (
            ("systemConfig", "bootloader", "provider"),
            f"{traits.title} reads its configuration from the root file system, whose hash would have to be written "
            "there: it cannot start a root file system that dm-verity protects. Use provider: "
            f"{bootloaders_that(lambda other: other.is_whole_on_esp)}.",
        )


@SUBJECT.advice(
    "systemConfig.immutability",
    "systemConfig.kernel",
    "systemConfig.bootloader",
    example=_LAYOUT.format(root="", size="16MiB", hashes="").replace("uki: true", "uki: false"),
)
def root_hash_is_part_of_the_kernel_image(template: LocatedMapping) -> t.Iterator[Finding]:
    """The root hash lies in a unified kernel image, which can be signed."""
    could_be = bootloader_traits(template).starts_uki
    if _is_enabled(template) and could_be and not template["systemConfig"]["kernel"]["uki"]:
        yield (
            ("systemConfig", "kernel", "uki"),
            "Without a unified kernel image, the root hash stands in a text file on the EFI system partition, where "
            "anybody who can write to the disk can change it. Use uki: true.",
        )


__all__ = ("SUBJECT", "hash_partitions", "hash_tree_size")
