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
)

CONTENT_ROOT = {"id": "root", "mountPoint": "/", "size": "content"}
START_ROOT = {**ROOT, "start": "3GiB"}
SHORT_ESP = {**ESP, "end": "200MiB"}


def between(**values: str) -> Part:
    """A disk with a partition between the ESP and the root."""
    return disk(SHORT_ESP, {"id": "x", "start": "200MiB", "end": "257MiB", **values}, ROOT)


HYBRID: Part = {"systemConfig": {"bootloader": {"bootType": "hybrid", "provider": "grub"}}}

WRONG: list[tuple[Part, str]] = [
    (between(fsType="swap", type="linux"), "A swap partition must have the type linux-swap, not linux."),
    (between(fsType="swap", mountPoint="/x"), "Swap cannot be mounted."),
    (between(fsType="ext4", type="swap"), "A partition of the type swap cannot hold ext4."),
    (between(fsType="ext2", type="bios"), "GRUB itself is written to the BIOS boot partition 'x'"),
    (between(fsLabel="x"), "A label without a file system has no effect."),
    (disk({**ESP, "fsLabel": "TWELVE-CHARS"}, ROOT), "is longer than the 11 bytes that fat32 can store."),
    (disk({**ESP, "fsLabel": "e.s.p"}, ROOT), "may only have letters, which are stored as capitals"),
    (disk(ESP, {**ROOT, "fsLabel": "r\u00f6\u00f6t"}), "may only have printable ASCII characters."),
    (disk(ESP, {**ROOT, "fsType": "squashfs", "fsLabel": "root"}), "A file system of the type squashfs gets no label."),
    (disk(ESP, {**ROOT, "fsType": "erofs", "fsLabel": "x"}), "A file system of the type erofs gets no label."),
    (disk(ESP, {**ROOT, "fsType": "xfs", "fsLabel": "thirteen-byte"}), "longer than the 12 bytes that xfs can store."),
    (disk(ESP, {**ROOT, "fsType": "xfs", "fsLabel": "a b"}), "A label of xfs cannot have blanks. Change fsLabel."),
    (disk({**ESP, "fsLabel": " ESP"}, ROOT), "The label ' ESP' begins or ends with a blank."),
    (disk({**ESP, "fsLabel": "No name"}, ROOT), "NO NAME is what FAT has in place of a label."),
    (
        disk(ESP, {**ROOT, "mkfsOptions": ["-m", "5", "-U", "x"]}),
        "disk.partitions[1].mkfsOptions: mkfsOptions has -U, but options for ext4 may be",
    ),
    (disk(ESP, {**ROOT, "mkfsOptions": ["-E", "offset=5"]}), "must not set offset, hash_seed and root_owner"),
    (disk(ESP, {**ROOT, "mkfsOptions": ["-m", "5", "/dev/sda"]}), "mkfsOptions has /dev/sda, but options for ext4"),
    (disk(ESP, {**ROOT, "fsType": "xfs", "mkfsOptions": ["-m", "uuid=x"]}), "must not set uuid by -m"),
    (between(fsType="ext3", end="207MiB"), "a file system of the type ext3 needs at least 8 MiB"),
    (disk(ESP, {**ROOT, "end": "300MiB"}), "disk.partitions[1].end: The partition 'root' has 43 MiB, but a root file"),
    (disk(ESP, {**ROOT, "fsType": "xfs", "end": "540MiB"}), "a file system of the type xfs needs at least 300 MiB."),
    (disk(ESP, {**ROOT, "fsType": "erofs", "end": "280MiB"}), "a root file system needs at least 32 MiB."),
    (disk({**ESP, "end": "20MiB"}, {**ROOT, "start": "20MiB"}), "of the type fat32 needs at least 33 MiB"),
    (
        disk(SHORT_ESP, {"id": "x", "fsType": "fat16", "start": "200MiB", "end": "2249MiB"}, START_ROOT, size="4GiB"),
        "disk.partitions[1].end: The partition 'x' has 2049 MiB, but FAT16 ends at 2048 MiB. Set its fsType to fat32.",
    ),
    (between(fsType="fat16", end="203MiB"), "a file system of the type fat16 needs at least 4 MiB"),
    (between(fsType="btrfs"), "of the type btrfs needs at least 110 MiB"),
    (disk(ESP, SMALL_ROOT, data(end="1025MiB")), "The partition 'data' has 1 MiB, but a file system of the type ext4"),
    (disk(ESP, {**ROOT, "fsType": "squashfs", "mountOptions": "rw"}), "squashfs cannot be written"),
    (
        disk(ESP, {**ROOT, "mountOptions": "noatime,umask=0077"}),
        "The mount option umask=0077 is one of fat16, fat32, vfat; with it ext4 would not be mounted.",
    ),
    (disk(ESP, {**ROOT, "fsType": "xfs", "mountOptions": "errors=remount-ro"}), "with it xfs would not be mounted."),
    (disk(ESP, {**ROOT, "fsType": "btrfs", "mountOptions": "subvol=@"}), "option subvol=@ names a subvolume"),
    (disk(ESP, {**ROOT, "fsType": "btrfs", "mountOptions": "subvolid=256"}), "option subvolid=256 names a subvolume"),
    (disk(ESP, {**ROOT, "mountOptions": "nosuid,suid"}), "The mount options suid and nosuid contradict each other."),
    (disk(ESP, SMALL_ROOT, data(mountOptions="noatime")), "The partition 'data' is not mounted"),
]

