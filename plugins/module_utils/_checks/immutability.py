# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The protection of the root file system by dm-verity: its hash partition, and what starts it."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._bootloader import EFI, bootloaders_that
from ansible_collections.os_image.composer.plugins.module_utils._checks.boot import all_bootloaders, bootloader_traits
from ansible_collections.os_image.composer.plugins.module_utils._checks.disk import (
    image_traits,
    is_mbr,
    partitions,
    planned_layout,
)
from ansible_collections.os_image.composer.plugins.module_utils._checks.iso import is_live_iso
from ansible_collections.os_image.composer.plugins.module_utils._checks.partitions import is_mounted
from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import CONTENT
from ansible_collections.os_image.composer.plugins.module_utils._disk.verity import SIGNATURE_SIZE, hash_tree_size
from ansible_collections.os_image.composer.plugins.module_utils._partition_type import (
    PARTITION_TYPES,
    holds_root_hash_signature,
    holds_root_hashes,
)
from ansible_collections.os_image.composer.plugins.module_utils._size import show_size
from ansible_collections.os_image.composer.plugins.module_utils._template.immutability import PERSISTENT, Protection
from ansible_collections.os_image.composer.plugins.module_utils._template.located import LocatedMapping, Path
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Disk, Immutability
from ansible_collections.os_image.composer.plugins.module_utils._template.rule import Finding, Subject

SUBJECT = Subject("Immutability")

# They are the same, bit by bit, each time they are made.
_PROTECTED = ("ext4", "squashfs", "erofs")

_LAYOUT = """
    disk:
      size: 2GiB
      partitions:
        - {{id: boot, type: esp, fsType: fat32, size: 256MiB, mountPoint: /boot/efi}}
        - {{id: root, fsType: {fs}, size: 1GiB, mountPoint: /{root}}}
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
    return [(path, item) for path, item in partitions(template) if holds_root_hashes(item["id"], _guid(item))]


def _signature_partitions(template: LocatedMapping) -> t.List[t.Tuple[Path, LocatedMapping]]:
    """Return the partitions for the signature of the root hash, when one is asked for."""
    if not _is_enabled(template) or "rootHashSignature" not in template["systemConfig"]["immutability"]:
        return []
    return [(path, item) for path, item in partitions(template) if holds_root_hash_signature(item["id"], _guid(item))]


def _guid(item: LocatedMapping) -> str:
    """Return the type of a partition, as far as the template names one that there is."""
    return str(PARTITION_TYPES.get(item.get("type", ""), item.get("typeUUID", "").lower()))


@SUBJECT.rule(
    "disk",
    "target",
    "iso",
    "systemConfig.initramfs",
    "systemConfig.immutability",
    example="""
    disk:
      size: 2GiB
      partitions:
        - {id: boot, type: esp, fsType: fat32, size: 256MiB, mountPoint: /boot/efi}
        - {id: root, fsType: ext4, end: "0", mountPoint: /}
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
    if is_live_iso(template):
        yield (
            ("systemConfig", "immutability", "enabled"),
            "A live ISO has no disk whose root file system could be protected. Use enabled: false, or iso.type: "
            "installer.",
        )
        return
    places = hash_partitions(template)
    if not places and template["disk"]["partitions"]:
        yield (
            ("systemConfig", "immutability", "enabled"),
            "dm-verity keeps the hashes of the root file system on a partition of its own, and there is none. "
            "Add one with id: roothashmap and size: content.",
        )
    for path, item in places[1:]:
        yield path, f"The partition {item['id']!r} is a second one for the hashes of the root file system. Keep one."


@SUBJECT.rule(
    "disk",
    "systemConfig.immutability",
    example=_LAYOUT.format(root="", size="16MiB", hashes=", fsType: ext4, mountPoint: /hashes", fs="ext4"),
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
    example=_LAYOUT.format(root="", size="4MiB", hashes="", fs="ext4"),
)
def hash_partition_is_large_enough(template: LocatedMapping) -> t.Iterator[Finding]:
    """The hash partition can hold the hashes of the whole root partition: a 127th of its size."""
    layout = planned_layout(template)
    if not _is_enabled(template) or layout is None or layout.root is None:
        return
    least = hash_tree_size(layout.root.size)
    sizes = {partition.id: partition.size for partition in layout.partitions}
    for path, item in hash_partitions(template)[:1]:
        if item.get("size") != CONTENT and sizes[item["id"]] < least:
            yield (
                (*path, "size" if "size" in item else "end"),
                f"The partition {item['id']!r} has {show_size(sizes[item['id']])}, but the hashes of a root partition "
                f"of {show_size(layout.root.size)} need {show_size(least)}. Make it larger, or use size: content.",
            )


