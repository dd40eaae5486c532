# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The partition layout of an image: from the template's disk section to numbers, sectors and types.

Nothing here reads or writes anything, so that a template can be checked long before there is a tree to put on a disk.
"""

from __future__ import annotations

import dataclasses
import posixpath
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._disk.partition_type import (
    BIOS_BOOT,
    ESP,
    LINUX,
    PARTITION_FLAGS,
    SWAP,
    type_guid,
)
from ansible_collections.os_image.composer.plugins.module_utils._disk.size import (
    MIB,
    SECTOR,
    align_down,
    align_up,
    parse_size,
    show_size,
)
from ansible_collections.os_image.composer.plugins.module_utils._errors import DiskError

#: Where partitions are placed when the template leaves it open, in sectors: 1 MiB, which suits every medium.
ALIGNMENT = MIB // SECTOR

# A GPT with its customary 128 entries takes 34 sectors at the start of a disk (with the protective MBR) and 33 at its
# end.
_GPT_FIRST = 34
_GPT_LAST = 33
_GPT_NAME_LENGTH = 36

_NOT_MOUNTED = ("", "none")

PathToValue = t.Tuple[t.Union[str, int], ...]


@dataclasses.dataclass(frozen=True)
class LayoutProblem:
    """Something in the disk section that cannot be laid out.

    :ivar path: Where it is, from the template's top: C(("disk", "partitions", 1, "end")).
    :ivar message: The thing, the reason and the remedy.
    """

    path: PathToValue
    message: str


@dataclasses.dataclass(frozen=True)
class Partition:
    """A partition in its final place.

    :ivar number: Its number in the partition table, from 1.
    :ivar start: Its first sector.
    :ivar sectors: How many sectors it has.
    :ivar type_guid: Lower case.
    :ivar fs_type: The template's word for its file system; empty when it has none.
    :ivar mount_point: Absolute and normalised; V(None) when it is not mounted.
    :ivar attributes: In the words of sfdisk.
    """

    id: str
    number: int
    name: str
    start: int
    sectors: int
    type_guid: str
    fs_type: str
    fs_label: str
    mount_point: str | None
    mount_options: str
    attributes: t.Tuple[str, ...]

    @property
    def offset(self) -> int:
        """First byte in the image."""
        return self.start * SECTOR

    @property
    def size(self) -> int:
        """Bytes."""
        return self.sectors * SECTOR

    @property
    def end(self) -> int:
        """The first sector behind it."""
        return self.start + self.sectors

    @property
    def is_esp(self) -> bool:
        """Whether it is the EFI system partition."""
        return self.type_guid == ESP


@dataclasses.dataclass(frozen=True)
class DiskLayout:
    """All partitions of an image, in the template's order.

    :ivar table: C(gpt).
    :ivar size: Bytes of the whole image.
    """

    table: str
    size: int
    partitions: t.Tuple[Partition, ...]

    @property
    def esp(self) -> Partition | None:
        """The EFI system partition."""
        return next((partition for partition in self.partitions if partition.is_esp), None)

    @property
    def root(self) -> Partition | None:
        """The partition that is mounted at C(/)."""
        return self.mounted_at("/")

    def mounted_at(self, mount_point: str) -> Partition | None:
        """The partition with this mount point."""
        return next((partition for partition in self.partitions if partition.mount_point == mount_point), None)

    def holding(self, path: str) -> Partition | None:
        """The partition on which an absolute path of the tree lies."""
        best: Partition | None = None
        for partition in self.partitions:
            if partition.mount_point is None or not is_below(path, partition.mount_point):
                continue
            if best is None or len(partition.mount_point) > len(best.mount_point or ""):
                best = partition
        return best


def is_below(path: str, directory: str) -> bool:
    """Whether an absolute path is C(directory) or lies in it."""
    return directory == "/" or path == directory or path.startswith(directory + "/")


def disk_layout(disk: t.Mapping[str, t.Any]) -> DiskLayout:
    """Lay out the template's disk section.

    :raises DiskError: It cannot be laid out; the message has all reasons.
    """
    planner = _Planner(disk)
    layout = planner.plan()
    if planner.problems:
        lines = "\n".join(f"{show_path(problem.path)}: {problem.message}" for problem in planner.problems)
        raise DiskError(f"The disk cannot be laid out:\n{lines}")
    return layout


def layout_problems(disk: t.Mapping[str, t.Any]) -> t.List[LayoutProblem]:
    """Return everything that is wrong with the template's disk section; an empty list when it can be laid out."""
    planner = _Planner(disk)
    planner.plan()
    return planner.problems


def show_path(path: PathToValue) -> str:
    """Return the place of a value as templates' users write it: C(disk.partitions[1].end)."""
    shown = ""
    for part in path:
        shown += f"[{part}]" if isinstance(part, int) else f".{part}" if shown else str(part)
    return shown


