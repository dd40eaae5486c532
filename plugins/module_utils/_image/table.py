# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The partition table of a disk image, as sfdisk reads it."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._command import find_tool
from ansible_collections.os_image.composer.plugins.module_utils._image.sandbox import ParserSandbox
from ansible_collections.os_image.composer.plugins.module_utils._partition_type import PARTITION_TYPES
from ansible_collections.os_image.composer.plugins.module_utils._size import SECTOR

_NUMBER = re.compile(r"([0-9]+)$")

# UEFI specification, 5.3.2: how a GPT header begins.
_GPT_SIGNATURE = b"EFI PART"


@dataclasses.dataclass(frozen=True)
class TablePartition:
    """A partition.

    :ivar start: Its first byte.
    :ivar size: Bytes.
    :ivar type: A GUID in lower case, or the hexadecimal number of MBR.
    :ivar uuid: Its PARTUUID in lower case; empty in MBR.
    :ivar flags: GPT attributes in the words of sfdisk; C(boot) for MBR's.
    """

    number: int
    start: int
    size: int
    type: str
    uuid: str
    name: str
    flags: t.Tuple[str, ...]

    @property
    def type_name(self) -> str:
        """The name that templates have for the type; empty when they have none."""
        return next((name for name, guid in PARTITION_TYPES.items() if guid == self.type), "")

    def as_facts(self) -> t.Dict[str, t.Any]:
        """Return the form of results."""
        return {**dataclasses.asdict(self), "flags": list(self.flags), "type_name": self.type_name}


@dataclasses.dataclass(frozen=True)
class PartitionTable:
    """A partition table.

    :ivar type: C(gpt) or C(mbr).
    :ivar id: The disk's identifier in lower case.
    :ivar warnings: What sfdisk finds wrong with it.
    """

    type: str
    id: str
    sector_size: int
    partitions: t.Tuple[TablePartition, ...]
    warnings: t.Tuple[str, ...] = ()

    def as_facts(self) -> t.Dict[str, t.Any]:
        """Return the form of results, without the partitions."""
        return {"type": self.type, "id": self.id, "sector_size": self.sector_size, "warnings": list(self.warnings)}


def read_table(raw: str, runner: ParserSandbox) -> PartitionTable | None:
    """Return the partition table of a disk; V(None) when there is none."""
    done = runner.reading(raw).run([find_tool("sfdisk"), "--json", raw], check=False)
    if done.rc != 0:
        return None
    # It says some of what it finds wrong on standard output.
    said, _newline, document = f"\n{done.text}".partition("\n{")
    table = json.loads(f"{{{document}")["partitiontable"]
    sector = table.get("sectorsize", 512)
    partitions: t.List[TablePartition] = []
    for entry in table.get("partitions", ()):
        number = _NUMBER.search(entry["node"][len(raw) :])
        # What sfdisk cannot say is null.
        flags = (entry.get("attrs") or "").split()
        if entry.get("bootable"):
            flags.append("boot")
        partitions.append(
            TablePartition(
                number=int(number.group(1)) if number else len(partitions) + 1,
                start=entry.get("start", 0) * sector,
                size=entry.get("size", 0) * sector,
                type=(entry.get("type") or "").lower(),
                uuid=(entry.get("uuid") or "").lower(),
                name=entry.get("name") or "",
                flags=tuple(flags),
            )
        )
    return PartitionTable(
        type={"dos": "mbr"}.get(table["label"], table["label"]),
        id=(table.get("id") or "").lower(),
        sector_size=sector,
        partitions=tuple(partitions),
        warnings=tuple(line.strip() for line in f"{said}\n{done.error_text}".splitlines() if line.strip()),
    )


def lost_gpt(raw: str, table: PartitionTable | None) -> str | None:
    """Tell in words what is left of a GPT that sfdisk does not take for one; V(None) when nothing is.

    :param table: What sfdisk finds.
    """
    if table is not None:
        is_announced = table.type == "mbr" and any(partition.type == "ee" for partition in table.partitions)
        what = "The protective MBR announces a GPT, but there is no valid one: the image is cut off or damaged."
        return what if is_announced else None
    with open(raw, "rb") as stream:
        stream.seek(max(stream.seek(0, os.SEEK_END) - SECTOR, 0))
        if stream.read(len(_GPT_SIGNATURE)) != _GPT_SIGNATURE:
            return None
    return (
        "The image ends with the second copy of a GPT, but has no partition table at its beginning, which was "
        "overwritten."
    )


__all__ = ("PartitionTable", "TablePartition", "lost_gpt", "read_table")
