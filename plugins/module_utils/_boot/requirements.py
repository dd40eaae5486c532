# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""What a bootloader demands of the rest of a template, known before anything is built."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._disk.partition_type import BIOS_BOOT, PARTITION_TYPES

Path = t.Tuple[t.Union[str, int], ...]

_LOADER: Path = ("systemConfig", "bootloader")
_GRUB = ("grub", "grub2")


def bootloader_problems(template: t.Mapping[str, t.Any]) -> t.Iterator[t.Tuple[Path, str]]:
    """Yield (YAML path, message) for all in a merged template with which its bootloader could not boot it."""
    loader = template["systemConfig"]["bootloader"]
    is_grub = loader["provider"] in _GRUB
    if loader["signed"] and not (is_grub and loader["bootType"] == "efi"):
        yield (
            (*_LOADER, "signed"),
            "Only GRUB for UEFI comes signed from the distributions. Set bootloader.provider: grub and bootType: efi, "
            "or remove signed.",
        )
    if is_grub and template["systemConfig"]["kernel"]["uki"]:
        yield (
            ("systemConfig", "kernel", "uki"),
            "GRUB does not start unified kernel images. Set kernel.uki: false, or bootloader.provider: systemd-boot.",
        )
    if loader["bootType"] != "legacy":
        return
    if not is_grub:
        yield (
            (*_LOADER, "provider"),
            f"No BIOS can start {loader['provider']}. Set bootloader.provider: grub, or bootloader.bootType: efi.",
        )
    if template["target"]["arch"] != "x86_64":
        yield (
            (*_LOADER, "bootType"),
            f"A machine of the architecture {template['target']['arch']} has no BIOS. Set bootloader.bootType: efi.",
        )
    disk = template["disk"]
    is_gpt = (disk.get("partitionTableType") or "gpt") == "gpt"
    if is_gpt and disk["partitions"] and not any(_is_bios_boot(item) for item in disk["partitions"]):
        yield (
            ("disk", "partitions"),
            "There is no BIOS boot partition, which GRUB needs on a GPT disk. Add a partition with type: bios-boot and "
            "size: 1MiB, without fsType.",
        )


def _is_bios_boot(partition: t.Mapping[str, t.Any]) -> bool:
    name = partition.get("typeUUID") or partition.get("type")
    if name:
        return bool(PARTITION_TYPES.get(name, name).lower() == BIOS_BOOT)
    return "bios_grub" in partition.get("flags", ())


__all__ = ("bootloader_problems",)