class _Planner:
    """One pass over a disk section: collects problems, and goes on with what is left."""

    def __init__(self, disk: t.Mapping[str, t.Any]) -> None:
        self.disk = disk
        self.problems: t.List[LayoutProblem] = []

    def plan(self) -> DiskLayout:
        table = self.disk.get("partitionTableType") or "gpt"
        if table != "gpt":
            self._problem(("partitionTableType",), f"The partition table {table!r} is not supported. Use gpt.")
        size = self._disk_size()
        entries: t.Sequence[t.Mapping[str, t.Any]] = self.disk.get("partitions") or []
        if not entries:
            self._problem(("partitions",), "The disk has no partitions. Give at least one that is mounted at /.")
        numbers = self._numbers(entries)
        first, last = _GPT_FIRST, (size or 0) // SECTOR - _GPT_LAST
        wanted = [self._extent(index, entry) for index, entry in enumerate(entries)]
        partitions: t.List[Partition] = []
        cursor = ALIGNMENT
        for index, entry in enumerate(entries):
            start, end = wanted[index]
            if start is None:
                start = align_up(cursor, ALIGNMENT)
            if end is None:
                end = self._rest(start, last, [other for other, _end in wanted if other is not None])
            elif isinstance(end, _Length):
                end = start + end.sectors
            partitions.append(self._partition(index, entry, numbers[index], start, end))
            cursor = max(cursor, end)
        if size is not None:
            for index, partition in enumerate(partitions):
                self._check_extent(index, partition, first, last, size, entries[index])
        self._check_overlaps(partitions)
        self._check_unique(partitions)
        return DiskLayout(table, size or 0, tuple(partitions))

    def _problem(self, path: PathToValue, message: str) -> None:
        self.problems.append(LayoutProblem(("disk", *path), message))

    def _size(self, path: PathToValue, value: t.Any) -> int | None:
        try:
            return parse_size(value)
        except ValueError as exc:
            self._problem(path, str(exc))
            return None

    def _disk_size(self) -> int | None:
        value = self.disk.get("size")
        if value in (None, ""):
            self._problem(("size",), "The disk has no size. Give one, for example 4GiB.")
            return None
        size = self._size(("size",), value)
        if size is not None and size % MIB:
            self._problem(
                ("size",),
                f"The disk's size {value} is no multiple of 1 MiB. Use {align_up(size, MIB) // MIB}MiB, for example.",
            )
        return size

    def _numbers(self, entries: t.Sequence[t.Mapping[str, t.Any]]) -> t.List[int]:
        taken: t.Dict[int, int] = {}
        for index, entry in enumerate(entries):
            number = entry.get("index") or 0
            if number in taken and number > 0:
                self._problem(
                    ("partitions", index, "index"),
                    f"The partition number {number} is given to {entries[taken[number]].get('id')!r} already.",
                )
            elif number > 0:
                taken[number] = index
        free = (number for number in range(1, 129) if number not in taken)
        return [entry.get("index") or next(free, 129) for entry in entries]

    def _extent(self, index: int, entry: t.Mapping[str, t.Any]) -> t.Tuple[int | None, int | _Length | None]:
        """Return the wanted first sector (V(None): behind the one before) and end (V(None): the rest of the disk)."""
        path = ("partitions", index)
        start: int | None = None
        if entry.get("start") not in (None, ""):
            offset = self._size((*path, "start"), entry["start"])
            # Rounded up to whole sectors, as the original tool does.
            start = None if offset is None else align_up(offset, SECTOR) // SECTOR
        end_given = entry.get("end") not in (None, "")
        size_given = entry.get("size") not in (None, "")
        if end_given and size_given:
            self._problem((*path, "size"), "Give either the size or the end of a partition, not both.")
        if size_given:
            size = self._size((*path, "size"), entry["size"])
            return start, _Length(align_up(size or SECTOR, SECTOR) // SECTOR)
        if not end_given:
            self._problem((*path, "end"), "The partition has no end. Give one, or '0' for the rest of the disk.")
            return start, None
        end = self._size((*path, "end"), entry["end"])
        return start, (align_up(end, SECTOR) // SECTOR if end else None)

    @staticmethod
    def _rest(start: int, last: int, starts: t.Iterable[int]) -> int:
        """Return where a partition ends that takes the rest: at the next one, or at the end of the disk."""
        following = [other for other in starts if other > start]
        return min(following) if following else align_down(last, ALIGNMENT)

    def _partition(self, index: int, entry: t.Mapping[str, t.Any], number: int, start: int, end: int) -> Partition:
        path = ("partitions", index)
        identifier = str(entry.get("id") or f"partition{number}")
        name = str(entry.get("name") or identifier)
        if len(name) > _GPT_NAME_LENGTH:
            self._problem((*path, "name"), f"The partition name {name!r} is longer than {_GPT_NAME_LENGTH} characters.")
        mount_point = str(entry.get("mountPoint") or "")
        fs_type = str(entry.get("fsType") or "")
        mounted: str | None = None
        if mount_point not in _NOT_MOUNTED and not fs_type.endswith("swap"):
            mounted = posixpath.normpath(mount_point)
            if not mount_point.startswith("/") or ".." in mount_point.split("/"):
                self._problem((*path, "mountPoint"), f"The mount point {mount_point!r} is not an absolute path.")
            if not fs_type:
                self._problem(
                    (*path, "fsType"), f"The partition {identifier!r} is mounted at {mount_point}, but has no fsType."
                )
        attributes = []
        for flag_index, flag in enumerate(entry.get("flags") or []):
            if flag not in PARTITION_FLAGS:
                known = ", ".join(sorted(PARTITION_FLAGS))
                self._problem((*path, "flags", flag_index), f"There is no partition flag {flag!r}. Use one of {known}.")
            elif PARTITION_FLAGS[flag] is not None:
                attributes.append(str(PARTITION_FLAGS[flag]))
        return Partition(
            id=identifier,
            number=number,
            name=name,
            start=start,
            sectors=max(end - start, 0),
            type_guid=self._type(index, entry, fs_type),
            fs_type=fs_type,
            fs_label=str(entry.get("fsLabel") or ""),
            mount_point=mounted,
            mount_options=str(entry.get("mountOptions") or ""),
            attributes=tuple(attributes),
        )

    def _type(self, index: int, entry: t.Mapping[str, t.Any], fs_type: str) -> str:
        key = "typeUUID" if entry.get("typeUUID") else "type"
        name = entry.get(key)
        if name:
            try:
                return type_guid(str(name))
            except ValueError as exc:
                self._problem(("partitions", index, key), str(exc))
                return LINUX
        flags = entry.get("flags") or []
        if "esp" in flags:
            return ESP
        if "bios_grub" in flags:
            return BIOS_BOOT
        return SWAP if fs_type.endswith("swap") else LINUX

    def _check_extent(
        self, index: int, partition: Partition, first: int, last: int, size: int, entry: t.Mapping[str, t.Any]
    ) -> None:
        path = ("partitions", index)
        if partition.start < first:
            self._problem(
                (*path, "start"),
                f"The partition {partition.id!r} starts at {show_size(partition.offset)}, inside the partition table. "
                "Start at 1MiB.",
            )
        elif partition.sectors == 0:
            key = "start" if entry.get("start") not in (None, "") else "end"
            self._problem(
                (*path, key),
                f"Nothing of the disk ({show_size(size)}) is left for the partition {partition.id!r}, which would "
                f"start at {show_size(partition.offset)}. Enlarge disk.size, or make the partitions before it smaller.",
            )
        elif partition.end > last:
            over = partition.end * SECTOR - align_down(last, ALIGNMENT) * SECTOR
            self._problem(
                (*path, "end"),
                f"The partition {partition.id!r} ends at {show_size(partition.end * SECTOR)}, {show_size(over)} beyond "
                f"what the disk of {show_size(size)} has beside its partition table. Use end: '0' for the rest of the "
                "disk, or enlarge disk.size.",
            )

    def _check_overlaps(self, partitions: t.Sequence[Partition]) -> None:
        order = sorted(range(len(partitions)), key=lambda index: (partitions[index].start, partitions[index].end))
        for before, after in zip(order, order[1:]):
            one, other = partitions[before], partitions[after]
            if one.sectors and other.sectors and one.end > other.start:
                overlap = min(one.end, other.end) - other.start
                self._problem(
                    ("partitions", after, "start"),
                    f"The partition {other.id!r} starts at {show_size(other.offset)}, but {one.id!r} ends at "
                    f"{show_size(one.end * SECTOR)}: they overlap by {show_size(overlap * SECTOR)}.",
                )

    def _check_unique(self, partitions: t.Sequence[Partition]) -> None:
        for key, attribute, what in (("id", "id", "id"), ("mountPoint", "mount_point", "mount point")):
            seen: t.Dict[str, int] = {}
            for index, partition in enumerate(partitions):
                value = getattr(partition, attribute)
                if value is not None and value in seen:
                    self._problem(
                        ("partitions", index, key), f"Two partitions have the {what} {value!r}. Each needs its own."
                    )
                seen.setdefault(value, index)


@dataclasses.dataclass(frozen=True)
class _Length:
    sectors: int


__all__ = (
    "ALIGNMENT",
    "DiskLayout",
    "LayoutProblem",
    "Partition",
    "disk_layout",
    "is_below",
    "layout_problems",
    "show_path",
)
