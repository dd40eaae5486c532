# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measurements of programs, and what they come to."""

from __future__ import annotations

import dataclasses
import os
import statistics
import subprocess
import tempfile
import time
import typing as t


@dataclasses.dataclass(frozen=True)
class Sample:
    """What one run cost.

    :ivar wall: Seconds from start to end.
    :ivar cpu: User and system seconds of all processes of the run.
    :ivar peak: KiB of resident memory of the largest process.
    """

    wall: float
    cpu: float
    peak: int

    def __add__(self, other: Sample) -> Sample:
        return Sample(self.wall + other.wall, self.cpu + other.cpu, max(self.peak, other.peak))


def median(samples: t.Sequence[Sample]) -> Sample:
    """Return the median of each figure."""
    return Sample(
        round(statistics.median(sample.wall for sample in samples), 2),
        round(statistics.median(sample.cpu for sample in samples), 2),
        int(statistics.median(sample.peak for sample in samples)),
    )


def measure(*argv: str, environment: t.Mapping[str, str] | None = None) -> Sample:
    """Run a program and measure it with all processes that it and its children waited for.

    :raises AssertionError: It has failed; the message holds its last lines.
    """
    with open(os.devnull, "rb") as empty, tempfile.TemporaryFile() as output:
        started = time.monotonic()
        process = subprocess.Popen(
            argv, stdin=empty, stdout=output, stderr=output, env={**os.environ, **(environment or {})}
        )
        _pid, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            output.seek(0)
            tail = output.read().decode("utf-8", errors="replace").splitlines()[-20:]
            raise AssertionError(f"{argv[0]} ended with status {process.returncode}:\n" + "\n".join(tail))
    return Sample(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)


@dataclasses.dataclass(frozen=True)
class Target:
    """A promise, and how it stands.

    :ivar value: What was measured, in the target's unit.
    :ivar limit: The most that it may be; the least when C(at_least) is set.
    """

    name: str
    value: float
    limit: float
    unit: str
    at_least: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the promise is kept."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit
