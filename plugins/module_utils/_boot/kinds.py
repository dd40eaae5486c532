# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The kinds of bootloaders, by the names that templates have for them (bootType, provider)."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._boot.bootloader import Bootloader
from ansible_collections.os_image.composer.plugins.module_utils._boot.grub import GrubBios, GrubEfi
from ansible_collections.os_image.composer.plugins.module_utils._boot.hybrid import HybridGrub, HybridSystemdBoot
from ansible_collections.os_image.composer.plugins.module_utils._boot.shim_grub import ShimGrub
from ansible_collections.os_image.composer.plugins.module_utils._boot.systemd_boot import SystemdBoot
from ansible_collections.os_image.composer.plugins.module_utils._bootloader import is_shim_grub
from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError

_CLASSES: t.Tuple[t.Type[Bootloader], ...] = (
    SystemdBoot,
    GrubEfi,
    GrubBios,
    HybridSystemdBoot,
    HybridGrub,
)

#: bootType and provider -> class.
BOOTLOADER_CLASSES: t.Mapping[t.Tuple[str, str], t.Type[Bootloader]] = {
    (cls.boot_type, cls.name): cls for cls in _CLASSES
}


def bootloader(
    boot_type: str, provider: str, *, use_uki: bool = False, use_signed: bool = False, is_signed: bool = False
) -> Bootloader:
    """Return the bootloader for the template's C(bootloader.bootType) and C(bootloader.provider).

    :param use_uki: See :func:`is_shim_grub`, also for the others.
    :raises BootError: There is none.
    """
    if is_shim_grub(boot_type, provider, use_uki=use_uki, use_signed=use_signed, is_signed=is_signed):
        return ShimGrub()
    if (boot_type, provider) not in BOOTLOADER_CLASSES:
        known = ", ".join(sorted(f"{name} ({kind})" for kind, name in BOOTLOADER_CLASSES))
        raise BootError(
            f"The bootloader {provider!r} for the boot type {boot_type!r} is not supported.",
            remedy=f"Set systemConfig.bootloader to one of {known}.",
        )
    return BOOTLOADER_CLASSES[boot_type, provider]()


__all__ = ("BOOTLOADER_CLASSES", "bootloader")
