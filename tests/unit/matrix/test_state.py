# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The record of what passes in the matrix."""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import typing as t

import pytest
from ansible_collections.os_image.composer.tests.matrix.cells import (
    BOOTS,
    CELLS,
    REFUSED,
    WHOLE,
    Boot,
    Cell,
    Refused,
)
from ansible_collections.os_image.composer.tests.matrix.state import STEPS, MatrixState, steps_of

Load = t.Callable[[datetime.date], MatrixState]

FIRST, LATER = datetime.date(2026, 3, 1), datetime.date(2026, 3, 2)
ISO = WHOLE[0].name
BOOT = BOOTS[0].name


def test_each_cell_has_a_name_of_its_own() -> None:
    names = [cell.name for cell in (*CELLS, *BOOTS, *WHOLE, *REFUSED)]
    assert len(set(names)) == len(names)


@pytest.fixture
def load(tmp_path: pathlib.Path) -> Load:
    """Load the state of a day."""
    return lambda day: MatrixState(day, tmp_path / "docs", tmp_path / "build")


def test_the_newest_record_of_a_cell_counts(load: Load, tmp_path: pathlib.Path) -> None:
    state = load(FIRST)
    for step in ("built", "booted"):
        state.passed(ISO, step)
    state.passed(BOOT, "booted")
    state.write(everything=True)
    state = load(LATER)
    state.passed(ISO, "built")
    state.write(everything=False)
    state = load(LATER)
    assert [state.last(ISO, step) for step in ("built", "booted")] == ["2026-03-02", "2026-03-01"]
    assert f"| {ISO} | 2026-03-01 | never | 2026-03-01 |" in (tmp_path / "docs/matrix.md").read_text()
    assert f"| {ISO} | 2026-03-02 | never | 2026-03-01 |" in (tmp_path / "build/matrix.md").read_text()


def test_a_failure_is_said_until_it_passes(load: Load) -> None:
    state = load(FIRST)
    state.passed(ISO, "booted")
    state.failed(ISO, ("booted",))
    state.write(everything=False)
    state = load(FIRST)
    assert state.last(ISO, "booted") == "2026-03-01 (failed 2026-03-01)"
    state.passed(ISO, "booted")
    state.write(everything=True)
    # What a part has noted on the same day is no longer true.
    assert load(FIRST).last(ISO, "booted") == "2026-03-01"


@pytest.mark.parametrize("at", range(len(STEPS)))
def test_the_step_that_failed_says_so(load: Load, tmp_path: pathlib.Path, at: int) -> None:
    state = load(FIRST)
    for step in STEPS:
        state.passed(BOOT, step)
    state.write(everything=True)
    state = load(LATER)
    for step in STEPS[:at]:
        state.passed(BOOT, step)
    state.failed(BOOT)
    state.write(everything=True)
    days = ["2026-03-02"] * at + ["2026-03-01 (failed 2026-03-02)"] + ["2026-03-01"] * (len(STEPS) - at - 1)
    assert f"| {BOOT} | {' | '.join(days)} |\n" in (tmp_path / "docs/matrix.md").read_text()


def test_what_fails_when_all_has_passed_is_the_last_step(load: Load) -> None:
    state = load(FIRST)
    state.passed(ISO, "built")
    state.passed(ISO, "checked")
    state.failed(ISO, ("built", "checked"))
    assert [state.last(ISO, step) for step in ("built", "checked")] == ["2026-03-01", "2026-03-01 (failed 2026-03-01)"]


@pytest.mark.parametrize(
    ("cell", "steps"), [(BOOTS[0], STEPS), (CELLS[0], STEPS[:2]), (REFUSED[0], ("checked",))], ids=lambda value: ""
)
def test_a_cell_fails_at_a_step_that_it_has(cell: Boot | Cell | Refused, steps: tuple[str, ...]) -> None:
    assert tuple(steps_of(cell)) == steps


def test_what_another_run_has_noted_meanwhile_is_kept(load: Load) -> None:
    first, second = load(FIRST), load(FIRST)
    first.passed(ISO, "booted")
    second.passed(BOOT, "booted")
    first.write(everything=True)
    second.write(everything=True)
    state = load(LATER)
    assert state.last(ISO, "booted") == state.last(BOOT, "booted") == "2026-03-01"


def test_a_run_that_notes_nothing_writes_nothing(load: Load, tmp_path: pathlib.Path) -> None:
    load(FIRST).write(everything=True)
    assert os.listdir(tmp_path) == []


def test_what_is_no_longer_a_cell_is_forgotten(load: Load, tmp_path: pathlib.Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/matrix.json").write_text(json.dumps({"no such cell": {"built": "2026-03-01"}}))
    state = load(FIRST)
    state.passed(ISO, "built")
    state.write(everything=True)
    assert list(json.loads((tmp_path / "docs/matrix.json").read_text())) == [ISO]
