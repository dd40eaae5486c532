# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Whether keys for Secure Boot protect all that is booted."""

from __future__ import annotations

from ansible_collections.os_image.composer.plugins.module_utils._bootloader import (
    BOOTLOADERS,
    EFI,
    bootloaders_that,
    is_shim_grub,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Bootloader, Kernel, Signing


def template_problem(signing: Signing, bootloader: Bootloader, kernel: Kernel) -> str | None:
    """Tell in words why the configured keys would not protect what the template describes; V(None) when they would.

    Only a unified kernel image is signed as a whole: of an entry of systemd-boot neither the initrd nor the command
    line is. Nor are they with GRUB that has a menu, which reads its configuration and the initrd from the root file
    system. Behind a shim, GRUB of the build has none: it starts unified kernel images alone.
    """
    if signing.secure_boot is None:
        return None
    provider = bootloader.provider
    if is_shim_grub(bootloader.boot_type, provider, use_uki=kernel.uki, use_signed=bootloader.signed, is_signed=True):
        return None
    if not BOOTLOADERS[provider].starts_uki:
        others = bootloaders_that(lambda other: other.starts_uki)
        wanted = [
            *([f"bootloader.bootType: {EFI}"] if bootloader.boot_type != EFI else []),
            *(["bootloader.signed: false"] if bootloader.signed else []),
            *(["kernel.uki: true"] if not kernel.uki else []),
        ]
        return (
            f"Secure Boot keys are configured, but the bootloader {provider} reads the kernel command line and the "
            f"initrd from files that nobody signs. Set {' and '.join(wanted)}, for GRUB without a menu, "
            f"or use bootloader.provider: {others} with kernel.uki: true."
        )
    if not kernel.uki:
        return (
            "Secure Boot keys are configured, but without a unified kernel image there are Type 1 entries, in which "
            "neither the initrd nor the kernel command line would be protected. Set kernel.uki: true."
        )
    return None


__all__ = ("template_problem",)
