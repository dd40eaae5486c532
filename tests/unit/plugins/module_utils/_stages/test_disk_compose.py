# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stage disk_compose."""

from __future__ import annotations

import copy
import errno
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import time
import types
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory
from ansible_collections.os_image.composer.plugins.module_utils._errors import (
    DiskError,
    DocumentError,
    HostError,
    ToolMissingError,
)
from ansible_collections.os_image.composer.plugins.module_utils._stage import StageOptions, run_stage
from ansible_collections.os_image.composer.plugins.module_utils._stages.disk_compose import DiskCompose
from ansible_collections.os_image.composer.tests.support.build_state import leave_lock, leave_template, leave_tree
from ansible_collections.os_image.composer.tests.support.disk_judges import partition_table
from ansible_collections.os_image.composer.tests.support.disk_tree import DISK, EPOCH, ESP, KERNEL, ROOT, make_tree

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")

TEMPLATE: t.Mapping[str, t.Any] = {
    "image": {"name": "minimal", "version": "1.0"},
    "target": {"os": "debian", "dist": "debian12", "arch": "x86_64", "imageType": "raw"},
    "disk": {**DISK, "name": "disk", "artifacts": []},
    "systemConfig": {
        "bootloader": {"bootType": "efi", "provider": "systemd-boot"},
        "kernel": {"cmdline": "console=ttyS0", "version": "", "uki": False, "packages": ["linux-image-amd64"]},
        "immutability": {},
        "additionalFiles": [],
    },
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return make_tree(tmp_path_factory.mktemp("stage") / "tree")


@pytest.fixture
def template() -> t.Dict[str, t.Any]:
    return copy.deepcopy(dict(TEMPLATE))


@pytest.fixture
def build(tmp_path: pathlib.Path, tree: pathlib.Path, template: t.Dict[str, t.Any]) -> BuildDirectory:
    directory = BuildDirectory(str(tmp_path / "build"))
    leave_template(directory, template)
    leave_lock(directory, epoch=EPOCH)
    leave_tree(directory, str(tree))
    return directory


def run(build: BuildDirectory, **options: t.Any) -> t.Dict[str, t.Any]:
    return run_stage(DiskCompose(build, StageOptions(**options)))


def left_in(build: BuildDirectory) -> t.List[str]:
    """What lies in the stage's directory, without the mount point that the process may have used."""
    return sorted(set(os.listdir(build.join("disk"))) - {"mnt"})


def test_a_disk_is_composed_once(build: BuildDirectory) -> None:
    first = run(build)
    assert first["changed"]
    assert first["rebuild_reason"] == "not built yet"
    assert first["image"] == build.join("disk", "image.raw")
    assert left_in(build) == ["image.raw"]
    assert [(part["id"], part["number"], part["start"], part["size"]) for part in first["partitions"]] == [
        ("boot", 1, 1 << 20, 40 << 20),
        ("rootfs", 2, 41 << 20, 39 << 20),
    ]
    assert [(part["fs_type"], part["label"], part["mount_point"]) for part in first["partitions"]] == [
        ("vfat", "ESP", "/boot/efi"),
        ("ext4", "root", "/"),
    ]
    assert first["boot"] == {
        "loader": "systemd-boot",
        "entries": [f"debian-{KERNEL}.conf"],
        "kernel_version": KERNEL,
        "cmdline": f"root=PARTUUID={first['partitions'][1]['uuid']} console=ttyS0",
    }
    assert first["diff"]["after"] == {
        "disk": "96 MiB",
        "partitions": {
            "boot": "1: 40 MiB at 1 MiB, fat32, /boot/efi",
            "rootfs": "2: 39 MiB at 41 MiB, ext4, /",
        },
    }
    second = run(build)
    assert not second["changed"]
    assert second["msg"] == "disk_compose: nothing to do"
    assert second["boot"] == first["boot"]


def test_finding_nothing_to_do_is_cheap(build: BuildDirectory) -> None:
    run(build)
    before = time.process_time()
    run(build)
    assert time.process_time() - before < 0.1


def test_milestones_are_told(build: BuildDirectory) -> None:
    run(build)
    lines = pathlib.Path(build.build_log).read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in lines if " disk_compose " in line] == [
        "[Disk] Starting: not built yet",
        "[Boot] Installing the bootloader systemd-boot",
        "[Disk] Writing the bill of materials",
        "[Disk] Partitioning the disk (96 MiB)",
        "[Disk] Writing partition 1: boot (fat32, 40 MiB)",
        "[Disk] Writing partition 2: rootfs (ext4, 39 MiB)",
        f"[Disk] Composed {build.join('disk', 'image.raw')}",
    ]


