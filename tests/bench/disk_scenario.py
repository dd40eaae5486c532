# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The disk, the ISO and the conversions that are measured, and the programs that do the bare work."""

from __future__ import annotations

import os
import shutil
import threading
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._chroot.tree import RootTree
from ansible_collections.os_image.composer.tests.bench.measure import Sample, Target, measure, median
from ansible_collections.os_image.composer.tests.bench.scenario import Bench, Samples
from ansible_collections.os_image.composer.tests.support.stage_driver import Pipeline, Run, run_module

COMPOSE = "disk_compose of a large tree to a disk of 4 GiB"
MKE2FS = "mke2fs -d of the same tree"
ISO = "disk_compose of a live ISO of the same tree"
MKSQUASHFS = "mksquashfs of the same tree"
CONVERSIONS = "image_finalize to {}"
ALL = "all of these at once"

#: Some 700 MB of files, as few packages as possible.
_PACKAGES = ["g++", "vim"]
_FORMATS: t.Sequence[t.Mapping[str, str]] = (
    {"type": "qcow2"},
    {"type": "vhd"},
    {"type": "vhdx"},
    {"type": "vmdk"},
    {"type": "vdi"},
)
# $1 is the place of the tree, $2 its layers.
_OVERLAY = 'mount -t overlay -o "ro,lowerdir=$2" tree "$1" && shift 2 && exec "$@"'


class Space:
    """The most space that a block takes below a directory, beside what was there before.

    :ivar peak: Bytes on the disk.
    """

    _INTERVAL = 0.05

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._before = 0
        self.peak = 0

    def __enter__(self) -> Space:
        self._before = disk_usage(self._directory)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(self._INTERVAL):
            self.peak = max(self.peak, disk_usage(self._directory) - self._before)


def disk_usage(directory: str) -> int:
    """Return how many bytes of the disk the files below a directory take, each once."""
    blocks: dict[int, int] = {}
    for parent, _directories, names in os.walk(directory, onerror=None):
        for name in names:
            try:
                status = os.lstat(os.path.join(parent, name))
            except FileNotFoundError:
                continue
            blocks[status.st_ino] = status.st_blocks * 512
    return sum(blocks.values())


class DiskBench:
    """One large tree, what the stages make of it, and what programs make of it that do nothing else."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._layers: t.Sequence[str] = ()
        self._content = 0
        self._peaks: list[int] = []

    def _pipeline(self, name: str, **what: t.Any) -> tuple[Pipeline, str]:
        pipeline = self._bench.pipeline(name, work="disks", packages=_PACKAGES, disk_size="4GiB", **what)
        runs = pipeline.run(until="chroot_configure")
        self._layers = [layer["path"] for layer in runs["chroot_configure"].result["layers"]]
        return pipeline, str(runs["image_template_validate"].result["build_dir"])

    def measure(self, samples: Samples, *, runs: int) -> None:
        """Measure everything; the tree is made once."""
        raw = self._pipeline("bench-disk")
        iso = self._pipeline("bench-iso", image_type="iso", artifacts=[])
        with RootTree(self._layers).mounted() as tree:
            self._content = disk_usage(tree)
        for _number in range(runs):
            samples[MKE2FS].append(self._alone("mke2fs", "-q", "-t", "ext4", "-d", "{tree}", "{out}", "3895M"))
            with Space(os.path.join(raw[1], "disk")) as space:
                samples[COMPOSE].append(_again("disk_compose", *raw))
            self._peaks.append(space.peak)
            level = ("-comp", "zstd", "-Xcompression-level", "3")
            samples[MKSQUASHFS].append(
                self._alone("mksquashfs", "{tree}", "{out}", "-noappend", "-quiet", "-no-progress", *level)
            )
            samples[ISO].append(_again("disk_compose", *iso))
        self._convert(samples, runs)

    def _convert(self, samples: Samples, runs: int) -> None:
        artifacts = {CONVERSIONS.format(entry["type"]): [entry] for entry in _FORMATS}
        artifacts[ALL] = list(_FORMATS)
        builds = {}
        for number, (name, entries) in enumerate(artifacts.items()):
            builds[name] = self._pipeline(f"bench-formats-{number}", artifacts=entries)
            builds[name][0].run(until="image_sign")
        for _number in range(runs):
            for name, (pipeline, build_dir) in builds.items():
                samples[name].append(_again("image_finalize", pipeline, build_dir))
                shutil.rmtree(pipeline.output_dir)

    def _alone(self, *command: str) -> Sample:
        """Run a program on the tree, which C({tree}) stands for; what it makes, C({out}), is deleted."""
        tree, out = self._bench.path("tree"), self._bench.path("made")
        os.makedirs(tree, exist_ok=True)
        words = [word.format(tree=tree, out=out) for word in command]
        layers = ":".join(reversed(self._layers))
        sample = measure(
            *("unshare", "--mount", "--propagation", "private", "sh", "-c", _OVERLAY, "sh", tree, layers, *words)
        )
        os.remove(out)
        return sample

    def targets(self, samples: Samples) -> list[Target]:
        """Return what was promised, and how it stands."""
        cost = {name: median(found) for name, found in samples.items()}
        slowest = max(cost[CONVERSIONS.format(entry["type"])].wall for entry in _FORMATS)
        content = self._content / (1 << 20)
        return [
            Target(
                f"disk_compose of {content:.0f} MiB, CPU of mke2fs's", cost[COMPOSE].cpu / cost[MKE2FS].cpu, 1.5, "x"
            ),
            Target("disk_compose, most space taken, of the content", max(self._peaks) / self._content, 1.2, "x"),
            Target("live ISO, CPU of mksquashfs's", cost[ISO].cpu / cost[MKSQUASHFS].cpu, 1.3, "x"),
            Target("all conversions at once, wall of the slowest", cost[ALL].wall / slowest, 1.2, "x"),
        ]


def _again(stage: str, pipeline: Pipeline, build_dir: str) -> Sample:
    """Run a stage once more, measured."""
    run: Run = run_module(stage, {**pipeline.args(stage, build_dir), "rebuild": "always"})
    assert not run.failed, run.message
    return Sample(run.wall, run.cpu, run.peak)


__all__ = ("DiskBench", "Space", "disk_usage")
