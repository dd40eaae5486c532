# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The bootloaders and the ways in which firmware starts them: what each can and needs.

:mod:`_boot` lays them onto images.
"""

from __future__ import annotations

import dataclasses
import typing as t

SYSTEMD_BOOT = "systemd-boot"
GRUB = "grub"

EFI = "efi"
LEGACY = "legacy"
HYBRID = "hybrid"


@dataclasses.dataclass(frozen=True)
class BootType:
    """A way in which a machine boots.

    :ivar firmware: What starts the bootloader, as messages call it.
    :ivar architectures: The architectures whose machines have it.
    :ivar needs_esp: Whether the firmware finds the bootloader on an EFI system partition.
    :ivar needs_bios: Whether a BIOS starts it, which loads a program from outside of the file systems.
    :ivar checks_signatures: Whether the firmware can be told to start signed programs alone.
    """

    firmware: str
    architectures: t.Tuple[str, ...]
    needs_esp: bool
    needs_bios: bool
    checks_signatures: bool


@dataclasses.dataclass(frozen=True)
class BootloaderTraits:
    """A bootloader.

    :ivar title: What messages call it.
    :ivar boot_types: The boot types that it has a program for.
    :ivar aliases: Other words for it in templates.
    :ivar starts_uki: Whether it starts unified kernel images.
    :ivar signed_for: The boot types for which distributions sign it.
    :ivar is_whole_on_esp: Whether everything that it reads lies on the EFI system partition: its configuration, the
        kernels and their initrds. Others read these from file systems of the image, by programs of their own.
    :ivar has_bios_core: Whether a BIOS needs a place for its core outside of the file systems, on a GPT disk a BIOS
        boot partition.
    :ivar host_tools: The host tools that it is made with.
    """

    title: str
    boot_types: t.Tuple[str, ...]
    aliases: t.Tuple[str, ...] = ()
    starts_uki: bool = False
    signed_for: t.Tuple[str, ...] = ()
    is_whole_on_esp: bool = False
    has_bios_core: bool = False
    host_tools: t.Tuple[str, ...] = ()


#: The values of C(systemConfig.bootloader.bootType).
BOOT_TYPES: t.Mapping[str, BootType] = {
    EFI: BootType("UEFI", ("x86_64", "aarch64", "armv7hl"), needs_esp=True, needs_bios=False, checks_signatures=True),
    LEGACY: BootType("BIOS", ("x86_64",), needs_esp=False, needs_bios=True, checks_signatures=False),
    HYBRID: BootType("BIOS and UEFI", ("x86_64",), needs_esp=True, needs_bios=True, checks_signatures=True),
}

#: The values of C(systemConfig.bootloader.provider).
BOOTLOADERS: t.Mapping[str, BootloaderTraits] = {
    SYSTEMD_BOOT: BootloaderTraits("systemd-boot", (EFI, HYBRID), starts_uki=True, is_whole_on_esp=True),
    GRUB: BootloaderTraits(
        "GRUB",
        (EFI, LEGACY, HYBRID),
        aliases=("grub2",),
        signed_for=(EFI, HYBRID),
        has_bios_core=True,
        host_tools=("grub-mkimage",),
    ),
}

#: GRUB behind a shim, both signed by the build: all that it does is to start unified kernel images of the build.
SHIM_GRUB = BootloaderTraits(
    "GRUB behind a shim", (EFI,), starts_uki=True, is_whole_on_esp=True, host_tools=BOOTLOADERS[GRUB].host_tools
)

#: The bootloader that a BIOS starts, whichever UEFI does.
BIOS_BOOTLOADER = GRUB


def bootloaders_of(boot_type: str, provider: str) -> t.Tuple[str, ...]:
    """Return the bootloaders of an image, that of the template first: a BIOS cannot start every one."""
    needs_another = BOOT_TYPES[boot_type].needs_bios and BOOT_TYPES[boot_type].needs_esp and provider != BIOS_BOOTLOADER
    return (provider, BIOS_BOOTLOADER) if needs_another else (provider,)


def is_shim_grub(boot_type: str, provider: str, *, use_uki: bool, use_signed: bool, is_signed: bool) -> bool:
    """Whether a template's choices are those of GRUB behind a shim.

    :param use_uki: Whether unified kernel images are wanted.
    :param use_signed: Whether the distribution's signed programs are wanted.
    :param is_signed: Whether the build signs what the firmware starts.
    """
    return (boot_type, provider) == (EFI, GRUB) and use_uki and is_signed and not use_signed


def bootloaders_that(can: t.Callable[[BootloaderTraits], bool]) -> str:
    """Return the bootloaders that can do something, for the remedy of a message."""
    return " or ".join(name for name, traits in BOOTLOADERS.items() if can(traits))


__all__ = (
    "BIOS_BOOTLOADER",
    "BOOTLOADERS",
    "BOOT_TYPES",
    "EFI",
    "GRUB",
    "HYBRID",
    "LEGACY",
    "SHIM_GRUB",
    "SYSTEMD_BOOT",
    "BootType",
    "BootloaderTraits",
    "bootloaders_of",
    "bootloaders_that",
    "is_shim_grub",
)
