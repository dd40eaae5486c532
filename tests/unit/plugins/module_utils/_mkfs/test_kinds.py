# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""File systems that are not ext and FAT, judged by their own programs, and read by the kernel."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import CommandError, DiskError
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.kinds import FILE_SYSTEMS, file_system
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_bytes, sha256_file
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.kinds import MAKERS
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.xfs import XfsMaker
from ansible_collections.os_image.composer.tests.support.disk_judges import (
    check_file_system,
    extract,
    judge,
    partition_table,
    probe,
)
from ansible_collections.os_image.composer.tests.support.disk_tree import (
    EPOCH,
    ESP,
    KERNEL,
    ROOT,
    Composed,
    compose,
    make_tree,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")

ANYWHERE = {key: value for key, value in ROOT.items() if key not in ("start", "end", "fsLabel")}


def disk(total: str, **root: t.Any) -> t.Dict[str, t.Any]:
    return {"size": total, "partitions": [ESP, {**ANYWHERE, "size": "350MiB", **root}]}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return make_tree(tmp_path_factory.mktemp("file_systems") / "tree")


@pytest.fixture(scope="module", params=["xfs", "btrfs", "squashfs", "erofs"])
def composed(request: pytest.FixtureRequest, tree: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Composed:
    label = {} if request.param in ("squashfs", "erofs") else {"fsLabel": "the_root"}
    # It is mounted below: with a UUID of its own it is in nobody's way.
    digest = sha256_bytes(request.param.encode())
    section = disk("400MiB", fsType=request.param, **label)
    return compose(tree, tmp_path_factory.mktemp(request.param), section, build_digest=digest)


@pytest.fixture(scope="module")
def volume(composed: Composed, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    entry = partition_table(composed.image)["partitions"][1]
    return extract(composed.image, entry, tmp_path_factory.mktemp("volume") / "root")


@pytest.fixture(scope="module")
def files(volume: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[pathlib.Path]:
    """The file system as the kernel shows it."""
    directory = tmp_path_factory.mktemp("mounted")
    subprocess.run(["mount", "-o", "loop,ro", str(volume), str(directory)], check=True)
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


def test_its_own_program_finds_no_fault(composed: Composed, volume: pathlib.Path) -> None:
    root = composed.layout.partitions[1]
    found = probe(volume)
    assert found["TYPE"] == root.fs_type
    assert found.get("UUID", "") == composed.identity.file_systems["rootfs"]
    assert found.get("LABEL", "") == root.fs_label
    check_file_system(root.fs_type, volume)


def test_the_kernel_reads_what_the_tree_has(composed: Composed, files: pathlib.Path, tree: pathlib.Path) -> None:
    def listed(root: pathlib.Path) -> t.Set[t.Tuple[str, int, int, int, int]]:
        found = set()
        for parent, directories, names in os.walk(root):
            for name in (*directories, *names):
                path = os.path.join(parent, name)
                status = os.lstat(path)
                size = 0 if name in directories else status.st_size
                found.add((os.path.relpath(path, root), status.st_mode, status.st_uid, status.st_gid, size))
        return found

    made = {"etc/fstab", "boot/efi"}
    # What brings kernels to the bootloader later, or refuses them.
    hooks = re.compile("etc/(kernel|initramfs|dpkg)(/|$)|usr/libexec")
    assert {entry for entry in listed(files) if entry[0] not in made and not hooks.match(entry[0])} == {
        entry for entry in listed(tree) if entry[0] not in made
    }
    assert os.lstat(files / "var/log/first").st_ino == os.lstat(files / "var/log/second").st_ino
    assert "cap_net_raw=ep" in judge("getcap", str(files / "usr/bin/ping"))
    # Nothing is newer than the image.
    assert os.lstat(files / "usr/bin/ping").st_mtime == EPOCH
    assert (files / f"boot/vmlinuz-{KERNEL}").read_bytes() == (tree / f"boot/vmlinuz-{KERNEL}").read_bytes()
    assert (files / "var/log/lastlog").read_bytes()[32 << 20 :][:6] == b"login\0"


def test_holes_stay_holes(composed: Composed, files: pathlib.Path) -> None:
    assert os.stat(composed.image).st_blocks * 512 < 220 << 20
    if composed.layout.partitions[1].fs_type in ("xfs", "btrfs"):
        assert os.lstat(files / "var/log/lastlog").st_blocks * 512 < 1 << 20


def test_fstab_and_command_line_fit_the_file_system(composed: Composed, files: pathlib.Path) -> None:
    kind = composed.layout.partitions[1].fs_type
    uuid = composed.identity.partitions["rootfs"]
    options = "ro" if kind in ("squashfs", "erofs") else "defaults"
    fstab = (files / "etc/fstab").read_text()
    assert f"PARTUUID={uuid} / {kind} {options} 0 0\n" in fstab
    assert ("tmpfs /tmp tmpfs mode=1777,nosuid,nodev 0 0\n" in fstab) is (options == "ro")
    words = [f"rootfstype={kind}", "ro", "systemd.volatile=state"] if options == "ro" else []
    assert composed.boot.cmdline == " ".join([f"root=PARTUUID={uuid}", "console=ttyS0", *words])


def test_a_var_of_its_own_needs_no_volatile_state(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    var = {"id": "var", "fsType": "ext4", "size": "16MiB", "mountPoint": "/var"}
    section = disk("128MiB", fsType="erofs", size="40MiB")
    composed = compose(tree, tmp_path, {**section, "partitions": [*section["partitions"], var]})
    assert "volatile" not in composed.boot.cmdline


@pytest.mark.parametrize("kind", ["squashfs", "erofs"])
def test_packed_file_systems_are_identical(tree: pathlib.Path, tmp_path: pathlib.Path, kind: str) -> None:
    copied = tmp_path / "copy"
    subprocess.run(["cp", "-a", str(tree), str(copied)], check=True)
    section = disk("96MiB", fsType=kind, size="40MiB")
    images = [compose(source, tmp_path / name, section).image for name, source in (("a", tree), ("b", copied))]
    assert sha256_file(images[0]) == sha256_file(images[1])


def test_no_loop_device_and_no_mount_is_left(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    compose(tree, tmp_path, disk("400MiB", fsType="xfs"))
    # Others use loop devices meanwhile.
    assert str(tmp_path) not in judge("losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE")
    assert str(tmp_path) not in pathlib.Path("/proc/self/mounts").read_text()
    assert os.listdir(tmp_path / "work") == ["covers"] or "rootfs.xfs" not in os.listdir(tmp_path / "work")


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ({"fsType": "xfs", "size": "256MiB"}, r"'rootfs' is too small: its content needs about 300 MiB, .* 44 MiB too"),
        ({"fsType": "btrfs", "size": "64MiB"}, r"'rootfs' is too small: .* but it has 64 MiB"),
        (
            {"fsType": "squashfs", "size": "1MiB"},
            r"'rootfs' is too small: its content needs about .*biggest directories",
        ),
        ({"fsType": "erofs", "size": "1MiB"}, r"'rootfs' is too small: its content needs about "),
        ({"fsType": "squashfs", "fsLabel": "x"}, r"type squashfs gets no label\. Change its fsLabel\."),
        ({"fsType": "xfs", "fsLabel": "thirteen_byte"}, r"longer than the 12 bytes that xfs can store"),
        ({"fsType": "xfs", "fsLabel": "a b"}, r"A label of xfs cannot have blanks\."),
        (
            {"fsType": "xfs", "mkfsOptions": ["-L", "x"]},
            r"mkfsOptions has -L, but options for xfs may be -d, .*Change its mkfsOptions\.",
        ),
        ({"mkfsOptions": ["-E", "offset=0"]}, r"mkfsOptions must not set offset, hash_seed and root_owner by -E"),
        (
            {"fsType": "ext3", "size": "7MiB", "mountPoint": "/"},
            r"'rootfs' is too small: its content needs about .* but it has 7 MiB",
        ),
        (
            {"mkfsOptions": ["-N", "20"]},
            r"'rootfs' is too small: its content should fit into its 350 MiB, but does not\..*leave out its mkfs",
        ),
        (
            {"mkfsOptions": ["-m", "200"]},
            r"invalid reserved blocks percent(.|\n)*The partition has the mkfsOptions -m 200: change them",
        ),
        # A mkfs that explains all its options says before them what is wrong.
        (
            {"fsType": "xfs", "mkfsOptions": ["-d", "agcount=1"]},
            r"must have at least 2 superblocks for redundancy!\nThe full log (.|\n)*mkfsOptions -d agcount=1: change",
        ),
    ],
)
def test_what_cannot_be_made_is_named(
    tree: pathlib.Path, tmp_path: pathlib.Path, root: t.Mapping[str, t.Any], message: str
) -> None:
    with pytest.raises(DiskError, match=message):
        compose(tree, tmp_path, disk("512MiB", **root))


def test_fat_has_as_many_clusters_as_its_width_says(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """With fewer, firmware would take FAT32 for FAT16, whatever mkfs.vfat writes."""
    section = disk("512MiB")
    section["partitions"] = [{**ESP, "mkfsOptions": ["-s", "8"]}, section["partitions"][1]]
    message = (
        r"'boot' would have 10\d{3} clusters of 4096 bytes, but FAT32 has from 65525 to 268435445\. "
        r"Change -s of its mkfsOptions"
    )
    with pytest.raises(DiskError, match=message):
        compose(tree, tmp_path, section)


@pytest.mark.parametrize("kind", ["ext3", "ext4"])
def test_the_least_file_system_has_its_journal(tree: pathlib.Path, tmp_path: pathlib.Path, kind: str) -> None:
    section = disk("512MiB")
    section["partitions"].append({"id": "data", "fsType": kind, "size": "8MiB", "mountPoint": "/srv"})
    composed = compose(tree, tmp_path, section)
    volume = extract(composed.image, partition_table(composed.image)["partitions"][2], tmp_path / "volume")
    assert probe(volume)["TYPE"] == kind
    assert "has_journal" in judge("dumpe2fs", "-h", str(volume))


@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_a_full_file_system_is_named(
    tree: pathlib.Path, tmp_path: pathlib.Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The estimate is one: what the kernel has no room for after all is told in the same words."""
    full = tmp_path / "tree"
    subprocess.run(["cp", "-a", str(tree), str(full)], check=True)
    megabytes = {"xfs": 230, "btrfs": 110}[kind]
    (full / "opt/tool/big").write_bytes(os.urandom(1 << 20) * megabytes)
    monkeypatch.setattr(type(file_system(kind)), "required_size", lambda self, size, usage: 0)
    with pytest.raises(DiskError, match=r"'rootfs' is too small: .*Its biggest directories are /opt/tool \("):
        compose(full, tmp_path / "out", disk("400MiB", fsType=kind, size={"xfs": "300MiB", "btrfs": "110MiB"}[kind]))
    assert str(tmp_path) not in pathlib.Path("/proc/self/mounts").read_text()


@pytest.mark.parametrize(
    ("kind", "options", "tool", "expected"),
    [
        ("ext4", ["-m", "5", "-O", "^metadata_csum"], ("dumpe2fs", "-h"), r"Reserved block count:     4480"),
        ("xfs", ["-m", "reflink=0,rmapbt=1", "-n", "size=8192"], ("xfs_db", "-r", "-c", "info"), "reflink=0"),
        ("squashfs", ["-comp", "lz4", "-b", "262144"], ("unsquashfs", "-s"), "Compression lz4"),
        ("erofs", ["-zlz4hc,9", "-C65536"], ("dump.erofs", "-s"), "big_pcluster"),
    ],
)
def test_mkfs_options_have_an_effect(
    tree: pathlib.Path, tmp_path: pathlib.Path, kind: str, options: t.List[str], tool: t.Sequence[str], expected: str
) -> None:
    composed = compose(tree, tmp_path, disk("400MiB", fsType=kind, mkfsOptions=options))
    entry = partition_table(composed.image)["partitions"][1]
    volume = extract(composed.image, entry, tmp_path / "volume")
    check_file_system(kind, volume)
    assert expected in judge(*tool, str(volume))


def test_compression_of_the_mount_options_holds_while_btrfs_is_filled(
    tree: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    def used(name: str, options: str) -> int:
        section = disk("400MiB", fsType="btrfs", mountOptions=options, mkfsOptions=["-m", "single"])
        # Another worker may have mounted one; with a UUID of its own it is in nobody's way.
        composed = compose(tree, tmp_path / name, section, build_digest=sha256_bytes(name.encode()))
        return os.stat(composed.image).st_blocks

    assert used("plain", "noatime") - used("packed", "noatime,compress-force=zstd:3") > (2 << 20) // 512


def test_a_loop_device_that_cannot_be_had_is_explained(
    tree: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(XfsMaker, "filling_options", ("nonsense",))
    with pytest.raises((DiskError, CommandError), match=r"(?s)cannot be mounted to fill it: .*set fsType to ext4"):
        compose(tree, tmp_path, disk("400MiB", fsType="xfs", mountOptions="nonsense"))


def test_every_file_system_has_a_maker() -> None:
    assert set(MAKERS) == set(FILE_SYSTEMS.values())
