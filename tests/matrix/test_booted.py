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
import typing as t

import pytest
from ansible_collections.os_image.composer.tests.e2e.support.image import Workspace, boot_disk
from ansible_collections.os_image.composer.tests.e2e.support.template import TestTemplate
from ansible_collections.os_image.composer.tests.matrix.cells import BOOTS, Boot
from ansible_collections.os_image.composer.tests.matrix.state import MatrixState
from ansible_collections.os_image.composer.tests.support.disk_judges import check_image
from ansible_collections.os_image.composer.tests.support.rpm_distribution.provider import DIST, OS, served_provider

# The same for all, so that all share the layer of their packages.
_PACKAGES = (
    *("btrfs-progs", "ca-certificates", "grub-efi-amd64-bin", "grub-efi-amd64-signed", "grub-pc-bin", "locales"),
    *("openssh-server", "shim-signed", "sudo", "systemd-boot-efi", "xfsprogs"),
)


# Of the other packages one is for one bootloader, and excludes another's.
_RPM_PACKAGES = ("core-packages-base-image", "dracut", "grub2-pc", "openssh-server", "sudo")
_RPM_SYSTEM: t.Mapping[str, t.Any] = {
    "locale": "C.UTF-8",
    "packages": list(_RPM_PACKAGES),
    "services": {"enable": ["sshd"], "disable": [], "mask": ["systemd-networkd-wait-online.service"]},
}


@pytest.fixture(scope="session")
def workspace() -> Workspace:
    """The directories that these tests share with the end-to-end tests."""
    return Workspace.prepare()


@pytest.fixture(scope="session")
def rpm_options(workspace: Workspace) -> t.Iterator[dict[str, t.Any]]:
    """What the pipeline has to be told about the RPM distribution, whose repository is served meanwhile."""
    config_dir = workspace.path("rpm-config")
    with served_provider(config_dir) as mirrors:
        yield {"config_dir": config_dir, "stage_args": {"pkg_resolve": {"mirrors": mirrors}}}


def _template(cell: Boot) -> TestTemplate:
    name = "matrix-" + re.sub(r"[^a-z0-9]+", "-", cell.name.lower()).strip("-")
    disk = {"name": "matrix", "artifacts": [{"type": "raw"}], **cell.disk}
    common = {"scripts": {"preInstall": []}, "additionalFiles": []}
    if cell.of_rpm:
        system = {**_RPM_SYSTEM, **common, **cell.system}
        return TestTemplate(name, DIST, {"target": {"os": OS}, "disk": disk, "systemConfig": system})
    system = {"packages": list(_PACKAGES), **common, **cell.system}
    return TestTemplate(name, "debian12", {"disk": disk, "systemConfig": system})


@pytest.mark.parametrize("cell", BOOTS, ids=lambda cell: cell.name)
def test_boot(
    cell: Boot, workspace: Workspace, tmp_path: pathlib.Path, state: MatrixState, request: pytest.FixtureRequest
) -> None:
    template = _template(cell)
    pipeline = workspace.pipeline(template, directory=workspace.root)
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
    log_path = workspace.path("boot-test", f"{template.name}.console.log")
    with boot_disk(image, log_path, firmware=cell.firmware) as guest:
        for command, expected in cell.commands.items():
            said = guest.say(command)
            assert re.search(expected, said), f"{command} says:\n{said}"
        assert guest.say("systemctl --failed --no-legend --plain") == ""
    state.passed(cell.name, "booted")
