# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The content of /etc/fstab."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._disk.fstab import Table, fstab, fstab_without_disk
from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import disk_layout
from ansible_collections.os_image.composer.plugins.module_utils._errors import DiskError
from ansible_collections.os_image.composer.plugins.module_utils._template.immutability import Protection
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Disk, Mount
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
OWN = [
    "PARTUUID=uuid-of-rootfs / ext4 defaults 0 1",
    "PARTUUID=uuid-of-boot /boot/efi vfat umask=0077 0 2",
    r"PARTUUID=uuid-of-odd /srv/a\040b ext2 defaults 0 2",
    "PARTUUID=uuid-of-logs /var/log ext3 noatime,nosuid 0 2",
    "PARTUUID=uuid-of-swap none swap defaults 0 0",
]


def table(text: str = "", *mounts: t.Mapping[str, t.Any], protection: t.Optional[Protection] = None) -> Table:
    disk = {"size": "1GiB", "partitions": [{**partition, "size": "64MiB"} for partition in PARTITIONS]}
    uuids = {str(partition["id"]): f"uuid-of-{partition['id']}" for partition in PARTITIONS}
    further = [whole_part(Mount, mount) for mount in mounts]
    return fstab(disk_layout(whole_part(Disk, disk)), uuids, protection, mounts=further, text=text)


def lines(text: str = "", *mounts: t.Mapping[str, t.Any], protection: t.Optional[Protection] = None) -> list[str]:
    return table(text, *mounts, protection=protection).text.splitlines()[1:]


@pytest.mark.parametrize("text", ["", "# UNCONFIGURED FSTAB FOR BASE SYSTEM\n", "\n\n"])
def test_mounted_partitions_and_swap_are_listed(text: str) -> None:
    assert lines(text) == OWN


@pytest.mark.parametrize(
    "line",
    [
        "tmpfs /mnt/scratch tmpfs size=64m 0 0",
        "nas:/export\t/srv/nas  nfs4 defaults,nofail",
        r"LABEL=my\040data /srv/my\040data ext4 defaults 0 2",
        "/srv/data /opt/data none bind 0 0",
        "proc /proc proc hidepid=2 0 0",
        "/swapfile none swap sw 0 0",
        "/dev/zram0 swap swap pri=100",
        "# what a person has to know",
        "/dev/sdb1 /caf\udce9 ext4 defaults 0 0",
    ],
)
def test_what_the_tree_has_is_kept_word_for_word(line: str) -> None:
    assert lines(f"{line}\n") == [*OWN, line]
    assert lines(line) == [*OWN, line]


def test_a_line_that_says_the_same_is_written_once() -> None:
    twice = "tmpfs /mnt tmpfs size=1m 0 0\n" * 2
    assert lines(f"PARTUUID=uuid-of-rootfs  /  ext4  defaults  0  1\n{twice}") == [
        *OWN,
        "tmpfs /mnt tmpfs size=1m 0 0",
    ]


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("LABEL=root / ext4 ro 0 1\n", f"{OWN[0]} (the partition 'rootfs')", "LABEL=root / ext4 ro 0 1 (line 1 of"),
        (
            "#\ntmpfs /var/log/ tmpfs\n",
            f"{OWN[3]} (the partition 'logs')",
            "tmpfs /var/log/ tmpfs defaults 0 0 (line 2",
        ),
        ("a:/ /srv/a\\040b nfs ro\n", f"{OWN[2]} (the partition 'odd')", r"a:/ /srv/a\040b nfs ro 0 0 (line 1"),
        (
            "tmpfs /run/own tmpfs size=1m\n",
            "tmpfs /run/own tmpfs size=2m 0 0 (disk.mounts)",
            "tmpfs /run/own tmpfs size=1m",
        ),
        (
            "/swapfile none swap pri=1\n",
            "/swapfile none swap defaults 0 0 (disk.mounts)",
            "/swapfile none swap pri=1 0 0",
        ),
        ("a:/ /m nfs\nb:/ /m nfs\n", "a:/ /m nfs defaults 0 0 (line 1 of", "b:/ /m nfs defaults 0 0 (line 2 of"),
    ],
)
def test_two_lines_of_one_place_are_shown(text: str, first: str, second: str) -> None:
    own = [
        {"fsType": "tmpfs", "mountPoint": "/run/own", "mountOptions": "size=2m"},
        {"fsType": "swap", "source": "/swapfile", "size": "1GiB"},
    ]
    with pytest.raises(DiskError, match="Two lines of /etc/fstab are about") as caught:
        table(text, *own)
    assert f"\n  {first}" in str(caught.value)
    assert f"\n  {second}" in str(caught.value)


