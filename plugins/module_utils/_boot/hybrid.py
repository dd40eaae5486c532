# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Bootloaders for both kinds of firmware on one disk: what UEFI starts from the ESP, and GRUB for a BIOS beside it.

Both start the same kernels. GRUB, also the one for UEFI, reads one C(grub.cfg).
"""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._boot.bootloader import (
    BootContext,
    BootFiles,
    Bootloader,
)
from ansible_collections.os_image.composer.plugins.module_utils._boot.grub import GrubBios, GrubEfi
from ansible_collections.os_image.composer.plugins.module_utils._boot.kernel_updates import UpdateFiles, beside
from ansible_collections.os_image.composer.plugins.module_utils._boot.systemd_boot import SystemdBoot
from ansible_collections.os_image.composer.plugins.module_utils._bootloader import (
    BOOTLOADERS,
    GRUB,
    HYBRID,
    SYSTEMD_BOOT,
    bootloaders_of,
)


class _GrubBesideEfi(GrubBios):
    """GRUB for a BIOS, whose C(grub.cfg) GRUB for UEFI reads, too."""

    is_for_both = True


class Hybrid(Bootloader):
    """A bootloader for UEFI with GRUB for a BIOS."""

    boot_type = HYBRID
    #: What UEFI starts.
    efi: t.ClassVar[t.Type[Bootloader]]

    def add_files(self, context: BootContext, files: BootFiles) -> None:
        self.efi().add_files(context, files)
        # The entries of both have the same kernels in the same order.
        entries = list(files.entries)
        _GrubBesideEfi().add_files(context, files)
        files.entries[:] = entries

    def update_files(self, context: BootContext) -> UpdateFiles:
        return _GrubBesideEfi().update_files(context)


class HybridGrub(Hybrid):
    """GRUB for both."""

    name = GRUB
    efi = GrubEfi
    tools = BOOTLOADERS[GRUB].host_tools
    shaping_tools = ("grub-mkimage",)


class HybridSystemdBoot(Hybrid):
    """systemd-boot for UEFI, also with unified kernel images, and GRUB for a BIOS."""

    name = SYSTEMD_BOOT
    efi = SystemdBoot
    tools = tuple(tool for name in bootloaders_of(HYBRID, SYSTEMD_BOOT) for tool in BOOTLOADERS[name].host_tools)
    shaping_tools = ("grub-mkimage",)

    def update_files(self, context: BootContext) -> UpdateFiles:
        return {**beside(super().update_files(context)), **SystemdBoot().update_files(context)}


__all__ = ("Hybrid", "HybridGrub", "HybridSystemdBoot")
