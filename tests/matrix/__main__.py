# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the matrix: C(python -m tests.matrix [rotation [--turn=N]]). Needs root.

Without an argument everything runs, the end-to-end tests of the matrix's cells too, and docs/matrix.md says so.
C(rotation) composes a covering set of the disks, boots only the third whose turn it is, and leaves its page in
build/matrix, as a part of C(make test), in which the end-to-end tests run meanwhile.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from ansible_collections.os_image.composer.tests.matrix.cells import WHOLE


def main() -> int:
    """Run the matrix and return the exit status."""
    if os.geteuid() != 0:
        print("Building images needs root; asking sudo.", file=sys.stderr)
        kept = [f"{name}={os.environ[name]}" for name in ("PATH", "PYTHONPATH") if name in os.environ]
        os.execvp("sudo", ["sudo", "env", *kept, sys.executable, "-m", "tests.matrix", *sys.argv[1:]])
    here = os.path.dirname(os.path.abspath(__file__))
    arguments = ["--tb=short", "-p", "no:cacheprovider", "--durations=5"]
    is_all = "rotation" not in sys.argv[1:]
    if not is_all:
        arguments.append("--rotation")
    options = [word for word in sys.argv[1:] if word.startswith("-")]
    status = int(pytest.main([*arguments, *options, here]))
    if is_all and not options:
        cases = ",".join(dict.fromkeys(whole.case for whole in WHOLE))
        # They have hooks of their own, which are not for the tests above.
        done = subprocess.run([sys.executable, "-m", "tests.e2e", "--docs", cases], check=False)
        status = status or done.returncode
    return status


if __name__ == "__main__":
    sys.exit(main())
