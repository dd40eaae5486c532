# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

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


def mounts(*items: Part) -> Part:
    return {"disk": {"mounts": list(items)}}


def memory(place: str, **values: t.Any) -> Part:
    return {"fsType": "tmpfs", "mountPoint": place, **values}


def bind(source: str, place: str) -> Part:
    return {"fsType": "bind", "source": source, "mountPoint": place}


def swap(source: str = "/swapfile", **values: t.Any) -> Part:
    return {"fsType": "swap", "source": source, **values}


def beside(*items: Part, **values: t.Any) -> Part:
    """Mounts beside a partition at /srv."""
    return disk(ESP, SMALL_ROOT, data(mountPoint="/srv", **values), mounts=list(items))


PROTECTED = config(immutability={"enabled": True}, kernel={"uki": True})

WRONG: list[tuple[Part, str]] = [
    (mounts({"fsType": "tmpfs"}), "disk.mounts[0]: The tmpfs is mounted nowhere. Give it a mountPoint."),
    (mounts({"fsType": "ext4", "mountPoint": "/m"}), "A mount of the fsType ext4 has to say what is mounted."),
    (mounts({"fsType": "swap", "size": "1GiB"}), "A mount of the fsType swap has to say the file or the device."),
    (mounts(swap(mountPoint="/m", size="1GiB")), "disk.mounts[0].mountPoint: Swap cannot be mounted."),
    (mounts({"fsType": "none", "source": "/a", "mountPoint": "/b"}), "Only a bind mount has the fsType none."),
    (mounts({"fsType": "nfs", "source": "nas", "mountPoint": "/m"}), "nas is no source for nfs. Use the form server:"),
    (mounts({"fsType": "cifs", "source": "/nas", "mountPoint": "/m"}), "Use the form //server/share."),
    (mounts({"fsType": "ext4", "source": "sdb1", "mountPoint": "/m"}), "sdb1 is not the name of a device."),
    (mounts(bind("srv", "/m")), "The source srv of a bind mount must be an absolute path"),
    (mounts(bind("/srv/", "/m")), "The source /srv/ of a bind mount must be an absolute path"),
    (mounts(swap("/a/../b", size="1GiB")), "The swap file /a/../b must be written without"),
    (mounts(bind("/a\\040b", "/m")), "has an octal number for a blank, which the build writes itself."),
    (mounts(memory("/a\\040b")), "disk.mounts[0].mountPoint: The mountPoint /a\\040b has an octal number"),
    (mounts(memory("/")), "At / the partition"),
    (target(imageType="initrd") | mounts(memory("/")), "At / the root file system is mounted already."),
    (beside(memory("/srv")), "disk.mounts[0].mountPoint: At /srv the partition 'data' is mounted already."),
    (mounts(memory("/m"), memory("/m")), "disk.mounts[1].mountPoint: Two mounts have the mountPoint /m."),
    (mounts(swap("LABEL=s"), swap("LABEL=s")), "disk.mounts[1].source: The swap space LABEL=s is named twice."),
    (mounts(memory("/a//b")), "must be written without //"),
    (mounts(memory("/a/")), "must be written without //"),
    (mounts(memory("/run/../a")), "must be written without //"),
    (mounts(memory("/bin/x")), "lies behind the symbolic link /bin. Use /usr/bin/x."),
    (mounts(memory("/etc")), "/etc cannot be a partition of its own"),
    (mounts(memory("/usr")), "/usr is what mounts are made by."),
    (mounts({"fsType": "nfs", "source": "a:/b", "mountPoint": "/sys/x"}), "belongs to a virtual file system."),
    (beside(memory("/boot/efi/x")), "/boot/efi/x lies on the EFI system partition (/boot/efi)"),
    (mounts(bind("/a/b", "/c"), bind("/c/d", "/a")), "has to wait for"),
    (mounts(bind("/a", "/a")), "disk.mounts[0].source: /a would be shown at its own place."),
    (mounts(memory("/m", mountOptions="ro,rw")), "The mount options ro and rw contradict each other."),
    (mounts(memory("/m", mountOptions="size=1MiB")), "tmpfs does not know the size 1MiB."),
    (mounts(memory("/m", mountOptions="ro,,dev")), "There is nothing between two commas of the mountOptions."),
    (
        mounts({"fsType": "ext4", "source": "LABEL=a", "mountPoint": "/m", "mountOptions": "compress=zstd"}),
        "with it ext4 would not be mounted. Remove it.",
    ),
    (mounts(memory("/m", check=True)), "Nothing can be checked where the fsType is tmpfs."),
    (mounts(memory("/m", size="1GiB")), "Only swap files have a size."),
    (mounts(swap("/dev/sdb1", size="1GiB")), "Only swap files have a size."),
    (mounts(swap()), "The swap file /swapfile is made by the system when it first boots. Give it a size."),
    (target(imageType="initrd") | mounts(swap(size="1GiB")), "The image has no disk for the swap file /swapfile"),
    (beside(swap("/srv/swap", size="1GiB"), fsType="fat32"), "Everybody could read the swap file /srv/swap"),
    (beside(swap("/srv/swap", size="1GiB")), "of 1 GiB does not fit onto the partition 'data'"),
    (beside(swap("/srv/swap", size="1MiB"), mountOptions="ro"), "The partition 'data' is never written to"),
    (mounts(memory("/m"), swap("/m/swap", size="1MiB")), "would lie on what is mounted at /m, and not on a partition"),
    (mounts(swap("/tmp/swap", size="1MiB")), "The swap file /tmp/swap would not stay where it is."),
    (
        disk(ESP, {**ROOT, "end": "1GiB"}, {"id": "roothashmap", "size": "16MiB"}, mounts=[swap(size="8MiB")])
        | PROTECTED,
        "The partition 'root' is never written to, so it has no place for the swap file /swapfile.",
    ),
    (
        mounts({"fsType": "nfs4", "source": "nas:/export", "mountPoint": "/m"}),
        "Where nas:/export cannot be reached, systems wait for it",
    ),
]

