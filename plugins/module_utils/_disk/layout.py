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
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import DiskError
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.filesystem import FileSystem
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.kinds import FILE_SYSTEMS
from ansible_collections.os_image.composer.plugins.module_utils._partition_type import (
    BIOS_BOOT,
    ESP,
    LINUX,
    MBR_ESP,
    MBR_FLAGS,
    MBR_LINUX,
    PARTITION_FLAGS,
    PARTITION_TYPES,
    holds_root_hash_signature,
    holds_root_hashes,
    mbr_type,
    type_guid,
)
from ansible_collections.os_image.composer.plugins.module_utils._size import (
    MIB,
    SECTOR,
    align_down,
    align_up,
    parse_size,
    show_size,
)
from ansible_collections.os_image.composer.plugins.module_utils._template import model

#: Where partitions are placed when the template leaves it open, in sectors: 1 MiB, which suits every medium.
ALIGNMENT = MIB // SECTOR

# A GPT with its customary 128 entries takes 34 sectors at the start of a disk (with the protective MBR) and 33 at its
# end.
_GPT_FIRST = 34
_GPT_LAST = 33
_GPT_NAME_LENGTH = 36

# An MBR counts sectors in 32 bits.
_MBR_SECTORS = 1 << 32
# sfdisk makes no more partitions on it: MAXIMUM_PARTS in libfdisk/src/dos.c.
_MBR_PARTITIONS = 60
#: How many primary partitions it has room for; others are logical ones in an extended one, each behind a sector that
#: describes it, for which a whole unit of alignment is kept free.
MBR_PRIMARY = 4

#: In place of a size: as large as the content, with some room to spare.
CONTENT = "content"

# Stands for the size of a disk as long as nobody knows it; an MBR ends at the second one.
_ANY_SIZE = "1024TiB"
_ANY_MBR_SIZE = "2TiB"

_GROW_ATTRIBUTE = "GUID:59"

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
    :ivar mbr_type: Its type on an MBR disk; V(None) on a GPT one.
    :ivar is_active: Whether an MBR says that it is the one to boot from.
    :ivar is_logical: Whether it lies in the extended partition of an MBR.
    :ivar fits_content: Whether it becomes as large as its content; until that is known it has the least size.
    :ivar grows: Whether it takes the rest of the disk at first boot.
    :ivar mkfs_options: More arguments for the program that makes its file system.
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
    mbr_type: int | None = None
    is_active: bool = False
    is_logical: bool = False
    fits_content: bool = False
    grows: bool = False
    mkfs_options: t.Tuple[str, ...] = ()

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
    def is_read_only(self) -> bool:
        """Whether its mount options let nobody write to it."""
        return "ro" in self.mount_options.split(",")

    @property
    def can_grow(self) -> bool:
        """Whether the running system can enlarge its file system, for which that has to be mounted and written to."""
        grows_online = FILE_SYSTEMS.get(self.fs_type, FileSystem).grows_online
        return grows_online and self.mount_point is not None and not self.is_read_only

    @property
    def is_esp(self) -> bool:
        """Whether it is the EFI system partition."""
        return self.type_guid == ESP


@dataclasses.dataclass(frozen=True)
class Extended:
    """The extended partition of an MBR, in which the logical ones lie.

    :ivar start: Its first sector.
    """

    number: int
    start: int
    sectors: int


@dataclasses.dataclass(frozen=True)
class DiskLayout:
    """All partitions of an image, in the template's order.

    :ivar table: C(gpt) or C(mbr).
    :ivar size: Bytes of the whole image.
    :ivar extended: V(None) when there is none.
    :ivar section: What it was laid out from: the template's disk section.
    """

    table: str
    size: int
    partitions: t.Tuple[Partition, ...]
    extended: Extended | None
    section: model.Disk = dataclasses.field(repr=False, compare=False)

    @property
    def needs_content(self) -> bool:
        """Whether the size of a partition depends on what it will hold."""
        return any(partition.fits_content for partition in self.partitions)

    def with_content(self, sizes: t.Mapping[str, int]) -> DiskLayout:
        """Lay out the disk again, now that the content is known.

        :param sizes: Bytes by partition id.
        :raises DiskError: It does not fit onto the disk.
        """
        return disk_layout(self.section, sizes)

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


