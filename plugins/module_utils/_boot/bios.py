# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""GRUB for a BIOS, written into the image as grub-install writes it onto a disk, but without one.

The boot sector goes into sector 0, around the partition table. It loads the first sector of the core image, which has
a list of the sectors that hold the rest. Offsets: boot.S and diskboot.S in grub-core/boot/i386/pc, and
include/grub/i386/pc/boot.h of GRUB.
"""

from __future__ import annotations

import struct

from ansible_collections.os_image.composer.plugins.module_utils._boot.bootloader import BiosProgram
from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import DiskLayout
from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError
from ansible_collections.os_image.composer.plugins.module_utils._partition_type import BIOS_BOOT
from ansible_collections.os_image.composer.plugins.module_utils._size import SECTOR, show_size

# Where the boot sector knows the core image's first sector, the drive, and a check of the drive for floppies.
_KERNEL_SECTOR = 0x5C
_BOOT_DRIVE = 0x64
_DRIVE_CHECK = 0x66
# What it must leave: the parameter block of a file system, and from the disk signature on the partition table.
_PARAMETERS = slice(0x03, 0x5A)
_TABLE = slice(0x1B8, 0x200)
# In the core image's first sector: the first, and only, entry of the list of what follows.
_BLOCK_LIST = 0x1F4


def core_place(layout: DiskLayout) -> tuple[int, int]:
    """Return the first sector for the core image, and how many sectors there are.

    :raises BootError: The disk has no place for it.
    """
    if layout.table == "mbr":
        first = min(partition.start for partition in layout.partitions)
        if layout.extended is not None:
            first = min(first, layout.extended.start)
        return 1, first - 1
    holder = next((partition for partition in layout.partitions if partition.type_guid == BIOS_BOOT), None)
    if holder is None:
        raise BootError(
            "GRUB for a BIOS needs a BIOS boot partition on a GPT disk, but disk.partitions has none.",
            remedy="Add a partition with type: bios-boot and size: 1MiB, without a file system.",
        )
    return holder.start, holder.sectors


def check_core(core: bytes, layout: DiskLayout) -> None:
    """Check that the core image has a place.

    :raises BootError: It has none, or not enough.
    """
    _sector, room = core_place(layout)
    if len(core) > room * SECTOR:
        where = "before the first partition" if layout.table == "mbr" else "in the BIOS boot partition"
        raise BootError(
            f"GRUB needs {show_size(len(core))} {where}, which has {show_size(room * SECTOR)}.",
            remedy="Start the first partition at 1MiB." if layout.table == "mbr" else "Give the partition size: 1MiB.",
        )


def write_bios_program(image: str, program: BiosProgram, layout: DiskLayout) -> None:
    """Write the boot sector and the core image into the image, whose partition table is there already.

    :raises BootError: The program is not what it should be, or has no place.
    """
    if len(program.boot) != SECTOR or len(program.core) <= SECTOR:
        raise BootError("GRUB's boot.img or core.img does not have the size that it should have.")
    check_core(program.core, layout)
    sector, _room = core_place(layout)
    boot, core = bytearray(program.boot), bytearray(program.core)
    # The length and the segment are right already, as grub-mkimage wrote them.
    struct.pack_into("<Q", core, _BLOCK_LIST, sector + 1)
    with open(image, "r+b") as stream:
        present = stream.read(SECTOR)
        boot[_PARAMETERS] = present[_PARAMETERS]
        boot[_TABLE] = present[_TABLE]
        struct.pack_into("<Q", boot, _KERNEL_SECTOR, sector)
        # The drive that the BIOS names, and no check whether it is a floppy.
        boot[_BOOT_DRIVE] = 0xFF
        boot[_DRIVE_CHECK : _DRIVE_CHECK + 2] = b"\x90\x90"
        stream.seek(0)
        stream.write(boot)
        stream.seek(sector * SECTOR)
        stream.write(core)


__all__ = ("check_core", "core_place", "write_bios_program")