def test_two_lines_of_one_place_that_nobody_mounts_by_itself_may_be() -> None:
    text = ["/dev/sdb1 /media/usb vfat noauto 0 0", "/dev/sdb /media/usb vfat noauto,user 0 0"]
    assert lines("\n".join(text)) == [*OWN, *text]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("tmpfs /mnt\n", "Line 1 of /etc/fstab in the image cannot be read, as it has 2 of the fields"),
        ("\ntmpfs /mnt tmpfs size=1m, mode=0755 0 0\n", "Line 2 of /etc/fstab in the image cannot be read"),
        ("/dev/sdb1 /my disk ext4 defaults 0 0\n", r"a blank in a path is written as \\040"),
        ("tmpfs mnt tmpfs\n", "has the mount point 'mnt', which is no absolute path"),
        ("tmpfs /mnt tmpfs defaults 0 0\r\n", "ends with a carriage return"),
    ],
)
def test_a_line_that_nobody_could_read_is_told(text: str, problem: str) -> None:
    with pytest.raises(DiskError, match=problem):
        table(text)


def test_mounts_of_the_template() -> None:
    mounts = [
        {"fsType": "tmpfs", "mountPoint": "/mnt/my disk", "mountOptions": "size=64m"},
        {"fsType": "bind", "source": "/srv/data", "mountPoint": "/opt/data"},
        {"fsType": "rbind", "source": "/srv/a b", "mountPoint": "/opt/b", "mountOptions": "ro"},
        {"fsType": "fat32", "source": "LABEL=stick", "mountPoint": "/srv", "mountOptions": "nofail", "check": True},
        {"fsType": "nfs4", "source": "nas:/export", "mountPoint": "/home", "mountOptions": "nofail"},
        {"fsType": "linux-swap", "source": "/swapfile", "size": "1GiB"},
    ]
    assert lines("", *mounts) == [
        *OWN[:2],
        "nas:/export /home nfs4 nofail 0 0",
        r"tmpfs /mnt/my\040disk tmpfs size=64m 0 0",
        # What they show comes first, though its name is behind theirs.
        "LABEL=stick /srv vfat nofail 0 2",
        "/srv/data /opt/data none bind 0 0",
        OWN[2],
        r"/srv/a\040b /opt/b none rbind,ro 0 0",
        *OWN[3:],
        "/swapfile none swap defaults 0 0",
    ]


def test_what_lies_below_a_mount_of_the_tree_comes_behind_it() -> None:
    text = "nas:/export /var nfs4 defaults 0 0"
    assert lines(text) == [*OWN[:3], OWN[4], text, OWN[3]]


def test_a_system_that_is_never_written_to_gets_its_tmp_unless_somebody_mounts_one() -> None:
    protection = Protection("volatile", "volatile")
    usual = "tmpfs /tmp tmpfs mode=1777,nosuid,nodev 0 0"
    assert usual in lines(protection=protection)
    assert usual not in lines()
    own = "tmpfs /tmp tmpfs size=1g 0 0"
    assert [line for line in lines(own, protection=protection) if " /tmp " in line] == [own]
    mount = {"fsType": "tmpfs", "mountPoint": "/tmp", "mountOptions": "size=1g"}
    assert [line for line in lines("", mount, protection=protection) if " /tmp " in line] == [own]


def without_disk(text: str, *mounts: t.Mapping[str, t.Any]) -> str:
    return fstab_without_disk(
        [whole_part(Mount, mount) for mount in mounts],
        text,
        header="# In memory.\n",
        root="is in memory",
        swap_problem="an initrd has no disk for one",
    ).text


def test_systems_without_a_disk() -> None:
    assert without_disk("# UNCONFIGURED FSTAB\n") == "# In memory.\n"
    line = "tmpfs /mnt/scratch tmpfs size=64m 0 0\n"
    mount = {"fsType": "tmpfs", "mountPoint": "/var/tmp"}
    assert without_disk(line, mount) == f"# In memory.\ntmpfs /var/tmp tmpfs defaults 0 0\n{line}"
    with pytest.raises(DiskError, match="mounts something at /, but the root file system is in memory"):
        without_disk("LABEL=root / ext4 defaults 0 1\n")
    with pytest.raises(DiskError, match="names a swap file, but an initrd has no disk for one"):
        without_disk("/swapfile none swap sw 0 0\n")