RIGHT: Right = {
    "file_systems_fit_their_use": [
        between(fsType="swap"),
        between(fsType="swap", type="swap"),
        between(type="bios") | HYBRID,
    ],
    "labels_fit_their_file_systems": [
        disk({**ESP, "fsLabel": "ELEVEN-CHAR"}, {**ROOT, "fsLabel": "cloudimg-rootfs"}),
        disk(ESP, {**ROOT, "fsType": "squashfs"}),
    ],
    "fat16_ends_at_2_gib": [
        disk(SHORT_ESP, {"id": "x", "fsType": "fat16", "start": "200MiB", "end": "2248MiB"}, START_ROOT, size="4GiB"),
        between(fsType="fat16"),
        between(fsType="fat16", end="204MiB"),
    ],
    "partitions_are_large_enough": [
        disk({**ESP, "end": "34MiB"}, {**ROOT, "start": "34MiB", "end": "290MiB"}),
        disk(ESP, {**ROOT, "fsType": "xfs", "end": "557MiB"}),
        disk(ESP, {**ROOT, "fsType": "squashfs", "end": "289MiB"}),
        between(fsType="swap", end="201MiB"),
        disk(ESP, {**CONTENT_ROOT, "fsType": "xfs"}, size="content"),
    ],
    "mkfs_options_leave_the_build_its_own": [
        disk(ESP, {**ROOT, "mkfsOptions": ["-m", "5", "-E", "lazy_itable_init=0"]}),
        disk(ESP, {**ROOT, "mkfsOptions": ["-m5"]}),
    ],
    "compressed_file_systems_are_read_only": [
        disk(ESP, {**ROOT, "fsType": "squashfs", "mountOptions": "ro,noatime"}),
        disk(ESP, {**ROOT, "mountOptions": "rw"}),
    ],
    "mount_options_belong_to_their_file_system": [
        disk(
            {**ESP, "mountOptions": "umask=0077,errors=remount-ro"},
            {**ROOT, "mountOptions": "errors=remount-ro,data=journal"},
        ),
        disk(ESP, {**ROOT, "fsType": "btrfs", "mountOptions": "compress=zstd:3,subvol=/,discard=async,commit=60"}),
        disk(ESP, {**ROOT, "fsType": "xfs", "mountOptions": "x-systemd.device-timeout=9,inode64,discard"}),
        between(fsType="swap", mountOptions="discard"),
    ],
    "mount_options_do_not_conflict": [disk(ESP, {**ROOT, "mountOptions": "ro,noatime,nodev,errors=remount-ro"})],
    "mount_options_have_effect": [
        disk(ESP, SMALL_ROOT, data(mountPoint="/srv", mountOptions="noatime")),
        between(fsType="swap", mountOptions="pri=5"),
    ],
}


@pytest.mark.parametrize(("part", "expected"), WRONG, ids=[text[:60] for _part, text in WRONG])
def test_wrong(part: Part, expected: str, judge: Judge) -> None:
    found = judge(part)
    assert any(expected in line for line in found), found


@pytest.mark.parametrize(("name", "part"), neighbours(RIGHT))
def test_right(name: str, part: Part, approve: Approve) -> None:
    approve(name, part)
