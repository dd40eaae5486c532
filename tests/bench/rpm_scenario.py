# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The RPM image that is measured, and dnf, which installs the same packages from the same repository."""

from __future__ import annotations

import os
import pathlib
import random
import resource
import shutil
import time
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._resolver.request import Request
from ansible_collections.os_image.composer.tests.bench.measure import Sample, Target, measure, median
from ansible_collections.os_image.composer.tests.bench.scenario import Bench, Samples, read_json, total
from ansible_collections.os_image.composer.tests.support.install_root import MOUNTS
from ansible_collections.os_image.composer.tests.support.rpm_distribution.distribution import RpmDistribution
from ansible_collections.os_image.composer.tests.support.rpm_distribution.provider import (
    MIRROR,
    write_provider,
    write_template,
)
from ansible_collections.os_image.composer.tests.support.rpm_index import resolver_of, rpm_repository
from ansible_collections.os_image.composer.tests.support.stage_driver import Pipeline, Run

RPM_COLD = "RPM packages, cold: packages at hand, nothing built"
RPM_INSTALL = "RPM packages, cold: resolve, fetch, install"
RPM_NOTHING = "RPM packages, nothing changed"
RPM_FILE = "RPM packages, one file changed"
RPM_DNF = "dnf --installroot of the same RPM packages (no initramfs)"

LARGE_COLD = "20,000 RPM packages, for the first time: load the metadata, solve"
LARGE_WARM = "20,000 RPM packages, again: load, solve"

_TREE_STAGES = ("pkg_resolve", "pkg_fetch", "chroot_configure")
_PACKAGES = ["core-packages-base-image", "dnf", "openssh-server", "sudo"]

# What dnf finds in the new root; it has no option for the macros of rpm. See Debian's /usr/lib/rpm/macros for the
# database in the home directory.
_MACROS = "%_dbpath /var/lib/rpm\n%_netsharedpath /sys:/proc:/dev\n%_pkgverify_level all\n"
_INSTALL = f"""\
root=$1; shift
{MOUNTS}
exec dnf --quiet --assumeyes --installroot "$root" "$@"
"""


