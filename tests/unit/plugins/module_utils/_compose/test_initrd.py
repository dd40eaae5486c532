# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stage disk_compose for an initrd: judged by zstd and cpio."""

from __future__ import annotations

import copy
import os
import pathlib
import shutil
import stat
import struct
import subprocess
import types
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory
from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError, DiskError
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_file
from ansible_collections.os_image.composer.plugins.module_utils._stage import StageOptions, run_stage
from ansible_collections.os_image.composer.plugins.module_utils._stages.disk_compose import DiskCompose
from ansible_collections.os_image.composer.tests.support.build_state import leave_lock, leave_template, leave_tree
from ansible_collections.os_image.composer.tests.support.disk_tree import EPOCH, KERNEL, make_tree
from ansible_collections.os_image.composer.tests.support.tiny_debian import needs_root

pytestmark = needs_root

TEMPLATE: t.Mapping[str, t.Any] = {
    "image": {"name": "rescue", "version": "1.0"},
    "target": {"os": "debian", "dist": "debian12", "arch": "x86_64", "imageType": "initrd"},
    "disk": {"name": "", "artifacts": [], "partitions": []},
    "systemConfig": {
        "bootloader": {"bootType": "efi", "provider": "grub"},
        "kernel": {"cmdline": "quiet", "version": "", "uki": False, "packages": ["linux-image-amd64"]},
    },
}

