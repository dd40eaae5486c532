# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A build that only lacks its artifacts."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._artifact.compression import CODECS
from ansible_collections.os_image.composer.tests.support.finished_build import MIB, FinishedBuild


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small files have several parts."""
    for codec in CODECS.values():
        monkeypatch.setattr(codec, "part_size", MIB)


@pytest.fixture
def finished_build(tmp_path: pathlib.Path, sparse_image: pathlib.Path) -> FinishedBuild:
    """Make a build that only lacks image_finalize."""
    return FinishedBuild(tmp_path, sparse_image)
