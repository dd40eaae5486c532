# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stage disk_compose for an ISO: judged by xorriso, unsquashfs, isoinfo and zstd."""

from __future__ import annotations

import copy
import os
import pathlib
import re
import shutil
import subprocess
import types
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory
from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError, DiskError, ToolMissingError
from ansible_collections.os_image.composer.plugins.module_utils._host_tools import grub
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_file
from ansible_collections.os_image.composer.plugins.module_utils._stage import StageOptions, run_stage
from ansible_collections.os_image.composer.plugins.module_utils._stages.disk_compose import DiskCompose
from ansible_collections.os_image.composer.tests.support.build_state import leave_lock, leave_template, leave_tree
from ansible_collections.os_image.composer.tests.support.disk_tree import EPOCH, ESP, KERNEL, ROOT, make_tree
from ansible_collections.os_image.composer.tests.support.tiny_debian import needs_root

pytestmark = needs_root

Facts = t.Dict[str, t.Any]

INSTALLER: t.Mapping[str, t.Any] = {
    "image": {"name": "kiosk", "version": "1.0"},
    "target": {"os": "debian", "dist": "debian12", "arch": "x86_64", "imageType": "iso"},
    "disk": {"name": "disk", "artifacts": [], "partitions": [ESP, {**ROOT, "end": "0"}]},
    "iso": {"unattended": True, "afterInstall": "reboot"},
    "systemConfig": {
        "bootloader": {"bootType": "efi", "provider": "systemd-boot"},
        "kernel": {"cmdline": "console=ttyS0", "version": "", "uki": False, "packages": ["linux-image-amd64"]},
        "immutability": {},
        "additionalFiles": [],
    },
}
LIVE: t.Mapping[str, t.Any] = {**INSTALLER, "iso": {"type": "live"}}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    tree = make_tree(tmp_path_factory.mktemp("iso") / "tree")
    for name in ("usr/share/initramfs-tools/scripts", "usr/lib/systemd/system"):
        (tree / name).mkdir(parents=True)
    (tree / "usr/share/initramfs-tools/scripts/live").write_text("# live-boot\n")
    return tree


@pytest.fixture
def compose(tmp_path: pathlib.Path, tree: pathlib.Path) -> t.Callable[..., Facts]:
    """Compose the ISO of a template in a build directory."""

    def run(template: t.Mapping[str, t.Any], name: str = "build", **options: t.Any) -> Facts:
        build = BuildDirectory(str(tmp_path / name))
        leave_template(build, copy.deepcopy(dict(template)))
        leave_lock(build, epoch=EPOCH)
        leave_tree(build, str(tree))
        result = run_stage(DiskCompose(build, StageOptions(**options)))
        if os.path.isdir(build.join("disk")):
            assert os.listdir(build.join("disk")) == ["image.iso"]
        return result

    return run


def say(*argv: str) -> str:
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout


def extract(image: str, name: str, directory: pathlib.Path) -> pathlib.Path:
    """Take a file out of an ISO."""
    target = directory / os.path.basename(name)
    say("osirrox", "-indev", image, "-extract", f"/{name}", str(target))
    return target


def settings(image: str, directory: pathlib.Path) -> dict[str, str]:
    text = extract(image, "install/settings", directory).read_text()
    return {name: value.strip("'") for name, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE)}


