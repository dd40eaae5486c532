# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The disk that an installer writes: no larger than its content needs, as it grows when it is installed."""

from __future__ import annotations

import dataclasses

from ansible_collections.os_image.composer.plugins.module_utils._disk.content import measure
from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import (
    CONTENT,
    Partition,
    disk_layout,
    given_size,
    with_any_size,
)
from ansible_collections.os_image.composer.plugins.module_utils._errors import DiskError
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.kinds import file_system
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.usage import Usage
from ansible_collections.os_image.composer.plugins.module_utils._size import MIB, SECTOR, align_up, parse_size
from ansible_collections.os_image.composer.plugins.module_utils._template import model

# What the running system writes before anybody has enlarged anything: logs, keys, caches.
_SLACK = 64 * MIB
# Of a partition that grows and holds nothing yet.
_UNFORMATTED = MIB
# Behind the last partition: the second partition table.
_END = MIB


@dataclasses.dataclass(frozen=True)
class TargetDisk:
    """The disk section for the image that the installer writes.

    :ivar disk: With a size; C(content) where that depends on other partitions' content.
    :ivar least: How many bytes the machine's disk must have, if the disk as it is composed has not more.
    :ivar grows: The number of the partition that takes the rest of the machine's disk; V(None) when none does.
    :ivar extended: The number of the extended partition that has to grow before it; V(None) when it lies in none.
    """

    disk: model.Disk
    least: int
    grows: int | None
    extended: int | None = None


def growing_partition(disk: model.Disk) -> int | None:
    """Return the index of the partition that takes the rest of a machine's disk, whatever size that has."""
    layout = disk_layout(with_any_size(disk))
    last = max(range(len(layout.partitions)), key=lambda index: layout.partitions[index].start, default=None)
    if last is None:
        return None
    partition = layout.partitions[last]
    ends_with_disk = parse_end(disk.partitions[last]) == 0
    # Without a file system there is nothing in it that has to grow.
    can_grow = partition.can_grow or not (partition.mount_point or partition.fs_type)
    return last if ends_with_disk and can_grow else None


def parse_end(entry: model.Partition) -> int | None:
    """Return the end of a partition in bytes, 0 for the end of the disk; V(None) when it has a size instead."""
    return None if entry.end is None else parse_size(entry.end)


def target_disk(disk: model.Disk, tree: str) -> TargetDisk:
    """Return the disk that an installer writes.

    :param disk: The template's disk section.
    :param tree: The mounted root tree.
    :raises DiskError: It cannot be laid out.
    """
    index = growing_partition(disk)
    layout = disk_layout(with_any_size(disk))
    given = given_size(disk) or 0
    entries = list(disk.partitions)
    if index is None:
        if given:
            return TargetDisk(disk, given, None)
        if any(parse_end(entry) == 0 for entry in entries):
            raise DiskError(
                "Nothing tells how large the disk of the installer has to be: its last partition has no end, and "
                "cannot grow.",
                remedy="Give disk.size, or the last partition a size.",
            )
        if layout.needs_content:
            return TargetDisk(disk.replace(size=CONTENT), 0, None)
        end = max(partition.end for partition in layout.partitions) * SECTOR
        size = align_up(end, MIB) + _END
        return TargetDisk(disk.replace(size=f"{size // MIB}MiB"), size, None)
    partition = layout.partitions[index]
    extended = layout.extended.number if layout.extended is not None and partition.is_logical else None
    if partition.mount_point:
        options = [word for word in entries[index].mount_options.split(",") if word]
        grown = ",".join(dict.fromkeys([*options, "x-systemd.growfs"]))
        entries[index] = entries[index].replace(mount_options=grown)
    if layout.needs_content:
        # Where the last one begins is only known when the disk is composed.
        least = CONTENT if partition.fs_type else f"{_UNFORMATTED // MIB}MiB"
        entries[index] = entries[index].replace(end=None, size=least)
        fitted = disk.replace(size=CONTENT, partitions=tuple(entries))
        return TargetDisk(fitted, given, partition.number, extended)
    usage = measure(tree, layout)[partition.id] if partition.mount_point else Usage()
    needed = align_up(partition.offset + _needed(partition, usage), MIB) + _END
    # A disk that is too small for its content is an error that tells more when the disk is composed.
    size = min(needed, given) if given else needed
    fitted = disk.replace(size=f"{size // MIB}MiB", partitions=tuple(entries))
    return TargetDisk(fitted, max(size, given), partition.number, extended)


def _needed(partition: Partition, usage: Usage) -> int:
    """Return how many bytes a partition needs for its content; what a file system needs depends on its size."""
    if not partition.fs_type:
        return _UNFORMATTED
    fs = file_system(partition.fs_type)
    size = usage.size + _SLACK
    for _round in range(4):
        size = max(size, align_up(fs.required_size(size, usage) + _SLACK, MIB))
    return int(size)


__all__ = ("TargetDisk", "growing_partition", "parse_end", "target_disk")
