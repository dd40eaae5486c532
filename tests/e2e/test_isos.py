# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ISOs and initrds: a live system, an installer with the disk that it installs, and a system that runs from memory.

The ISOs are of Debian's packages with live-boot, and of RPM packages with dracut.
"""

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
    Guest,
    Workspace,
    boot,
    call,
    run_playbook,
)
from ansible_collections.os_image.composer.tests.e2e.support.template import TestTemplate
from ansible_collections.os_image.composer.tests.support.rpm_distribution.provider import DIST, OS, served_provider

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
_PROTECTED_DISK = {
    "artifacts": [],
    "partitions": [
        _DISK["partitions"][0],
        {"id": "rootfs", "fsType": "squashfs", "size": "content", "mountPoint": "/"},
        {"id": "roothashmap", "size": "content"},
    ],
}
INSTALLER = TestTemplate(
    "e2e-installer",
    "debian12",
    {
        "target": {"imageType": "iso"},
        "disk": _PROTECTED_DISK,
        "systemConfig": {
            **_SYSTEM,
            "bootloader": {"provider": "systemd-boot"},
            "kernel": {"uki": True},
            "immutability": {"enabled": True},
        },
    },
)
INITRD = TestTemplate(
    "e2e-initrd",
    "debian12",
    {
        "target": {"imageType": "initrd"},
        "disk": {"artifacts": [], "partitions": []},
        # It takes memory.
        "systemConfig": {**_SYSTEM, "documentation": False},
    },
)

_RPM_SYSTEM = {
    "locale": "C.UTF-8",
    "packages": ["sudo"],
    "services": {"enable": []},
}
RPM_LIVE = TestTemplate(
    "e2e-rpm-live",
    DIST,
    {
        "target": {"os": OS, "imageType": "iso"},
        "disk": _DISK,
        "iso": {"type": "live"},
        "systemConfig": _RPM_SYSTEM,
    },
)
RPM_INSTALLER = TestTemplate(
    "e2e-rpm-installer",
    DIST,
    {"target": {"os": OS, "imageType": "iso"}, "disk": _DISK, "systemConfig": _RPM_SYSTEM},
)

_INSTALLED_SIZE_MIB = 3072

_LIVE_CELLS = ("live ISO, CD on a BIOS", "live ISO, CD on UEFI", "live ISO, USB disk on UEFI")
_RPM_LIVE_CELLS = ("RPM packages, live ISO, CD on a BIOS", "RPM packages, live ISO, CD on UEFI")


def _booted(cell: str) -> pytest.MarkDecorator:
    return pytest.mark.cells(cell, steps=("booted",))


def _checksums_are_right(image: BuiltImage) -> None:
    call("sh", "-c", f"cd {shlex.quote(image.output_dir)} && sha256sum --check --strict --quiet SHA256SUMS")


def _artifacts(image: BuiltImage) -> dict[str, str]:
    return {artifact["format"]: artifact["path"] for artifact in image.manifest["artifacts"]}


@pytest.fixture(scope="module")
def build_rpm(workspace: Workspace) -> t.Iterator[Build]:
    """Build the image of a template of RPM packages, once; their repository is served meanwhile."""
    built: dict[str, BuiltImage] = {}
    config_dir = workspace.path("rpm-config")
    with served_provider(config_dir) as mirrors:

        def build_once(template: TestTemplate) -> BuiltImage:
            if template.name not in built:
                built[template.name] = workspace.build(
                    template, image_build_config_dir=config_dir, image_build_mirrors=mirrors
                )
            return built[template.name]

        yield build_once


def _check_live_iso(image: BuiltImage, volume_id: str, squashfs_path: str, tmp_path: pathlib.Path) -> None:
    iso = image.path(".iso")
    _checksums_are_right(image)
    assert _artifacts(image) == {"iso": os.path.basename(iso)}
    report = call("xorriso", "-indev", iso, "-report_el_torito", "plain", "-report_system_area", "plain")
    assert re.search(r"El Torito boot img : +1 +BIOS", report), report
    assert re.search(r"El Torito boot img : +2 +UEFI", report), report
    assert f"Volume id: {volume_id}" in call("isoinfo", "-d", "-i", iso)
    medium = tmp_path / "medium"
    call("osirrox", "-indev", iso, "-extract", "/", str(medium))
    call("sh", "-c", f"cd {shlex.quote(str(medium))} && sha256sum --check --strict --quiet SHA256SUMS")
    squashfs = f"{medium}{squashfs_path}"
    call("unsquashfs", "-quiet", "-no-progress", "-dest", str(tmp_path / "root"), squashfs, "etc")
    assert (tmp_path / "root/etc/hostname").read_text(encoding="utf-8") == "e2e-host.example.org\n"


def _check_live_system(
    image: BuiltImage, log_dir: str, firmware: str, attachment: str, source: tuple[str, str]
) -> None:
    """Boot a live ISO and look around.

    :param source: Where the running system shows the medium, and the beginning of its device.
    """
    with boot(image, log_dir, disk=image.path(".iso"), firmware=firmware, attachment=attachment) as guest:
        assert guest.say("findmnt --noheadings --output FSTYPE /") == "overlay"
        assert guest.say(f"findmnt --noheadings --output SOURCE {source[0]}").startswith(source[1])
        assert guest.run("test -d /sys/firmware/efi")[0] == (0 if firmware == "uefi" else 1)
        assert guest.say("uname -n") == "e2e-host.example.org"
        assert "operator" in guest.say("id --groups --name operator && id --user --name operator")
        assert guest.say("cat /var/lib/e2e/order").split() == ["one", "two", "three"]
        guest.say("echo changed > /etc/motd")
        assert guest.say("systemctl --failed --no-legend --plain") == ""


@pytest.mark.case("live-iso")
@pytest.mark.cells(*_LIVE_CELLS, steps=("built", "checked"))
def test_live_iso_is_sound(build: Build, tmp_path: pathlib.Path) -> None:
    _check_live_iso(build(LIVE), "E2E_LIVE_1_2_3", "/live/filesystem.squashfs", tmp_path)


@pytest.mark.case("live-iso")
@pytest.mark.parametrize(
    ("firmware", "attachment", "device"),
    [
        pytest.param("bios", "cdrom", "/dev/sr0", id="bios-cd", marks=_booted(_LIVE_CELLS[0])),
        pytest.param("uefi", "cdrom", "/dev/sr0", id="uefi-cd", marks=_booted(_LIVE_CELLS[1])),
        pytest.param("uefi", "usb", "/dev/sd", id="uefi-usb", marks=_booted(_LIVE_CELLS[2])),
    ],
)
def test_live_iso_boots(build: Build, workspace: Workspace, firmware: str, attachment: str, device: str) -> None:
    log_dir = workspace.path("boot-test", f"{firmware}-{attachment}")
    _check_live_system(build(LIVE), log_dir, firmware, attachment, ("/run/live/medium", device))


@pytest.mark.case("rpm-live-iso")
@pytest.mark.cells(*_RPM_LIVE_CELLS, steps=("built", "checked"))
def test_live_iso_of_rpm_packages_is_sound(build_rpm: Build, tmp_path: pathlib.Path) -> None:
    _check_live_iso(build_rpm(RPM_LIVE), "E2E_RPM_LIVE_1_2_3", "/LiveOS/squashfs.img", tmp_path)


@pytest.mark.case("rpm-live-iso")
@pytest.mark.parametrize(
    "firmware",
    [
        pytest.param("bios", marks=_booted(_RPM_LIVE_CELLS[0])),
        pytest.param("uefi", marks=_booted(_RPM_LIVE_CELLS[1])),
    ],
)
def test_live_iso_of_rpm_packages_boots(build_rpm: Build, workspace: Workspace, firmware: str) -> None:
    log_dir = workspace.path("boot-test", f"rpm-{firmware}-cdrom")
    _check_live_system(build_rpm(RPM_LIVE), log_dir, firmware, "cdrom", ("/run/initramfs/live", "/dev/sr0"))


def _install(image: BuiltImage, directory: str) -> str:
    """Boot an installer ISO beside an empty disk, let it install the image there, and return the disk."""
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


@pytest.fixture(scope="module")
def installed(build: Build, workspace: Workspace) -> str:
    """The disk onto which Debian's installer has installed the image; what it said meanwhile lies beside it."""
    return _install(build(INSTALLER), workspace.path("installed"))


