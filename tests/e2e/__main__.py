# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the end-to-end tests: C(python -m tests.e2e [--docs] [--turn=N] [case,...]). Needs root.

What passes of the matrix is noted in build/matrix; with C(--docs), for C(make matrix), in docs. Named cases run whole,
and without a name each that is due in a turn.
"""

from __future__ import annotations

import os
import sys

import pytest


def main() -> int:
    """Run the named cases, or all, and return the exit status."""
    if os.geteuid() != 0:
        print("Building images needs root; asking sudo.", file=sys.stderr)
        kept = [f"{name}={os.environ[name]}" for name in ("PATH", "PYTHONPATH") if name in os.environ]
        os.execvp("sudo", ["sudo", "env", *kept, sys.executable, "-m", "tests.e2e", *sys.argv[1:]])
    here = os.path.dirname(os.path.abspath(__file__))
    arguments = ["-v", "--tb=short", "-p", "no:cacheprovider", "--durations=10"]
    arguments += [word for word in sys.argv[1:] if word.startswith("--")]
    cases = [word for word in sys.argv[1:] if word and not word.startswith("--")]
    if cases:
        arguments.append(f"--only={','.join(cases)}")
    return int(pytest.main([*arguments, here]))


if __name__ == "__main__":
    sys.exit(main())
