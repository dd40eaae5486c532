# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images, each built whole and booted to a login. Their packages are installed once, in a shared layer."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import shutil

import pytest
from ansible_collections.os_image.composer.tests.e2e.support.image import Workspace, boot_disk
from ansible_collections.os_image.composer.tests.matrix.cells import BOOTS, Boot
from ansible_collections.os_image.composer.tests.matrix.images import template
from ansible_collections.os_image.composer.tests.matrix.state import MatrixState
from ansible_collections.os_image.composer.tests.support.disk_judges import check_image


@pytest.fixture
def _emulation(cell: Boot, request: pytest.FixtureRequest) -> None:
    """Programs of the image's architecture run meanwhile."""
    if cell.arch != os.uname().machine:
        request.getfixturevalue(f"emulated_{cell.arch}")


@pytest.mark.usefixtures("_emulation")
@pytest.mark.parametrize("cell", BOOTS, ids=lambda cell: cell.name)
def test_boot(
    cell: Boot, workspace: Workspace, tmp_path: pathlib.Path, state: MatrixState, request: pytest.FixtureRequest
) -> None:
    image_template = template(cell)
    pipeline = workspace.pipeline(image_template, directory=workspace.root)
    if cell.of_rpm:
        pipeline = dataclasses.replace(pipeline, **request.getfixturevalue("rpm_options"))
    composed = pipeline.run(until="disk_compose")["disk_compose"].result
    state.passed(cell.name, "built")
    check_image(composed["image"], tmp_path)
    state.passed(cell.name, "checked")
    image = composed["image"]
    if cell.enlarged:
        image = str(tmp_path / "image.raw")
        shutil.copyfile(composed["image"], image)
        os.truncate(image, cell.enlarged)
    for firmware in cell.firmware.split():
        log_path = workspace.path("boot-test", f"{image_template.name}.{firmware}.console.log")
        with boot_disk(image, log_path, firmware=firmware, arch=cell.arch) as guest:
            assert guest.say("if [ -d /sys/firmware/efi ]; then echo uefi; else echo bios; fi") == firmware
            for command, expected in cell.commands.items():
                said = guest.say(command)
                assert re.search(expected, said), f"{command} says:\n{said}"
            assert guest.say("systemctl --failed --no-legend --plain") == ""
    state.passed(cell.name, "booted")