@pytest.fixture(scope="module")
def rpm_installed(build_rpm: Build, workspace: Workspace) -> str:
    """The same of RPM packages."""
    return _install(build_rpm(RPM_INSTALLER), workspace.path("rpm-installed"))


def _check_what_it_says(image: BuiltImage, disk: str) -> None:
    console = os.path.join(os.path.dirname(disk), os.path.basename(image.path(".iso")) + ".console.log")
    said = re.findall(r"^\[install\] (.*)$", pathlib.Path(console).read_text(encoding="utf-8"), re.MULTILINE)
    assert said[0] == f"Installing {image.template.name} 1.2.3"
    assert re.fullmatch(r"Writing [0-9]+ MiB onto /dev/vda \(3072 MiB\)", said[1])
    assert all(re.fullmatch(r"Writing: [0-9]+ %", line) for line in said[2:-2]), said
    # So the firmware has taken the boot entry, too.
    assert said[-2:] == [
        f"INSTALLED: {image.template.name} 1.2.3 is on /dev/vda.",
        "The machine goes on with: poweroff. Remove the medium.",
    ]


def _installed_partitions(image: BuiltImage, disk: str) -> list[dict[str, t.Any]]:
    """Return the partitions of a disk, once it is sound and they are those of the image."""
    assert os.path.getsize(disk) == _INSTALLED_SIZE_MIB << 20
    said = call("sgdisk", "--verify", disk)
    assert "No problems found" in said, said
    assert not re.search(r"Caution|Warning|corrupt", said, re.IGNORECASE), said
    partitions: list[dict[str, t.Any]] = json.loads(call("sfdisk", "--json", disk))["partitiontable"]["partitions"]
    assert [partition["uuid"].lower() for partition in partitions] == [
        partition["uuid"] for partition in image.manifest["partitions"]
    ]
    assert partitions[0]["size"] * 512 == 49 << 20
    return partitions


