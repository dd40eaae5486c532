# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Feed the parsers of untrusted bytes with damaged inputs: C(python -m tests.fuzz [--seed N] [--inputs N] ...).

Each line tells of one target; the last one, how many inputs were passed and failed. An input that failed is shown with
the words that have it parsed again, and kept below C(build/fuzz).
"""

from __future__ import annotations

import argparse
import pathlib
import random
import sys
import tempfile
import time

from ansible_collections.os_image.composer.tests.fuzz.harness import Summary, Target, fuzz, shown
from ansible_collections.os_image.composer.tests.fuzz.targets import TARGETS

_KEPT = pathlib.Path(__file__).resolve().parents[2] / "build" / "fuzz"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, help="what all inputs derive from; by default another one each time")
    parser.add_argument("--inputs", type=int, default=10**9, help="how many inputs the targets get together")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="how long all of it may take")
    parser.add_argument("--workers", type=int, default=2, help="how many targets run at once")
    parser.add_argument("--only", default="", help="the targets, with commas between them")
    parser.add_argument("--input", type=int, help="the number of the one input that is wanted")
    arguments = parser.parse_args()
    if arguments.seconds == float("inf") and arguments.inputs == 10**9 and arguments.input is None:
        arguments.seconds = 60.0
    return arguments


def _keep(summary: Summary, target: Target, seed: int) -> None:
    """Write down the input of each kind of failure, and say how to have it again."""
    with tempfile.TemporaryDirectory() as directory:
        corpus = target.corpus(pathlib.Path(directory))
    for failure, count in summary.failures.values():
        _KEPT.mkdir(parents=True, exist_ok=True)
        path = _KEPT / f"{failure.target}-{failure.number}"
        path.write_bytes(target.make(seed, failure.number, corpus))
        again = f"python -m tests.fuzz --seed={seed} --only={failure.target} --input={failure.number}"
        print(f"\n{failure.target}: {failure.kind} ({count} inputs)\n{failure.details.rstrip()}")
        print(f"Again by: {again}\nThe input: {path}", flush=True)


def main() -> int:
    """Run the targets; return the exit status."""
    arguments = _arguments()
    names = [name for name in arguments.only.split(",") if name]
    unknown = set(names) - {target.name for target in TARGETS}
    if unknown:
        print(f"There is no target {', '.join(sorted(unknown))}; there are {', '.join(sorted(TARGETS_BY_NAME))}.")
        return 2
    seed = random.randrange(1 << 32) if arguments.seed is None else arguments.seed
    targets = [target for target in TARGETS if not names or target.name in names]
    print(f"Seed {seed}", flush=True)

    def finished(summary: Summary) -> None:
        print(shown(summary), flush=True)
        if summary.failures:
            _keep(summary, TARGETS_BY_NAME[summary.target], seed)

    one = arguments.input is not None
    started = time.monotonic()
    summaries = fuzz(
        targets,
        seed=seed,
        inputs=len(targets) if one else arguments.inputs,
        first=arguments.input or 0,
        seconds=arguments.seconds,
        workers=arguments.workers,
        finished=finished,
    )
    inputs = sum(summary.inputs for summary in summaries)
    failed = sum(summary.failed for summary in summaries)
    idle = [summary.target for summary in summaries if not summary.inputs]
    if idle:
        print(f"No input was parsed for {', '.join(idle)}.")
    print(f"{len(targets)} targets, {inputs} inputs, {time.monotonic() - started:.0f} s, seed {seed}")
    print(f"{inputs - failed} passed, {failed} failed")
    return 1 if failed or idle else 0


TARGETS_BY_NAME = {target.name: target for target in TARGETS}

if __name__ == "__main__":
    sys.exit(main())
