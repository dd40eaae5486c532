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
    config,
    data,
    disk,
    neighbours,
    target,
)

SECOND_ESP = {**ESP, "id": "b2", "start": "257MiB", "end": "400MiB", "mountPoint": "/efi"}

HYBRID = config(bootloader={"bootType": "hybrid", "provider": "grub"})

WRONG: list[tuple[Part, str]] = [
    (disk({**ESP, "name": "x"}, {**ROOT, "name": "x"}), "The name 'x' is used twice."),
    (disk({**ESP, "fsLabel": "X"}, {**ROOT, "fsLabel": "X"}), "The file system label 'X' is used twice."),
    (
        disk({**ESP, "fsLabel": "x"}, SMALL_ROOT, data(fsType="fat32", fsLabel="X")),
        "disk.partitions[2].fsLabel: The file system label 'X' is used twice.",
    ),
    (disk(ESP, {**ROOT, "mountPoint": "/data"}), "No partition has the mountPoint /."),
    (disk(ESP, SMALL_ROOT, data(mountPoint="/")), "is a second one with the mountPoint /"),
    (disk(ESP, {**ROOT, "fsType": "fat32", "type": "linux"}), "The root file system cannot be fat32"),
    (disk(ESP, SMALL_ROOT, data(mountPoint="/a/../b")), "without //, . and .."),
    (disk(ESP, SMALL_ROOT, data(mountPoint="/a/")), "without a / at its end"),
    (disk(ESP, SMALL_ROOT, data(mountPoint="/proc/x")), "virtual file system"),
    (disk(ESP, SMALL_ROOT, data(mountPoint="/var/run/x")), "behind the symbolic link /var/run. Use /run/x."),
    (disk(ESP, SMALL_ROOT, data(mountPoint="/etc")), "/etc cannot be a partition of its own"),
    (disk(ESP, SMALL_ROOT, data(mountPoint="/etc/systemd")), "/etc/systemd cannot be a partition of its own"),
    (disk(ESP, SMALL_ROOT, data(mountPoint="/usr/bin")), "/usr/bin cannot be a partition of its own: it has the"),
    (disk(ESP, SMALL_ROOT, data(mountPoint="/usr/lib/x86_64-linux-gnu")), "it has the programs that mount it."),
    (disk(ESP, SMALL_ROOT, data(mountPoint="/boot/efi/x")), "lies on the EFI system partition (/boot/efi)"),
    (disk(ROOT | {"start": "1MiB"}), "There is no EFI system partition, but bootloader.bootType is efi."),
    (disk(ESP, SECOND_ESP, {**ROOT, "start": "400MiB"}), "The partition 'b2' is a second EFI system partition."),
    (disk({**ESP, "fsType": "ext4"}, ROOT), "The EFI system partition 'boot' must have a FAT file system."),
    (disk({**ESP, "mountPoint": "/boot"}, ROOT), "must be mounted on /boot/efi or /efi."),
    (disk(ESP, {**ROOT, "type": "linux-root-arm64"}), "The type linux-root-arm64 does not belong to x86_64."),
    (target(arch="aarch64") | disk(ESP, {**ROOT, "type": "root-x86-64"}), "does not belong to aarch64."),
    (disk(ESP, {**ROOT, "flags": ["esp"]}), "The flag esp only has an effect on an EFI system partition."),
    (disk(ESP, {**ROOT, "flags": ["boot"]}), "The flag boot only has an effect on an EFI system partition."),
    (disk(ESP, {**ROOT, "flags": ["bios_grub"]}), "The flag bios_grub has no effect beside another type."),
    (disk({**ESP, "mbrType": "0c"}, ROOT, partitionTableType="mbr"), "There is no EFI system partition"),
    (disk(ESP, SMALL_ROOT, data(type="var", mountPoint="/data")), "takes a partition of the type var for /var"),
    (disk(ESP, {**ROOT, "start": "263173KiB"}), "disk.partitions[1].start: The partition 'root' begins at 257.0 MiB"),
]

RIGHT: Right = {
    "partition_names_are_unique": [
        disk(ESP, SMALL_ROOT, data(fsLabel="DATA")),
        disk({**ESP, "fsLabel": "root"}, {**ROOT, "fsLabel": "root"}),
    ],
    "root_exists_once": [disk(ESP, ROOT), target(imageType="initrd")],
    "mount_points_are_sound": [
        disk(ESP, SMALL_ROOT, data(mountPoint=point))
        for point in ("/library", "/etcetera", "/var", "none", "/srv/a.b", "/usr", "/usr/lib/modules", "/etc/ssl")
    ],
    "mount_points_nest": [
        disk(ESP, SMALL_ROOT, data(mountPoint="/boot")),
        disk(ESP, SMALL_ROOT, data(mountPoint="/boot/efivars")),
    ],
    "efi_has_its_partition": [
        disk({**ESP, "type": "linux", "typeUUID": "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"}, ROOT),
        disk({"id": "boot", "flags": ["esp"], "fsType": "vfat", "size": "256MiB", "mountPoint": "/efi"}, ROOT),
        disk({**ESP, "type": "linux", "mbrType": "0xEF"}, {**ROOT, "type": "linux"}, partitionTableType="mbr"),
    ],
    "types_fit_the_architecture": [
        disk({**ESP, "flags": ["esp", "boot"]}, ROOT),
        target(arch="aarch64") | disk(ESP, {**ROOT, "type": "linux-root-arm64"}),
        disk(ESP, {**ROOT, "flags": ["boot"]}, partitionTableType="mbr"),
        disk({"id": "bios", "size": "1MiB", "flags": ["bios_grub"]}, {**ESP, "end": "256MiB", "start": "2MiB"}, ROOT)
        | HYBRID,
    ],
    "types_fit_their_mount_points": [
        disk(ESP, SMALL_ROOT, data(type="linux-home", mountPoint="/home")),
        disk(ESP, SMALL_ROOT, data(type="linux-tmp", mountPoint="/tmp")),
        disk(ESP, SMALL_ROOT, data(type="linux-home", mountPoint="/data", flags=["no-auto"])),
        # The second of two root partitions that take turns.
        disk(ESP, SMALL_ROOT, data(type="linux-root-amd64")),
    ],
    "partitions_are_aligned": [
        disk({**ESP, "end": "257500KiB"}, {**ROOT, "start": "258MiB"}),
        disk({"id": "bios", "type": "bios", "start": "17KiB", "end": "1MiB"}, ESP, ROOT) | HYBRID,
    ],
}


@pytest.mark.parametrize(("part", "expected"), WRONG, ids=[text[:60] for _part, text in WRONG])
def test_wrong(part: Part, expected: str, judge: Judge) -> None:
    found = judge(part)
    assert any(expected in line for line in found), found


@pytest.mark.parametrize(("name", "part"), neighbours(RIGHT))
def test_right(name: str, part: Part, approve: Approve) -> None:
    approve(name, part)
