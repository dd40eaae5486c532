# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measure the stages beside other tools that do the same: C(python -m tests.bench [--runs N] [--output DIR]).

Needs root, mmdebstrap and apt-utils. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import typing as t

from ansible_collections.os_image.composer.tests.bench.disk_scenario import DiskBench
from ansible_collections.os_image.composer.tests.bench.measure import Sample, Target, measure, median
from ansible_collections.os_image.composer.tests.bench.report import Report
from ansible_collections.os_image.composer.tests.bench.rpm_scenario import RpmBench
from ansible_collections.os_image.composer.tests.bench.scenario import (
    ADDED_PACKAGES,
    Apt,
    Bench,
    Mmdebstrap,
    new_samples,
    read_json,
    resolve,
    total,
)
from ansible_collections.os_image.composer.tests.support.rpm_distribution.distribution import rpm_distribution
from ansible_collections.os_image.composer.tests.support.stage_driver import ROOT, STAGES, Run, run_module

_EMPTY = "from nothing, downloads included"
_COLD = "cold: packages at hand, nothing built"
_NOTHING = "nothing changed"
_FILE = "one file changed"
_PACKAGE = "one package added"
_MMDEBSTRAP = "mmdebstrap --variant=minbase (root file system only)"
_RESOLVE = "pkg_resolve"
_APT = "apt-get install -s"
_FINALIZE = "image_finalize to raw.zst"
_ZSTD = "zstd -T0 of the same image"
_PLAY = "the playbook, nothing changed"

_NOTES = [
    "Each module is a process of its own, started without Ansible; the play is measured apart.",
    "CPU and memory are those that the kernel accounts to the process and all of its descendants (wait4).",
    "The package cache and the verified repository metadata are at hand in every scenario but the first. mmdebstrap "
    "gets the same packages from a local repository without signatures, apt-get the same package lists.",
    "Cold, changed and peer runs alternate, so that a change in the machine's speed meets all of them.",
    "RPM packages are those of the tests' distribution; dnf gets them from the same repository on the disk, with its "
    "metadata at hand, and checks signatures too. It is compared with resolving, fetching and installing: a cold build "
    "of the tree less the making of configuration and initramfs above it.",
    "With a module goes every file of module_utils that it imports, also by others and inside of functions. Figures "
    "are of the sources; Ansible compresses them.",
    "mke2fs and mksquashfs get the very tree that disk_compose gets, mksquashfs with the same compression. The most "
    "space is that of new files in the stage's directory, seen every 50 ms.",
    "mmdebstrap makes a root file system; the stages make a partitioned disk image that boots, with manifest, SBOM and "
    "checksums.",
]


def _say(text: str) -> None:
    print(text, flush=True)


def _require_tools() -> None:
    missing = [name for name in ("mmdebstrap", "apt-ftparchive", "ansible-playbook") if shutil.which(name) is None]
    if missing:
        sys.exit(f"Not found: {', '.join(missing)}. Install mmdebstrap and apt-utils, and run this by make bench.")


def _playbook(bench: Bench, template: str) -> Sample:

    variables = {
        "image_build_template": template,
        "image_build_work_dir": bench.path("play-work"),
        "image_build_cache_dir": bench.cache_dir,
        "image_build_output_dir": bench.path("play-output"),
    }
    return measure(
        *("ansible-playbook", os.path.join(ROOT, "playbooks", "build-image.yml"), "-e", json.dumps(variables)),
        environment={"ANSIBLE_CONFIG": os.path.join(ROOT, "ansible.cfg")},
    )


def _finalize(bench: Bench, build_dir: str) -> Sample:
    shutil.rmtree(bench.path("zst-output"), ignore_errors=True)
    run = run_module(
        "image_finalize", {"build_dir": build_dir, "output_dir": bench.path("zst-output"), "rebuild": "always"}
    )
    assert not run.failed, run.message
    return Sample(run.wall, run.cpu, run.peak)


