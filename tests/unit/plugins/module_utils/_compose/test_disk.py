# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Composed disks, judged by the programs of the file systems."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import time
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError, DiskError
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_file
from ansible_collections.os_image.composer.tests.support.disk_judges import partition_table
from ansible_collections.os_image.composer.tests.support.disk_tree import (
    DISK,
    EPOCH,
    ESP,
    ROOT,
    Composed,
    compose,
    make_tree,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")

SEPARATE: t.Mapping[str, t.Any] = {
    "size": "128MiB",
    "partitions": [
        ESP,
        ROOT,
        {"id": "swap", "fsType": "linux-swap", "fsLabel": "swap", "size": "4MiB"},
        {"id": "opt", "fsType": "ext4", "size": "8MiB", "mountPoint": "/opt"},
        {"id": "home", "fsType": "ext3", "size": "8MiB", "mountPoint": "/home"},
        {"id": "tmp", "fsType": "ext2", "size": "4MiB", "mountPoint": "/tmp"},
        {"id": "var", "fsType": "ext4", "size": "8MiB", "mountPoint": "/var"},
        {"id": "log", "fsType": "ext4", "size": "8MiB", "mountPoint": "/var/log"},
        {"id": "fat", "fsType": "fat16", "end": "0", "mountPoint": "/srv/shared"},
    ],
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return make_tree(tmp_path_factory.mktemp("disk") / "tree")


@pytest.fixture(scope="module")
def simple(tree: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Composed:
    return compose(tree, tmp_path_factory.mktemp("simple"))


@pytest.fixture(scope="module")
def separate(tree: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Composed:
    return compose(tree, tmp_path_factory.mktemp("separate"), SEPARATE)


def test_the_partition_table_is_sound(separate: Composed) -> None:
    assert len(partition_table(separate.image)["partitions"]) == 9


@pytest.mark.parametrize("name", ["rootfs", "opt", "home", "tmp", "var", "log"])
def test_e2fsck_finds_no_fault(separate: Composed, name: str) -> None:
    done = subprocess.run(
        ["e2fsck", "-f", "-n", separate.file_system(name)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["boot", "fat"])
def test_fsck_fat_finds_no_fault(separate: Composed, name: str, tmp_path: pathlib.Path) -> None:
    partition = next(partition for partition in separate.layout.partitions if partition.id == name)
    volume = tmp_path / "fat"
    with open(separate.image, "rb") as stream:
        stream.seek(partition.offset)
        volume.write_bytes(stream.read(partition.size))
    done = subprocess.run(["fsck.fat", "-n", str(volume)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_identifiers_and_labels_are_the_derived_ones(separate: Composed) -> None:
    for partition in separate.layout.partitions:
        command = ["blkid", "-p", "-o", "export", "-O", str(partition.offset), "-S", str(partition.size)]
        done = subprocess.run([*command, separate.image], check=True, capture_output=True, text=True)
        found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
        assert found["UUID"] == separate.identity.file_systems[partition.id], partition.id
        assert found.get("LABEL", "") == partition.fs_label
        expected = {"fat32": "vfat", "fat16": "vfat", "linux-swap": "swap"}.get(partition.fs_type, partition.fs_type)
        assert found["TYPE"] == expected


def test_partitions_hold_their_part_of_the_tree_and_no_other(separate: Composed) -> None:
    def names(partition: str, path: str) -> t.Set[str]:
        listed = separate.debugfs(partition, f"ls -p {path}").splitlines()
        return {line.split("/")[5] for line in listed if line.count("/") > 5} - {".", "..", "lost+found"}

    assert names("opt", "/") == {"tool"}
    assert names("opt", "/tool") == {"data"}
    assert names("var", "/") == {"log"}
    assert names("var", "/log") == set()
    assert names("log", "/") == {"first", "second", "lastlog", "pipe"}
    assert names("rootfs", "/") == {"boot", "etc", "home", "opt", "root", "srv", "tmp", "usr", "var"}
    for empty in ("/opt", "/home", "/var", "/tmp", "/boot/efi", "/srv/shared"):
        assert names("rootfs", empty) == set(), empty


@pytest.mark.parametrize(
    ("partition", "path", "mode", "user", "group"),
    [
        ("tmp", "/", "01777", 0, 0),
        ("home", "/", "0755", 1000, 1001),
        ("rootfs", "/", "0755", 0, 0),
        ("rootfs", "/tmp", "01777", 0, 0),
        ("rootfs", "/home", "0755", 1000, 1001),
        ("rootfs", "/root", "0700", 0, 0),
        ("rootfs", "/etc/fstab", "0644", 0, 0),
        ("rootfs", "/srv/shared", "0755", 0, 0),
    ],
)
def test_owners_and_modes_are_the_trees(
    separate: Composed, partition: str, path: str, mode: str, user: int, group: int
) -> None:
    shown = separate.debugfs(partition, f"stat {path}")
    found = re.search(r"Mode:\s+(\d+).*?User:\s+(\d+)\s+Group:\s+(\d+)", shown, re.DOTALL)
    assert found is not None
    assert (int(found.group(1), 8), int(found.group(2)), int(found.group(3))) == (int(mode, 8), user, group)


def test_links_holes_and_capabilities_survive(separate: Composed) -> None:
    shown = separate.debugfs("log", "stat /first")
    assert "Links: 2" in shown
    inode = re.search(r"Inode: (\d+)", shown)
    assert inode is not None
    assert f"Inode: {inode.group(1)} " in separate.debugfs("log", "stat /second")
    sparse = re.search(r"Size: (\d+)\n.*?Blockcount: (\d+)", separate.debugfs("log", "stat /lastlog"), re.DOTALL)
    assert sparse is not None
    assert (int(sparse.group(1)), int(sparse.group(2))) == (64 << 20, 8)
    assert "security.capability (20)" in separate.debugfs("rootfs", "ea_list /usr/bin/ping")
    assert "Type: FIFO" in separate.debugfs("log", "stat /pipe")


def test_no_time_tells_when_the_image_was_built(separate: Composed) -> None:
    for path in ("/", "/usr/bin/ping", "/etc/fstab", "/etc", "/opt", "/boot/efi", "/srv/shared", "/etc/os-release"):
        shown = separate.debugfs("rootfs", f"stat {path}")
        times = {name: int(value, 16) for name, value in re.findall(r"([acm]|cr)time: 0x([0-9a-f]{8})", shown)}
        assert times["a"] == times["c"] == times["cr"] == EPOCH, path
        assert EPOCH - 5 <= times["m"] <= EPOCH, path
    assert f"{EPOCH:x}"[:7] in separate.debugfs("rootfs", "stat /usr/bin/ping")


def test_the_superblock_has_no_time_of_the_host_either(separate: Composed) -> None:
    shown = subprocess.run(
        ["dumpe2fs", "-h", separate.file_system("rootfs")], check=True, capture_output=True, text=True
    ).stdout
    when = "Tue Nov 14 22:13:20 2023"
    for field in ("Filesystem created", "Last write time", "Last checked"):
        assert re.search(rf"^{field}:\s+{when}$", shown, re.MULTILINE), shown
    assert "metadata_csum" in shown
    assert re.search(r"^Filesystem state:\s+clean$", shown, re.MULTILINE)


def test_fstab_names_the_partitions(simple: Composed) -> None:
    fstab = simple.debugfs("rootfs", "cat /etc/fstab")
    assert f"PARTUUID={simple.identity.partitions['rootfs']} / ext4 defaults 0 1\n" in fstab
    assert f"PARTUUID={simple.identity.partitions['boot']} /boot/efi vfat umask=0077 0 2\n" in fstab


def test_mount_points_are_there(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    changed = tmp_path / "tree"
    subprocess.run(["cp", "-a", str(tree), str(changed)], check=True)
    (changed / "etc/fstab").write_text("tmpfs /mnt/scratch tmpfs size=64m 0 0\ntmpfs /etc/os-release/x tmpfs\n")
    mounts = [
        {"fsType": "bind", "source": "/srv/data", "mountPoint": "/opt/a b"},
        {"fsType": "bind", "source": "/usr/lib/os-release", "mountPoint": "/opt/release"},
        {"fsType": "tmpfs", "mountPoint": "/run/scratch"},
        {"fsType": "tmpfs", "mountPoint": "/mnt/scratch/deep"},
    ]
    composed = compose(changed, tmp_path / "out", {**DISK, "mounts": mounts})
    for path in ("/mnt/scratch", "/srv/data", "/opt/a b"):
        assert "Type: directory" in composed.debugfs("rootfs", f'stat "{path}"'), path
    assert "Type: regular" in composed.debugfs("rootfs", "stat /opt/release")
    for path in ("/run/scratch", "/mnt/scratch/deep", "/etc/os-release/x"):
        assert "Type:" not in composed.debugfs("rootfs", f"stat {path}"), path
    assert "Keeping 2 lines that /etc/fstab has already" in composed.log


def test_two_builds_are_identical(simple: Composed, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    # FAT counts in steps of two seconds: what takes the present time would go unnoticed within one.
    time.sleep(max(0.0, os.stat(simple.image).st_mtime + 2.1 - time.time()))
    # Other directory entry orders, inode numbers, times of access and of change.
    copied = tmp_path / "copy"
    subprocess.run(["cp", "-a", str(tree), str(copied)], check=True)
    again = compose(copied, tmp_path / "again")
    assert sha256_file(again.image) == sha256_file(simple.image)


def test_the_image_is_sparse(simple: Composed) -> None:
    status = os.stat(simple.image)
    assert status.st_size == 96 << 20
    assert status.st_blocks * 512 < 40 << 20


def test_a_partition_without_a_file_system_stays_empty(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    disk = {"size": "96MiB", "partitions": [ESP, ROOT, {"id": "hash", "size": "4MiB"}]}
    composed = compose(tree, tmp_path, disk)
    with open(composed.image, "rb") as stream:
        stream.seek(composed.layout.partitions[2].offset)
        assert stream.read(4 << 20) == bytes(4 << 20)


def disk_with(*partitions: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    return {"size": "256MiB", "partitions": list(partitions)}


ANYWHERE = {key: value for key, value in ROOT.items() if key not in ("start", "end")}


@pytest.mark.parametrize(
    ("disk", "arguments", "error", "message"),
    [
        pytest.param(
            disk_with(ESP, {**ANYWHERE, "size": "10MiB"}),
            {},
            DiskError,
            r"The partition 'rootfs' is too small: its content needs about \d+\.\d MiB, but it has 10 MiB, "
            r"\d+\.\d MiB too little\. Its biggest directories are /usr/lib \(\d+\.\d MiB\), .*"
            r"Enlarge the partition and, if need be, disk\.size, or install less\.",
            id="root too small",
        ),
        pytest.param(
            disk_with({**ESP, "fsType": "fat16", "end": "1536KiB"}, {**ANYWHERE, "size": "64MiB"}),
            {},
            DiskError,
            r"The partition 'boot' is too small: .*Its biggest directories are /debian/6\.1\.0-35-amd64 \(",
            id="ESP too small",
        ),
        pytest.param(
            disk_with({**ESP, "end": "9MiB"}, {**ANYWHERE, "size": "64MiB"}),
            {},
            DiskError,
            r"The partition 'boot' has 8 MiB, but FAT32 needs at least 33 MiB\. Enlarge the partition, or set its "
            r"fsType to fat16\.",
            id="FAT32 too small",
        ),
        pytest.param(
            disk_with({**ANYWHERE, "size": "64MiB"}),
            {},
            BootError,
            r"The bootloader systemd-boot needs an EFI system partition, but disk\.partitions has none\. Add a "
            r"partition with type: esp",
            id="no ESP",
        ),
        pytest.param(
            disk_with({**ESP, "fsType": "ext4"}, {**ANYWHERE, "size": "64MiB"}),
            {},
            BootError,
            r"'boot' has the fsType 'ext4', which firmware cannot read\. Set its fsType to fat32\.",
            id="ESP not FAT",
        ),
        pytest.param(disk_with(ESP), {}, DiskError, r"No partition is mounted at /\.", id="no root"),
        pytest.param(
            disk_with(ESP, {**ANYWHERE, "size": "64MiB", "fsType": "zfs"}),
            {},
            DiskError,
            r"The file system 'zfs' is not supported\. Use one of btrfs, erofs, ext2, ext3, ext4, fat16, fat32, ",
            id="file system",
        ),
        pytest.param(
            DISK,
            {"provider": "lilo"},
            BootError,
            r"The bootloader 'lilo' for the boot type 'efi' is not supported\. Set systemConfig\.bootloader to one of ",
            id="bootloader",
        ),
        pytest.param(
            disk_with({**ESP, "fsLabel": "way too long"}, {**ANYWHERE, "size": "64MiB"}),
            {},
            DiskError,
            r"'boot' cannot be made\. The label 'way too long' is longer than the 11 bytes that fat32 can store\.",
            id="label",
        ),
        pytest.param(
            disk_with(
                ESP,
                {**ANYWHERE, "size": "64MiB"},
                {"id": "etc", "fsType": "fat16", "size": "16MiB", "mountPoint": "/etc"},
            ),
            {},
            DiskError,
            r"FAT cannot hold 'os-release' of the partition 'etc', which is neither a file nor a directory\.",
            id="link on FAT",
        ),
        pytest.param(
            disk_with(
                ESP,
                {**ANYWHERE, "size": "64MiB"},
                {"id": "x", "fsType": "ext4", "size": "16MiB", "mountPoint": "/etc/os-release/x"},
            ),
            {},
            DiskError,
            r"/etc/os-release/x/ cannot be made: /etc/os-release is not a directory in the root tree\.",
            id="mount point behind a link",
        ),
        pytest.param(DISK, {"kernel_version": "7"}, BootError, r"but the image has 6\.1\.0-35-amd64\.", id="kernel"),
    ],
)
def test_what_cannot_be_composed_is_named(
    tree: pathlib.Path,
    tmp_path: pathlib.Path,
    disk: t.Mapping[str, t.Any],
    arguments: t.Mapping[str, t.Any],
    error: t.Type[Exception],
    message: str,
) -> None:
    (tmp_path / "image.raw").write_text("the last good image")
    with pytest.raises(error, match=message):
        compose(tree, tmp_path, disk, **arguments)
    assert (tmp_path / "image.raw").read_text() == "the last good image"


def test_the_bootloader_takes_the_place_of_what_a_package_has_there(tmp_path: pathlib.Path) -> None:
    tree = make_tree(tmp_path / "tree")
    # As packages of shim and GRUB have it that were made for a mounted ESP.
    for name, text in (("EFI/boot/bootx64.efi", "shim"), ("EFI/boot/grubx64.efi", "grub")):
        (tree / "boot/efi" / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / "boot/efi" / name).write_text(text)
    composed = compose(tree, tmp_path / "out", provider="grub")
    assert composed.read_esp("EFI/BOOT/BOOTX64.EFI")[:2] == b"MZ"
    assert composed.read_esp("EFI/BOOT/grubx64.efi") == b"grub"
    listed = subprocess.run(
        ["mdir", "-/", "-b", "-i", composed.esp(), "::/"], check=True, capture_output=True, text=True
    ).stdout.split()
    assert [name.lower() for name in listed].count("::/efi/boot/bootx64.efi") == 1


def test_the_tree_is_left_as_it_was(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    def state() -> t.List[t.Tuple[str, int, int, int]]:
        return sorted(
            (os.path.join(parent, name), status.st_mode, status.st_size, status.st_mtime_ns)
            for parent, directories, names in os.walk(tree)
            for name in [*directories, *names]
            for status in [os.lstat(os.path.join(parent, name))]
        )

    before = state()
    compose(tree, tmp_path, SEPARATE, provider="grub")
    assert state() == before
    assert str(tmp_path) not in pathlib.Path("/proc/1/mounts").read_text()


def test_the_content_may_just_fit(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The estimate must neither refuse what fits with room to spare, nor pass what mke2fs cannot do."""
    with pytest.raises(DiskError) as raised:
        compose(tree, tmp_path / "no", disk_with(ESP, {**ANYWHERE, "size": "16MiB"}))
    needed = re.search(r"needs about (\d+)\.\d MiB", str(raised.value))
    assert needed is not None
    composed = compose(tree, tmp_path / "yes", disk_with(ESP, {**ANYWHERE, "size": f"{int(needed.group(1)) + 1}MiB"}))
    free = re.search(r"Free blocks:\s+(\d+)", composed.debugfs("rootfs", "show_super_stats -h"))
    assert free is not None
    assert int(free.group(1)) * 4096 < 3 << 20


def test_what_brings_kernels_to_the_bootloader_is_in_the_tree(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    own = tmp_path / "tree"
    subprocess.run(["cp", "-a", str(tree), str(own)], check=True)
    (own / "etc/kernel").mkdir()
    (own / "etc/kernel/cmdline").write_text("of the template\n")
    composed = compose(own, tmp_path / "out", own_files=["/etc/kernel/cmdline"])
    assert composed.debugfs("rootfs", "cat /etc/kernel/cmdline") == "of the template\n"
    assert composed.debugfs("rootfs", "cat /etc/kernel/entry-token") == "debian\n"
    for path, mode in (("/usr/libexec/os-image/boot-entry", "0755"), ("/etc/kernel/install.conf", "0644")):
        assert f"Mode:  {mode}" in composed.debugfs("rootfs", f"stat {path}")
    composed = compose(own, tmp_path / "again", is_signed=True, use_uki=True)
    assert composed.debugfs("rootfs", "cat /etc/kernel/cmdline") == f"{composed.boot.cmdline}\n"
    assert "signed for Secure Boot" in composed.debugfs("rootfs", "cat /usr/libexec/os-image/boot-entry")
