# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Milestones, logs and leases."""

from __future__ import annotations

import os
import pathlib
import re
import signal
import time

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import CancelledError
from ansible_collections.os_image.composer.plugins.module_utils._lease import cancellable
from ansible_collections.os_image.composer.plugins.module_utils._progress import Progress


def test_milestone_goes_to_all_logs(tmp_path: pathlib.Path) -> None:
    logs = [tmp_path / name for name in ("build.log", "stage.log", "extra.log")]
    progress = Progress(
        "pkg_fetch", build_log=str(logs[0]), stage_log=str(logs[1]), extra_log=str(logs[2]), level="info"
    )
    progress.milestone("Packages", "Downloading packages (0/2 cached)")
    progress.write("$ true\n")
    line = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ pkg_fetch \[Packages\] Downloading packages \(0/2 cached\)\n"
    assert re.fullmatch(line, logs[0].read_text())
    assert re.fullmatch(line, logs[2].read_text())
    assert logs[1].read_text().endswith("$ true\n")


def test_a_log_gives_no_orders_to_a_terminal(tmp_path: pathlib.Path) -> None:
    """Neither what programs say nor names that somebody has chosen, which are no other lines either."""
    build, stage = tmp_path / "build.log", tmp_path / "stage.log"
    progress = Progress("x", build_log=str(build), stage_log=str(stage))
    progress.write("\x1b[1A\x1b[2K$ true\r\n\udcff\n")
    progress.milestone("Disk", "The file \x1b[8m and\n2026-01-01T00:00:00Z y [Disk] lies")
    assert stage.read_text().startswith("\\x1b[1A\\x1b[2K$ true\n\\udcff\n")
    assert len(build.read_text().splitlines()) == 1
    assert "\x1b" not in build.read_text() + stage.read_text()


def test_level(tmp_path: pathlib.Path) -> None:
    log = tmp_path / "build.log"
    progress = Progress("x", build_log=str(log), level="warn")
    progress.milestone("Disk", "quiet")
    progress.milestone("Disk", "loud", level="warn")
    assert [line.split(" ", 2)[2] for line in log.read_text().splitlines()] == ["[Disk] WARN: loud"]


def test_count_is_slowed_down_but_tells_the_end(tmp_path: pathlib.Path) -> None:
    log = tmp_path / "build.log"
    progress = Progress("x", build_log=str(log))
    for done in range(1, 101):
        progress.count("Packages", "Verified {done}/{total}", done=done, total=100)
    lines = log.read_text().splitlines()
    assert lines[-1].endswith("Verified 100/100")
    assert len(lines) <= 3


def test_lost_lease_ends_the_stage(tmp_path: pathlib.Path) -> None:
    lease = tmp_path / "lease"
    lease.touch()
    start = time.monotonic()
    with (
        pytest.raises(CancelledError, match="pkg_fetch was stopped, because the play that started it has gone away"),
        cancellable("pkg_fetch", lease_file=str(lease), lease_timeout=0.5),
    ):
        time.sleep(20)
    assert time.monotonic() - start < 10
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_held_lease_lets_the_stage_run(tmp_path: pathlib.Path) -> None:
    lease = tmp_path / "lease"
    lease.touch()
    with cancellable("x", lease_file=str(lease), lease_timeout=10):
        time.sleep(1.2)
    with cancellable("x", lease_file=str(tmp_path / "none"), lease_timeout=0):
        pass


def test_termination_is_an_error_that_cleans_up() -> None:
    cleaned = False
    with pytest.raises(CancelledError), cancellable("x", lease_file=None, lease_timeout=300):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        finally:
            cleaned = True
    assert cleaned