RIGHT: Right = {
    "mounts_say_what_and_where": [
        mounts(
            memory("/m"),
            {"fsType": "nfs", "source": "[2001:db8::1]:/x", "mountPoint": "/n", "mountOptions": "nofail"},
            {"fsType": "none", "source": "/a b", "mountPoint": "/b c", "mountOptions": "bind"},
            {"fsType": "fuse.sshfs", "source": "me@host:dir", "mountPoint": "/o"},
            swap("UUID=1-2"),
        )
    ],
    "mount_points_are_used_once": [
        beside(memory("/srv/cache"), memory("/srv2")),
        mounts(swap("LABEL=a"), swap("LABEL=b"), memory("/a"), memory("/b")),
    ],
    "mounts_have_sound_places": [
        mounts(memory("/dev/shm", mountOptions="size=50%"), {"fsType": "proc", "mountPoint": "/proc"}),
        mounts({"fsType": "nfs", "source": "a:/b", "mountPoint": "/run/x", "mountOptions": "noauto"}),
    ],
    "mounts_do_not_wait_for_each_other": [mounts(bind("/b/c", "/a"), memory("/b"))],
    "options_of_mounts_can_be_used": [
        mounts(memory("/m", mountOptions="size=64M,mode=1777")),
        mounts({"fsType": "vfat", "source": "LABEL=a", "mountPoint": "/m", "mountOptions": "umask=0077"}),
    ],
    "swap_files_have_a_place": [
        mounts(swap(size="64MiB"), swap("/dev/zram0"), swap("LABEL=x")),
        beside(swap("/srv/swap", size="64MiB")),
        disk(ESP, {**ROOT, "growOnBoot": True}, mounts=[swap(size="8GiB")]),
    ],
    "systems_start_without_other_machines": [
        mounts({"fsType": "nfs4", "source": "a:/b", "mountPoint": "/m", "mountOptions": "x-systemd.automount"})
    ],
}


@pytest.mark.parametrize(("part", "expected"), WRONG, ids=[text[:60] for _part, text in WRONG])
def test_wrong(part: Part, expected: str, judge: Judge) -> None:
    found = judge(part)
    assert any(expected in line for line in found), found


@pytest.mark.parametrize(("name", "part"), neighbours(RIGHT))
def test_right(name: str, part: Part, approve: Approve) -> None:
    approve(name, part)