class RpmBench:
    """Images of the test distribution."""

    def __init__(self, bench: Bench, distribution: RpmDistribution, url: str) -> None:
        self._bench = bench
        self._distribution = distribution
        self._url = url
        os.makedirs(bench.path("rpm"), exist_ok=True)
        self._config_dir = write_provider(bench.path("rpm", "config"), distribution)

    def pipeline(self, *, work: str, motd: str = "first") -> Pipeline:
        """Write the template of the image and return its stages.

        :param motd: What a file of the image says.
        """
        path = write_template(
            self._bench.path("rpm", f"{work}.yml"),
            packages=_PACKAGES,
            configurations=[{"cmd": f"echo {motd} > /etc/motd"}],
        )
        return Pipeline(
            template=path,
            work_dir=self._bench.path("rpm", work),
            cache_dir=self._bench.path("rpm", "cache"),
            output_dir=self._bench.path("rpm", "output", work),
            config_dir=self._config_dir,
            stage_args={"pkg_resolve": {"mirrors": {MIRROR: self._url}}},
        )

    def names(self) -> list[str]:
        """Return the packages of the image."""
        runs = self.pipeline(work="names").run(until="pkg_fetch")
        build_dir = str(runs["image_template_validate"].result["build_dir"])
        return [package["name"] for package in read_json(build_dir, "packages.lock.json")["packages"]]

    def measure(self, samples: Samples, *, runs: int) -> None:
        """Measure everything."""
        names = self.names()
        # The first run of dnf fills its cache.
        self.dnf(names)
        for number in range(runs):
            samples[RPM_DNF].append(self.dnf(names))
            self._bench.drop("rpm", "cold")
            cold = self.pipeline(work="cold").run()
            samples[RPM_COLD].append(total(cold))
            samples[RPM_NOTHING].append(total(self.pipeline(work="cold").run()))
            samples[RPM_INSTALL].append(self._installed(cold))
            samples[RPM_FILE].append(total(self.pipeline(work="cold", motd=f"changed {number}").run()))
        for number in range(runs):
            self._large(samples, number)

    def _installed(self, cold: t.Mapping[str, Run]) -> Sample:
        """Return what a cold build cost up to the installed packages, as dnf leaves them."""
        layers = cold["chroot_configure"].result["layers"]
        for layer in layers:
            if layer["name"] in ("configuration", "initramfs"):
                shutil.rmtree(os.path.dirname(layer["path"]))
        rest = self.pipeline(work="cold").run(until="chroot_configure")["chroot_configure"]
        assert rest.result["layers"] == layers
        whole = total({name: cold[name] for name in _TREE_STAGES})
        return Sample(whole.wall - rest.wall, whole.cpu - rest.cpu, whole.peak)

    def _large(self, samples: Samples, number: int) -> None:
        directory = pathlib.Path(self._bench.path("rpm", f"large-{number}"))
        directory.mkdir()
        repository = rpm_repository(directory, _many_packages(20_000, seed=number))
        for name in (LARGE_COLD, LARGE_WARM):
            begin, started = _cpu(), time.monotonic()
            resolver = resolver_of(repository, cache_dir=directory / "cache")
            chosen = resolver.solve(resolver.select([Request(f"p{index}", "system") for index in range(20)]))
            wall = time.monotonic() - started
            assert len(chosen) > 20
            samples[name].append(Sample(wall, _cpu() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))

    def targets(self, samples: Samples) -> list[Target]:
        """Return what was promised, and how it stands."""
        cost = {name: median(found) for name, found in samples.items()}
        return [
            Target(
                "RPM packages: resolve, fetch, install, CPU of dnf's",
                cost[RPM_INSTALL].cpu / cost[RPM_DNF].cpu,
                0.7,
                "x",
            ),
            Target("20,000 RPM packages, again, wall", cost[LARGE_WARM].wall, 1, "s"),
        ]

    def dnf(self, names: t.Sequence[str]) -> Sample:
        """Let dnf install the same packages once, measured."""
        home, root = self._bench.path("rpm", "home"), self._bench.path("rpm", "root")
        os.makedirs(home, exist_ok=True)
        os.makedirs(root)
        with open(os.path.join(home, ".rpmmacros"), "w", encoding="utf-8") as stream:
            stream.write(_MACROS)
        sample = measure(
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _INSTALL, "sh", root),
            *(f"--repofrompath=bench,file://{self._distribution.directory}", "--repo=bench", "--releasever=1"),
            *("--setopt=install_weak_deps=False", "--setopt=bench.gpgcheck=1"),
            *(f"--setopt=bench.gpgkey=file://{self._distribution.key}", f"--setopt=cachedir={home}/cache"),
            *("install", *names),
            environment={"HOME": home, "LC_ALL": "C.UTF-8"},
        )
        self._bench.drop("rpm", "root")
        return sample


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _many_packages(count: int, *, seed: int) -> str:
    """Return packages that need each other, those with larger numbers only, as :func:`index_texts` wants them."""
    choose = random.Random(seed)  # noqa: S311 - not a secret
    blocks = []
    for index in range(count):
        below = (
            [choose.randrange(index + 1, count) for _number in range(choose.randrange(6))] if index + 1 < count else []
        )
        requires = ", ".join([f"p{number}" for number in below[:4]] + [f"lib{number}.so.1" for number in below[4:]])
        lines = [f"p{index} 1.{index % 7}-1 x86_64", f"Provides: lib{index}.so.1", f"Files: /usr/bin/p{index}"]
        blocks.append("\n".join([*lines, *([f"Requires: {requires}"] if requires else [])]))
    return "\n\n".join(blocks)


__all__ = ("RpmBench",)
