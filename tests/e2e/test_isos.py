# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ISOs and initrds: a live system, an installer with the disk that it installs, and a system that runs from memory."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shlex
import typing as t

import pytest
from ansible_collections.os_image.composer.tests.e2e.support.image import (
    BuiltImage,
    Workspace,
    boot,
    call,
    run_playbook,
)
from ansible_collections.os_image.composer.tests.e2e.support.template import TestTemplate

Build = t.Callable[[TestTemplate], BuiltImage]

_DISK = {
    "artifacts": [],
    "partitions": [
        {
            "id": "boot",
            "type": "esp",
            "fsType": "fat32",
            "start": "1MiB",
            "end": "50MiB",
            "mountPoint": "/boot/efi",
        },
        {
            "id": "rootfs",
            "type": "linux-root-amd64",
            "fsType": "ext4",
            "start": "50MiB",
            "end": "0",
            "mountPoint": "/",
        },
    ],
}
# Nothing but what is needed to be seen: each byte is written by an emulated processor. Both share all layers.
_SYSTEM = {"locale": "C.UTF-8", "packages": ["sudo"], "services": {"enable": []}}
LIVE = TestTemplate(
    "e2e-live",
    "debian12",
    {"target": {"imageType": "iso"}, "disk": _DISK, "iso": {"type": "live"}, "systemConfig": _SYSTEM},
)
INSTALLER = TestTemplate(
    "e2e-installer", "debian12", {"target": {"imageType": "iso"}, "disk": _DISK, "systemConfig": _SYSTEM}
)
INITRD = TestTemplate(
    "e2e-initrd",
    "debian12",
    {"target": {"imageType": "initrd"}, "disk": {"artifacts": [], "partitions": []}, "systemConfig": _SYSTEM},
)

_INSTALLED_SIZE_MIB = 3072


def _checksums_are_right(image: BuiltImage) -> None:
    call("sh", "-c", f"cd {shlex.quote(image.output_dir)} && sha256sum --check --strict --quiet SHA256SUMS")


def _artifacts(image: BuiltImage) -> dict[str, str]:
    return {artifact["format"]: artifact["path"] for artifact in image.manifest["artifacts"]}


@pytest.mark.case("live-iso")
def test_live_iso_is_sound(build: Build, tmp_path: pathlib.Path) -> None:
    image = build(LIVE)
    iso = image.path(".iso")
    _checksums_are_right(image)
    assert _artifacts(image) == {"iso": os.path.basename(iso)}
    report = call("xorriso", "-indev", iso, "-report_el_torito", "plain", "-report_system_area", "plain")
    assert re.search(r"El Torito boot img : +1 +BIOS", report), report
    assert re.search(r"El Torito boot img : +2 +UEFI", report), report
    assert "Volume id: E2E_LIVE_1_2_3" in call("isoinfo", "-d", "-i", iso)
    call("xorriso", "-md5", "on", "-return_with", "SORRY", "32", "-indev", iso, "-check_md5_r", "SORRY", "/", "--")
    squashfs = str(tmp_path / "root.squashfs")
    call("osirrox", "-indev", iso, "-extract", "/live/filesystem.squashfs", squashfs)
    call("unsquashfs", "-quiet", "-no-progress", "-dest", str(tmp_path / "root"), squashfs, "etc")
    assert (tmp_path / "root/etc/hostname").read_text(encoding="utf-8") == "e2e-host.example.org\n"


@pytest.mark.case("live-iso")
@pytest.mark.rotates("live-iso")
@pytest.mark.parametrize(
    ("firmware", "attachment", "device"),
    [("bios", "cdrom", "/dev/sr0"), ("uefi", "cdrom", "/dev/sr0"), ("uefi", "usb", "/dev/sd")],
    ids=["bios-cd", "uefi-cd", "uefi-usb"],
)
def test_live_iso_boots(build: Build, workspace: Workspace, firmware: str, attachment: str, device: str) -> None:
    image = build(LIVE)
    with boot(
        image,
        workspace.path("boot-test", f"{firmware}-{attachment}"),
        disk=image.path(".iso"),
        firmware=firmware,
        attachment=attachment,
    ) as guest:
        assert guest.say("findmnt --noheadings --output FSTYPE /") == "overlay"
        assert guest.say("findmnt --noheadings --output SOURCE /run/live/medium").startswith(device)
        assert guest.run("test -d /sys/firmware/efi")[0] == (0 if firmware == "uefi" else 1)
        assert guest.say("hostname") == "e2e-host.example.org"
        assert "operator" in guest.say("id --groups --name operator && id --user --name operator")
        assert guest.say("cat /var/lib/e2e/order").split() == ["one", "two", "three"]
        guest.say("echo changed > /etc/motd")
        assert guest.say("systemctl --failed --no-legend --plain") == ""


