# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Partitions: their names, types and mount points."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._disk.partition_type import ESP, PARTITION_TYPES
from ansible_collections.os_image.composer.plugins.module_utils._template.checks.paths import (
    VIRTUAL,
    enclosing,
    is_normal,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.checks.rule import Finding, Subject, doubles
from ansible_collections.os_image.composer.plugins.module_utils._template.located import Mapping, Path

SUBJECT = Subject("Partitions")

FAT = frozenset(("fat32", "fat16", "vfat"))
SWAP = frozenset(("linux-swap", "swap"))


def partitions(template: Mapping) -> t.List[t.Tuple[Path, Mapping]]:
    return [(("disk", "partitions", index), item) for index, item in enumerate(template["disk"]["partitions"])]


def is_esp(partition: t.Mapping[str, t.Any]) -> bool:
    """Tell whether a partition is an EFI system partition."""
    name = partition.get("typeUUID") or partition.get("type")
    if name:
        return bool(PARTITION_TYPES.get(name, name).lower() == ESP)
    return "esp" in partition.get("flags", ())


@SUBJECT.rule("disk")
def partition_names_are_unique(template: Mapping) -> t.Iterator[Finding]:
    """GPT names and labels occur once."""
    for key, what in (("name", "name"), ("fsLabel", "file system label")):
        for path, value in doubles(((*path, key), item[key]) for path, item in partitions(template)):
            yield path, f"The {what} {value!r} is used twice. Give each partition its own."


@SUBJECT.rule("disk")
def root_exists_once(template: Mapping) -> t.Iterator[Finding]:
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
        if item.get("fsType") is not None and item["fsType"] in FAT | SWAP:
            yield (
                (*path, "fsType"),
                f"The root file system cannot be {item['fsType']}, which keeps no owners and permissions. Use ext4.",
            )


@SUBJECT.rule("disk")
def mount_points_are_sound(template: Mapping) -> t.Iterator[Finding]:
    """Mount points are normalised, and not those of virtual file systems."""
    for path, item in partitions(template):
        value = item["mountPoint"]
        if value in ("", "none"):
            continue
        if not is_normal(value):
            yield (
                (*path, "mountPoint"),
                f"The mountPoint {value} must be written without //, . and .., and without a / at its end.",
            )
        elif enclosing(value, VIRTUAL):
            yield (
                (*path, "mountPoint"),
                f"The mountPoint {value} belongs to a virtual file system. Use another directory.",
            )


@SUBJECT.rule("disk", "systemConfig.bootloader")
def efi_has_its_partition(template: Mapping) -> t.Iterator[Finding]:
    """An EFI bootloader needs exactly one ESP, with a FAT file system, where the build expects it."""
    if template["systemConfig"]["bootloader"]["bootType"] != "efi" or not template["disk"]["partitions"]:
        return
    esps = [(path, item) for path, item in partitions(template) if is_esp(item)]
    if not esps:
        yield (
            ("disk", "partitions"),
            "There is no EFI system partition, but bootloader.bootType is efi. "
            "Add a partition with type: esp, fsType: fat32 and mountPoint: /boot/efi.",
        )
    for path, item in esps[1:]:
        yield (*path, "type"), f"The partition {item['id']!r} is a second EFI system partition. Keep one."
    for path, item in esps:
        if item.get("fsType") not in FAT:
            yield (
                path,
                f"The EFI system partition {item['id']!r} must have a FAT file system. Use fsType: fat32.",
            )
        if item["mountPoint"] not in ("/boot/efi", "/efi"):
            yield (
                (*path, "mountPoint"),
                f"The EFI system partition {item['id']!r} must be mounted on /boot/efi or /efi.",
            )


@SUBJECT.rule("disk", "target")
def types_fit_the_architecture(template: Mapping) -> t.Iterator[Finding]:
    """The root partition type and the flags agree with the architecture and the type."""
    foreign = {"x86_64": "-arm64", "aarch64": "-amd64"}.get(template["target"]["arch"], "-amd64")
    other = {"x86_64": "-arm64", "aarch64": "-x86-64"}.get(template["target"]["arch"], "-x86-64")
    for path, item in partitions(template):
        kind = item.get("type", "")
        if foreign in kind or other in kind:
            yield (*path, "type"), f"The type {kind} does not belong to {template['target']['arch']}."
        for index, flag in enumerate(item["flags"]):
            if flag in ("esp", "boot") and not is_esp(item):
                yield (
                    (*path, "flags", index),
                    f"The flag {flag} only has an effect on an EFI system partition. Remove it, or use type: esp.",
                )


__all__ = ("FAT", "SUBJECT", "SWAP", "is_esp", "partitions")
