# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compressions, in what templates may ask of them."""

from __future__ import annotations

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._compression import level_problem


@pytest.mark.parametrize(
    ("compression", "level", "problem"),
    [
        (None, None, None),
        ("gz", 9, None),
        ("xz", 0, None),
        ("bz2", 1, None),
        ("gz", 0, "The compression gz has no level 0. Use one from 1 to 9."),
        ("zstd", 20, "The compression zstd has no level 20. Use one from 1 to 19."),
        (None, 3, "The level 3 is one of a compression, and none is asked for. Add compression, or remove level."),
    ],
)
def test_levels_that_are_none(compression: str | None, level: int | None, problem: str | None) -> None:
    assert level_problem(compression, level) == problem
