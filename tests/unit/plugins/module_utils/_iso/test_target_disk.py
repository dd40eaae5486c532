# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The disk that an installer writes."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import disk_layout
from ansible_collections.os_image.composer.plugins.module_utils._errors import DiskError
from ansible_collections.os_image.composer.plugins.module_utils._iso.target_disk import growing_partition, target_disk
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Disk
from ansible_collections.os_image.composer.tests.support.disk_tree import ESP, ROOT
from ansible_collections.os_image.composer.tests.support.template_data import whole_part

MIB = 1 << 20
GROWING = {"partitions": [ESP, {**ROOT, "end": "0"}]}


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> str:
    """A root tree of 50 MiB."""
    (tmp_path / "boot/efi").mkdir(parents=True)
    (tmp_path / "data").write_bytes(b"x" * 50 * MIB)
    return str(tmp_path)


def test_a_disk_that_grows_is_as_large_as_its_content_needs(tree: str) -> None:
    target = target_disk(whole_part(Disk, GROWING), tree)
    layout = disk_layout(target.disk)
    assert target.grows == 2
    assert target.least == layout.size
    assert 100 * MIB < layout.partitions[1].size < 200 * MIB
    # The copy in the partition table's place at the end fits behind it.
    assert layout.partitions[1].offset + layout.partitions[1].size <= layout.size - 34 * 512
    assert target.disk.partitions[1].mount_options == "defaults,x-systemd.growfs"


def test_the_templates_size_is_the_least_that_the_machine_must_have(tree: str) -> None:
    target = target_disk(whole_part(Disk, {**GROWING, "size": "2GiB"}), tree)
    assert target.least == 2048 * MIB
    assert disk_layout(target.disk).size < 300 * MIB


def test_a_disk_that_is_too_small_stays_so(tree: str) -> None:
    target = target_disk(whole_part(Disk, {**GROWING, "size": "60MiB"}), tree)
    assert disk_layout(target.disk).size == 60 * MIB


def test_a_disk_with_ends_is_as_large_as_they_say(tree: str) -> None:
    target = target_disk(whole_part(Disk, {"partitions": [ESP, {**ROOT, "end": "500MiB"}]}), tree)
    assert (target.disk.size, target.least, target.grows) == ("501MiB", 501 * MIB, None)


@pytest.mark.parametrize(
    ("last", "grows"),
    [
        ({"fsType": "ext4", "mountPoint": "/srv", "end": "0"}, 2),
        ({"fsType": "ext3", "mountPoint": "/srv", "end": "0"}, 2),
        ({"fsType": "ext2", "mountPoint": "/srv", "end": "0"}, None),
        ({"fsType": "ext4", "mountPoint": "/srv", "mountOptions": "noatime,ro", "end": "0"}, None),
        ({"fsType": "ext4", "mountPoint": "/srv", "size": "1GiB"}, None),
        ({"fsType": "ext4", "end": "0"}, None),
        ({"fsType": "swap", "end": "0"}, None),
        ({"fsType": "fat32", "mountPoint": "/srv", "end": "0"}, None),
    ],
)
def test_what_grows(last: dict[str, t.Any], grows: int | None) -> None:
    disk = whole_part(Disk, {"partitions": [ESP, ROOT, {"id": "last", "start": "80MiB", **last}]})
    assert growing_partition(disk) == grows


def test_nothing_tells_the_size(tree: str) -> None:
    swap = {"id": "s", "fsType": "swap", "start": "80MiB", "end": "0"}
    with pytest.raises(DiskError, match=r"Nothing tells how large the disk .* Give disk\.size"):
        target_disk(whole_part(Disk, {"partitions": [ESP, ROOT, swap]}), tree)