@SUBJECT.rule(
    "disk",
    "systemConfig.immutability",
    example=_LAYOUT.format(root=', mountOptions: "rw,noatime"', size="16MiB", hashes="", fs="ext4"),
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
        elif item["mountPoint"] == "/" and item.get("growOnBoot"):
            yield (
                (*path, "growOnBoot"),
                "A root file system that dm-verity protects stays as it is, so it cannot grow. Remove growOnBoot.",
            )


@SUBJECT.rule(
    "systemConfig.immutability",
    "systemConfig.bootloader",
    "systemConfig.kernel",
    "systemConfig.signing",
    example=_LAYOUT.format(root="", size="16MiB", hashes="", fs="ext4")
    .replace("kernel:", "bootloader:")
    .replace("uki: true", "provider: grub"),
)
def verity_has_its_bootloader(template: LocatedMapping) -> t.Iterator[Finding]:
    """The root hash reaches the kernel by systemd-boot, or by GRUB that the build signs, which read it from the ESP."""
    traits, loader = bootloader_traits(template), template["systemConfig"]["bootloader"]
    others = [other for other in all_bootloaders(template) if not other.is_whole_on_esp]
    if _is_enabled(template) and traits.is_whole_on_esp and others:
        yield (
            ("systemConfig", "bootloader", "bootType"),
            f"{others[0].title}, which a BIOS starts by bootType: {loader['bootType']}, reads its configuration from "
            "the root file system, whose hash would have to be written there: it cannot start a root file system that "
            f"dm-verity protects. Use bootType: {EFI}.",
        )
    elif _is_enabled(template) and not traits.is_whole_on_esp:
        yield (
            ("systemConfig", "bootloader", "provider"),
            f"{traits.title} reads its configuration from the root file system, whose hash would have to be written "
            "there: it cannot start a root file system that dm-verity protects. Use provider: "
            f"{bootloaders_that(lambda other: other.is_whole_on_esp)}.",
        )


@SUBJECT.rule(
    "disk",
    "target",
    "systemConfig.immutability",
    example="""
    disk:
      size: 2GiB
      partitionTableType: mbr
      partitions:
        - {id: boot, type: esp, fsType: fat32, size: 256MiB, mountPoint: /boot/efi}
        - {id: root, fsType: squashfs, size: 1GiB, mountPoint: /}
        - {id: roothashmap, size: 16MiB}
    systemConfig:
      immutability:
        enabled: true
      kernel:
        uki: true
    """,
)
def protected_root_is_found_by_its_hash(template: LocatedMapping) -> t.Iterator[Finding]:
    """The two partitions have the halves of the root hash as their PARTUUIDs, which only a GPT keeps."""
    if _is_enabled(template) and partitions(template) and is_mbr(template):
        yield (
            ("disk", "partitionTableType"),
            "A root file system that dm-verity protects is found by the identifiers of its partitions, which an MBR "
            "does not keep. Use partitionTableType: gpt.",
        )


@SUBJECT.rule(
    "disk",
    "target",
    "systemConfig.immutability",
    example=_LAYOUT.format(root="", size="16MiB", hashes="", fs="xfs"),
)
def protected_root_can_be_made_again(template: LocatedMapping) -> t.Iterator[Finding]:
    """A protected root file system is of a kind that is the same, bit by bit, each time it is made."""
    for path, item in partitions(template) if _is_enabled(template) else ():
        if item["mountPoint"] == "/" and item.get("fsType") and item["fsType"] not in _PROTECTED:
            yield (
                (*path, "fsType"),
                f"A root file system of the type {item['fsType']} cannot be protected by dm-verity. Use "
                f"{', '.join(_PROTECTED[:-1])} or {_PROTECTED[-1]}.",
            )


@SUBJECT.rule(
    "systemConfig.immutability",
    example="""
    systemConfig:
      immutability:
        etc: readonly
    """,
)
def etc_belongs_to_a_protected_root(template: LocatedMapping) -> t.Iterator[Finding]:
    """What becomes of changes in /etc is asked only of a protected root file system."""
    if not _is_enabled(template) and "etc" in template["systemConfig"]["immutability"]:
        yield (
            ("systemConfig", "immutability", "etc"),
            "immutability.etc has an effect on a protected root file system only. Remove it, or use enabled: true.",
        )


@SUBJECT.rule(
    "systemConfig.immutability",
    "systemConfig.signing",
    example="""
    systemConfig:
      kernel:
        uki: true
      immutability:
        enabled: true
        rootHashSignature: kept
    """,
)
def root_hash_signature_has_its_key(template: LocatedMapping) -> t.Iterator[Finding]:
    """The root hash of a protected system is signed with the key for Secure Boot, which the build host has."""
    immutability = template["systemConfig"]["immutability"]
    if "rootHashSignature" not in immutability:
        return
    path = ("systemConfig", "immutability", "rootHashSignature")
    keys = template["systemConfig"]["signing"].get("secureBoot")
    if not _is_enabled(template):
        yield (
            path,
            "immutability.rootHashSignature has an effect on a protected root file system only. Remove it, or use "
            "enabled: true.",
        )
    elif keys is None:
        yield (
            path,
            "The root hash is signed with the key for Secure Boot, and there is none. Add signing.secureBoot, or "
            "remove rootHashSignature.",
        )
    elif "key" not in keys and not keys.get("generate"):
        yield (
            path,
            "Another host has the key for Secure Boot, and only EFI programs travel to it, not the root hash. Remove "
            "rootHashSignature: the root hash is signed as a part of the unified kernel image in any case. Or give "
            "signing.secureBoot.key.",
        )


@SUBJECT.rule(
    "disk",
    "systemConfig.immutability",
    example=_LAYOUT.format(root="", size="16MiB", hashes="", fs="ext4").replace(
        "immutability:\n",
        "signing: {secureBoot: {generate: true}}\n      immutability:\n        rootHashSignature: kept\n",
    ),
)
def root_hash_signature_has_its_partition(template: LocatedMapping) -> t.Iterator[Finding]:
    """The signature of the root hash has one partition, which is large enough and not mounted."""
    places = _signature_partitions(template)
    if not places and _is_enabled(template) and "rootHashSignature" in template["systemConfig"]["immutability"]:
        if template["disk"]["partitions"]:
            yield (
                ("systemConfig", "immutability", "rootHashSignature"),
                "The signature of the root hash lies on a partition of its own, and there is none. Add one with id: "
                "roothashsig and size: content.",
            )
        return
    for path, item in places[1:]:
        yield path, f"The partition {item['id']!r} is a second one for the signature of the root hash. Keep one."
    layout = planned_layout(template)
    sizes = {partition.id: partition.size for partition in layout.partitions} if layout else {}
    for path, item in places[:1]:
        if is_mounted(item):
            yield (
                (*path, "mountPoint"),
                f"The partition {item['id']!r} holds a signature and no files, so it cannot be mounted. "
                "Use mountPoint: none.",
            )
        if item.get("size") != CONTENT and sizes.get(item["id"], SIGNATURE_SIZE) < SIGNATURE_SIZE:
            yield (
                (*path, "size" if "size" in item else "end"),
                f"The partition {item['id']!r} has {show_size(sizes[item['id']])}, but the signature of the root hash "
                f"needs {show_size(SIGNATURE_SIZE)}. Make it larger, or use size: content.",
            )


@SUBJECT.rule(
    "disk",
    "systemConfig.immutability",
    example="""
    systemConfig:
      immutability:
        enabled: true
        etc: persistent
      kernel:
        uki: true
    """,
)
def persistent_etc_has_its_partition(template: LocatedMapping) -> t.Iterator[Finding]:
    """Changes in /etc that outlive the running system lie on the partition at /var, which the build's fstab names."""
    protection = Protection.of(
        Immutability.from_data(template["systemConfig"]["immutability"]), Disk.from_data(template["disk"])
    )
    if protection is None or protection.etc != PERSISTENT:
        return
    path = ("systemConfig", "immutability", "etc")
    if protection.var != PERSISTENT:
        yield (
            path,
            "Changes in /etc can only be kept on a partition that is mounted at /var, and there is none. Add one with "
            "type: linux-var and mountPoint: /var, or use etc: volatile.",
        )


@SUBJECT.rule(
    "disk",
    "systemConfig.immutability",
    "systemConfig.security",
    example="""
    systemConfig:
      immutability:
        enabled: true
      kernel:
        uki: true
      security:
        selinux: enforcing
    """,
)
def changes_have_labels(template: LocatedMapping) -> t.Iterator[Finding]:
    """What SELinux enforces needs labels, which directories that begin empty in memory do not have."""
    protection = Protection.of(
        Immutability.from_data(template["systemConfig"]["immutability"]), Disk.from_data(template["disk"])
    )
    if protection and protection.has_overlays and template["systemConfig"]["security"].get("selinux") == "enforcing":
        yield (
            ("systemConfig", "security", "selinux"),
            "The directories for changes in /etc and /var have no SELinux labels when the system starts. Use selinux: "
            "permissive; or immutability.etc: readonly, and a partition that is mounted at /var.",
        )


@SUBJECT.advice(
    "systemConfig.immutability",
    "systemConfig.kernel",
    "systemConfig.bootloader",
    "systemConfig.signing",
    example=_LAYOUT.format(root="", size="16MiB", hashes="", fs="ext4").replace("uki: true", "uki: false"),
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


__all__ = ("SUBJECT", "hash_partitions")
