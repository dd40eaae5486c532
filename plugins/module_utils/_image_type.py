# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The image types: what is known of each without making one.

:mod:`_compose` makes them.
"""

from __future__ import annotations

import dataclasses
import typing as t

#: How the names of an initrd and of its kernel end.
INITRD_SUFFIX = "initrd.img"
KERNEL_SUFFIX = "vmlinuz"


@dataclasses.dataclass(frozen=True)
class ImageTypeTraits:
    """A type of image.

    :ivar aliases: Other words for it in templates.
    :ivar can_hold_disk: Whether partitions have an effect: it is a disk, or installs one.
    :ivar starts_by_itself: Whether it has all that a machine starts from: the kernel, and an initramfs for it.
    :ivar keeps_attributes: Whether its files keep extended attributes, such as their SELinux labels.
    :ivar is_medium: Whether it is a medium that starts a live system.
    :ivar boot_tools: The host tools that its own boot is made with, beside those of its disk's bootloader.
    :ivar why_unsigned: Why it is not started by what the user's keys for Secure Boot sign; empty when it is.
    :ivar files: What it is published as when that is not a disk: format, end of the file's name, and what of
        disk_compose it is; empty for a disk, which is published in the formats that the template asks for.
    """

    aliases: t.Tuple[str, ...] = ()
    can_hold_disk: bool = True
    starts_by_itself: bool = True
    keeps_attributes: bool = True
    is_medium: bool = False
    boot_tools: t.Tuple[str, ...] = ()
    why_unsigned: str = ""
    files: t.Tuple[t.Tuple[str, str, str], ...] = ()

    @property
    def is_disk(self) -> bool:
        """Whether it is a disk."""
        return not self.files


#: The values of C(target.imageType).
IMAGE_TYPES: t.Mapping[str, ImageTypeTraits] = {
    "raw": ImageTypeTraits(),
    "iso": ImageTypeTraits(
        is_medium=True,
        boot_tools=("grub-mkimage", "mkfs.vfat", "mcopy", "mmd"),
        why_unsigned="an ISO starts by GRUB, which cannot start a kernel that is signed with them",
        files=(("iso", "iso", "image"),),
    ),
    "initrd": ImageTypeTraits(
        aliases=("img",),
        can_hold_disk=False,
        starts_by_itself=False,
        keeps_attributes=False,
        why_unsigned="an initrd is started by a boot loader that is not part of it",
        files=(("initrd", INITRD_SUFFIX, "image"), ("kernel", KERNEL_SUFFIX, "kernel")),
    ),
}

__all__ = ("IMAGE_TYPES", "INITRD_SUFFIX", "KERNEL_SUFFIX", "ImageTypeTraits")