@pytest.fixture(scope="module")
def installed(build: Build, workspace: Workspace) -> str:
    """A disk onto which the installer has installed the image, and what it said meanwhile."""
    image = build(INSTALLER)
    directory = workspace.path("installed")
    os.makedirs(directory, exist_ok=True)
    disk = os.path.join(directory, "disk.raw")
    play = run_playbook(
        "boot-image.yml",
        {
            "image_boot_test_image": image.path(".iso"),
            "image_boot_test_output_dir": directory,
            "image_boot_test_target_disk": disk,
            "image_boot_test_target_size": _INSTALLED_SIZE_MIB,
            "image_boot_test_marker": "reboot: Power down|NOT INSTALLED.*",
            "image_boot_test_timeout": 1800,
        },
    )
    assert play.recap["failed"] == 0
    return disk


@pytest.mark.case("installer-iso")
def test_installer_says_what_it_does(build: Build, installed: str) -> None:
    image = build(INSTALLER)
    console = os.path.join(os.path.dirname(installed), os.path.basename(image.path(".iso")) + ".console.log")
    said = re.findall(r"^\[install\] (.*)$", pathlib.Path(console).read_text(encoding="utf-8"), re.MULTILINE)
    assert said[0] == "Installing e2e-installer 1.2.3"
    assert re.fullmatch(r"Writing [0-9]+ MiB onto /dev/vda \(3072 MiB\)", said[1])
    assert all(re.fullmatch(r"Writing: [0-9]+ %", line) for line in said[2:-2]), said
    # So the firmware has taken the boot entry, too.
    assert said[-2:] == [
        "INSTALLED: e2e-installer 1.2.3 is on /dev/vda.",
        "The machine goes on with: poweroff. Remove the medium.",
    ]


@pytest.mark.case("installer-iso")
def test_installed_disk_is_sound(build: Build, installed: str) -> None:
    image = build(INSTALLER)
    _checksums_are_right(image)
    assert os.path.getsize(installed) == _INSTALLED_SIZE_MIB << 20
    said = call("sgdisk", "--verify", installed)
    assert "No problems found" in said, said
    assert not re.search(r"Caution|Warning|corrupt", said, re.IGNORECASE), said
    table = json.loads(call("sfdisk", "--json", installed))["partitiontable"]
    boot_part, root_part = table["partitions"]
    assert [partition["uuid"].lower() for partition in table["partitions"]] == [
        partition["uuid"] for partition in image.manifest["partitions"]
    ]
    assert boot_part["size"] * 512 == 49 << 20
    # The rest of the disk, but for its second partition table.
    assert (root_part["start"] + root_part["size"]) * 512 > (_INSTALLED_SIZE_MIB - 2) << 20
    assert root_part["size"] * 512 > image.manifest["partitions"][1]["size"]


@pytest.mark.case("installer-iso")
def test_installed_disk_boots_by_itself(build: Build, installed: str, workspace: Workspace) -> None:
    with boot(build(INSTALLER), workspace.path("boot-test", "installed"), disk=installed) as guest:
        assert guest.say("findmnt --noheadings --output FSTYPE /") == "ext4"
        # The file system has grown with its partition.
        size = int(guest.lines("df --block-size=1M --output=size /")[-1])
        assert size > _INSTALLED_SIZE_MIB - 300
        assert guest.say("hostname") == "e2e-host.example.org"
        assert guest.run("test -e /usr/lib/image-install")[0] == 1
        assert guest.say("systemctl --failed --no-legend --plain") == ""


@pytest.mark.case("initrd")
def test_initrd_boots(build: Build, workspace: Workspace) -> None:
    image = build(INITRD)
    _checksums_are_right(image)
    initrd, kernel = image.path(".initrd.img"), image.path(".vmlinuz")
    assert _artifacts(image) == {"initrd": os.path.basename(initrd), "kernel": os.path.basename(kernel)}
    call("zstd", "--test", "--quiet", initrd)
    with boot(
        image,
        workspace.path("boot-test", "initrd"),
        disk=initrd,
        firmware="bios",
        kernel=kernel,
        initrd=initrd,
        cmdline="console=ttyS0 panic=1",
        memory=3072,
    ) as guest:
        assert guest.say("findmnt --noheadings --output FSTYPE /") in ("rootfs", "tmpfs", "ramfs")
        assert guest.say("cat /proc/cmdline") == "console=ttyS0 panic=1"
        assert guest.say("hostname") == "e2e-host.example.org"
        assert guest.say("cat /var/lib/e2e/order").split() == ["one", "two", "three"]
        assert guest.say("systemctl --failed --no-legend --plain") == ""
