# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The cache of built distributions."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest
from ansible_collections.os_image.composer.tests.support.rpm_distribution import distribution


def test_a_distribution_that_another_process_uses_stays(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distribution, "CACHE", str(tmp_path))
    for name in ("debian", "new", "old", "older", "oldest", "unsigned"):
        (tmp_path / name / "packages").mkdir(parents=True)
    (tmp_path / "current").symlink_to("new")
    # As a process does that has asked for the distribution.
    script = "import sys; from ansible_collections.os_image.composer.tests.support.rpm_distribution import distribution"
    script += f"; distribution._use({str(tmp_path / 'older')!r}); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdout.readline()
        distribution._forget_old("new", [])
        assert sorted(os.listdir(tmp_path)) == ["current", "debian", "new", "older", "unsigned"]
        assert os.listdir(tmp_path / "older") == ["packages"]
        other.stdin.close()
        other.wait()
    distribution._forget_old("new", [])
    assert sorted(os.listdir(tmp_path)) == ["current", "debian", "new", "unsigned"]
