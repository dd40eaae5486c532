# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The partition table: a script for sfdisk in which nothing is left to chance."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool
from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import DiskLayout


def table_script(layout: DiskLayout, *, disk_uuid: str, partition_uuids: t.Mapping[str, str]) -> str:
    """Return the partition table as a script for sfdisk.

    :param disk_uuid: The disk's identifier.
    :param partition_uuids: Partition id -> its unique identifier (PARTUUID).
    """
    lines = [
        f"label: {layout.table}",
        f"label-id: {disk_uuid}",
        "unit: sectors",
        "first-lba: 34",
        "sector-size: 512",
        "",
    ]
    for partition in sorted(layout.partitions, key=lambda partition: partition.number):
        # sfdisk's own form for characters that would end the string.
        name = "".join(f"\\x{ord(char):02x}" if char in '\\"' else char for char in partition.name)
        fields = [
            f"start={partition.start}",
            f"size={partition.sectors}",
            f"type={partition.type_guid.upper()}",
            f"uuid={partition_uuids[partition.id]}",
            f'name="{name}"',
        ]
        if partition.attributes:
            fields.append(f'attrs="{" ".join(partition.attributes)}"')
        # "NODE: fields" fixes the number; the node's name before it has no meaning in a file.
        lines.append(f"image{partition.number} : {', '.join(fields)}")
    return "\n".join(lines) + "\n"


def write_table(image: str, script: str, runner: CommandRunner) -> None:
    """Write the partition table into an image file; the kernel is not told.

    :raises CommandError: sfdisk refused the script.
    """
    runner.run(
        [
            find_tool("sfdisk", package="fdisk"),
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