def test_a_live_iso(compose: t.Callable[..., Facts], tmp_path: pathlib.Path) -> None:
    result = compose(LIVE)
    image = result["image"]
    assert result["partitions"] == []
    assert result["iso"] == {"type": "live", "volume_id": "KIOSK_1_0", "live_system": "initramfs-tools"}
    assert result["boot"] == {
        "loader": "grub",
        "entries": ["kiosk 1.0"],
        "kernel_version": KERNEL,
        "cmdline": "boot=live console=ttyS0",
    }
    report = say("xorriso", "-indev", image, "-report_el_torito", "plain", "-report_system_area", "plain")
    assert re.search(r"El Torito boot img : +1 +BIOS +y +none", report), report
    assert re.search(r"El Torito boot img : +2 +UEFI +y +none", report), report
    assert "MBR protective-msdos-label grub2-mbr" in report
    assert "Volume id: KIOSK_1_0" in say("isoinfo", "-d", "-i", image)
    say("osirrox", "-indev", image, "-extract", "/", str(tmp_path / "medium"))
    checked = say("sh", "-c", f"cd {tmp_path}/medium && sha256sum --check --strict SHA256SUMS").splitlines()
    assert "live/filesystem.squashfs: OK" in checked
    files = [str(path.relative_to(tmp_path / "medium")) for path in (tmp_path / "medium").rglob("*") if path.is_file()]
    unlisted = {"SHA256SUMS", "boot/boot.cat", "boot/grub/eltorito.img"}
    assert sorted(f"{name}: OK" for name in files if name not in unlisted) == checked
    assert not re.search("install", say("xorriso", "-indev", image, "-find", "/"))