def _read_root(result: t.Mapping[str, t.Any], path: str) -> bytes:
    address = f"{result['image']}?offset={result['partitions'][1]['start']}"
    return subprocess.run(["debugfs", "-R", f"cat {path}", address], check=True, capture_output=True).stdout


def test_the_bill_of_materials_is_in_the_image(build: BuildDirectory, template: t.Dict[str, t.Any]) -> None:
    template["systemConfig"]["description"] = "For kiosks."
    leave_template(build, template)
    first = run(build)
    bill = json.loads(_read_root(first, "/usr/share/sbom/minimal-1.0.spdx.json"))
    assert (bill["packages"][0]["name"], bill["packages"][0]["filesAnalyzed"]) == ("minimal", False)
    # What is said for people may change without another image.
    assert "description" not in bill["packages"][0]
    assert _read_root(first, "/usr/share/sbom/minimal-1.0.cdx.json") == b""
    assert left_in(build) == ["image.raw"]


def test_a_bill_that_lists_files(build: BuildDirectory, template: t.Dict[str, t.Any]) -> None:
    template["systemConfig"]["sbom"] = {"cyclonedx": True, "files": True}
    leave_template(build, template)
    result = run(build)
    bill = json.loads(_read_root(result, "/usr/share/sbom/minimal-1.0.spdx.json"))
    listed = {
        item["fileName"]: {digest["algorithm"]: digest["checksumValue"] for digest in item["checksums"]}
        for item in bill["files"]
    }
    # Also what the disk itself has brought, but neither links nor the documents themselves.
    for path in ("/etc/fstab", "/opt/tool/data", "/var/log/second"):
        data = _read_root(result, path)
        assert listed[f".{path}"] == {
            "SHA1": hashlib.sha1(data).hexdigest(),
            "SHA256": hashlib.sha256(data).hexdigest(),
        }
    assert "./etc/os-release" not in listed
    code = bill["packages"][0]["packageVerificationCode"]
    assert code["packageVerificationCodeExcludedFiles"] == [
        "./usr/share/sbom/minimal-1.0.spdx.json",
        "./usr/share/sbom/minimal-1.0.cdx.json",
    ]
    assert not set(code["packageVerificationCodeExcludedFiles"]) & listed.keys()
    assert json.loads(_read_root(result, "/usr/share/sbom/minimal-1.0.cdx.json"))["bomFormat"] == "CycloneDX"
    assert left_in(build) == ["files.json", "image.raw"]
    image = pathlib.Path(result["image"])
    before = image.read_bytes()
    run(build, rebuild="always")
    assert image.read_bytes() == before


def test_security_reaches_the_command_line(build: BuildDirectory, template: t.Dict[str, t.Any]) -> None:
    template["systemConfig"]["security"] = {"hardening": ["kernel", "sysctl"], "apparmor": "disabled"}
    template["systemConfig"]["kernel"]["cmdline"] = "console=ttyS0 init_on_free=0"
    leave_template(build, template)
    line = run_stage(DiskCompose(build, StageOptions()))["boot"]["cmdline"]
    assert line.partition(" ")[2] == (
        "console=ttyS0 init_on_free=0 apparmor=0 init_on_alloc=1 slab_nomerge page_alloc.shuffle=1 hardened_usercopy=1 "
        "randomize_kstack_offset=on vsyscall=none"
    )


