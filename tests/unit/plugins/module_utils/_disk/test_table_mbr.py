# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""MBR partition tables, as sfdisk reads them back."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._compose.disk import DiskIdentity
from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import (
    disk_layout,
    layout_problems,
    show_path,
)
from ansible_collections.os_image.composer.plugins.module_utils._disk.table import table_script, write_table
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.kinds import file_system
from ansible_collections.os_image.composer.plugins.module_utils._partition_type import (
    ESP,
    MBR_LINUX,
    PARTITION_TYPES,
    mbr_type,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Disk
from ansible_collections.os_image.composer.tests.support.disk_judges import partition_table
from ansible_collections.os_image.composer.tests.support.template_data import whole_part

MIB = (1 << 20) // 512
DIGEST = "3c" * 32


def disk(*partitions: t.Mapping[str, t.Any], size: str = "64MiB") -> Disk:
    numbered = [{"id": f"p{index}", **part} for index, part in enumerate(partitions, 1)]
    return whole_part(Disk, {"size": size, "partitionTableType": "mbr", "partitions": numbered})


def written(section: Disk, image: pathlib.Path) -> t.Dict[str, t.Any]:
    """Write the table and read it back."""
    layout = disk_layout(section)
    identity = DiskIdentity.derive(layout, DIGEST)
    with open(image, "xb") as stream:
        stream.truncate(layout.size)
    script = table_script(layout, disk_id=identity.disk, partition_uuids=identity.partitions)
    write_table(str(image), script, CommandRunner())
    table = partition_table(str(image))
    assert table["id"] == f"0x{identity.disk}"
    assert table["label"] == "dos"
    return table


def extents(table: t.Mapping[str, t.Any], image: pathlib.Path) -> t.List[t.Tuple[int, int, int, str]]:
    return [
        (int(entry["node"][len(str(image)) :]), entry["start"], entry["size"], entry["type"])
        for entry in table["partitions"]
    ]


def test_primary_partitions(tmp_path: pathlib.Path) -> None:
    image = tmp_path / "image"
    table = written(
        disk(
            {"size": "1MiB", "type": "esp", "fsType": "fat32"},
            {"size": "2MiB", "fsType": "ext4", "flags": ["boot"]},
            {"size": "3MiB", "fsType": "linux-swap"},
            {"end": "0", "mbrType": "0xA5"},
        ),
        image,
    )
    assert extents(table, image) == [
        (1, MIB, MIB, "ef"),
        (2, 2 * MIB, 2 * MIB, "83"),
        (3, 4 * MIB, 3 * MIB, "82"),
        (4, 7 * MIB, 57 * MIB, "a5"),
    ]
    assert [entry.get("bootable", False) for entry in table["partitions"]] == [False, True, False, False]


def test_more_than_four_become_logical(tmp_path: pathlib.Path) -> None:
    image = tmp_path / "image"
    table = written(disk(*[{"size": "2MiB"}] * 5, {"end": "0"}), image)
    assert extents(table, image) == [
        (1, MIB, 2 * MIB, "83"),
        (2, 3 * MIB, 2 * MIB, "83"),
        (3, 5 * MIB, 2 * MIB, "83"),
        (4, 7 * MIB, 57 * MIB, "f"),
        (5, 8 * MIB, 2 * MIB, "83"),
        (6, 11 * MIB, 2 * MIB, "83"),
        (7, 14 * MIB, 50 * MIB, "83"),
    ]


def test_numbers_may_be_given(tmp_path: pathlib.Path) -> None:
    image = tmp_path / "image"
    table = written(
        disk(
            {"size": "1MiB", "index": 4},
            {"size": "1MiB", "index": 5},
            {"start": "8MiB", "end": "0", "index": 6},
            size="16MiB",
        ),
        image,
    )
    assert extents(table, image) == [
        (3, 2 * MIB, 14 * MIB, "f"),
        (4, MIB, MIB, "83"),
        (5, 3 * MIB, MIB, "83"),
        (6, 8 * MIB, 8 * MIB, "83"),
    ]


def test_the_rest_leaves_room_for_the_next_logical_one(tmp_path: pathlib.Path) -> None:
    image = tmp_path / "image"
    table = written(disk({"size": "1MiB"}, {"end": "0", "index": 5}, {"start": "32MiB", "end": "0", "index": 6}), image)
    assert extents(table, image)[2] == (5, 3 * MIB, 28 * MIB, "83")


def test_partition_uuids_are_those_of_the_kernel() -> None:
    identity = DiskIdentity.derive(disk_layout(disk({"size": "1MiB"}, {"size": "1MiB", "index": 5})), DIGEST)
    assert len(identity.disk) == 8
    assert identity.partitions == {"p1": f"{identity.disk}-01", "p2": f"{identity.disk}-05"}


@pytest.mark.parametrize(
    ("name", "fs_type", "flags", "number"),
    [
        ("esp", "fat32", (), 0xEF),
        ("", "fat32", ("esp", "boot"), 0xEF),
        ("xbootldr", "ext4", (), 0xEA),
        ("", "fat32", (), 0x0C),
        ("", "vfat", (), 0x0C),
        ("", "fat16", (), 0x0E),
        ("", "linux-swap", (), 0x82),
        ("linux-lvm", "", (), 0x8E),
        ("linux-raid", "", (), 0xFD),
        ("linux-luks", "", (), 0xE8),
        ("linux-root-amd64", "ext4", (), 0x83),
        ("", "", (), 0x83),
    ],
)
def test_type_numbers(name: str, fs_type: str, flags: t.Sequence[str], number: int) -> None:
    default = file_system(fs_type).mbr_type if fs_type else MBR_LINUX
    assert mbr_type(name, flags, default) == number


def test_every_type_name_has_a_number_or_a_reason() -> None:
    for name in PARTITION_TYPES:
        if name in ("bios", "bios-boot"):
            with pytest.raises(ValueError, match="no BIOS boot partition"):
                mbr_type(name, (), MBR_LINUX)
        else:
            assert 0 < mbr_type(name, (), MBR_LINUX) < 0xFF


def test_an_esp_is_known_by_its_number() -> None:
    layout = disk_layout(disk({"size": "1MiB", "mbrType": "EF"}))
    assert layout.esp is layout.partitions[0]
    assert layout.partitions[0].type_guid == ESP


@pytest.mark.parametrize(
    ("section", "path", "message"),
    [
        (
            disk(*[{"size": "1MiB", "index": number} for number in (1, 2, 3, 4)], {"size": "1MiB"}),
            "disk.partitions",
            "An MBR has room for four partitions, which are all numbered by index here",
        ),
        (
            disk(*[{"size": "1MiB"}] * 60, size="128MiB"),
            "disk.partitions",
            "The last partition would have the number 61, but an MBR ends with 60.",
        ),
        (
            disk({"size": "1MiB"}, {"size": "1MiB", "index": 6}),
            "disk.partitions[1].index",
            "The logical partition 6 is out of order.",
        ),
        (
            disk({"size": "1MiB", "index": 5, "start": "8MiB"}, {"size": "1MiB", "index": 6, "start": "2MiB"}),
            "disk.partitions[1].start",
            "The logical partition 'p2' lies before 'p1'.",
        ),
        (
            disk({"size": "1MiB", "index": 5}, {"size": "1MiB", "index": 6, "start": "3MiB"}),
            "disk.partitions[1].start",
            "needs 1 MiB between itself and 'p1' for the sector that describes it. Start at 4MiB, or leave the start",
        ),
        (
            disk({"size": "1MiB"}, {"size": "1MiB", "index": 5, "start": "2MiB"}),
            "disk.partitions[1].start",
            "needs 1 MiB between itself and 'p1'",
        ),
        (
            disk(
                {"size": "1MiB", "index": 5},
                {"size": "1MiB", "index": 1, "start": "4MiB"},
                {"size": "1MiB", "index": 6, "start": "8MiB"},
            ),
            "disk.partitions[1].start",
            "'p2' lies between logical partitions.",
        ),
        (
            disk({"size": "1MiB", "name": "x"}),
            "disk.partitions[0].name",
            "An MBR does not hold the names of partitions.",
        ),
        (
            disk({"size": "1MiB", "typeUUID": "deadbeef-0000-4000-8000-00000000000a"}),
            "disk.partitions[0].typeUUID",
            "An MBR knows partition types by numbers.",
        ),
        (disk({"size": "1MiB", "type": "bios"}), "disk.partitions[0].type", "An MBR disk has no BIOS boot partition"),
        (disk({"size": "1MiB", "mbrType": "0f"}), "disk.partitions[0].mbrType", "'0f' is not the type of a partition"),
        (disk({"size": "1MiB", "flags": ["grow"]}), "disk.partitions[0].flags[0]", "An MBR has no flag grow: remove"),
        (
            disk({"size": "1MiB", "flags": ["legacy_boot"]}),
            "disk.partitions[0].flags[0]",
            "An MBR has no flag legacy_boot: use boot, or",
        ),
        (
            disk({"size": "1MiB"}, size="3TiB"),
            "disk.partitionTableType",
            "An MBR ends at 2048 GiB, but the disk has 3072 GiB. Use gpt.",
        ),
        (
            disk({"size": "4MiB", "fsType": "ext4", "mountPoint": "/", "growOnBoot": True}),
            "disk.partitions[0].growOnBoot",
            "systemd-repart knows no MBR",
        ),
        (
            whole_part(Disk, {"size": "4MiB", "partitions": [{"id": "a", "size": "1MiB", "mbrType": "83"}]}),
            "disk.partitions[0].mbrType",
            "mbrType only has an effect on an MBR disk.",
        ),
    ],
)
def test_what_an_mbr_cannot_hold_is_named(section: Disk, path: str, message: str) -> None:
    problems = layout_problems(section)
    assert [show_path(problem.path) for problem in problems] == [path], problems
    assert message in problems[0].message
