# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pathlib
import types
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils import _command
from ansible_collections.os_image.composer.plugins.module_utils._errors import ResolveError, ToolMissingError
from ansible_collections.os_image.composer.plugins.module_utils._host_tools import grub
from ansible_collections.os_image.composer.plugins.module_utils._resolver.boot import (
    require_boot_packages,
    require_boot_tools,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.document import TemplateDocument
from ansible_collections.os_image.composer.tests.support.template_data import whole_provider, whole_template

PARTITIONS = [{"id": "root", "fsType": "ext4", "end": "0", "mountPoint": "/"}]


def document(
    image_type: str, loader: str, *, arch: str = "x86_64", has_disk: bool = True, boot_type: str = "efi"
) -> TemplateDocument:
    return TemplateDocument(
        provider_id="debian-debian12-x86_64",
        provider_data=whole_provider(arch=arch),
        template=whole_template(
            target={"imageType": image_type},
            disk={"size": "2GiB", "partitions": PARTITIONS if has_disk else []},
            systemConfig={"bootloader": {"provider": loader, "bootType": boot_type}},
        ),
        files={},
        cache_dir="/c",
        work_dir="/w",
        config_dir="/config",
    )


@pytest.fixture
def host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A build host with an empty directory for GRUB's modules, and no programs."""
    monkeypatch.setattr(grub, "GRUB_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(_command, "_SEARCH_PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(os, "uname", lambda: types.SimpleNamespace(machine="x86_64"))
    (tmp_path / "bin").mkdir()
    return tmp_path


def install(host: pathlib.Path, *programs: str) -> None:
    for program in programs:
        (host / "bin" / program).write_text("#!/bin/sh\n")
        (host / "bin" / program).chmod(0o755)


def add_modules(host: pathlib.Path, *platforms: str) -> None:
    for platform in platforms:
        (host / platform).mkdir()
        (host / platform / "normal.mod").touch()


@pytest.mark.parametrize(
    ("image_type", "loader", "has_disk", "missing"),
    [
        ("raw", "grub", True, "grub-mkimage"),
        ("iso", "systemd-boot", False, "grub-mkimage"),
        ("iso", "grub", True, "grub-mkimage"),
        ("raw", "systemd-boot", True, ""),
        ("initrd", "grub", False, ""),
    ],
)
def test_programs_that_an_image_boots_by(
    host: pathlib.Path, image_type: str, loader: str, has_disk: bool, missing: str
) -> None:
    given = document(image_type, loader, has_disk=has_disk)
    if not missing:
        require_boot_tools(given)
        return
    with pytest.raises(ToolMissingError, match=f"The program '{missing}' was not found on the build host"):
        require_boot_tools(given)
    install(host, "grub-mkimage", "mkfs.vfat", "mcopy", "mmd")
    add_modules(host, "i386-pc", "x86_64-efi")
    require_boot_tools(given)


def test_a_bios_needs_grub_beside_the_bootloader_for_uefi(host: pathlib.Path) -> None:
    given = document("raw", "systemd-boot", boot_type="hybrid")
    with pytest.raises(ToolMissingError, match="The program 'grub-mkimage' was not found on the build host"):
        require_boot_tools(given)


def test_modules_that_an_iso_boots_by(host: pathlib.Path) -> None:
    install(host, "grub-mkimage", "mkfs.vfat", "mcopy", "mmd")
    add_modules(host, "x86_64-efi")
    with pytest.raises(ToolMissingError, match="GRUB's modules for i386-pc were not found on the build host"):
        require_boot_tools(document("iso", "systemd-boot"))
    # Those of another architecture come with the image.
    require_boot_tools(document("iso", "systemd-boot", arch="aarch64"))


@pytest.mark.parametrize(
    ("image_type", "names", "is_enough"),
    [
        ("iso", ["base-files"], False),
        ("iso", ["grub-efi-arm64-bin"], True),
        ("iso", ["grub2-efi-aa64-modules"], True),
        ("raw", ["base-files"], True),
    ],
)
def test_modules_that_come_with_the_image(
    host: pathlib.Path, image_type: str, names: list[str], is_enough: bool
) -> None:
    given = document(image_type, "systemd-boot", arch="aarch64")
    lock: dict[str, t.Any] = {"packages": [{"name": name} for name in names]}
    if is_enough:
        require_boot_packages(given, lock)
        return
    message = "The ISO starts by modules of GRUB for arm64-efi, which neither the build host nor a package of the image"
    with pytest.raises(ResolveError, match=message):
        require_boot_packages(given, lock)
    add_modules(host, "arm64-efi")
    require_boot_packages(given, lock)
