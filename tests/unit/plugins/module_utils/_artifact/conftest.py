# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compression of small files in several parts, in all tests of this folder."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _always_small_parts(small_parts: None) -> None:
    pass