# Version 2 (linux/posix_acl_xattr.h), then tag, permissions and id of owner, user 1000, group, mask and others.
_ACCESS_CONTROL_LIST = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, mode, number)
    for tag, mode, number in (
        (0x01, 7, 0xFFFFFFFF),
        (0x02, 5, 1000),
        (0x04, 5, 0xFFFFFFFF),
        (0x10, 5, 0xFFFFFFFF),
        (0x20, 5, 0xFFFFFFFF),
    )
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    tree = make_tree(tmp_path_factory.mktemp("initrd") / "tree")
    (tree / "usr/sbin").mkdir()
    (tree / "sbin").symlink_to("usr/sbin")
    (tree / "usr/sbin/init").write_text("#!/bin/sh\n")
    (tree / "boot" / f"config-{KERNEL}").write_text("CONFIG_X=y\n")
    os.mknod(tree / "usr/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    return tree


@pytest.fixture
def compose(tmp_path: pathlib.Path, tree: pathlib.Path) -> t.Callable[..., t.Dict[str, t.Any]]:
    def run(name: str = "build", **options: t.Any) -> t.Dict[str, t.Any]:
        build = BuildDirectory(str(tmp_path / name))
        leave_template(build, copy.deepcopy(dict(TEMPLATE)))
        leave_lock(build, epoch=EPOCH)
        leave_tree(build, str(tree))
        return run_stage(DiskCompose(build, StageOptions(**options)))

    return run


def _unpacked(image: str, directory: pathlib.Path) -> pathlib.Path:
    directory.mkdir()
    subprocess.run(f"zstd -dcq {image} | cpio -idm --quiet", shell=True, check=True, cwd=directory)
    return directory


def test_the_archive_is_the_tree(
    compose: t.Callable[..., t.Dict[str, t.Any]], tree: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    result = compose()
    assert result["boot"] == {"loader": "", "entries": [], "kernel_version": KERNEL, "cmdline": "quiet"}
    assert pathlib.Path(result["kernel"]).read_bytes() == (tree / f"boot/vmlinuz-{KERNEL}").read_bytes()
    root = _unpacked(result["image"], tmp_path / "root")
    assert os.readlink(root / "init") == "sbin/init"
    # What boots it, and what it would boot from a disk, is not in it.
    assert os.listdir(root / "boot") == [f"config-{KERNEL}"]
    assert (root / "etc/fstab").read_text() == "# The root file system is in memory.\n"
    done = subprocess.run(["diff", "-r", "--no-dereference", tree, root], capture_output=True, text=True, check=False)
    only = sorted(line for line in done.stdout.splitlines() if line.startswith("Only in"))
    assert [line.rpartition(": ")[2] for line in only] == [f"initrd.img-{KERNEL}", f"vmlinuz-{KERNEL}", "share", "init"]
    assert os.path.samefile(root / "var/log/first", root / "var/log/second")
    assert (root / "var/log/second").read_text() == "linked twice\n"
    status = (root / "home").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE((root / "tmp").stat().st_mode)) == (1000, 1001, 0o1777)
    assert (root / "usr/null").stat().st_rdev == os.makedev(1, 3)
    assert stat.S_ISFIFO((root / "var/log/pipe").stat().st_mode)
    assert (root / "usr/bin/ping").stat().st_mtime == EPOCH


def test_what_the_tree_mounts_is_kept(
    compose: t.Callable[..., t.Dict[str, t.Any]], tree: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (tree / "etc/fstab").write_text("tmpfs /mnt/scratch tmpfs size=64m 0 0\n")
    root = _unpacked(compose()["image"], tmp_path / "root")
    header = "# The root file system is in memory.\n"
    assert (root / "etc/fstab").read_text() == f"{header}tmpfs /mnt/scratch tmpfs size=64m 0 0\n"
    assert (root / "mnt/scratch").is_dir()


def test_what_an_archive_cannot_hold_is_told(
    compose: t.Callable[..., t.Dict[str, t.Any]], tree: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    attributes = {
        (tree / "usr/bin/ping", "system.posix_acl_access"): _ACCESS_CONTROL_LIST,
        (tree / "var/log", "system.posix_acl_default"): _ACCESS_CONTROL_LIST,
        (tree / "etc", "user.remark"): b"not missed",
    }
    try:
        for (path, name), value in attributes.items():
            os.setxattr(path, name, value)
        result = compose()
    finally:
        for path, name in attributes:
            os.removexattr(path, name)
    assert result["lost_permissions"] == {
        "/usr/bin/ping": ["capabilities", "access control list"],
        "/var/log": ["default access control list"],
    }
    log = (tmp_path / "build/build.log").read_text()
    assert (
        "[Initrd] WARN: An initrd holds no extended attributes, so these lose what they have: /usr/bin/ping "
        "(capabilities, access control list), /var/log (default access control list). Give it back in the running "
        "system (setcap, setfacl), or use imageType raw or iso\n"
    ) in log
    assert compose()["lost_permissions"] == result["lost_permissions"]


def test_a_warning_names_some_files(
    compose: t.Callable[..., t.Dict[str, t.Any]], tree: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    capability = os.getxattr(tree / "usr/bin/ping", "security.capability")
    try:
        for number in range(12):
            path = tree / f"usr/bin/tool{number:02d}"
            path.write_text("")
            os.setxattr(path, "security.capability", capability)
        assert len(compose()["lost_permissions"]) == 13
    finally:
        for path in (tree / "usr/bin").glob("tool*"):
            path.unlink()
    assert "/usr/bin/tool08 (capabilities) and 3 others. Give" in (tmp_path / "build/build.log").read_text()


def test_it_is_one_frame(compose: t.Callable[..., t.Dict[str, t.Any]]) -> None:
    """The kernel stops at the end of the first one."""
    listed = subprocess.run(["zstd", "-l", compose()["image"]], check=True, capture_output=True, text=True).stdout
    assert listed.splitlines()[-1].split()[0] == "1"


def test_the_same_tree_gives_the_same_archive(
    compose: t.Callable[..., t.Dict[str, t.Any]], tree: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    first = compose()
    assert not compose()["changed"]
    assert sha256_file(first["image"]) == sha256_file(compose("other", workers=1)["image"])


def test_a_tree_without_init(
    compose: t.Callable[..., t.Dict[str, t.Any]], tree: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    shutil.move(tree / "usr/sbin/init", tmp_path / "init")
    try:
        with pytest.raises(BootError, match=r"no /sbin/init, which the kernel starts. Add the package 'systemd-sysv'"):
            compose()
    finally:
        shutil.move(tmp_path / "init", tree / "usr/sbin/init")
    assert not os.path.exists(tmp_path / "build/disk/initrd.img")


@pytest.mark.parametrize("mode", ["enforcing", "permissive", "disabled"])
def test_a_policy_that_a_package_enforces(
    compose: t.Callable[..., t.Dict[str, t.Any]], tree: pathlib.Path, request: pytest.FixtureRequest, mode: str
) -> None:
    """The template says nothing about SELinux; the package of the policy does."""
    request.addfinalizer(lambda: shutil.rmtree(tree / "etc/selinux"))
    contexts = tree / "etc/selinux/targeted/contexts/files"
    contexts.mkdir(parents=True)
    (contexts / "file_contexts").write_text("/.* system_u:object_r:default_t:s0\n")
    (tree / "etc/selinux/config").write_text(f"SELINUX={mode}\nSELINUXTYPE=targeted\n")
    if mode != "enforcing":
        assert os.path.exists(compose()["image"])
        return
    message = (
        r"^/etc/selinux/config of the image enforces .*holds no labels.*\. Set systemConfig\.security\.selinux to dis"
    )
    with pytest.raises(BootError, match=message):
        compose()


def test_a_full_disk_is_noticed_before_anything_is_written(
    compose: t.Callable[..., t.Dict[str, t.Any]], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=1 << 20))
    with pytest.raises(
        DiskError, match=r"The initrd needs about [\d.]+ MiB in .*/build/disk, but only 1 MiB are free there\."
    ):
        compose()
    assert os.listdir(tmp_path / "build/disk") == []
