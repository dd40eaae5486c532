# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sizes in the notation of templates."""

from __future__ import annotations

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._size import align_down, align_up, parse_size, show_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512", 512),
        ("1KiB", 1024),
        ("1K", 1024),
        ("1KB", 1000),
        ("513MiB", 513 << 20),
        ("513M", 513 << 20),
        ("513MB", 513_000_000),
        ("4GiB", 4 << 30),
        ("4G", 4 << 30),
        ("4GB", 4_000_000_000),
        ("4gib", 4 << 30),
        ("2TiB", 2 << 40),
        ("2T", 2 << 40),
        ("2TB", 2_000_000_000_000),
        (4096, 4096),
    ],
)
def test_all_units_are_known(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "-1MiB", "1.5GiB", "10%", "4 G B", "4XB", "4GiBs"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a size\. Write a whole number and one of the units KiB, MiB"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 bytes"), (512, "512 bytes"), (1024, "1 KiB"), (513 << 20, "513 MiB"), ((3 << 30) // 2, "1.5 GiB")],
)
def test_sizes_are_shown_for_people(size: int, shown: str) -> None:
    assert show_size(size) == shown


def test_values_are_aligned() -> None:
    assert [align_up(value, 8) for value in (0, 1, 8, 9)] == [0, 8, 8, 16]
    assert [align_down(value, 8) for value in (0, 7, 8, 15)] == [0, 0, 8, 8]
