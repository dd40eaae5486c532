# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""FAT: what it holds of a tree, and what it cannot hold."""

from __future__ import annotations

import os
import pathlib
import subprocess
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import DiskError
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.vfat import Fat16
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.vfat import name_problem
from ansible_collections.os_image.composer.tests.support.disk_judges import check_image, judge
from ansible_collections.os_image.composer.tests.support.disk_tree import ESP, ROOT, Composed, compose, make_tree

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> pathlib.Path:
    return make_tree(tmp_path / "tree")


def put_on_fat(tree: pathlib.Path, directory: pathlib.Path, **partition: t.Any) -> Composed:
    """Compose a disk whose /opt is FAT."""
    opt = {"id": "opt", "fsType": "fat16", "size": "8MiB", "mountPoint": "/opt", **partition}
    composed = compose(tree, directory / "out", {"size": "content", "partitions": [ESP, ROOT, opt]})
    check_image(composed.image, directory)
    return composed


def listed(composed: Composed) -> set[str]:
    address = f"{composed.image}@@{composed.layout.partitions[2].offset}"
    done = subprocess.run(
        ["mdir", "-/", "-b", "-i", address, "::"],
        env={**os.environ, "LC_ALL": "C.UTF-8", "MTOOLSRC": os.devnull},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return set(done.stdout.split("\n"))


@needs_root
def test_the_least_fat16_can_be_made(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    assert "::/tool/data" in listed(put_on_fat(tree, tmp_path, size=f"{Fat16.least_size >> 20}MiB"))


@needs_root
def test_odd_names_are_kept(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    names = ("[ab]", "a[b", "a{b,c}", "-n", "Ünï 日本", "a'b;c", "con.txt")
    for name in names:
        (tree / "opt" / f"in {name}").mkdir()
        (tree / "opt" / f"in {name}" / name).write_text("x")
        (tree / "opt" / name).write_text("x")
    found = listed(put_on_fat(tree, tmp_path))
    assert {f"::/in {name}/{name}" for name in names} | {f"::/{name}" for name in names} <= found


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("con", "DOS reserves it for a device"),
        ("Lpt1", "DOS reserves it for a device"),
        ("console", None),
        ("\udcff", "it is not UTF-8"),
        ("\U0001f4be", "it has a character beyond U+FFFF, which mtools does not write"),
        ("日本", None),
        ("a:b", "it has a character that FAT does not allow"),
        ("a.", "it ends with a full stop or a blank"),
        ("x" * 256, "it is longer than 255 characters"),
    ],
)
def test_names_that_fat_cannot_hold(name: str, problem: str | None) -> None:
    assert name_problem(name) == problem


@needs_root
def test_holes_take_space(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    os.truncate(tree / "opt/tool/data", 20 << 20)
    with pytest.raises(DiskError, match=r"'opt' is too small: its content needs about 20\.\d MiB, but it has 8 MiB"):
        put_on_fat(tree, tmp_path / "small")
    composed = put_on_fat(tree, tmp_path / "content", size="content")
    assert "::/tool/data" in listed(composed)


@needs_root
def test_files_end_at_4_gib(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """mcopy leaves larger ones out, and ends with status 0."""
    os.truncate(tree / "opt/tool/data", 4 << 30)
    message = r"The file 'tool/data' of the partition 'opt' has 4 GiB, but FAT ends at 4 GiB\. Give the partition"
    with pytest.raises(DiskError, match=message):
        put_on_fat(tree, tmp_path, fsType="fat32", size="content")


@needs_root
def test_the_uppermost_directory_of_fat16_may_be_full(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    for number in range(300):
        (tree / f"opt/a name that takes several entries {number}").touch()
    with pytest.raises(DiskError, match=r"The uppermost directory of the partition 'opt' is full: .* fsType to fat32"):
        put_on_fat(tree, tmp_path / "first")
    put_on_fat(tree, tmp_path / "second", mkfsOptions=["-r", "2048"])
    put_on_fat(tree, tmp_path / "third", fsType="fat32", size="content")


@needs_root
def test_a_full_file_system_is_named(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """What is counted in blocks of 4 KiB does not always fit into larger clusters."""
    for number in range(5500):
        (tree / f"opt/tool/{number}").write_text("x")
    with pytest.raises(DiskError, match=r"'opt' is too small: its content should fit into its 40 MiB, but does not"):
        put_on_fat(tree, tmp_path, size="40MiB", mkfsOptions=["-s", "16"])


@needs_root
def test_owners_are_not_lost_in_silence(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    os.chown(tree / "opt/tool/data", 1000, 0)
    message = r"'tool/data' of the partition 'opt' belongs to the user 1000 and the group 0\. Give the partition"
    with pytest.raises(DiskError, match=message):
        put_on_fat(tree, tmp_path / "first")
    put_on_fat(tree, tmp_path / "second", mountOptions="uid=1000,umask=0077")


@needs_root
@pytest.mark.parametrize("usr", ["/usr", "/usr/lib/systemd/boot"])
def test_the_esp_gets_files_that_lie_on_other_partitions(tree: pathlib.Path, tmp_path: pathlib.Path, usr: str) -> None:
    partitions = [
        {**ESP, "mountPoint": "/efi"},
        ROOT,
        {"id": "usr", "fsType": "ext4", "size": "content", "mountPoint": usr},
    ]
    composed = compose(tree, tmp_path / "out", {"size": "content", "partitions": partitions})
    assert check_image(composed.image, tmp_path) == ["vfat", "ext4", "ext4"]
    assert "::/EFI/BOOT/BOOTX64.EFI" in judge("mdir", "-/", "-b", "-i", composed.esp(), "::/")
