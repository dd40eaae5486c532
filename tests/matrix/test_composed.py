# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disks that are composed from the small tree, one for each cell."""

from __future__ import annotations

import pathlib
import re
import subprocess

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._artifact.formats import convert
from ansible_collections.os_image.composer.plugins.module_utils._artifact_format import FORMATS
from ansible_collections.os_image.composer.plugins.module_utils._boot_test.architecture import image_architecture
from ansible_collections.os_image.composer.plugins.module_utils._bootloader import BOOT_TYPES
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._errors import ComposerError
from ansible_collections.os_image.composer.plugins.module_utils._stage import StageOptions, run_stage
from ansible_collections.os_image.composer.plugins.module_utils._stages.disk_compose import DiskCompose
from ansible_collections.os_image.composer.tests.matrix.cells import CELLS, LOADERS, REFUSED, Cell, Refused
from ansible_collections.os_image.composer.tests.matrix.state import MatrixState
from ansible_collections.os_image.composer.tests.support.build_state import leave_lock, leave_template, leave_tree
from ansible_collections.os_image.composer.tests.support.disk_judges import check_image, judge
from ansible_collections.os_image.composer.tests.support.disk_tree import BUILD_DIGEST, EPOCH, Composed, compose


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_cell(cell: Cell, request: pytest.FixtureRequest, tmp_path: pathlib.Path, state: MatrixState) -> None:
    boot_type, provider, use_uki, use_signed = LOADERS[cell.loader]
    tree = request.getfixturevalue("tree" if cell.arch == "x86_64" else "arm_tree")
    composed = compose(
        tree,
        tmp_path,
        cell.disk,
        boot_type=boot_type,
        provider=provider,
        arch=cell.arch,
        use_uki=use_uki,
        use_signed=use_signed,
    )
    state.passed(cell.name, "built")
    kinds = check_image(composed.image, tmp_path)
    assert kinds[-1] == cell.root
    _check_boot_files(cell, composed, tmp_path)
    if cell.format != "raw":
        _check_format(cell.format, composed.image, tmp_path)
    state.passed(cell.name, "checked")


# What firmware boots without being told, and what file(1) says of it.
_PROGRAMS = {
    "x86_64": ("BOOTX64.EFI", "PE32+ executable (EFI application) x86-64"),
    "aarch64": ("BOOTAA64.EFI", "PE32+ executable (EFI application) Aarch64"),
}


def _check_boot_files(cell: Cell, composed: Composed, directory: pathlib.Path) -> None:
    boot_type = BOOT_TYPES[LOADERS[cell.loader][0]]
    if boot_type.needs_bios:
        with open(composed.image, "rb") as stream:
            sector = stream.read(512)
        assert sector[:1] == b"\xeb" and b"GRUB" in sector and sector[510:] == b"\x55\xaa"
    if not boot_type.needs_esp:
        return
    listed = judge("mdir", "-/", "-b", "-i", composed.esp(), "::/")
    program, kind = _PROGRAMS[cell.arch]
    assert f"::/EFI/BOOT/{program}" in listed
    expected = {
        "systemd-boot": "::/loader/entries/",
        "uki": "::/EFI/Linux/",
        "grub-efi": program,
        "grub-signed": "::/EFI/debian/grub.cfg",
        "grub-both": program,
        "uki-both": "::/EFI/Linux/",
    }
    assert expected[cell.loader] in listed
    if cell.arch != "x86_64" or cell.loader != "grub-signed":
        copy = directory / program
        copy.write_bytes(composed.read_esp(f"/EFI/BOOT/{program}"))
        assert kind in judge("file", "--brief", str(copy))


def _check_format(name: str, image: str, directory: pathlib.Path) -> None:
    made = str(directory / f"image.{FORMATS[name].extension}")
    convert(image, made, name, runner=CommandRunner(), build_digest=BUILD_DIGEST, epoch=EPOCH, compact=False)
    driver = FORMATS[name].driver
    if driver != "vpc":
        # qemu-img knows no check for this one.
        judge("qemu-img", "check", "-f", driver, made)
    assert "identical" in judge("qemu-img", "compare", "-f", "raw", "-F", driver, image, made)


@pytest.mark.parametrize("cell", REFUSED, ids=lambda cell: cell.name)
def test_refused(cell: Refused, tree: pathlib.Path, tmp_path: pathlib.Path, state: MatrixState) -> None:
    with pytest.raises(ComposerError, match=cell.message):
        compose(tree, tmp_path, cell.disk, **cell.options)
    state.passed(cell.name, "checked")


def test_iso_for_another_machine(arm_tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Its boot menu is the image's own GRUB: Debian's packages of GRUB for Arm are not for this machine."""
    tree = tmp_path / "tree"
    subprocess.run(["cp", "-a", str(arm_tree), str(tree)], check=True)
    for name in ("usr/share/initramfs-tools/scripts", "usr/lib/systemd/system"):
        (tree / name).mkdir(parents=True, exist_ok=True)
    (tree / "usr/share/initramfs-tools/scripts/live").write_text("# live-boot\n")
    build = BuildDirectory(str(tmp_path / "build"))
    leave_template(
        build,
        {
            "image": {"name": "kiosk", "version": "1.0"},
            "target": {"os": "debian", "dist": "debian12", "arch": "aarch64", "imageType": "iso"},
            "disk": {"artifacts": [], "partitions": []},
            "iso": {"type": "live"},
            "systemConfig": {
                "bootloader": {"bootType": "efi", "provider": "systemd-boot"},
                "kernel": {"cmdline": "console=ttyAMA0", "version": "", "uki": False, "packages": []},
                "immutability": {},
                "additionalFiles": [],
            },
        },
    )
    leave_lock(build, epoch=EPOCH)
    leave_tree(build, str(tree))
    image = run_stage(DiskCompose(build, StageOptions()))["image"]
    report = judge("xorriso", "-indev", image, "-report_el_torito", "plain")
    # There is no BIOS.
    assert re.search(r"El Torito boot img : +1 +UEFI +y +none", report), report
    assert "El Torito boot img :   2" not in report
    name, kind = _PROGRAMS["aarch64"]
    copy = tmp_path / name
    judge("osirrox", "-indev", image, "-extract", f"/EFI/BOOT/{name}", str(copy))
    assert kind in judge("file", "--brief", str(copy))
    assert image_architecture(image, "raw", temp_dir=str(tmp_path)) == "aarch64"
