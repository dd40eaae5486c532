# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The floors of C(docs/architecture.md): no import between subjects of module_utils runs up or sideways."""

from __future__ import annotations

import ast
import pathlib
import re
import typing as t

import pytest

ROOT = pathlib.Path(__file__).parents[3]
MODULE_UTILS = ROOT / "plugins" / "module_utils"
PREFIX = "ansible_collections.os_image.composer.plugins.module_utils."


def floors() -> dict[str, int]:
    """Return subject -> floor, from the table in the documentation."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| ((?:`_\w+` ?)+)\|", text, flags=re.MULTILINE)
    return {subject: int(floor) for floor, subjects in rows for subject in re.findall(r"`(_\w+)`", subjects)}


def subject_of(path: pathlib.Path) -> str:
    """Return the subject that a file belongs to."""
    return path.relative_to(MODULE_UTILS).parts[0].removesuffix(".py")


def imported_subjects(path: pathlib.Path) -> t.Iterator[tuple[int, str]]:
    """Yield (line, subject) for each import of a file, those inside of functions and for types alone among them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom):
            base = f"{node.module or ''}."
            names = [f"{base}{alias.name}" for alias in node.names]
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.startswith(PREFIX):
                yield node.lineno, name[len(PREFIX) :].partition(".")[0]


FILES = sorted(path for path in MODULE_UTILS.rglob("*.py") if path.stat().st_size)


def test_every_subject_has_a_floor() -> None:
    assert sorted(floors()) == sorted({subject_of(path) for path in FILES})


@pytest.mark.parametrize("subject", sorted({subject_of(path) for path in FILES}))
def test_no_import_runs_up(subject: str) -> None:
    table = floors()
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {subject} (floor {table[subject]}) imports {other} (floor {table[other]})"
        for path in FILES
        if subject_of(path) == subject
        for line, other in imported_subjects(path)
        if other != subject and table[other] >= table[subject]
    ]
    assert wrong == []
