# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Identifiers that follow from the build digest."""

from __future__ import annotations

import uuid

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._identity import derive_hex, derive_uuid

DIGEST = "ab" * 32


def test_a_uuid_follows_from_digest_and_purpose() -> None:
    assert derive_uuid(DIGEST, "partition/rootfs") == "90af7cb1-5bf0-45af-b61b-bf35c7febe8b"
    assert derive_uuid(DIGEST, "partition/data") != derive_uuid(DIGEST, "partition/rootfs")
    assert derive_uuid("cd" * 32, "partition/rootfs") != derive_uuid(DIGEST, "partition/rootfs")


def test_a_uuid_has_the_form_of_a_random_one() -> None:
    made = uuid.UUID(derive_uuid(DIGEST, "disk"))
    assert made.version == 4
    assert made.variant == uuid.RFC_4122


@pytest.mark.parametrize("digits", [1, 8, 64])
def test_hexadecimal_digits_have_the_wanted_length(digits: int) -> None:
    made = derive_hex(DIGEST, "serial", digits)
    assert len(made) == digits
    assert made == derive_hex(DIGEST, "serial", 64)[:digits]


@pytest.mark.parametrize("digits", [0, 65])
def test_more_digits_than_there_are_cannot_be_had(digits: int) -> None:
    with pytest.raises(ValueError, match="must be between 1 and 64"):
        derive_hex(DIGEST, "serial", digits)