@pytest.mark.parametrize(
    ("keys", "value", "reason"),
    [
        (("systemConfig", "kernel", "cmdline"), "quiet", "kernel changed: cmdline console=ttyS0 -> quiet"),
        (
            ("systemConfig", "security"),
            {"hardening": [], "apparmor": "enabled"},
            "kernel words of systemConfig.security changed",
        ),
        (("systemConfig", "bootloader", "provider"), "grub", "bootloader changed: provider systemd-boot -> grub"),
        (("disk", "size"), "97MiB", "disk changed: size 96MiB -> 97MiB"),
        (("image", "version"), "1.1", "build digest changed: "),
    ],
)
def test_the_reason_for_composing_again_is_told(
    build: BuildDirectory, template: t.Dict[str, t.Any], keys: t.Sequence[str], value: str, reason: str
) -> None:
    run(build)
    section = template
    for key in keys[:-1]:
        section = section[key]
    section[keys[-1]] = value
    leave_template(build, template)
    again = run(build)
    assert again["changed"]
    assert again["rebuild_reason"].startswith(reason)


def test_another_tree_is_another_disk(build: BuildDirectory, tree: pathlib.Path) -> None:
    run(build)
    leave_tree(build, str(tree), digest="b" * 64)
    assert run(build)["rebuild_reason"] == "root tree changed: chrootenv aaaaaaaaaaaa -> bbbbbbbbbbbb"


def test_artifacts_do_not_matter(build: BuildDirectory, template: t.Dict[str, t.Any]) -> None:
    run(build)
    template["disk"]["artifacts"] = [{"type": "qcow2"}]
    leave_template(build, template)
    assert not run(build)["changed"]


def test_check_mode_tells_the_partitions_and_writes_nothing(build: BuildDirectory) -> None:
    checked = run(build, check_mode=True)
    assert checked["changed"]
    assert checked["msg"] == "disk_compose: would build: not built yet"
    assert checked["diff"]["after"]["partitions"]["rootfs"] == "2: 39 MiB at 41 MiB, ext4, /"
    assert not os.path.exists(build.join("disk"))


def test_check_mode_works_where_nothing_was_built(tmp_path: pathlib.Path) -> None:
    checked = run(BuildDirectory(str(tmp_path / "none")), check_mode=True)
    assert checked["changed"]
    assert "image_template_validate has not been completed" in checked["msg"]


def test_a_stage_that_has_not_run_is_named(tmp_path: pathlib.Path, template: t.Dict[str, t.Any]) -> None:
    directory = BuildDirectory(str(tmp_path / "build"))
    leave_template(directory, template)
    with pytest.raises(DocumentError, match=r"The stage chroot_configure has not been completed .* Run the module"):
        run(directory)


def test_a_layer_that_is_gone_is_named(build: BuildDirectory) -> None:
    leave_tree(build, "/nowhere/chrootenv/0/root")
    with pytest.raises(DocumentError, match=r"The layer /nowhere/chrootenv/0/root of the root tree no longer exists\."):
        run(build)


def test_a_failure_leaves_the_last_image_and_nothing_else(build: BuildDirectory, template: t.Dict[str, t.Any]) -> None:
    image = pathlib.Path(run(build)["image"])
    before = (image.stat().st_ino, image.stat().st_mtime_ns)
    template["disk"]["partitions"][1] = {**ROOT, "end": "51MiB"}
    leave_template(build, template)
    with pytest.raises(DiskError, match="The partition 'rootfs' is too small"):
        run(build)
    assert (image.stat().st_ino, image.stat().st_mtime_ns) == before
    assert left_in(build) == ["image.raw"]


