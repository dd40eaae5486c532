# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Try all attacks on repositories: C(python -m tests.attacks [--only NAME]).

Each line tells of one attack: whether it was warded off for DEB and for RPM, and the words by which it was refused.
"""

from __future__ import annotations

import argparse
import pathlib
import re
import sys
import tempfile
import time

from ansible_collections.os_image.composer.tests.attacks.build_host import Accepted
from ansible_collections.os_image.composer.tests.attacks.table import ATTACKS, FAMILIES, Attack, Ground
from ansible_collections.os_image.composer.tests.support.signing_keys import KeyRing, Keys


def _tried(ground: Ground, attack: Attack) -> tuple[dict[str, str], str]:
    """Return the outcome of an attack by family, and what the user reads."""
    outcomes = {}
    text = ""
    for family in FAMILIES:
        if family not in attack.families:
            outcomes[family] = "-"
            continue
        try:
            message = ground.try_out(attack, family)
        except Accepted as exc:
            outcomes[family] = "FAILED"
            text = str(exc)
            continue
        outcomes[family] = "passed"
        found = re.search(attack.words, message)
        text = text or (found[0] if found and message else "not refused, and without effect")
    return outcomes, text


def main() -> int:
    """Try the attacks; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.attacks", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="a part of the name of the attacks that are wanted")
    wanted = parser.parse_args().only
    counts = {"passed": 0, "FAILED": 0, "-": 0}
    print("| attack | way | DEB | RPM | how it is refused |\n|---|---|---|---|---|", flush=True)
    with KeyRing() as ring, tempfile.TemporaryDirectory() as directory:
        born = int(time.time()) - 86400
        keys = Keys(
            ring=ring,
            archive=ring.make_key("Archive <archive@example.org>", when=born),
            stranger=ring.make_key("Stranger <stranger@example.org>", when=born),
            expired=ring.make_key("Expired <expired@example.org>", expires="1y", when=Keys.before_expiry - 86400),
        )
        ground = Ground(keys, pathlib.Path(directory))
        for attack in ATTACKS:
            if wanted not in attack.name:
                continue
            outcomes, text = _tried(ground, attack)
            for outcome in outcomes.values():
                counts[outcome] += 1
            cells = (attack.name, attack.way, outcomes["deb"], outcomes["rpm"], text.replace("\n", " "))
            print(f"| {' | '.join(cells)} |", flush=True)
    print(f"{counts['passed']} passed, {counts['FAILED']} failed")
    return 1 if counts["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
