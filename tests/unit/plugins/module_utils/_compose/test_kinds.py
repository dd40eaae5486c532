# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kinds of images."""

from __future__ import annotations

from ansible_collections.os_image.composer.plugins.module_utils._compose.kinds import IMAGE_CLASSES
from ansible_collections.os_image.composer.plugins.module_utils._image_type import IMAGE_TYPES


def test_every_image_type_has_its_class() -> None:
    assert {name: load().name for name, load in IMAGE_CLASSES.items()} == {name: name for name in IMAGE_TYPES}
