# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The shipped template of Azure Linux, built and booted by the roles.

The test distribution stands in place of the vendor's repository, and root may log in.
"""

from __future__ import annotations

import json
import os
import pathlib

import pytest
from ansible_collections.os_image.composer.tests.e2e.support.image import ROOT, Workspace, run_playbook
from ansible_collections.os_image.composer.tests.e2e.support.template import PASSWORD, password_hash
from ansible_collections.os_image.composer.tests.support.rpm_distribution.distribution import rpm_distribution

pytestmark = pytest.mark.case("azl3-raw")

_MIRROR = "inhouse"


def test_the_shipped_template_builds_and_boots(workspace: Workspace) -> None:
    distribution = rpm_distribution()
    output_dir = workspace.path("images", "azl3")
    repository = {
        "name": "azurelinux-official-base",
        "codename": "base",
        "mirror": _MIRROR,
        "pkey": distribution.key,
        "fingerprints": [distribution.fingerprint],
    }
    with distribution.serve() as server:
        run_playbook(
            "build-image.yml",
            {
                "image_build_template": os.path.join(ROOT, "image-templates", "azl3-x86_64-minimal-raw.yml"),
                "image_build_work_dir": workspace.work_dir,
                "image_build_cache_dir": workspace.cache_dir,
                "image_build_output_dir": output_dir,
                "image_build_overrides": {
                    "disk": {"artifacts": [{"type": "qcow2"}]},
                    "systemConfig": {"users": [{"name": "root", "password": password_hash(PASSWORD, "e2esalt0")}]},
                    "packageRepositories": [repository],
                },
                "image_build_mirrors": {_MIRROR: server.url},
            },
        )
    (image,) = pathlib.Path(output_dir).glob("*.qcow2")
    manifest = json.loads(next(pathlib.Path(output_dir).glob("*.manifest.json")).read_text(encoding="utf-8"))
    assert manifest["target"] == {"os": "azure-linux", "dist": "azl3", "arch": "x86_64", "imageType": "raw"}
    (used,) = manifest["repositories"]
    assert (used["name"], used["signed_by"]) == ("azurelinux-official-base", [distribution.fingerprint])
    asked = {package["name"] for package in manifest["packages"]}
    assert {"bash", "kernel", "systemd", "systemd-boot"} <= asked
    logs = workspace.path("boot-azl3")
    play = run_playbook(
        "boot-image.yml",
        {
            "image_boot_test_image": str(image),
            "image_boot_test_output_dir": logs,
            "image_boot_test_commands": ["uname -n", "cat /etc/os-release"],
            "image_boot_test_login_password": PASSWORD,
            "image_boot_test_timeout": 600,
        },
    )
    assert play.recap["failed"] == 0
    assert PASSWORD not in play.output
    console = pathlib.Path(logs, f"{image.name}.console.log")
    assert "azl3 login:" in console.read_text(encoding="utf-8")
    assert console.with_name(f"{image.name}.png").read_bytes().startswith(b"\x89PNG")
