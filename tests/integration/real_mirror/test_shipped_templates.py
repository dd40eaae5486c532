# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The shipped templates of Debian against the mirror of this machine: what they name is there, and fits together."""

from __future__ import annotations

import json
import re

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._template.document import TemplateDocument
from ansible_collections.os_image.composer.tests.integration.real_mirror.conftest import resolved
from ansible_collections.os_image.composer.tests.support.template_catalogue import PACKAGE_COUNTS

_KERNEL = re.compile(r"linux-image-\d")


@pytest.mark.parametrize("name", sorted(PACKAGE_COUNTS))
def test_it_resolves(name: str) -> None:
    build = resolved(name)
    document = TemplateDocument.read(build)
    with open(build.join("packages.lock.json"), encoding="utf-8") as stream:
        lock = json.load(stream)
    names = [package["name"] for package in lock["packages"]]
    config = document.template["systemConfig"]
    assert set(config["packages"]) <= set(names)
    assert set(config["kernel"]["packages"]) <= set(names)
    # Every type of image boots by itself, also an initrd: its kernel is published beside it.
    assert [package for package in names if _KERNEL.match(package)]
    assert len(names) == len(set(names))
    # What the catalogue says about the size of the image.
    assert len(names) == pytest.approx(PACKAGE_COUNTS[name], rel=0.1)