def _check_installed_disk(image: BuiltImage, disk: str) -> None:
    _esp, root = _installed_partitions(image, disk)
    # The rest of the disk, but for its second partition table.
    assert (root["start"] + root["size"]) * 512 > (_INSTALLED_SIZE_MIB - 2) << 20
    assert root["size"] * 512 > image.manifest["partitions"][1]["size"]


def _check_protected_disk(image: BuiltImage, disk: str, tmp_path: pathlib.Path) -> None:
    """Check that the partitions that the installer has written are those that the root hash stands for."""
    _esp, *protected = _installed_partitions(image, disk)
    assert [partition["size"] * 512 for partition in protected] == [
        partition["size"] for partition in image.manifest["partitions"][1:]
    ]
    # The PARTUUIDs are its halves.
    root_hash = "".join(partition["uuid"].lower().replace("-", "") for partition in protected)
    paths = [str(tmp_path / name) for name in ("data", "hashes")]
    for path, partition in zip(paths, protected):
        bytes_of = (f"skip={partition['start'] * 512}", f"count={partition['size'] * 512}")
        call("dd", f"if={disk}", f"of={path}", "bs=1M", "iflag=skip_bytes,count_bytes", *bytes_of, "status=none")
    call("veritysetup", "verify", *paths, root_hash)


def _check_installed_system(guest: Guest) -> None:
    assert guest.say("uname -n") == "e2e-host.example.org"
    assert guest.run("test -e /usr/lib/image-install")[0] == 1
    assert guest.say("systemctl --failed --no-legend --plain") == ""


@pytest.mark.case("installer-iso")
@pytest.mark.cells("installer ISO of a protected squashfs root, CD on UEFI", steps=("built", "checked", "booted"))
def test_installer_says_what_it_does(build: Build, installed: str) -> None:
    _checksums_are_right(build(INSTALLER))
    _check_what_it_says(build(INSTALLER), installed)


@pytest.mark.case("installer-iso")
@pytest.mark.cells("protected disk that the installer has written", steps=("built", "checked"))
def test_installed_disk_is_sound(build: Build, installed: str, tmp_path: pathlib.Path) -> None:
    _check_protected_disk(build(INSTALLER), installed, tmp_path)


@pytest.mark.case("installer-iso")
@pytest.mark.cells("protected disk that the installer has written", steps=("booted",))
def test_installed_disk_boots_by_itself(build: Build, installed: str, workspace: Workspace) -> None:
    with boot(build(INSTALLER), workspace.path("boot-test", "installed"), disk=installed) as guest:
        assert guest.say("findmnt --noheadings --output SOURCE,FSTYPE /").split() == ["/dev/mapper/root", "squashfs"]
        assert re.fullmatch(r"0 \d+ verity V", guest.say("dmsetup status root"))
        # Nothing is mounted there, so that changes are in memory, above what the image has.
        assert "upperdir=/run/volatile/var/upper" in guest.say(
            "findmnt --noheadings --notruncate --output OPTIONS /var"
        )
        assert guest.say("echo changed > /var/changed && cat /var/lib/e2e/order").split() == ["one", "two", "three"]
        _check_installed_system(guest)


@pytest.mark.case("rpm-installer-iso")
@pytest.mark.cells("RPM packages, installer ISO, CD on UEFI", steps=("built", "checked", "booted"))
@pytest.mark.cells("RPM packages, disk that the installer has written", steps=("built", "checked", "booted"))
def test_installer_of_rpm_packages(build_rpm: Build, rpm_installed: str, workspace: Workspace) -> None:
    image = build_rpm(RPM_INSTALLER)
    _checksums_are_right(image)
    _check_what_it_says(image, rpm_installed)
    _check_installed_disk(image, rpm_installed)
    with boot(image, workspace.path("boot-test", "rpm-installed"), disk=rpm_installed) as guest:
        assert guest.say("findmnt --noheadings --output FSTYPE /") == "ext4"
        # The file system has grown with its partition.
        assert int(guest.lines("df --block-size=1M --output=size /")[-1]) > _INSTALLED_SIZE_MIB - 300
        _check_installed_system(guest)


@pytest.mark.case("initrd")
@pytest.mark.cells("initrd, with its kernel", steps=("built", "checked", "booted"))
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
        assert guest.say("uname -n") == "e2e-host.example.org"
        assert guest.say("cat /var/lib/e2e/order").split() == ["one", "two", "three"]
        assert guest.say("systemctl --failed --no-legend --plain") == ""
        # It would only take up memory.
        assert guest.say("find /usr/share/man -type f") == ""
        assert guest.say("ls /usr/share/doc/dpkg") == "copyright"