def main() -> int:
    """Measure, and write and show the report; a missed target is told there, and is no failure of the measurement."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--output", default=os.path.join(ROOT, "docs", "benchmarks"))
    options = parser.parse_args()
    if os.geteuid() != 0:
        kept = [f"{name}={os.environ[name]}" for name in ("PATH", "PYTHONPATH") if name in os.environ]
        os.execvp("sudo", ["sudo", "env", *kept, sys.executable, "-m", "tests.bench", *sys.argv[1:]])
    _require_tools()
    bench = Bench(os.path.join(ROOT, ".cache", "bench"))
    bench.prepare()
    samples = new_samples()

    _say("Building once from nothing")
    samples[_EMPTY].append(total(bench.pipeline(work="empty", cache_dir=bench.path("empty-cache")).run()))
    bench.drop("empty")
    bench.drop("empty-cache")

    _say("Filling the package cache")
    for package in ADDED_PACKAGES:
        bench.pipeline(work="work", packages=[package]).run(until="pkg_fetch")
    runs = bench.pipeline().run()
    build_dir = str(runs[STAGES[0]].result["build_dir"])
    lock = read_json(build_dir, "packages.lock.json")
    document = read_json(build_dir, "template.json")
    package_cache = os.path.join(bench.cache_dir, "pkgCache", lock["provider_id"])
    mmdebstrap = Mmdebstrap(bench, lock, package_cache)
    apt = Apt(bench, document, lock)

    cold: dict[str, Run] = {}
    for number in range(options.runs):
        _say(f"Run {number + 1} of {options.runs}")
        samples[_MMDEBSTRAP].append(mmdebstrap.run())
        bench.drop("cold")
        cold = bench.pipeline(work="cold").run()
        samples[_COLD].append(total(cold))
        samples[_NOTHING].append(total(bench.pipeline(work="cold").run()))
        bench.write_file(f"changed {number}")
        samples[_FILE].append(total(bench.pipeline(work="cold").run()))
        added = ADDED_PACKAGES[number % len(ADDED_PACKAGES)]
        samples[_PACKAGE].append(total(bench.pipeline(work="cold", packages=[added]).run()))
        samples[_RESOLVE].append(resolve(bench.pipeline(), build_dir))
        samples[_APT].append(apt.run())

    _say("Compressing")
    zst = bench.pipeline("bench-zst", artifacts=[{"type": "raw", "compression": "zstd"}])
    zst_dir = str(zst.run()[STAGES[0]].result["build_dir"])
    raw = os.path.join(zst_dir, "disk", next(name for name in os.listdir(f"{zst_dir}/disk") if name.endswith(".raw")))
    for _number in range(options.runs):
        samples[_FINALIZE].append(_finalize(bench, zst_dir))
        samples[_ZSTD].append(measure("zstd", "-T0", "-q", "-f", raw, "-o", bench.path("image.zst")))

    _say("Running the playbook")
    template = bench.pipeline().template
    _playbook(bench, template)
    samples[_PLAY] += [_playbook(bench, template) for _number in range(options.runs)]

    _say("Building RPM packages, and images of them")
    distribution = rpm_distribution()
    with distribution.serve() as server:
        rpm = RpmBench(bench, distribution, server.url)
        rpm.measure(samples, runs=options.runs)

    _say("Composing a large disk and an ISO, and converting")
    disks = DiskBench(bench)
    disks.measure(samples, runs=options.runs)

    rows = {name: (median(found), len(found)) for name, found in samples.items()}
    targets = [*_targets(rows, cold), *rpm.targets(samples), *disks.targets(samples)]
    report = Report(len(lock["packages"]), rows, cold, targets, _NOTES)
    report.write(options.output)
    _say(report.markdown())
    bench.drop()
    met = sum(target.is_met for target in report.targets)
    _say(f"{met} of {len(report.targets)} targets met")
    return 0


def _targets(rows: t.Mapping[str, tuple[Sample, int]], cold: t.Mapping[str, Run]) -> list[Target]:
    cost = {name: sample for name, (sample, _runs) in rows.items()}
    peak = max(run.peak for run in cold.values()) / 1024
    return [
        Target("cold build, CPU", cost[_COLD].cpu, 26, "s"),
        Target("cold build, CPU of mmdebstrap's", cost[_COLD].cpu / cost[_MMDEBSTRAP].cpu, 0.45, "x"),
        Target("one file changed, CPU", cost[_FILE].cpu, 5, "s"),
        Target("nothing changed, CPU", cost[_NOTHING].cpu, 2, "s"),
        Target("finalize to zstd, wall of zstd's", cost[_FINALIZE].wall / cost[_ZSTD].wall, 1.2, "x"),
        Target("resolving, wall", cost[_RESOLVE].wall, 1, "s"),
        Target("resolving, times as fast as apt-get", cost[_APT].wall / cost[_RESOLVE].wall, 5, "x", at_least=True),
        Target("largest process of any module", peak, 400, "MiB"),
        Target("Ansible's overhead, wall", cost[_PLAY].wall - cost[_NOTHING].wall, 12, "s"),
    ]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as exc:
        sys.exit(str(exc))
