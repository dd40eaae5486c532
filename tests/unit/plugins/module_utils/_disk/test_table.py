# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The partition table, as sfdisk reads it back."""

from __future__ import annotations

import json
import pathlib
import subprocess
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import disk_layout
from ansible_collections.os_image.composer.plugins.module_utils._disk.table import table_script, write_table
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Disk
from ansible_collections.os_image.composer.tests.support.template_data import whole_part

DISK_UUID = "00000000-1111-4222-8333-444444444444"
UUIDS = {name: f"00000000-0000-4000-8000-00000000000{number}" for number, name in enumerate(("bios", "boot", "rootfs"))}
DISK: t.Mapping[str, t.Any] = {
    "size": "64MiB",
    "partitions": [
        {"id": "boot", "type": "esp", "start": "1MiB", "end": "34MiB", "index": 2},
        {"id": "bios", "type": "bios", "start": "17KiB", "end": "1MiB", "index": 1, "flags": ["legacy_boot"]},
        {"id": "rootfs", "name": 'the "root" ü', "type": "linux-root-amd64", "end": "0", "flags": ["grow", "no-auto"]},
    ],
}


def script() -> str:
    return table_script(disk_layout(whole_part(Disk, DISK)), disk_id=DISK_UUID, partition_uuids=UUIDS)


def test_nothing_is_left_to_chance() -> None:
    lines = script().splitlines()
    assert lines[:5] == ["label: gpt", f"label-id: {DISK_UUID}", "unit: sectors", "first-lba: 34", "sector-size: 512"]
    assert lines[7] == (
        "image2 : start=2048, size=67584, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, "
        'uuid=00000000-0000-4000-8000-000000000001, name="boot"'
    )


def test_the_table_is_what_was_asked_for(tmp_path: pathlib.Path) -> None:
    image = tmp_path / "image"
    image.touch()
    with open(image, "r+b") as stream:
        stream.truncate(64 << 20)
    write_table(str(image), script(), CommandRunner())
    dumped = subprocess.run(["sfdisk", "--json", str(image)], check=True, capture_output=True, text=True).stdout
    table = json.loads(dumped)["partitiontable"]
    assert table["id"] == DISK_UUID.upper()
    found = [
        (entry["node"][len(str(image)) :], entry["start"], entry["size"], entry["uuid"].lower(), entry.get("attrs"))
        for entry in table["partitions"]
    ]
    assert found == [
        ("1", 34, 2014, UUIDS["bios"], "LegacyBIOSBootable"),
        ("2", 2048, 67584, UUIDS["boot"], None),
        ("3", 69632, 59392, UUIDS["rootfs"], "GUID:59,63"),
    ]
    assert table["partitions"][2]["name"] == 'the "root" ü'
    verified = subprocess.run(["sgdisk", "--verify", str(image)], check=True, capture_output=True, text=True).stdout
    assert "No problems found." in verified
