# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the end-to-end tests: C(python -m tests.e2e [--docs] [--turn=N] [--with-matrix] [case,...]). Needs root.

What passes of the matrix is noted in build/matrix; with C(--docs), for C(make matrix), in docs. Named cases run whole,
and without a name each that is due in a turn. With C(--with-matrix), the matrix' rotation runs meanwhile: a booting
machine leaves a processor idle most of the time. What it says is shown when both have ended, and last what has failed
here, which a log that is cut keeps.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import typing as t

import pytest
from ansible_collections.os_image.composer.tests.matrix.state import BUILD
from ansible_collections.os_image.composer.tests.support.turn import current_turn

_WITH_MATRIX = "--with-matrix"
_TURN = "--turn="


class _Outcomes:
    """What the tests ended with, and the last lines of each failure."""

    #: The lines that are shown again of a failure.
    LINES = 12

    def __init__(self) -> None:
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}
        self.failures: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test by its call, or by what went wrong around it."""
        if report.when == "call" or not report.passed:
            self.counts[report.outcome] += 1
        if report.failed:
            last = report.longreprtext.rstrip().splitlines()[-self.LINES :]
            self.failures.append("\n    ".join([f"FAILED {report.nodeid} ({report.when})", *last]))

    def __str__(self) -> str:
        return "\n".join([*self.failures, ", ".join(f"{count} {what}" for what, count in self.counts.items())])


def main() -> int:
    """Run the named cases, or all, and return the exit status."""
    if os.geteuid() != 0:
        print("Building images needs root; asking sudo.", file=sys.stderr)
        kept = [f"{name}={os.environ[name]}" for name in ("PATH", "PYTHONPATH") if name in os.environ]
        os.execvp("sudo", ["sudo", "env", *kept, sys.executable, "-m", "tests.e2e", *sys.argv[1:]])
    here = os.path.dirname(os.path.abspath(__file__))
    arguments = ["-v", "--tb=short", "-p", "no:cacheprovider", "--durations=10"]
    arguments += [word for word in sys.argv[1:] if word.startswith("--") and word != _WITH_MATRIX]
    cases = [word for word in sys.argv[1:] if word and not word.startswith("--")]
    if cases:
        arguments.append(f"--only={','.join(cases)}")
    if _WITH_MATRIX not in sys.argv[1:]:
        return int(pytest.main([*arguments, here]))
    asked = next((word.removeprefix(_TURN) for word in sys.argv[1:] if word.startswith(_TURN)), "")
    try:
        # Both take the same one, whatever is committed meanwhile.
        turn = f"{_TURN}{current_turn(asked).number}"
    except ValueError as exc:
        print(exc, file=sys.stderr)
        return int(pytest.ExitCode.USAGE_ERROR)
    return _run_with_matrix([*arguments, here], turn)


def _run_with_matrix(arguments: t.Sequence[str], turn: str) -> int:
    BUILD.mkdir(parents=True, exist_ok=True)
    log = pathlib.Path(BUILD, "rotation.log")
    outcomes = _Outcomes()
    with log.open("wb") as stream:
        matrix = subprocess.Popen(
            [sys.executable, "-m", "tests.matrix", "rotation", turn], stdout=stream, stderr=subprocess.STDOUT
        )
    try:
        print(f"The rotation of the matrix runs meanwhile, see {log}", flush=True)
        status = int(pytest.main([*arguments, turn], plugins=[outcomes]))
        if status == pytest.ExitCode.INTERRUPTED:
            matrix.terminate()
        matrix_status = matrix.wait()
    finally:
        matrix.kill()
    print(f"\nWhat the rotation of the matrix said:\n\n{log.read_text(encoding='utf-8', errors='replace')}")
    print(f"\nThe end-to-end tests beside it:\n\n{outcomes}")
    return status or matrix_status


if __name__ == "__main__":
    sys.exit(main())
