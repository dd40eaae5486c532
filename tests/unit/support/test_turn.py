# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Turns: the same for the same commit."""

from __future__ import annotations

import pathlib
import subprocess

import pytest
from ansible_collections.os_image.composer.tests.support.turn import TURNS, current_turn, turn_of


@pytest.fixture
def checkout(tmp_path: pathlib.Path) -> pathlib.Path:
    """A directory with a product, without git."""
    for name in ("config", "plugins", "roles"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("some text\n")
    return tmp_path


def _commit(directory: pathlib.Path, message: str) -> str:
    git = ("git", "-C", str(directory), "-c", "user.name=Somebody", "-c", "user.email=somebody@example.org")
    if not (directory / ".git").exists():
        subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", message], check=True)
    done = subprocess.run([*git, "rev-parse", "HEAD"], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def test_it_follows_from_the_commit(checkout: pathlib.Path) -> None:
    for message in ("One", "Two"):
        commit = _commit(checkout, message)
        turn = current_turn(root=str(checkout))
        assert turn == turn_of(commit, f"of the commit {commit[:12]}")
        # What is not committed does not count, so a run beside some work can be repeated, too.
        (checkout / "plugins/file").write_text(f"{message}\n")
        assert current_turn(root=str(checkout)) == turn


def test_without_git_it_follows_from_the_product(checkout: pathlib.Path) -> None:
    first = current_turn(root=str(checkout))
    assert first.origin.startswith("of the product ")
    assert current_turn(root=str(checkout)) == first
    (checkout / "plugins/file").write_text("another text\n")
    assert current_turn(root=str(checkout)).origin != first.origin


def test_a_repository_around_the_product_does_not_count(checkout: pathlib.Path) -> None:
    _commit(checkout, "One")
    inner = checkout / "inner"
    for name in ("config", "plugins", "roles"):
        (inner / name).mkdir(parents=True)
    assert current_turn(root=str(inner)).origin.startswith("of the product ")


@pytest.mark.parametrize("number", TURNS)
def test_it_can_be_asked_for(number: int) -> None:
    turn = current_turn(str(number))
    assert turn.number == number
    assert str(turn) == f"Turn {number} of 3 (as asked for; TURN={number} repeats it)"


@pytest.mark.parametrize("asked", ["0", "4", "two", "-1"])
def test_one_that_is_not_there_is_refused(asked: str) -> None:
    with pytest.raises(ValueError, match=rf"^There is no turn {asked}\. The turns: 1, 2, 3\.$"):
        current_turn(asked)


def test_all_turns_come_about_as_often() -> None:
    counts = [sum(turn_of(f"{digest:08x}", "").number == number for digest in range(999)) for number in TURNS]
    assert counts == [333, 333, 333]
