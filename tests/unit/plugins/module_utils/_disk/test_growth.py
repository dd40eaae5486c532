# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Partitions that are as large as their content, and those that grow at boot."""

from __future__ import annotations

import os
import pathlib
import shutil
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import (
    disk_layout,
    layout_problems,
    show_path,
)
from ansible_collections.os_image.composer.plugins.module_utils._errors import DiskError
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Disk
from ansible_collections.os_image.composer.tests.support.disk_judges import check_file_system, extract, partition_table
from ansible_collections.os_image.composer.tests.support.disk_tree import ESP, ROOT, compose, make_tree
from ansible_collections.os_image.composer.tests.support.template_data import whole_part

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")

FITTING: t.Mapping[str, t.Any] = {
    **{key: value for key, value in ROOT.items() if key not in ("start", "end")},
    "size": "content",
}
PLACED = {key: value for key, value in ESP.items() if key not in ("start", "end")}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    made = make_tree(tmp_path_factory.mktemp("growth") / "tree")
    (made / "usr/lib/systemd/systemd-growfs").touch()
    (made / "usr/bin/systemd-repart").touch()
    return made


def test_everything_fits_its_content(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    partitions = [
        {**PLACED, "size": "content"},
        {**FITTING, "size": "content"},
        {"id": "opt", "fsType": "btrfs", "size": "content", "mountPoint": "/opt"},
        {"id": "srv", "fsType": "ext4", "size": "8MiB", "mountPoint": "/srv"},
    ]
    composed = compose(tree, tmp_path, {"size": "content", "partitions": partitions})
    entries = partition_table(composed.image)["partitions"]
    megabytes = [entry["size"] // 2048 for entry in entries]
    assert megabytes[0] == 34
    assert 40 < megabytes[1] < 70
    assert megabytes[2:] == [137, 8]
    # One MiB before the first partition, and one for the second partition table.
    assert os.stat(composed.image).st_size >> 20 == sum(megabytes) + 2
    for entry, kind in zip(entries, ("vfat", "ext4", "btrfs", "ext4")):
        check_file_system(kind, extract(composed.image, entry, tmp_path / f"{entry['start']}"))


def test_content_must_fit_the_disk(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    section = {"size": "64MiB", "partitions": [{**PLACED, "size": "content"}, FITTING]}
    with pytest.raises(DiskError, match=r"disk\.partitions\[1\]\.size: The partition 'rootfs' ends at .* beyond what"):
        compose(tree, tmp_path, section)


def test_growing_is_prepared(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    home = {"id": "home", "type": "linux", "fsType": "ext4", "size": "8MiB", "mountPoint": "/home"}
    grown = {**FITTING, "type": "linux", "growOnBoot": True, "mountOptions": "noatime"}
    composed = compose(tree, tmp_path, {"size": "content", "partitions": [ESP, home, grown]})
    assert partition_table(composed.image)["partitions"][2]["attrs"] == "GUID:59"
    read = {
        path: composed.debugfs("rootfs", f"cat {path}")
        for path in ("/etc/fstab", "/etc/repart.d/10-home.conf", "/etc/repart.d/11-rootfs.conf")
    }
    assert " / ext4 noatime,x-systemd.growfs 0 1\n" in read["/etc/fstab"]
    assert " /home ext4 defaults 0 2\n" in read["/etc/fstab"]
    kind = "Type=0fc63daf-8483-4772-8e79-3d69d8477de4\n"
    fixed = f"Weight=0\nSizeMinBytes={8 << 20}\nSizeMaxBytes={8 << 20}\n"
    assert read["/etc/repart.d/10-home.conf"].endswith(f"[Partition]\n{kind}{fixed}")
    assert read["/etc/repart.d/11-rootfs.conf"].endswith(f"[Partition]\n{kind}")


@pytest.mark.parametrize(
    ("missing", "package"),
    [("usr/bin/systemd-repart", "systemd-repart"), ("usr/lib/systemd/systemd-growfs", "systemd")],
)
def test_what_grows_needs_its_programs(tree: pathlib.Path, tmp_path: pathlib.Path, missing: str, package: str) -> None:
    copied = tmp_path / "tree"
    shutil.copytree(tree, copied, symlinks=True, ignore=shutil.ignore_patterns("pipe"))
    (copied / missing).unlink()
    message = rf"has no /{missing}\. Add the package '{package}' to systemConfig\.packages, or remove growOnBoot\."
    with pytest.raises(DiskError, match=message):
        compose(copied, tmp_path / "out", {"size": "128MiB", "partitions": [ESP, {**FITTING, "growOnBoot": True}]})


MOUNTED = {"id": "r", "fsType": "ext4", "mountPoint": "/"}


@pytest.mark.parametrize(
    ("section", "path", "message"),
    [
        (
            {"size": "content", "partitions": [{**MOUNTED, "end": "0"}]},
            "disk.partitions[0].end",
            "A disk that ends with its last partition has no rest.",
        ),
        (
            {"size": "8MiB", "partitions": [{"id": "r", "size": "content"}]},
            "disk.partitions[0].size",
            "The partition 'r' has no files that it could be as large as. Give it a size.",
        ),
        (
            {"size": "8MiB", "partitions": [{"id": "r", "fsType": "swap", "size": "content"}]},
            "disk.partitions[0].size",
            "has no files",
        ),
        (
            {
                "size": "8MiB",
                "partitions": [{**MOUNTED, "size": "1MiB", "growOnBoot": True}, {"id": "s", "size": "1MiB"}],
            },
            "disk.partitions[0].growOnBoot",
            "The partition 'r' cannot grow, as 's' lies behind it.",
        ),
        (
            {"size": "8MiB", "partitions": [{**MOUNTED, "fsType": "ext2", "size": "1MiB", "growOnBoot": True}]},
            "disk.partitions[0].growOnBoot",
            "one of the file systems ext3, ext4, xfs, btrfs.",
        ),
        (
            {
                "size": "8MiB",
                "partitions": [{**MOUNTED, "size": "1MiB", "growOnBoot": True, "mountOptions": "noexec,ro"}],
            },
            "disk.partitions[0].growOnBoot",
            "mounted with ro stays as it is. Remove growOnBoot, or ro from its mountOptions.",
        ),
        (
            {"size": "8MiB", "partitions": [{"id": "r", "size": "1MiB", "mkfsOptions": ["-m", "1"]}]},
            "disk.partitions[0].mkfsOptions",
            "Without a file system mkfsOptions have no effect.",
        ),
    ],
)
def test_what_cannot_grow_is_named(section: t.Mapping[str, t.Any], path: str, message: str) -> None:
    problems = layout_problems(whole_part(Disk, section))
    assert [show_path(problem.path) for problem in problems] == [path], problems
    assert message in problems[0].message


@pytest.mark.parametrize("kind", ["ext3", "ext4", "xfs", "btrfs"])
def test_what_can_grow_may(kind: str) -> None:
    partitions = [{**MOUNTED, "fsType": kind, "size": "1MiB", "growOnBoot": True}]
    section = whole_part(Disk, {"size": "8MiB", "partitions": partitions})
    assert layout_problems(section) == []
    assert disk_layout(section).partitions[0].can_grow


def test_a_layout_takes_the_sizes_later() -> None:
    partitions = [{**MOUNTED, "size": "content"}, {"id": "s", "end": "0"}]
    layout = disk_layout(whole_part(Disk, {"size": "64MiB", "partitions": partitions}))
    assert layout.needs_content
    placed = layout.with_content({"r": (5 << 20) + 1})
    assert [partition.sectors // 2048 for partition in placed.partitions] == [6, 56]
