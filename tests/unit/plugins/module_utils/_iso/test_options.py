# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of an ISO: the kind that a template asks for, and how it boots."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._chroot.live_system import live_system
from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError
from ansible_collections.os_image.composer.plugins.module_utils._iso.menu import MenuEntry, menu
from ansible_collections.os_image.composer.plugins.module_utils._iso.options import IsoOptions, iso_type, volume_id
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Disk, Image, Initramfs, Iso
from ansible_collections.os_image.composer.tests.support.template_data import whole_part


@pytest.mark.parametrize(
    ("iso", "partitions", "initramfs", "expected"),
    [
        ({}, [], {}, "live"),
        ({}, [{"id": "root"}], {}, "installer"),
        ({}, [], {"template": "default-initrd-x86_64.yml"}, "installer"),
        ({"type": "live"}, [{"id": "root"}], {}, "live"),
        ({"type": "installer"}, [{"id": "root"}], {}, "installer"),
    ],
)
def test_a_disk_layout_makes_an_installer(
    iso: dict[str, t.Any], partitions: list[t.Any], initramfs: dict[str, t.Any], expected: str
) -> None:
    parts = whole_part(Iso, iso), whole_part(Disk, {"partitions": partitions}), whole_part(Initramfs, initramfs)
    assert iso_type(*parts) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kiosk_1.0", "KIOSK_1_0"),
        ("a-very-long-name-of-an-image_2026.11.25-rc1", "A_VERY_LONG_NAME_OF_AN_IMAGE_202"),
        ("--", "ISO"),
    ],
)
def test_volume_id(name: str, expected: str) -> None:
    assert volume_id(name) == expected


def test_options() -> None:
    image, initramfs = Image(name="kiosk", version="1.0"), whole_part(Initramfs, {})
    iso = whole_part(Iso, {"unattended": False, "afterInstall": "reboot", "volumeId": "MINE"})
    disk = whole_part(Disk, {"path": "/dev/sda"})
    options = IsoOptions.of(image, iso, disk, initramfs)
    assert options == IsoOptions("live", "MINE", "kiosk 1.0", False, "reboot", "/dev/sda")
    options = IsoOptions.of(image, whole_part(Iso, {}), whole_part(Disk, {}), initramfs)
    assert options == IsoOptions("live", "KIOSK_1_0", "kiosk 1.0", True, "poweroff", "")


def test_the_live_system_is_the_one_that_is_installed(tmp_path: pathlib.Path) -> None:
    with pytest.raises(BootError, match=r"nothing that mounts the root .* Add live-boot and live-boot-initramfs-tools"):
        live_system(str(tmp_path))
    (tmp_path / "usr/lib/dracut/modules.d/90dmsquash-live").mkdir(parents=True)
    assert live_system(str(tmp_path)).generator == "dracut"
    assert live_system(str(tmp_path)).cmdline("KIOSK").startswith("root=live:CDLABEL=KIOSK ")
    scripts = tmp_path / "usr/share/initramfs-tools/scripts"
    scripts.mkdir(parents=True)
    (scripts / "live").touch()
    assert live_system(str(tmp_path)).generator == "initramfs-tools"
    assert live_system(str(tmp_path), "dracut").generator == "dracut"


def test_menu() -> None:
    entries = [MenuEntry("Install it's 1.0", 'quiet a="b $c;"'), MenuEntry("Start", "x;y")]
    assert menu(entries, kernel="/boot/vmlinuz", initrd="/boot/initrd.img", timeout=7).splitlines()[1:] == [
        "set default=0",
        "set timeout=7",
        "",
        "menuentry 'Install its 1.0' {",
        '\tlinux /boot/vmlinuz quiet a="b \\$c;"',
        "\tinitrd /boot/initrd.img",
        "}",
        "menuentry 'Start' {",
        "\tlinux /boot/vmlinuz x\\;y",
        "\tinitrd /boot/initrd.img",
        "}",
    ]
