# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The layout of a disk: the template's section becomes sectors."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import (
    disk_layout,
    layout_problems,
    show_path,
)
from ansible_collections.os_image.composer.plugins.module_utils._errors import DiskError
from ansible_collections.os_image.composer.plugins.module_utils._partition_type import (
    BIOS_BOOT,
    ESP,
    LINUX,
    PARTITION_TYPES,
    SWAP,
    type_guid,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Disk
from ansible_collections.os_image.composer.tests.support.template_data import whole_part

MIB = (1 << 20) // 512
GUID = "DEADBEEF-0000-4000-8000-00000000000A"


def disk(*partitions: t.Mapping[str, t.Any], size: str | None = "4GiB", **more: t.Any) -> Disk:
    numbered = [{"id": f"p{index}", **part} for index, part in enumerate(partitions, 1)]
    return whole_part(Disk, {"size": size, "partitions": numbered, **more})


@pytest.mark.parametrize(
    ("partitions", "extents"),
    [
        pytest.param(
            [{"start": "1MiB", "end": "513MiB"}, {"start": "513MiB", "end": "0"}],
            [(MIB, 512 * MIB), (513 * MIB, (4096 - 513 - 1) * MIB)],
            id="the end is the first byte behind",
        ),
        pytest.param([{"end": "2MiB"}, {"end": "0"}], [(MIB, MIB), (2 * MIB, 4093 * MIB)], id="placed one by one"),
        pytest.param(
            [{"size": "1MiB"}, {"size": "3000KiB"}, {"size": "1GiB"}],
            [(MIB, MIB), (2 * MIB, 6000), (5 * MIB, 1024 * MIB)],
            id="sizes, aligned",
        ),
        pytest.param(
            [{"start": "17KiB", "end": "1MiB"}, {"start": "1MiB", "size": "1MiB"}],
            [(34, 2014), (MIB, MIB)],
            id="before the first MiB",
        ),
        pytest.param(
            [{"start": "1MiB", "end": "0"}, {"start": "3GiB", "end": "0"}],
            [(MIB, (3072 - 1) * MIB), (3072 * MIB, 1023 * MIB)],
            id="the rest ends at the next partition",
        ),
        pytest.param([{"start": "1000001", "end": "2MiB"}], [(1954, 2 * MIB - 1954)], id="rounded up to sectors"),
    ],
)
def test_partitions_are_placed(
    partitions: t.Sequence[t.Mapping[str, t.Any]], extents: t.Sequence[t.Tuple[int, int]]
) -> None:
    layout = disk_layout(disk(*partitions))
    assert [(partition.start, partition.sectors) for partition in layout.partitions] == extents


def test_partition_numbers_are_given_or_counted() -> None:
    parts = [{"size": "1MiB"}, {"size": "1MiB", "index": 1}, {"size": "1MiB"}, {"size": "1MiB", "index": 7}]
    assert [partition.number for partition in disk_layout(disk(*parts)).partitions] == [2, 1, 3, 7]


@pytest.mark.parametrize(
    ("partition", "guid"),
    [
        ({"type": "esp"}, ESP),
        ({"type": "linux-root-amd64"}, "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
        ({"type": "esp", "typeUUID": GUID}, GUID.lower()),
        ({"flags": ["esp", "boot"]}, ESP),
        ({"flags": ["bios_grub"]}, BIOS_BOOT),
        ({"fsType": "linux-swap"}, SWAP),
        ({}, LINUX),
    ],
)
def test_the_type_is_found(partition: t.Mapping[str, t.Any], guid: str) -> None:
    assert disk_layout(disk({"end": "0", **partition})).partitions[0].type_guid == guid


def test_type_guids_are_well_formed_and_names_lower_case() -> None:
    assert all(type_guid(guid) == guid for guid in PARTITION_TYPES.values())
    assert all(name == name.lower() for name in PARTITION_TYPES)


def test_names_are_as_long_as_the_table_holds() -> None:
    for name in ("\u65e5" * 36, "\U0001f4be" * 18):
        assert disk_layout(disk({"end": "0", "name": name})).partitions[0].name == name


def test_a_partition_knows_what_lies_on_it() -> None:
    layout = disk_layout(
        disk(
            {"size": "1MiB", "mountPoint": "/", "fsType": "ext4"},
            {"size": "1MiB", "mountPoint": "/var/", "fsType": "ext4"},
            {"size": "1MiB", "mountPoint": "/var/log", "fsType": "ext4"},
            {"size": "1MiB", "mountPoint": "none", "fsType": "ext4"},
            {"size": "1MiB", "mountPoint": "", "fsType": "linux-swap"},
        )
    )
    holders = {path: layout.holding(path) for path in ("/", "/variable", "/var", "/var/lib/x", "/var/log/syslog")}
    assert {path: holder and holder.id for path, holder in holders.items()} == {
        "/": "p1",
        "/variable": "p1",
        "/var": "p2",
        "/var/lib/x": "p2",
        "/var/log/syslog": "p3",
    }
    assert layout.esp is None
    assert layout.root is layout.partitions[0]


PART = {"start": "1MiB", "end": "2MiB"}


@pytest.mark.parametrize(
    ("section", "path", "message"),
    [
        (disk(PART, size="4GX"), "disk.size", "'4GX' is not a size."),
        (disk(PART, size=None), "disk.size", "The disk has no size. Give one, for example 4GiB."),
        (disk(PART, size="4GB"), "disk.size", "no multiple of 1 MiB. Use 3815MiB, for example."),
        (disk(), "disk.partitions", "The disk has no partitions."),
        (
            disk(PART, partitionTableType="atari"),
            "disk.partitionTableType",
            "'atari' is not supported. Use gpt or mbr.",
        ),
        (disk({"start": "1MiB"}), "disk.partitions[0].end", "has no end. Give one, or '0' for the rest of the disk."),
        (
            disk({**PART, "size": "1MiB"}),
            "disk.partitions[0].size",
            "either the size or the end of a partition, not both",
        ),
        (
            disk({"start": "0", "end": "2MiB"}),
            "disk.partitions[0].start",
            "The partition 'p1' starts at 0 bytes, inside the partition table. Start at 1MiB.",
        ),
        (
            disk(PART, {"start": "1536KiB", "end": "3MiB"}),
            "disk.partitions[1].start",
            "The partition 'p2' starts at 1.5 MiB, but 'p1' ends at 2 MiB: they overlap by 512 KiB.",
        ),
        (
            disk({"start": "1MiB", "end": "4GiB"}),
            "disk.partitions[0].end",
            "The partition 'p1' ends at 4 GiB, 1 MiB beyond what the disk of 4 GiB has beside its partition table. "
            "Use end: '0' for the rest of the disk, or enlarge disk.size.",
        ),
        (
            disk({"start": "1MiB", "end": "6GiB"}),
            "disk.partitions[0].end",
            "ends at 6 GiB, 2.0 GiB beyond what the disk of 4 GiB has",
        ),
        (
            disk({"start": "1MiB", "end": "0"}, {"end": "0"}),
            "disk.partitions[1].end",
            "Nothing of the disk (4 GiB) is left for the partition 'p2'",
        ),
        (
            disk({"start": "3MiB", "end": "2MiB"}),
            "disk.partitions[0].end",
            "The partition 'p1' ends at 2 MiB, but starts at 3 MiB. Give it an end behind that.",
        ),
        (
            disk({"size": "4MiB"}, {"end": "5MiB"}),
            "disk.partitions[1].end",
            "'p2' ends at 5 MiB, but would start, behind those before it, at 5 MiB.",
        ),
        (disk({"size": "5GiB"}), "disk.partitions[0].size", "The partition 'p1' ends at 5.0 GiB, 1.0 GiB beyond"),
        (
            disk({**PART, "typeUUID": "00000000-0000-0000-0000-000000000000"}),
            "disk.partitions[0].typeUUID",
            "marks entries of the table that stand for no partition.",
        ),
        (
            disk({**PART, "name": "a\nb"}),
            "disk.partitions[0].name",
            "has a line break or another character that is not",
        ),
        (disk({**PART, "name": "\U0001f4be" * 19}), "disk.partitions[0].name", "those beyond U+FFFF count twice."),
        (
            disk({**PART, "type": "floppy"}),
            "disk.partitions[0].type",
            "There is no partition type 'floppy'. Use one of",
        ),
        (disk({**PART, "flags": ["hot"]}), "disk.partitions[0].flags[0]", "There is no partition flag 'hot'."),
        (
            disk({**PART, "mountPoint": "srv", "fsType": "ext4"}),
            "disk.partitions[0].mountPoint",
            "The mount point 'srv' is not an absolute path.",
        ),
        (
            disk({**PART, "mountPoint": "/srv"}),
            "disk.partitions[0].fsType",
            "The partition 'p1' is mounted at /srv, but has no fsType. Give it one, or remove mountPoint.",
        ),
        (disk({**PART, "name": "n" * 37}), "disk.partitions[0].name", "is longer than 36 characters"),
        (disk(PART, {"id": "p1", "size": "1MiB"}), "disk.partitions[1].id", "Two partitions have the id 'p1'."),
        (
            disk({**PART, "index": 3}, {"size": "1MiB", "index": 3}),
            "disk.partitions[1].index",
            "The partition number 3 is given to 'p1' already.",
        ),
        (
            disk(
                {**PART, "mountPoint": "/srv", "fsType": "ext4"},
                {"size": "1MiB", "mountPoint": "/srv/", "fsType": "ext4"},
            ),
            "disk.partitions[1].mountPoint",
            "Two partitions have the mount point '/srv'.",
        ),
    ],
)
def test_what_cannot_be_laid_out_is_named(section: Disk, path: str, message: str) -> None:
    problems = layout_problems(section)
    assert [show_path(problem.path) for problem in problems] == [path]
    assert message in problems[0].message


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(DiskError) as raised:
        disk_layout(disk({"start": "0", "end": "2MiB", "type": "floppy"}, {"start": "1MiB", "end": "9GiB"}))
    assert str(raised.value).startswith("The disk cannot be laid out:\n")
    for path in ("disk.partitions[0].type: ", "disk.partitions[0].start: ", "disk.partitions[1].end: "):
        assert path in str(raised.value)
