# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Turns of the tests that take long: which of them C(make test) runs follows from the commit, so it can be repeated."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import typing as t

from ansible_collections.os_image.composer.tests.support.product import product_digest
from ansible_collections.os_image.composer.tests.support.stage_driver import ROOT

#: All turns. Together they run everything.
TURNS: t.Sequence[int] = (1, 2, 3)


@dataclasses.dataclass(frozen=True)
class Turn:
    """A turn, and where it comes from, in words.

    As a string, it is what a run says first.
    """

    number: int
    origin: str

    def __str__(self) -> str:
        return f"Turn {self.number} of {len(TURNS)} ({self.origin}; TURN={self.number} repeats it)"


def turn_of(digest: str, origin: str) -> Turn:
    """Return the turn that follows from a hexadecimal digest."""
    return Turn(TURNS[int(digest[:8], 16) % len(TURNS)], origin)


def current_turn(asked: str = "", root: str = ROOT) -> Turn:
    """Return the turn that was asked for, else the one of the commit, and without git the one of the product's digest.

    :param asked: A number; empty for none.
    :raises ValueError: There is no such turn.
    """
    if asked:
        if asked not in map(str, TURNS):
            raise ValueError(f"There is no turn {asked}. The turns: {', '.join(map(str, TURNS))}.")
        return Turn(int(asked), "as asked for")
    commit = _commit(root)
    if commit is not None:
        return turn_of(commit, f"of the commit {commit[:12]}")
    digest = product_digest(root)
    return turn_of(digest, f"of the product {digest}")


def _commit(root: str) -> str | None:
    # A directory without one may lie in another repository.
    if not os.path.exists(os.path.join(root, ".git")):
        return None
    # The tests run as root, the checkout may be somebody else's.
    argv = ["git", "-c", f"safe.directory={root}", "-C", root, "rev-parse", "--verify", "HEAD"]
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


__all__ = ("TURNS", "Turn", "current_turn", "turn_of")
