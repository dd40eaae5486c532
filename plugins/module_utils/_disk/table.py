# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The partition table: a script for sfdisk in which nothing is left to chance."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool
from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import DiskLayout, Partition

# The extended partition of an MBR, as everything after 1995 addresses it.
_EXTENDED = 0x0F


def table_script(layout: DiskLayout, *, disk_id: str, partition_uuids: t.Mapping[str, str]) -> str:
    """Return the partition table as a script for sfdisk.

    :param disk_id: The disk's identifier: a UUID, or on an MBR disk eight hexadecimal digits.
    :param partition_uuids: Partition id -> its unique identifier (PARTUUID). An MBR does not store them.
    """
    is_mbr = layout.table == "mbr"
    lines = [
        f"label: {'dos' if is_mbr else layout.table}",
        f"label-id: {'0x' if is_mbr else ''}{disk_id}",
        "unit: sectors",
        *([] if is_mbr else ["first-lba: 34"]),
        "sector-size: 512",
        "",
    ]
    fields = {
        partition.number: _mbr_fields(partition) if is_mbr else _gpt_fields(partition, partition_uuids[partition.id])
        for partition in layout.partitions
    }
    if layout.extended is not None:
        extended = layout.extended
        fields[extended.number] = [f"start={extended.start}", f"size={extended.sectors}", f"type={_EXTENDED:x}"]
    # "NODE: fields" fixes the number; the node's name before it has no meaning in a file.
    lines += [f"image{number} : {', '.join(fields[number])}" for number in sorted(fields)]
    return "\n".join(lines) + "\n"


def _gpt_fields(partition: Partition, uuid: str) -> t.List[str]:
    # sfdisk's own form for characters that would end the string.
    name = "".join(f"\\x{ord(char):02x}" if char in '\\"' else char for char in partition.name)
    fields = [
        f"start={partition.start}",
        f"size={partition.sectors}",
        f"type={partition.type_guid.upper()}",
        f"uuid={uuid}",
        f'name="{name}"',
    ]
    if partition.attributes:
        fields.append(f'attrs="{" ".join(partition.attributes)}"')
    return fields


def _mbr_fields(partition: Partition) -> t.List[str]:
    fields = [f"start={partition.start}", f"size={partition.sectors}", f"type={partition.mbr_type:x}"]
    return [*fields, "bootable"] if partition.is_active else fields


def write_table(image: str, script: str, runner: CommandRunner) -> None:
    """Write the partition table into an image file; the kernel is not told.

    :raises CommandError: sfdisk refused the script.
    """
    runner.run(
        [
            find_tool("sfdisk"),
            "--quiet",
            "--no-reread",
            "--no-tell-kernel",
            "--wipe=never",
            "--lock=no",
            image,
        ],
        data=script.encode("utf-8"),
        what="Writing the partition table",
    )


__all__ = ("table_script", "write_table")