def test_what_a_killed_run_has_left_is_removed(build: BuildDirectory) -> None:
    for name in ("work/covers/opt", "upper/etc", "overlay/work"):
        os.makedirs(build.join("disk", name))
    pathlib.Path(build.join("disk", "work", "image")).write_text("half an image")
    run(build)
    assert left_in(build) == ["image.raw"]


def test_the_root_directory_is_open_whatever_the_umask(build: BuildDirectory, tree: pathlib.Path) -> None:
    os.utime(tree, (EPOCH - 7, EPOCH - 7))
    mask = os.umask(0o077)
    try:
        result = run(build)
    finally:
        os.umask(mask)
    address = f"{result['image']}?offset={result['partitions'][1]['start']}"
    shown = subprocess.run(["debugfs", "-R", "stat /", address], check=True, capture_output=True, text=True).stdout
    assert "Mode:  0755" in shown
    assert f"mtime: 0x{EPOCH - 7:08x}" in shown


def test_a_full_disk_is_noticed_before_anything_is_written(
    build: BuildDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=100 << 20))
    with pytest.raises(
        DiskError, match=r"The image needs about 2\d\d\.\d MiB in .*, but only 100 MiB are free there\."
    ):
        run(build)
    assert left_in(build) == []


def test_an_image_that_is_too_large_for_a_file_is_noticed_before_anything_is_written(
    build: BuildDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lseek(_descriptor: int, position: int, _whence: int) -> int:
        if position > 1 << 20:
            raise OSError(errno.EINVAL, "Invalid argument")
        return position

    monkeypatch.setattr(os, "lseek", lseek)
    expected = (
        r"The image has .* holds no file of more than 1 MiB\. Let work_dir lie on another file system, such as XFS"
    )
    with pytest.raises(HostError, match=expected):
        run(build)
    assert left_in(build) == []


def test_a_missing_tool_is_named_with_its_package(build: BuildDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, **kwargs: None if name == "mcopy" else which(name, **kwargs))
    with pytest.raises(ToolMissingError, match=r"The program 'mcopy' was not found .* Install the package 'mtools'"):
        run(build)


def test_what_is_not_the_same_on_every_run_is_told(build: BuildDirectory, template: t.Dict[str, t.Any]) -> None:
    assert run(build)["reproducible"]
    data = {"id": "data", "fsType": "btrfs", "size": "content", "mountPoint": "/opt"}
    template["disk"].update(size="content", partitions=[ESP, ROOT, data])
    leave_template(build, template)
    done = run(build)
    assert done["reproducible"] is False
    warned = [line for line in pathlib.Path(build.build_log).read_text().splitlines() if "bit by bit" in line]
    assert len(warned) == 1
    assert warned[0].endswith("The image is not the same bit by bit on every run: data (btrfs)")
    assert done["diff"]["after"]["disk"] == "as large as its content"
    assert done["diff"]["after"]["partitions"]["data"] == "3: as large as its content, btrfs, /opt"
    # It knows its inputs, and nothing has changed.
    assert not run(build)["changed"]


def test_an_mbr_disk_for_a_bios(build: BuildDirectory, template: t.Dict[str, t.Any]) -> None:
    root = {**ROOT, "flags": ["boot"], "type": None}
    template["disk"].update(partitionTableType="mbr", partitions=[root, {"id": "swap", "fsType": "swap", "end": "0"}])
    template["systemConfig"]["bootloader"] = {
        "bootType": "legacy",
        "provider": "grub",
        "signed": False,
        "timeout": 3,
        "default": "",
    }
    leave_template(build, template)
    done = run(build)
    assert done["table"] == "mbr"
    assert [(part["number"], part["type"]) for part in done["partitions"]] == [(1, "0x83"), (2, "0x82")]
    signature = done["partitions"][0]["uuid"].partition("-")[0]
    assert [part["uuid"] for part in done["partitions"]] == [f"{signature}-01", f"{signature}-02"]
    assert done["boot"]["cmdline"].startswith(f"root=PARTUUID={signature}-01 ")
    assert partition_table(done["image"])["id"] == f"0x{signature}"