def given_size(disk: model.Disk) -> int | None:
    """Return how many bytes a disk section says that the disk has; V(None) when it does not."""
    return None if disk.size is None or disk.size == CONTENT else parse_size(disk.size)


def with_any_size(disk: model.Disk) -> model.Disk:
    """Return a disk section that has a size: its own, or the largest there is."""
    if disk.size is not None and disk.size != CONTENT:
        return disk
    return disk.replace(size=_ANY_MBR_SIZE if disk.partition_table_type == "mbr" else _ANY_SIZE)


def disk_layout(disk: model.Disk, content: t.Mapping[str, int] | None = None) -> DiskLayout:
    """Lay out the template's disk section.

    :param content: Partition id -> bytes, for partitions that become as large as their content.
    :raises DiskError: It cannot be laid out; the message has all reasons.
    """
    planner = _Planner(disk, content)
    layout = planner.plan()
    if planner.problems:
        lines = "\n".join(f"{show_path(problem.path)}: {problem.message}" for problem in planner.problems)
        raise DiskError(f"The disk cannot be laid out:\n{lines}")
    return layout


def layout_problems(disk: model.Disk) -> t.List[LayoutProblem]:
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

    def __init__(self, disk: model.Disk, content: t.Mapping[str, int] | None = None) -> None:
        self.disk = disk
        self.content = content or {}
        self.problems: t.List[LayoutProblem] = []
        self.table = disk.partition_table_type
        self.is_mbr = self.table == "mbr"
        #: The number of the extended partition.
        self.extended: int | None = None
        #: The places of partitions that end before they begin.
        self.backwards: t.Set[int] = set()

    def plan(self) -> DiskLayout:
        self._check_table()
        size = self._disk_size()
        entries = self.disk.partitions
        if not entries:
            self._problem(("partitions",), "The disk has no partitions. Give at least one that is mounted at /.")
        numbers = self._mbr_numbers(entries) if self.is_mbr else self._numbers(entries, range(1, 129))
        first, reserved = (1, 0) if self.is_mbr else (_GPT_FIRST, _GPT_LAST)
        last = None if size is None else size // SECTOR - reserved
        partitions, end = self._partitions(numbers, last)
        if size is None and self.disk.size == CONTENT:
            size = align_up(end + reserved, ALIGNMENT) * SECTOR
            last = size // SECTOR - reserved
        if size is not None and last is not None:
            self._check_disk(size)
            for index, partition in enumerate(partitions):
                self._check_extent(index, partition, first, last, size, entries[index])
        extended = self._extended(partitions)
        self._check_overlaps(partitions)
        self._check_unique(partitions)
        self._check_growth(partitions)
        return DiskLayout(self.table, size or 0, tuple(partitions), extended, self.disk)

    def _partitions(self, numbers: t.Sequence[int], last: int | None) -> t.Tuple[t.List[Partition], int]:
        """Return the partitions, and the first sector behind all of them.

        :param last: The end of what the disk has for partitions; V(None) when it is not known.
        """
        entries = self.disk.partitions
        wanted = [self._extent(index, entry) for index, entry in enumerate(entries)]
        # Where the partitions begin whose place is given; a logical one needs the room before it, too.
        begins = [
            start - self._room_before(number) for number, (start, _end) in zip(numbers, wanted) if start is not None
        ]
        partitions: t.List[Partition] = []
        cursor = ALIGNMENT
        for index, entry in enumerate(entries):
            start, end = wanted[index]
            if start is None:
                start = align_up(cursor, ALIGNMENT) + self._room_before(numbers[index])
            if isinstance(end, _Length):
                end = start + end.sectors
            elif end is None:
                end = self._rest(index, start, last, begins)
            elif end <= start:
                self._backwards(index, entry, start, end)
            partitions.append(self._partition(index, entry, numbers[index], start, end))
            cursor = max(cursor, end)
        return partitions, cursor

    def _room_before(self, number: int) -> int:
        """Return the sectors that a partition needs before itself: a logical one for the sector that describes it."""
        return ALIGNMENT if self._is_logical(number) else 0

    def _check_table(self) -> None:
        if self.table not in ("gpt", "mbr"):
            self._problem(
                ("partitionTableType",), f"The partition table {self.table!r} is not supported. Use gpt or mbr."
            )

    def _problem(self, path: PathToValue, message: str) -> None:
        self.problems.append(LayoutProblem(("disk", *path), message))

    def _size(self, path: PathToValue, value: str) -> int | None:
        try:
            return parse_size(value)
        except ValueError as exc:
            self._problem(path, str(exc))
            return None

    def _disk_size(self) -> int | None:
        value = self.disk.size
        if value is None:
            self._problem(("size",), "The disk has no size. Give one, for example 4GiB.")
            return None
        if value == CONTENT:
            return None
        size = self._size(("size",), value)
        if size is not None and size % MIB:
            self._problem(
                ("size",),
                f"The disk's size {value} is no multiple of 1 MiB. Use {align_up(size, MIB) // MIB}MiB, for example.",
            )
        return size

    def _check_disk(self, size: int) -> None:
        if self.is_mbr and size // SECTOR > _MBR_SECTORS:
            self._problem(
                ("partitionTableType",),
                f"An MBR ends at {show_size(_MBR_SECTORS * SECTOR)}, but the disk has {show_size(size)}. Use gpt.",
            )

    def _numbers(
        self, entries: t.Sequence[model.Partition], usable: t.Sequence[int], taken: t.Collection[int] = ()
    ) -> t.List[int]:
        given: t.Dict[int, int] = {}
        for index, entry in enumerate(entries):
            number = entry.index
            if number in given:
                self._problem(
                    ("partitions", index, "index"),
                    f"The partition number {number} is given to {entries[given[number]].id!r} already.",
                )
            elif number is not None:
                given[number] = index
        free = (number for number in usable if number not in given and number not in taken)
        return [entry.index or next(free, usable[-1] + 1) for entry in entries]

    def _mbr_numbers(self, entries: t.Sequence[model.Partition]) -> t.List[int]:
        """Number the partitions of an MBR: up to four primary ones, or three, and logical ones from 5."""
        given = [entry.index for entry in entries if entry.index is not None]
        if len(entries) <= MBR_PRIMARY and max(given, default=0) <= MBR_PRIMARY:
            return self._numbers(entries, range(1, MBR_PRIMARY + 1))
        free = [number for number in range(1, MBR_PRIMARY + 1) if number not in given]
        if not free:
            self._problem(
                ("partitions",),
                "An MBR has room for four partitions, which are all numbered by index here, so that there is none for "
                "the extended partition that would hold the others. Give one of them an index from 5 on, or use gpt.",
            )
            return self._numbers(entries, range(1, 129))
        self.extended = free[-1]
        numbers = self._numbers(entries, range(1, 129), (self.extended,))
        if max(numbers) > _MBR_PARTITIONS:
            self._problem(
                ("partitions",),
                f"The last partition would have the number {max(numbers)}, but an MBR ends with {_MBR_PARTITIONS}. Use "
                "fewer partitions, or gpt.",
            )
        logical = [number for number in numbers if self._is_logical(number)]
        for index, number in enumerate(numbers):
            if self._is_logical(number) and number != MBR_PRIMARY + 1 + logical.index(number):
                self._problem(
                    ("partitions", index, "index"),
                    f"The logical partition {number} is out of order. Logical partitions are numbered from 5, without "
                    "gaps, in the order in which they lie on the disk.",
                )
        return numbers

    def _is_logical(self, number: int) -> bool:
        return self.is_mbr and number > MBR_PRIMARY

    def _extent(self, index: int, entry: model.Partition) -> t.Tuple[int | None, int | _Length | None]:
        """Return the wanted first sector (V(None): behind the one before) and end (V(None): the rest of the disk)."""
        path = ("partitions", index)
        start: int | None = None
        if entry.start is not None:
            offset = self._size((*path, "start"), entry.start)
            # Rounded up to whole sectors, as the original tool does.
            start = None if offset is None else align_up(offset, SECTOR) // SECTOR
        if entry.end is not None and entry.size is not None:
            self._problem((*path, "size"), "Give either the size or the end of a partition, not both.")
        if entry.size == CONTENT:
            known = self.content.get(entry.id, MIB)
            return start, _Length(align_up(known, MIB) // SECTOR)
        if entry.size is not None:
            size = self._size((*path, "size"), entry.size)
            return start, _Length(align_up(size or SECTOR, SECTOR) // SECTOR)
        if entry.end is None:
            self._problem((*path, "end"), "The partition has no end. Give one, or '0' for the rest of the disk.")
            return start, None
        end = self._size((*path, "end"), entry.end)
        return start, (align_up(end, SECTOR) // SECTOR if end else None)

    def _backwards(self, index: int, entry: model.Partition, start: int, end: int) -> None:
        """Note a partition whose end, as the template gives it, is not behind its beginning."""
        self.backwards.add(index)
        begins = "starts" if entry.start is not None else "would start, behind those before it,"
        self._problem(
            ("partitions", index, "end"),
            f"The partition {entry.id!r} ends at {show_size(end * SECTOR)}, but {begins} at "
            f"{show_size(start * SECTOR)}. Give it an end behind that.",
        )

    def _rest(self, index: int, start: int, last: int | None, begins: t.Iterable[int]) -> int:
        """Return where a partition ends that takes the rest: at the next one, or at the end of the disk."""
        following = [other for other in begins if other > start]
        if following:
            return min(following)
        if last is None:
            if self.disk.size == CONTENT:
                self._problem(
                    ("partitions", index, "end"),
                    "A disk that ends with its last partition has no rest. Give the partition a size, for example "
                    "size: content.",
                )
            return start + ALIGNMENT
        return align_down(last, ALIGNMENT)

    def _partition(self, index: int, entry: model.Partition, number: int, start: int, end: int) -> Partition:
        self._check_name(index, entry)
        mounted = self._mounted(index, entry)
        self._check_content(index, entry)
        attributes = self._attributes(index, entry)
        kind = _kind(entry)
        code = self._mbr_type(index, entry, kind) if self.is_mbr else None
        return Partition(
            id=entry.id,
            number=number,
            name=entry.name or entry.id,
            start=start,
            sectors=max(end - start, 0),
            type_guid=self._type(index, entry, kind, code),
            fs_type=entry.fs_type or "",
            fs_label=entry.fs_label,
            mount_point=mounted,
            mount_options=entry.mount_options,
            attributes=() if self.is_mbr else tuple(attributes),
            mbr_type=code,
            is_active=self.is_mbr and "boot" in entry.flags,
            is_logical=self._is_logical(number),
            fits_content=entry.size == CONTENT,
            grows=entry.grow_on_boot,
            mkfs_options=entry.mkfs_options,
        )

    def _check_name(self, index: int, entry: model.Partition) -> None:
        """Check that the partition table holds a partition's name."""
        path = ("partitions", index, "name")
        name = entry.name or entry.id
        if self.is_mbr and entry.name:
            self._problem(path, "An MBR does not hold the names of partitions. Remove the name, or use gpt.")
        elif len(name.encode("utf-16-le")) // 2 > _GPT_NAME_LENGTH:
            self._problem(
                path,
                f"The partition name {name!r} is longer than {_GPT_NAME_LENGTH} characters, of which those beyond "
                "U+FFFF count twice. Shorten it.",
            )
        elif not name.isprintable():
            self._problem(
                path,
                f"The partition name {name!r} has a line break or another character that is not printed. Remove it.",
            )

    def _mounted(self, index: int, entry: model.Partition) -> str | None:
        """Return where a partition is mounted; V(None) when it is not."""
        path, mount_point = ("partitions", index), entry.mount_point
        if mount_point in _NOT_MOUNTED or not _kind(entry).holds_files:
            return None
        if not mount_point.startswith("/") or ".." in mount_point.split("/"):
            self._problem((*path, "mountPoint"), f"The mount point {mount_point!r} is not an absolute path.")
        if not entry.fs_type:
            self._problem(
                (*path, "fsType"),
                f"The partition {entry.id!r} is mounted at {mount_point}, but has no fsType. Give it one, or remove "
                "mountPoint.",
            )
        return posixpath.normpath(mount_point)

    def _check_content(self, index: int, entry: model.Partition) -> None:
        """Check that what is said about a file system is said of one."""
        path = ("partitions", index)
        guid = PARTITION_TYPES.get(entry.type or "", (entry.type_uuid or "").lower())
        is_of_verity = holds_root_hashes(entry.id, guid) or holds_root_hash_signature(entry.id, guid)
        has_content = (entry.fs_type and _kind(entry).holds_files) or is_of_verity
        if entry.size == CONTENT and not has_content:
            self._problem(
                (*path, "size"),
                f"The partition {entry.id!r} has no files that it could be as large as. Give it a size.",
            )
        if not entry.fs_type and entry.mkfs_options:
            self._problem((*path, "mkfsOptions"), "Without a file system mkfsOptions have no effect. Add fsType.")

    def _attributes(self, index: int, entry: model.Partition) -> t.List[str]:
        attributes = []
        for flag_index, flag in enumerate(entry.flags):
            path = ("partitions", index, "flags", flag_index)
            if flag not in PARTITION_FLAGS:
                known = ", ".join(sorted(PARTITION_FLAGS))
                self._problem(path, f"There is no partition flag {flag!r}. Use one of {known}.")
            elif self.is_mbr and flag not in MBR_FLAGS:
                instead = "use boot" if flag == "legacy_boot" else "remove it"
                self._problem(path, f"An MBR has no flag {flag}: {instead}, or use partitionTableType: gpt.")
            elif PARTITION_FLAGS[flag] is not None:
                attributes.append(str(PARTITION_FLAGS[flag]))
        if entry.grow_on_boot and _GROW_ATTRIBUTE not in attributes:
            attributes.append(_GROW_ATTRIBUTE)
        return attributes

    def _type(self, index: int, entry: model.Partition, kind: t.Type[FileSystem], code: int | None) -> str:
        if code is not None:
            return ESP if code == MBR_ESP else kind.partition_type
        if entry.mbr_type:
            self._problem(
                ("partitions", index, "mbrType"),
                "mbrType only has an effect on an MBR disk. Use type or typeUUID, or partitionTableType: mbr.",
            )
        key = "typeUUID" if entry.type_uuid else "type"
        name = entry.type_uuid or entry.type
        if name:
            try:
                return type_guid(name)
            except ValueError as exc:
                self._problem(("partitions", index, key), str(exc))
                return LINUX
        if "esp" in entry.flags:
            return ESP
        if "bios_grub" in entry.flags:
            return BIOS_BOOT
        return kind.partition_type

    def _mbr_type(self, index: int, entry: model.Partition, kind: t.Type[FileSystem]) -> int:
        path = ("partitions", index)
        if entry.type_uuid:
            self._problem(
                (*path, "typeUUID"), "An MBR knows partition types by numbers. Use type or mbrType, or use gpt."
            )
        if entry.mbr_type:
            number = re.fullmatch(r"(?:0x)?([0-9A-Fa-f]{1,2})", entry.mbr_type)
            # 5, f and 85 would be extended partitions, and 0 none at all.
            if number is None or int(number.group(1), 16) in (0x00, 0x05, 0x0F, 0x85, 0xEE):
                self._problem(
                    (*path, "mbrType"),
                    f"{entry.mbr_type!r} is not the type of a partition that holds data. Give two hexadecimal digits "
                    'such as "83".',
                )
                return MBR_LINUX
            return int(number.group(1), 16)
        try:
            return mbr_type(entry.type or "", entry.flags, kind.mbr_type)
        except ValueError as exc:
            self._problem((*path, "type"), str(exc))
            return MBR_LINUX

    def _check_extent(
        self, index: int, partition: Partition, first: int, last: int, size: int, entry: model.Partition
    ) -> None:
        path = ("partitions", index)
        if partition.start < first:
            self._problem(
                (*path, "start"),
                f"The partition {partition.id!r} starts at {show_size(partition.offset)}, inside the partition table. "
                "Start at 1MiB.",
            )
        elif index in self.backwards:
            pass
        elif partition.sectors == 0:
            key = "start" if entry.start is not None else "end"
            self._problem(
                (*path, key),
                f"Nothing of the disk ({show_size(size)}) is left for the partition {partition.id!r}, which would "
                f"start at {show_size(partition.offset)}. Enlarge disk.size, or make the partitions before it smaller.",
            )
        elif partition.end > last:
            over = partition.end * SECTOR - align_down(last, ALIGNMENT) * SECTOR
            self._problem(
                (*path, "size" if entry.size else "end"),
                f"The partition {partition.id!r} ends at {show_size(partition.end * SECTOR)}, {show_size(over)} beyond "
                f"what the disk of {show_size(size)} has beside its partition table. Use end: '0' for the rest of the "
                "disk, or enlarge disk.size.",
            )

    def _extended(self, partitions: t.Sequence[Partition]) -> Extended | None:
        """Return the extended partition around the logical ones."""
        logical = [partition for partition in partitions if partition.is_logical]
        if not logical or self.extended is None:
            return None
        start, end = logical[0].start - ALIGNMENT, logical[-1].end
        before: Partition | None = None
        for index, partition in enumerate(partitions):
            path = ("partitions", index, "start")
            if partition.is_logical:
                if before is not None and partition.start < before.start:
                    self._problem(
                        path,
                        f"The logical partition {partition.id!r} lies before {before.id!r}. Put logical partitions "
                        "into the order in which they lie on the disk.",
                    )
                elif before is not None and before.end <= partition.start < before.end + ALIGNMENT:
                    self._too_close(path, partition, before)
                before = partition
            elif partition.start < end and partition.end > start:
                if partition.end <= logical[0].start:
                    self._too_close(("partitions", partitions.index(logical[0]), "start"), logical[0], partition)
                elif partition.start >= logical[0].start:
                    self._problem(
                        path,
                        f"The partition {partition.id!r} lies between logical partitions. Put it before or behind all "
                        "of them, or give it an index from 5 on.",
                    )
        return Extended(self.extended, start, end - start)

    def _too_close(self, path: PathToValue, partition: Partition, before: Partition) -> None:
        least = align_up(before.end, ALIGNMENT) + ALIGNMENT
        self._problem(
            path,
            f"The logical partition {partition.id!r} starts at {show_size(partition.offset)}, but needs 1 MiB between "
            f"itself and {before.id!r} for the sector that describes it. Start at {least * SECTOR // MIB}MiB, or leave "
            "the start out.",
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

    def _check_growth(self, partitions: t.Sequence[Partition]) -> None:
        """A partition can only grow into what is free behind it, and by systemd's own programs."""
        for index, partition in enumerate(partitions):
            path = ("partitions", index, "growOnBoot")
            if not partition.grows:
                continue
            if self.is_mbr:
                self._problem(path, "systemd-repart knows no MBR, so that nothing can grow at boot. Use gpt.")
            growing = [name for name, kind in FILE_SYSTEMS.items() if kind.grows_online]
            if partition.fs_type not in growing or partition.mount_point is None:
                self._problem(
                    path,
                    f"The partition {partition.id!r} cannot grow at boot: that needs a mountPoint, and one of the file "
                    f"systems {', '.join(growing)}.",
                )
            if partition.is_read_only:
                self._problem(
                    path,
                    f"The partition {partition.id!r} cannot grow at boot, as a file system that is mounted with ro "
                    "stays as it is. Remove growOnBoot, or ro from its mountOptions.",
                )
            behind = next((other for other in partitions if other.start > partition.start), None)
            if behind is not None:
                self._problem(
                    path,
                    f"The partition {partition.id!r} cannot grow, as {behind.id!r} lies behind it. Let only the last "
                    "partition of the disk grow.",
                )


@dataclasses.dataclass(frozen=True)
class _Length:
    sectors: int


def _kind(entry: model.Partition) -> t.Type[FileSystem]:
    # One that is not known is another check's business.
    return FILE_SYSTEMS.get(entry.fs_type or "", FileSystem)


__all__ = (
    "ALIGNMENT",
    "CONTENT",
    "MBR_PRIMARY",
    "DiskLayout",
    "Extended",
    "LayoutProblem",
    "Partition",
    "disk_layout",
    "given_size",
    "is_below",
    "layout_problems",
    "show_path",
    "with_any_size",
)
