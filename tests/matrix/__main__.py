# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the matrix: C(python -m tests.matrix [rotation]). Needs root.

Without an argument everything runs, and docs/matrix.md says so. C(rotation) boots only the third whose turn it is, and
leaves its page in build/matrix, as a part of C(make test).
"""

from __future__ import annotations

import os
import sys

import pytest


def main() -> int:
    """Run the matrix and return the exit status."""
    if os.geteuid() != 0:
        print("Building images needs root; asking sudo.", file=sys.stderr)
        kept = [f"{name}={os.environ[name]}" for name in ("PATH", "PYTHONPATH") if name in os.environ]
        os.execvp("sudo", ["sudo", "env", *kept, sys.executable, "-m", "tests.matrix", *sys.argv[1:]])
    here = os.path.dirname(os.path.abspath(__file__))
    arguments = ["-q", "--tb=short", "-p", "no:cacheprovider", "--durations=5"]
    if "rotation" in sys.argv[1:]:
        arguments.append("--rotation")
    return int(pytest.main([*arguments, *(word for word in sys.argv[1:] if word.startswith("-")), here]))


if __name__ == "__main__":
    sys.exit(main())
