# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible_collections.os_image.composer.plugins.plugin_utils._controller_version import REQUIRED, require_version
from ansible_collections.os_image.composer.tests.support.stage_driver import ROOT


def test_it_is_what_the_collection_asks_ansible_for() -> None:
    asked = yaml.safe_load(pathlib.Path(ROOT, "meta", "runtime.yml").read_text(encoding="utf-8"))["requires_ansible"]
    assert asked == f">={'.'.join(map(str, REQUIRED))}.0"


@pytest.mark.parametrize("version", ["2.19.0", "2.19.0b1", "2.20.1", "3.0.0.dev0"])
def test_newer_versions_will_do(version: str) -> None:
    require_version(version)


@pytest.mark.parametrize("version", ["2.9.27", "2.15.13", "2.18.6"])
def test_an_older_version_is_named_with_the_remedy(version: str) -> None:
    with pytest.raises(AnsibleError, match=f"needs ansible-core 2.19 or newer, and this is {version}. Install a newer"):
        require_version(version)
