# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.os_image.composer.tests.unit.plugins.module_utils._checks.conftest import (
    ESP,
    ROOT,
    SMALL_ROOT,
    Approve,
    Judge,
    Part,
    Right,
    data,
    disk,
    neighbours,
    target,
)

MBR = {"partitionTableType": "mbr"}

WRONG: list[tuple[Part, str]] = [
    (disk(ESP, {**ROOT, "start": "256MiB"}), "disk.partitions[1].start: The partition 'root' starts at 256 MiB"),
    (disk(ESP, {**ROOT, "end": "3GiB"}), "Use end: '0' for the rest of the disk, or enlarge disk.size."),
    (disk(ESP, {**ROOT, "start": "3GiB"}), "Nothing of the disk (2 GiB) is left for the partition 'root'"),
    (disk({**ESP, "start": "4KiB"}, ROOT), "disk.partitions[0].start: The partition 'boot' starts at 4 KiB"),
    (disk(ESP, {**ROOT, "id": "boot"}), "Two partitions have the id 'boot'."),
    (disk(ESP, SMALL_ROOT, data(mountPoint="/")), "Two partitions have the mount point '/'."),
    (target(imageType="initrd") | disk(ESP, ROOT), "disk.partitions: An initrd has no disk"),
    (target(imageType="iso") | {"disk": {"artifacts": [{"type": "raw"}]}}, "An image of the type iso is one file"),
    ({"disk": {"path": "/dev/sda"}}, "disk.path is where an installer ISO writes to."),
    (target(imageType="iso") | {"disk": {"path": "/dev/sda1"}}, "disk.path: /dev/sda1 is a partition"),
    (target(imageType="iso") | {"disk": {"path": "/dev/disk/by-id/ata-x-part2"}}, "is a partition"),
    (
        disk(ESP, {**ROOT, "typeUUID": "0fc63daf-8483-4772-8e79-3d69d8477de4"}, **MBR),
        "disk.partitions[1].typeUUID: The types of an mbr are no UUIDs.",
    ),
    (disk(ESP, SMALL_ROOT, {"id": "b", "type": "bios", "size": "1MiB"}, **MBR), "GRUB lies behind the table."),
    (disk(ESP, {**ROOT, "flags": ["grow"]}, **MBR), "An MBR has no flag grow"),
    (
        disk({**ESP, "flags": ["boot"]}, {**ROOT, "flags": ["boot"]}, **MBR),
        "disk.partitions[1].flags[0]: Two partitions have the flag boot",
    ),
    (
        {"disk": {"artifacts": [{"type": "raw", "compression": "gz"}, {"type": "raw", "compression": "gzip"}]}},
        "disk.artifacts[1]: The artifact raw with gz is asked for twice.",
    ),
    (
        {"disk": {"artifacts": [{"type": "raw", "compression": "gzip", "level": 10}]}},
        "disk.artifacts[0].level: The compression gz has no level 10. Use one from 1 to 9.",
    ),
    (
        {"disk": {"artifacts": [{"type": "raw", "level": 3}]}},
        "disk.artifacts[0].level: The level 3 is one of a compression, and none is asked for.",
    ),
    (
        {"disk": {"artifacts": [{"type": "vhd", "subformat": "streamOptimized"}]}},
        "disk.artifacts[0].subformat: The format vhd has no subformat 'streamOptimized'. Use one of: dynamic, fixed.",
    ),
    (
        disk(ESP, ROOT, size="3TiB", artifacts=[{"type": "vhd"}]),
        "disk.artifacts[0].type: The format vhd ends at 2040 GiB, but the disk has 3072 GiB. Use vhdx.",
    ),
    (
        {"disk": {"artifacts": [{"type": "raw", "compression": "bz2"}]}},
        "disk.artifacts[0].compression: The compression bz2 is not supported. Use gz, xz or zstd.",
    ),
    ({"disk": {"artifacts": [{"type": "qcow2", "compression": "xz"}]}}, "A qcow2 file with xz must be unpacked"),
    (
        {"disk": {"artifacts": [{"type": "vmdk", "subformat": "streamOptimized", "compression": "gz"}]}},
        "A vmdk file with gz must be unpacked",
    ),
]

RIGHT: Right = {
    "disk_can_be_laid_out": [
        disk(ESP, ROOT),
        disk({**ESP, "end": "200MiB"}, {"id": "swap", "fsType": "swap", "end": "257MiB"}, ROOT),
        disk(ESP, ROOT, **MBR),
    ],
    "disk_fits_the_image_type": [target(imageType="iso"), target(imageType="initrd")],
    "installer_writes_to_a_whole_disk": [
        target(imageType="iso") | {"disk": {"path": name}} for name in ("/dev/sda", "/dev/nvme0n1", "/dev/disk/by-id/x")
    ],
    "mbr_is_not_asked_for_gpt": [
        disk(ESP, {**ROOT, "flags": ["boot"]}, **MBR),
        disk(ESP, {**ROOT, "flags": ["grow", "no-auto"]}),
    ],
    "artifacts_are_unique": [{"disk": {"artifacts": [{"type": "raw"}, {"type": "raw", "compression": "gz"}]}}],
    "artifacts_can_be_made": [
        disk(ESP, ROOT, size="2040GiB", artifacts=[{"type": "vhd"}]),
        disk(ESP, ROOT, size="3TiB", artifacts=[{"type": "vhdx"}]),
        disk(
            ESP,
            {"id": "root", "fsType": "ext4", "size": "content", "mountPoint": "/"},
            size="content",
            artifacts=[{"type": "vhd"}],
        ),
        {"disk": {"artifacts": [{"type": "raw", "compression": "zst", "level": 19}]}},
        {"disk": {"artifacts": [{"type": "raw", "compression": "xz", "level": 0}]}},
        {"disk": {"artifacts": [{"type": "vmdk", "subformat": "streamOptimized"}, {"type": "vhd"}]}},
    ],
    "compressions_can_be_made": [{"disk": {"artifacts": [{"type": "raw", "compression": "gzip"}]}}],
    "artifacts_can_be_used_as_they_are": [
        {"disk": {"artifacts": [{"type": "qcow2"}, {"type": "raw", "compression": "xz"}]}},
        {"disk": {"artifacts": [{"type": "vmdk", "subformat": "monolithicSparse", "compression": "xz"}]}},
    ],
}


@pytest.mark.parametrize(("part", "expected"), WRONG, ids=[text[:60] for _part, text in WRONG])
def test_wrong(part: Part, expected: str, judge: Judge) -> None:
    found = judge(part)
    assert any(expected in line for line in found), found


def test_an_installer_has_no_disk_that_is_too_large_for_a_format(judge: Judge) -> None:
    found = judge(target(imageType="iso") | {"disk": {"artifacts": [{"type": "vhd"}]}})
    assert len(found) == 1
    assert "An image of the type iso is one file" in found[0]


@pytest.mark.parametrize(("name", "part"), neighbours(RIGHT))
def test_right(name: str, part: Part, approve: Approve) -> None:
    approve(name, part)
