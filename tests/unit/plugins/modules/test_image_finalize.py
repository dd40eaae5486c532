# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module image_finalize."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._artifact.access import Access
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory
from ansible_collections.os_image.composer.plugins.module_utils._stage import StageOptions
from ansible_collections.os_image.composer.plugins.module_utils._stages.disk_compose import DiskCompose
from ansible_collections.os_image.composer.plugins.module_utils._stages.image_finalize import ImageFinalize
from ansible_collections.os_image.composer.plugins.module_utils._stages.image_sign import ImageSign
from ansible_collections.os_image.composer.plugins.modules import image_finalize


def test_an_image_that_was_removed_is_made_by_its_stages_in_their_order(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = {
        "build_dir": str(tmp_path),
        "output_dir": str(tmp_path),
        "keep_workspace": False,
        "secure_boot_passphrase": "x",
        "output_mode": "0644",
        "output_owner": "",
        "output_group": "images",
        "output_shared": True,
    }
    stages: list[ImageFinalize] = []

    def run(module: object, make: t.Callable[[dict[str, t.Any], StageOptions], ImageFinalize]) -> None:
        stages.append(make(params, StageOptions()))

    monkeypatch.setattr(image_finalize, "AnsibleModule", lambda **arguments: None)
    monkeypatch.setattr(image_finalize, "run_stage_module", run)
    image_finalize.main()
    build = BuildDirectory(str(tmp_path))
    compose, sign = (make(build, StageOptions()) for make in stages[0].image_stages)
    assert isinstance(compose, DiskCompose)
    assert isinstance(sign, ImageSign)
    assert vars(sign)["_passphrase"] == "x"
    assert not stages[0].keep_workspace
    assert stages[0].access == Access(0o644, "", "images", is_shared=True)
