# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disks that are composed from the small tree, one for each cell."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._artifact.formats import FORMATS, convert
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._errors import ComposerError
from ansible_collections.os_image.composer.tests.matrix.cells import CELLS, LOADERS, REFUSED, Cell, Refused
from ansible_collections.os_image.composer.tests.matrix.state import MatrixState
from ansible_collections.os_image.composer.tests.support.disk_judges import check_image, judge
from ansible_collections.os_image.composer.tests.support.disk_tree import BUILD_DIGEST, EPOCH, Composed, compose


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_cell(cell: Cell, tree: pathlib.Path, tmp_path: pathlib.Path, state: MatrixState) -> None:
    boot_type, provider, use_uki, use_signed = LOADERS[cell.loader]
    composed = compose(
        tree,
        tmp_path,
        cell.disk,
        boot_type=boot_type,
        provider=provider,
        use_uki=use_uki,
        use_signed=use_signed,
    )
    state.passed(cell.name, "built")
    kinds = check_image(composed.image, tmp_path)
    assert kinds[-1] == cell.root
    _check_boot_files(cell, composed)
    if cell.format != "raw":
        _check_format(cell.format, composed.image, tmp_path)
    state.passed(cell.name, "checked")


def _check_boot_files(cell: Cell, composed: Composed) -> None:
    if LOADERS[cell.loader][0] == "legacy":
        with open(composed.image, "rb") as stream:
            sector = stream.read(512)
        assert sector[:1] == b"\xeb" and b"GRUB" in sector and sector[510:] == b"\x55\xaa"
        return
    listed = judge("mdir", "-/", "-b", "-i", composed.esp(), "::/")
    assert "::/EFI/BOOT/BOOTX64.EFI" in listed
    expected = {
        "systemd-boot": "::/loader/entries/",
        "uki": "::/EFI/Linux/",
        "grub-efi": "BOOTX64.EFI",
        "grub-signed": "::/EFI/debian/grub.cfg",
    }
    assert expected[cell.loader] in listed


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
