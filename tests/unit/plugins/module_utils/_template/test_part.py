# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Parts of a template: values that are the same when they say the same, and stay as they are."""

from __future__ import annotations

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Image, Route
from ansible_collections.os_image.composer.plugins.module_utils._template.provider_model import Repository
from ansible_collections.os_image.composer.tests.support.template_data import repositories


def test_parts_that_say_the_same_are_the_same() -> None:
    image = Image(name="kiosk", version="1.0")
    assert image == Image(version="1.0", name="kiosk")
    assert len({image, Image(version="1.0", name="kiosk")}) == 1
    assert image != Image(name="kiosk", version="1.1")
    assert image != Route(to="kiosk", via="1.0")
    assert repr(image) == "Image(name='kiosk', version='1.0')"


def test_a_part_cannot_be_changed() -> None:
    image = Image(name="kiosk", version="1.0")
    with pytest.raises(AttributeError, match="Image cannot be changed: name"):
        image.name = "other"  # type: ignore[misc]
    assert image.replace(version="1.1") == Image(name="kiosk", version="1.1")
    assert image.version == "1.0"


def test_a_part_has_a_value_for_each_field_and_no_others() -> None:
    with pytest.raises(TypeError, match="Image.*: version"):
        Image(name="kiosk")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="Image.*: size"):
        Image(name="kiosk", version="1.0").replace(size=1)


def test_a_field_that_is_left_out_has_the_default_of_its_class() -> None:
    assert [(entry.suite, entry.max_age, entry.foreign) for entry in repositories({"name": "own"})] == [("", 0, False)]
    (entry,) = repositories({"name": "own", "suite": "bookworm"})
    assert entry == Repository.from_data({**vars(entry), "max_age": 0})
