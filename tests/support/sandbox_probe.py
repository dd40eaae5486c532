# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program that tries everything to get out of a sandbox, C(sandbox_probe.c), and what it has to say."""

from __future__ import annotations

import pathlib
import subprocess

SOURCE = pathlib.Path(__file__).with_suffix(".c")
# Enough to tell that the whole program has run.
ATTEMPTS = 112


def build_probe(directory: pathlib.Path) -> pathlib.Path:
    """Build the program; it needs no libraries."""
    path = directory / "probe"
    command = ["gcc", "-static", "-O1", "-Wall", "-Wextra", "-Werror", "-o", str(path), str(SOURCE)]
    subprocess.run(command, check=True)
    return path


def judge(report: str) -> None:
    """Check that all of it was tried, and all refused."""
    lines = report.splitlines()
    assert [line for line in lines if not line.startswith("refused ")] == []
    assert len(lines) >= ATTEMPTS, report
