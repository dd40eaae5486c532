# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The content of /etc/fstab."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._disk.fstab import fstab
from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import disk_layout
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Disk
from ansible_collections.os_image.composer.tests.support.template_data import whole_part

PARTITIONS: t.Sequence[t.Mapping[str, t.Any]] = [
    {"id": "swap", "fsType": "linux-swap"},
    {"id": "logs", "fsType": "ext3", "mountPoint": "/var/log", "mountOptions": "noatime,nosuid"},
    {"id": "boot", "fsType": "fat32", "mountPoint": "/boot/efi", "mountOptions": "umask=0077"},
    {"id": "spare", "fsType": "ext4", "mountPoint": "none"},
    {"id": "raw"},
    {"id": "rootfs", "fsType": "ext4", "mountPoint": "/"},
    {"id": "odd", "fsType": "ext2", "mountPoint": "/srv/a b"},
]


def test_mounted_partitions_and_swap_are_listed() -> None:
    disk = {"size": "1GiB", "partitions": [{**partition, "size": "64MiB"} for partition in PARTITIONS]}
    uuids = {str(partition["id"]): f"uuid-of-{partition['id']}" for partition in PARTITIONS}
    assert fstab(disk_layout(whole_part(Disk, disk)), uuids).splitlines()[1:] == [
        "PARTUUID=uuid-of-rootfs / ext4 defaults 0 1",
        "PARTUUID=uuid-of-boot /boot/efi vfat umask=0077 0 2",
        r"PARTUUID=uuid-of-odd /srv/a\040b ext2 defaults 0 2",
        "PARTUUID=uuid-of-logs /var/log ext3 noatime,nosuid 0 2",
        "PARTUUID=uuid-of-swap none swap defaults 0 0",
    ]
