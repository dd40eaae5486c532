# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The record of what passes in the matrix."""

from __future__ import annotations

import datetime
import json
import pathlib

from ansible_collections.os_image.composer.tests.matrix.cells import BOOTS, CELLS, REFUSED, WHOLE
from ansible_collections.os_image.composer.tests.matrix.state import MatrixState

FIRST, LATER = datetime.date(2026, 3, 1), datetime.date(2026, 3, 2)
ISO = WHOLE[0].name
BOOT = BOOTS[0].name


def test_each_cell_has_a_name_of_its_own() -> None:
    names = [cell.name for cell in (*CELLS, *BOOTS, *WHOLE, *REFUSED)]
    assert len(set(names)) == len(names)


def test_the_newest_record_of_a_cell_counts(tmp_path: pathlib.Path) -> None:
    docs, build = tmp_path / "docs", tmp_path / "build"
    state = MatrixState((docs, build), FIRST)
    assert not state.is_changed
    for step in ("built", "booted"):
        state.passed(ISO, step)
    state.passed(BOOT, "booted")
    assert state.is_changed
    state.write(docs)
    state = MatrixState((docs, build), LATER)
    state.passed(ISO, "built")
    state.write(build)
    state = MatrixState((docs, build), LATER)
    assert [state.last(ISO, step) for step in ("built", "booted")] == ["2026-03-02", "2026-03-01"]
    # A run of everything is not overruled by an older part.
    state.passed(BOOT, "booted")
    state.write(docs)
    assert MatrixState((docs, build), LATER).last(BOOT, "booted") == "2026-03-02"


def test_a_failure_is_said_until_it_passes(tmp_path: pathlib.Path) -> None:
    state = MatrixState((), FIRST)
    state.passed(ISO, "booted")
    state.failed(ISO)
    state.write(tmp_path)
    assert state.last(ISO, "booted") == "2026-03-01 (failed 2026-03-01)"
    state.passed(ISO, "booted")
    assert state.last(ISO, "booted") == "2026-03-01"


def test_what_is_no_longer_a_cell_is_forgotten(tmp_path: pathlib.Path) -> None:
    (tmp_path / "matrix.json").write_text(json.dumps({"no such cell": {"built": "2026-03-01"}}))
    state = MatrixState((tmp_path,), FIRST)
    state.passed(ISO, "built")
    state.write(tmp_path)
    assert list(json.loads((tmp_path / "matrix.json").read_text())) == [ISO]
    assert f"| {ISO} | 2026-03-01 | never | never |" in (tmp_path / "matrix.md").read_text()