def test_the_root_of_the_live_system_is_the_tree(
    compose: t.Callable[..., Facts], tree: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    squashfs = extract(compose(LIVE)["image"], "live/filesystem.squashfs", tmp_path)
    say("unsquashfs", "-n", "-q", "-d", str(tmp_path / "root"), str(squashfs))
    assert (tmp_path / "root/etc/fstab").read_text() == "# The root file system comes from the medium.\n"
    # An image has no time that is later than its own.
    os.utime(tree / "usr/bin/ping", (EPOCH - 5, EPOCH - 5))
    different = say("sh", "-c", f"diff -r --no-dereference {tree} {tmp_path}/root 2>&1 || true").splitlines()
    explained = ("fstab", "is a fifo", "/usr/share: sbom")
    assert all(line[:1] in "<>-0123456789" or any(word in line for word in explained) for line in different), different
    assert (tmp_path / "root/usr/bin/ping").stat().st_mtime == EPOCH
    assert "cap_net_raw=ep" in say("getcap", str(tmp_path / "root/usr/bin/ping"))


def test_the_live_system_mounts_what_its_tree_asks_for(
    compose: t.Callable[..., Facts], tree: pathlib.Path, tmp_path: pathlib.Path, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(lambda: (tree / "etc/fstab").write_text("# UNCONFIGURED FSTAB\n"))
    (tree / "etc/fstab").write_text("nas:/export /srv/nas nfs4 nofail 0 0\n")
    template = {**copy.deepcopy(dict(LIVE)), "disk": {"mounts": [{"fsType": "tmpfs", "mountPoint": "/mnt/a"}]}}
    squashfs = extract(compose(template)["image"], "live/filesystem.squashfs", tmp_path)
    say("unsquashfs", "-n", "-q", "-d", str(tmp_path / "root"), str(squashfs), "etc", "mnt", "srv")
    assert (tmp_path / "root/etc/fstab").read_text().splitlines()[1:] == [
        "tmpfs /mnt/a tmpfs defaults 0 0",
        "nas:/export /srv/nas nfs4 nofail 0 0",
    ]
    assert (tmp_path / "root/mnt/a").is_dir()
    assert (tmp_path / "root/srv/nas").is_dir()


def test_selinux_finds_its_labels_and_the_kernel_is_told(
    compose: t.Callable[..., Facts], tree: pathlib.Path, tmp_path: pathlib.Path, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(lambda: shutil.rmtree(tree / "etc/selinux"))
    contexts = tree / "etc/selinux/targeted/contexts/files"
    contexts.mkdir(parents=True)
    (contexts / "file_contexts").write_text(
        "/.* system_u:object_r:default_t:s0\n/etc(/.*)? system_u:object_r:etc_t:s0\n"
    )
    (tree / "etc/selinux/config").write_text("SELINUX=enforcing\nSELINUXTYPE=targeted\n")
    template = copy.deepcopy(dict(LIVE))
    template["systemConfig"]["security"] = {"selinux": "enforcing"}
    result = compose(template)
    assert result["boot"]["cmdline"] == "boot=live console=ttyS0 security=selinux selinux=1 enforcing=0"
    squashfs = extract(result["image"], "live/filesystem.squashfs", tmp_path)
    say("unsquashfs", "-n", "-q", "-xattrs", "-d", str(tmp_path / "root"), str(squashfs))
    for path, label in ((".", "default_t"), ("usr/bin/ping", "default_t"), ("etc/fstab", "etc_t"), ("etc", "etc_t")):
        found = os.getxattr(tmp_path / "root" / path, "security.selinux")
        assert found == f"system_u:object_r:{label}:s0\0".encode(), path
    assert os.listxattr(tree / "etc") == []


@pytest.mark.parametrize("template", [LIVE, INSTALLER], ids=["live", "installer"])
def test_the_same_build_gives_the_same_iso(compose: t.Callable[..., Facts], template: t.Mapping[str, t.Any]) -> None:
    first, second = compose(template)["image"], compose(template, "other", workers=1)["image"]
    assert sha256_file(first) == sha256_file(second)


def test_an_installer_holds_its_disk(compose: t.Callable[..., Facts], tmp_path: pathlib.Path) -> None:
    result = compose(INSTALLER)
    known = settings(result["image"], tmp_path)
    packed = extract(result["image"], known["IMAGE"], tmp_path)
    disk = tmp_path / "disk.raw"
    say("sh", "-c", f"gzip -dc {packed} > {disk}")
    assert sha256_file(str(packed)) == known["SHA256"] == result["iso"]["installs"]["sha256"]
    assert disk.stat().st_size == int(known["SIZE"]) == int(known["LEAST"])
    assert "No problems found" in say("sgdisk", "--verify", str(disk))
    assert [part["id"] for part in result["partitions"]] == ["boot", "rootfs"]
    address = f"{disk}?offset={result['partitions'][1]['start']}"
    assert "x-systemd.growfs" in say("debugfs", "-R", "cat /etc/fstab", address)
    # The program that installs is the live system's alone.
    assert "File not found" in say("debugfs", "-R", "stat /usr/lib/image-install", address)
    chosen = {
        name: known[name]
        for name in ("TITLE", "VOLUME_ID", "TABLE", "GROWS", "GROWS_FROM", "ESP", "LOADER", "DISK", "AFTER")
    }
    assert chosen == {
        "TITLE": "kiosk 1.0",
        "VOLUME_ID": "KIOSK_1_0",
        "TABLE": "gpt",
        "GROWS": "2",
        "GROWS_FROM": "83968",
        "ESP": "1",
        "LOADER": "\\EFI\\BOOT\\BOOTX64.EFI",
        "DISK": "",
        "AFTER": "reboot",
    }


def test_the_menu_of_an_installer(compose: t.Callable[..., Facts], tmp_path: pathlib.Path) -> None:
    template = copy.deepcopy(dict(INSTALLER))
    template["disk"]["path"] = "/dev/nvme0n1"
    result = compose(template)
    assert result["boot"]["entries"] == [
        "Install kiosk 1.0 - overwrites /dev/nvme0n1",
        "Install kiosk 1.0 - asks where",
        "Start kiosk 1.0 without installing it",
    ]
    assert result["boot"]["cmdline"].endswith(
        "systemd.unit=image-install.target systemd.show_status=false image.install=auto"
    )
    template["iso"]["unattended"] = False
    result = compose(template)
    assert result["boot"]["entries"][0] == "Install kiosk 1.0 - asks where"
    configuration = extract(result["image"], "boot/grub/grub.cfg", tmp_path)
    assert say("grub-script-check", str(configuration)) == ""


def test_another_option_makes_another_iso_and_tells_why(compose: t.Callable[..., Facts]) -> None:
    compose(LIVE)
    again = compose({**LIVE, "iso": {"type": "live", "volumeId": "MINE"}})
    assert again["rebuild_reason"].startswith("iso changed: volume_id KIOSK_1_0 -> MINE")
    assert not compose({**LIVE, "iso": {"type": "live", "volumeId": "MINE"}})["changed"]


def test_check_mode_tells_what_would_be_made(compose: t.Callable[..., Facts]) -> None:
    checked = compose(INSTALLER, check_mode=True)
    assert checked["diff"]["after"] == {
        "iso": "installer",
        "volume_id": "KIOSK_1_0",
        "partitions": ["boot", "rootfs"],
    }


def test_a_disk_that_is_too_small_for_its_content(compose: t.Callable[..., Facts]) -> None:
    template = copy.deepcopy(dict(INSTALLER))
    template["disk"]["size"] = "50MiB"
    with pytest.raises(DiskError, match="The partition 'rootfs' is too small"):
        compose(template)


@pytest.mark.parametrize("template", [LIVE, INSTALLER], ids=["live", "installer"])
def test_a_full_disk_is_noticed_before_anything_is_written(
    compose: t.Callable[..., Facts],
    template: t.Mapping[str, t.Any],
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=1 << 20))
    with pytest.raises(
        DiskError,
        match=r"The ISO with what it is made of needs about [\d.]+ MiB in .*/build/disk, but only 1 MiB are free "
        r"there\. Free some space, or choose another work_dir\.",
    ):
        compose(template)
    log = (tmp_path / "build/build.log").read_text()
    assert not re.search("Partitioning|Writing", log), log
    assert os.listdir(tmp_path / "build/disk") == []


def test_a_disk_that_gets_full_is_noticed_before_the_iso_is_written(
    compose: t.Callable[..., Facts], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = iter([1 << 40, 1 << 20])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=next(free)))
    with pytest.raises(DiskError, match=r"The ISO needs about [\d.]+ MiB in .*, but only 1 MiB are free there\."):
        compose(LIVE)
    assert os.listdir(tmp_path / "build/disk") == []


def test_a_tree_without_a_live_system(
    compose: t.Callable[..., Facts], tree: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    shutil.move(tree / "usr/share/initramfs-tools", tmp_path / "away")
    try:
        with pytest.raises(BootError, match="nothing that mounts the root file system of an ISO"):
            compose(LIVE)
    finally:
        shutil.move(tmp_path / "away", tree / "usr/share/initramfs-tools")


def test_a_build_host_without_grub(
    compose: t.Callable[..., Facts], monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(grub, "GRUB_DIRECTORY", str(tmp_path))
    with pytest.raises(ToolMissingError, match=r"GRUB's modules for i386-pc .* Install the package 'grub-pc-bin'"):
        compose(LIVE)


@pytest.mark.parametrize("has_modules", [True, False])
def test_grub_of_the_image_where_the_build_host_has_none(
    compose: t.Callable[..., Facts],
    tree: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: pathlib.Path,
    has_modules: bool,
) -> None:
    # As on a host of another architecture, whose packages of GRUB are not for this one.
    monkeypatch.setattr(os, "uname", lambda: types.SimpleNamespace(machine="aarch64", release="6.1"))
    monkeypatch.setattr(grub, "GRUB_DIRECTORY", "/usr/lib/grub-of-the-image")
    link = tree / "usr/lib/grub-of-the-image"
    if not has_modules:
        with pytest.raises(
            BootError,
            match=r"^Neither the build host nor the image has GRUB's modules for x86_64-efi\. Add the package that has "
            r"them to systemConfig\.packages; distributions call it grub-efi-amd64-bin or grub2-efi-x64-modules or",
        ):
            compose(LIVE)
        return
    link.symlink_to("grub")
    try:
        report = say("xorriso", "-indev", compose(LIVE)["image"], "-report_el_torito", "plain")
    finally:
        link.unlink()
    assert re.search(r"El Torito boot img : +1 +BIOS +y +none", report), report
    assert re.search(r"El Torito boot img : +2 +UEFI +y +none", report), report
