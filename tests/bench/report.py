# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of a measurement: a table for people, JSON for programs."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import typing as t

from ansible_collections.os_image.composer.tests.bench.measure import Sample, Target
from ansible_collections.os_image.composer.tests.support.payload import MODULES, Payload, payload
from ansible_collections.os_image.composer.tests.support.stage_driver import Run


@dataclasses.dataclass
class Report:
    """What was measured.

    :ivar packages: How many packages the image has.
    :ivar rows: The median by scenario, with how many runs it is of.
    :ivar stages: The modules of one cold build.
    :ivar payloads: What goes to a build host with each module.
    """

    packages: int
    rows: dict[str, tuple[Sample, int]]
    stages: dict[str, Run]
    targets: list[Target]
    notes: list[str]
    payloads: dict[str, Payload] = dataclasses.field(
        default_factory=lambda: {module: payload(module) for module in MODULES}
    )

    def write(self, directory: str) -> None:
        """Write C(results.md) and C(results.json)."""
        os.makedirs(directory, exist_ok=True)
        with open(os.path.join(directory, "results.md"), "w", encoding="utf-8") as stream:
            stream.write(self.markdown())
        with open(os.path.join(directory, "results.json"), "w", encoding="utf-8") as stream:
            json.dump(self.facts(), stream, indent=2)
            stream.write("\n")

    def facts(self) -> dict[str, t.Any]:
        """Return the report as JSON types."""
        return {
            "host": _host(),
            "packages": self.packages,
            "scenarios": {
                name: {**dataclasses.asdict(sample), "runs": runs} for name, (sample, runs) in self.rows.items()
            },
            "cold_build_by_stage": {
                name: {"wall": run.wall, "cpu": run.cpu, "peak": run.peak} for name, run in self.stages.items()
            },
            "payloads": {name: {"files": len(sent.files), "bytes": sent.size} for name, sent in self.payloads.items()},
            "targets": [{**dataclasses.asdict(target), "met": target.is_met} for target in self.targets],
            "notes": self.notes,
        }

    def markdown(self) -> str:
        """Return the report as a page."""
        host = _host()
        lines = [
            "<!--",
            "Copyright (c) 2026 The os_image.composer authors",
            "SPDX-License-Identifier: GPL-3.0-or-later",
            "Written by `make bench`.",
            "-->",
            "# How fast it is",
            "",
            f"An image of Debian 12 with {self.packages} packages: systemd, a kernel, udev, D-Bus, iproute2, the "
            "OpenSSH server, sudo, apt, and what every Debian has. Wall is the time from start to end, CPU the user "
            "and system time of all processes, both in seconds; the figures are medians.",
            "",
            f"Measured on {host['processors']} x {host['processor']}, {host['memory']} of memory, Linux "
            f"{host['kernel']}, {host['distribution']}.",
            "",
            "| what | wall s | CPU s | largest process MiB | runs |",
            "|---|---:|---:|---:|---:|",
        ]
        lines += [
            f"| {name} | {sample.wall:.2f} | {sample.cpu:.2f} | {sample.peak / 1024:.0f} | {runs} |"
            for name, (sample, runs) in self.rows.items()
        ]
        lines += ["", "## A cold build, by stage", "", "| stage | wall s | CPU s | largest process MiB |"]
        lines += ["|---|---:|---:|---:|"]
        lines += [
            f"| {name} | {run.wall:.2f} | {run.cpu:.2f} | {run.peak / 1024:.0f} |" for name, run in self.stages.items()
        ]
        lines += ["", "## What goes to the build host with each module", "", "| module | files | KiB |"]
        lines += ["|---|---:|---:|"]
        lines += [f"| {name} | {len(sent.files)} | {sent.size / 1024:.0f} |" for name, sent in self.payloads.items()]
        lines += ["", "## Targets", "", "| target | measured | wanted | met |", "|---|---:|---:|---|"]
        lines += [
            f"| {target.name} | {target.value:.2f} {target.unit} | "
            f"{'at least' if target.at_least else 'at most'} {target.limit:g} {target.unit} | "
            f"{'yes' if target.is_met else '**no**'} |"
            for target in self.targets
        ]
        lines += ["", "## How it was measured", ""]
        lines += [f"- {note}" for note in self.notes]
        return "\n".join(lines) + "\n"


def _host() -> dict[str, t.Any]:
    with open("/proc/cpuinfo", encoding="utf-8") as stream:
        models = [line.partition(":")[2].strip() for line in stream if line.startswith("model name")]
    with open("/etc/os-release", encoding="utf-8") as stream:
        names = [line.partition("=")[2].strip().strip('"') for line in stream if line.startswith("PRETTY_NAME=")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processors": os.cpu_count(),
        "processor": models[0] if models else platform.machine(),
        "memory": f"{memory / (1 << 30):.0f} GiB",
        "kernel": platform.release().split("-")[0],
        "distribution": names[0] if names else "Linux",
    }
