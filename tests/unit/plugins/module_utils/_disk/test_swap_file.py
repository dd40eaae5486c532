# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Swap files: units of the image make them, and there is room for them."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import disk_layout
from ansible_collections.os_image.composer.plugins.module_utils._disk.swap_file import escaped_path, swap_file_units
from ansible_collections.os_image.composer.plugins.module_utils._errors import DiskError
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Disk
from ansible_collections.os_image.composer.tests.support.disk_tree import DISK, ESP, ROOT, compose, make_tree
from ansible_collections.os_image.composer.tests.support.template_data import whole_part

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")

PROGRAM = "/usr/lib/os-image-composer/make-swap-file"
FITTING = {**{key: value for key, value in ROOT.items() if key not in ("start", "end")}, "size": "content"}
SWAP = {"fsType": "swap", "source": "/swapfile", "size": "8MiB"}


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> pathlib.Path:
    made = make_tree(tmp_path / "tree")
    (made / "usr/sbin").mkdir()
    for name in ("usr/sbin/mkswap", "usr/lib/systemd/systemd"):
        (made / name).touch()
    return made


@pytest.mark.parametrize("path", ["/swapfile", "/var/lib/my swap", "/srv/a-b", "/.hidden", "/caf\u00e9/%x", "/"])
def test_the_name_of_a_unit_is_that_of_systemd(path: str) -> None:
    if not shutil.which("systemd-escape"):
        pytest.fail("systemd-escape is needed")
    done = subprocess.run(["systemd-escape", "--path", path], capture_output=True, text=True, check=True)
    assert escaped_path(path) == done.stdout.rstrip("\n")


def test_the_system_makes_it_before_it_uses_it(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    composed = compose(tree, tmp_path / "out", {**DISK, "mounts": [SWAP]})
    assert "/swapfile none swap defaults 0 0\n" in composed.debugfs("rootfs", "cat /etc/fstab")
    unit = composed.debugfs("rootfs", "cat /etc/systemd/system/make-swap-file-swapfile.service")
    assert f'ExecStart=/bin/sh {PROGRAM} "/swapfile" {8 << 20}\n' in unit
    assert "Before=swapfile.swap\n" in unit
    drop_in = composed.debugfs("rootfs", "cat /etc/systemd/system/swapfile.swap.d/make.conf")
    assert "Requires=make-swap-file-swapfile.service\nAfter=make-swap-file-swapfile.service\n" in drop_in
    assert "make-swap-file" in composed.debugfs("rootfs", "ls -p /usr/lib/os-image-composer")
    assert "swapfile" not in composed.debugfs("rootfs", "ls -p /")


def test_one_that_a_script_has_made_is_made_again_without_holes(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tree / "swapfile").write_bytes(bytes(4 << 20))
    (tree / "etc/fstab").write_text("/swapfile none swap sw 0 0\n")
    composed = compose(tree, tmp_path / "out")
    unit = composed.debugfs("rootfs", "cat /etc/systemd/system/make-swap-file-swapfile.service")
    assert f'"/swapfile" {4 << 20}\n' in unit
    assert "swapfile" not in composed.debugfs("rootfs", "ls -p /")
    assert "Keeping 1 line that /etc/fstab has already" in composed.log


def test_its_room_is_kept_free(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    def root_size(name: str, **values: t.Any) -> int:
        return compose(tree, tmp_path / name, {"size": "content", "partitions": [ESP, FITTING], **values}).layout.size

    assert root_size("with", mounts=[{**SWAP, "size": "64MiB"}]) - root_size("without") >= 64 << 20
    with pytest.raises(DiskError, match="'rootfs'"):
        compose(tree, tmp_path / "small", {**DISK, "mounts": [{**SWAP, "size": "39MiB"}]})


def test_it_waits_for_the_partition_to_grow(tree: pathlib.Path) -> None:
    growing = {**ROOT, "end": "0", "growOnBoot": True}
    layout = disk_layout(whole_part(Disk, {"size": "96MiB", "partitions": [ESP, growing]}))
    unit = swap_file_units(str(tree), layout, {"/a b/100%$": 4096})[
        "/etc/systemd/system/make-swap-file-a\\x20b-100\\x25\\x24.service"
    ]
    assert b"After=systemd-remount-fs.service systemd-growfs-root.service\n" in unit
    assert b'ExecStart=/bin/sh /usr/lib/os-image-composer/make-swap-file "/a b/100%%$$" 4096\n' in unit


def test_its_programs_are_needed(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tree / "usr/sbin/mkswap").unlink()
    with pytest.raises(DiskError, match=r"has no /usr/sbin/mkswap\. Add the package 'util-linux'"):
        compose(tree, tmp_path / "out", {**DISK, "mounts": [SWAP]})


def test_a_partition_that_is_never_written_to_has_no_place_for_it(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tree / "swapfile").write_bytes(bytes(4096))
    (tree / "etc/fstab").write_text("/swapfile none swap sw 0 0\n")
    with pytest.raises(DiskError, match="swap file on the partition 'rootfs', which has no place for one"):
        compose(tree, tmp_path / "out", {**DISK, "partitions": [ESP, {**ROOT, "fsType": "squashfs", "fsLabel": ""}]})


@pytest.mark.parametrize("content", [None, b"", b"x" * (1 << 20)])
def test_the_program_makes_a_file_without_holes(tree: pathlib.Path, tmp_path: pathlib.Path, content: bytes) -> None:
    layout = disk_layout(whole_part(Disk, DISK))
    program, path = tmp_path / "program", tmp_path / "my swap"
    program.write_bytes(swap_file_units(str(tree), layout, {"/swapfile": 1 << 20})[PROGRAM])
    if content is not None:
        path.write_bytes(content)
    whole = path.stat().st_blocks * 512 >= 1 << 20 if content is not None else False
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    for _time in range(2):
        subprocess.run(["sh", str(program), str(path), str(1 << 20)], check=True, env=environment)
        status = path.stat()
        assert (status.st_size, status.st_blocks >= 2048) == (1 << 20, True)
        if not whole:
            assert status.st_mode & 0o7777 == 0o600
            assert path.read_bytes()[4086:4096] == b"SWAPSPACE2"
    assert sorted(tmp_path.glob("my swap*")) == [path]
