# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The covering set of the composed cells."""

from __future__ import annotations

import itertools

import pytest
from ansible_collections.os_image.composer.tests.matrix.cells import CELLS, FORMATS, LOADERS, ROOTS, TABLES, Cell
from ansible_collections.os_image.composer.tests.matrix.covering import covering, meetings

CHOSEN = covering(CELLS)

# Written down here once more, in place of what meetings() says.
_CHOICES = {"table": TABLES, "root": ROOTS, "loader": tuple(LOADERS), "format": FORMATS}


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(_CHOICES, 2)))
def test_each_two_choices_meet(first: str, second: str) -> None:
    met = {(getattr(cell, first), getattr(cell, second)) for cell in CHOSEN}
    assert met >= set(itertools.product(_CHOICES[first], _CHOICES[second]))


@pytest.mark.parametrize("choice", _CHOICES)
def test_another_architecture_meets_what_it_does_in_all_cells(choice: str) -> None:
    def met(cells: list[Cell]) -> set[str]:
        return {getattr(cell, choice) for cell in cells if cell.arch == "aarch64"}

    assert met(CHOSEN) == met(list(CELLS)) != set()


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("loader", [name for name in LOADERS if name.startswith("grub")])
@pytest.mark.parametrize("separate", [False, True])
def test_grub_looks_for_its_files_on_each_table_and_in_each_place(table: str, loader: str, separate: bool) -> None:
    assert [
        cell.name
        for cell in CHOSEN
        if (cell.table, cell.loader) == (table, loader) and ("bootfs" in str(cell.disk)) == separate
    ] != []


def test_it_is_smaller_and_no_cell_of_it_is_needless() -> None:
    assert len(CHOSEN) < len(CELLS) * 2 / 3
    for cell in CHOSEN:
        others = set().union(*(meetings(other) for other in CHOSEN if other is not cell))
        assert meetings(cell) - others != set()


def test_it_is_the_same_each_time_and_in_the_order_of_the_cells() -> None:
    assert covering(CELLS) == CHOSEN == [cell for cell in CELLS if cell in CHOSEN]
