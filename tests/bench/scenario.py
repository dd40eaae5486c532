# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The image that is measured, its variations, and the peers that do the same work."""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import shutil
import subprocess
import typing as t

import yaml
from ansible_collections.os_image.composer.tests.bench.measure import Sample, measure
from ansible_collections.os_image.composer.tests.support.stage_driver import ROOT, Pipeline, Run, run_module

# What the figures of other builders that the targets come from were measured with.
_PACKAGES = ["systemd-sysv", "udev", "dbus", "iproute2", "openssh-server", "sudo", "apt"]

#: Small packages without dependencies of their own, one for each run of "one package added".
ADDED_PACKAGES = ["less", "tree", "bc"]


def total(runs: t.Mapping[str, Run]) -> Sample:
    """Return what several modules cost together."""
    result = Sample(0, 0, 0)
    for run in runs.values():
        result += Sample(run.wall, run.cpu, run.peak)
    return result


@dataclasses.dataclass(frozen=True)
class Bench:
    """The directories of a measurement."""

    root: str

    @property
    def cache_dir(self) -> str:
        """The package cache, shared with C(make image)."""
        return os.path.join(ROOT, ".cache", "packages")

    @property
    def image_file(self) -> str:
        """The file that one scenario changes."""
        return os.path.join(self.root, "template", "motd")

    def path(self, *parts: str) -> str:
        """Return a path below the directory."""
        return os.path.join(self.root, *parts)

    def prepare(self) -> None:
        """Begin with nothing built."""
        shutil.rmtree(self.root, ignore_errors=True)
        os.makedirs(self.path("template"))
        self.write_file("first")

    def write_file(self, text: str) -> None:
        """Write the file that is copied into the image."""
        with open(self.image_file, "w", encoding="utf-8") as stream:
            stream.write(f"{text}\n")

    def pipeline(
        self,
        name: str = "bench",
        *,
        work: str = "work",
        cache_dir: str = "",
        packages: t.Sequence[str] = (),
        artifacts: t.Sequence[t.Mapping[str, str]] = ({"type": "raw"},),
        image_type: str = "raw",
        disk_size: str = "2GiB",
    ) -> Pipeline:
        """Write the template of the image and return its stages.

        :param packages: More packages.
        :param artifacts: What is left, an uncompressed raw image by default.
        """
        template = {
            "image": {"name": name, "version": "1.0"},
            "target": {"os": "debian", "dist": "debian12", "arch": "x86_64", "imageType": image_type},
            "disk": {
                "name": "bench",
                "size": disk_size,
                "partitionTableType": "gpt",
                "artifacts": [dict(artifact) for artifact in artifacts],
                "partitions": [
                    {
                        "id": "boot",
                        "type": "esp",
                        "fsType": "fat32",
                        "start": "1MiB",
                        "end": "201MiB",
                        "mountPoint": "/boot/efi",
                    },
                    {
                        "id": "rootfs",
                        "type": "linux-root-amd64",
                        "fsType": "ext4",
                        "start": "201MiB",
                        "end": "0",
                        "mountPoint": "/",
                    },
                ],
            },
            "systemConfig": {
                "name": name,
                "hostname": "bench",
                "packages": [*_PACKAGES, *packages],
                "additionalFiles": [{"local": "motd", "final": "/etc/motd"}],
            },
        }
        if image_type == "iso":
            template["iso"] = {"type": "live"}
        path = self.path("template", f"{name}.yml")
        with open(path, "w", encoding="utf-8") as stream:
            yaml.safe_dump(template, stream, sort_keys=False)
        return Pipeline(
            template=path,
            work_dir=self.path(work),
            cache_dir=cache_dir or self.cache_dir,
            output_dir=self.path("output", work, name),
        )

    def drop(self, *parts: str) -> None:
        """Delete what a run has built, and let the disk finish, so that the next run does not pay for it."""
        shutil.rmtree(self.path(*parts), ignore_errors=True)
        os.sync()


class Mmdebstrap:
    """C(mmdebstrap --variant=minbase) with the very packages of a lock, out of a local repository.

    It makes a root file system in a directory: no disk, no boot loader.
    """

    def __init__(self, bench: Bench, lock: t.Mapping[str, t.Any], package_cache: str) -> None:
        self._bench = bench
        self._names = [package["name"] for package in lock["packages"]]
        self._repository = bench.path("repository")
        os.makedirs(self._repository)
        for package in lock["packages"]:
            os.link(
                os.path.join(package_cache, package["filename"]), os.path.join(self._repository, package["filename"])
            )
        index = subprocess.run(
            ["apt-ftparchive", "packages", "."], cwd=self._repository, stdout=subprocess.PIPE, check=True
        )
        with open(os.path.join(self._repository, "Packages"), "wb") as stream:
            stream.write(index.stdout)
        # mmdebstrap takes the essential packages of the suite that it was asked for, so the repository has to be one.
        options = [f"-oAPT::FTPArchive::Release::{name}=bookworm" for name in ("Suite", "Codename")]
        release = subprocess.run(
            ["apt-ftparchive", *options, "release", "."], cwd=self._repository, stdout=subprocess.PIPE, check=True
        )
        with open(os.path.join(self._repository, "Release"), "wb") as stream:
            stream.write(release.stdout)

    def run(self) -> Sample:
        """Make the root file system once, measured."""
        target = self._bench.path("mmdebstrap")
        sample = measure(
            *("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=directory"),
            # Debian's own hook, which shows a local repository inside the new system.
            "--hook-dir=/usr/share/mmdebstrap/hooks/file-mirror-automount",
            *('--aptopt=APT::Install-Recommends "false"', f"--include={','.join(self._names)}"),
            *("bookworm", target, f"deb [trusted=yes] file://{self._repository} ./"),
        )
        self._bench.drop("mmdebstrap")
        return sample


class Apt:
    """C(apt-get install -s) into an empty root, with the package lists of the same repositories."""

    def __init__(self, bench: Bench, document: t.Mapping[str, t.Any], lock: t.Mapping[str, t.Any]) -> None:
        self._requested = [name for name in lock["requested"] if name]
        root = bench.path("apt")
        for name in ("lists/partial", "archives/partial", "etc", "state"):
            os.makedirs(os.path.join(root, name))
        urls = {repository["name"]: repository["url"] for repository in lock["repositories"]}
        sources = [
            f"deb [arch=amd64 trusted=yes] {urls[repository['name']]} {repository['suite']} "
            f"{' '.join(repository['components'])}"
            for repository in document["provider"]["repositories"]
        ]
        with open(os.path.join(root, "etc", "sources.list"), "w", encoding="utf-8") as stream:
            stream.write("\n".join(sources) + "\n")
        with open(os.path.join(root, "state", "status"), "w", encoding="utf-8"):
            pass
        with open(os.path.join(root, "apt.conf"), "w", encoding="utf-8") as stream:
            stream.write(
                f'Dir::Etc "{root}/etc";\nDir::State "{root}/state";\nDir::State::lists "{root}/lists";\n'
                f'Dir::State::status "{root}/state/status";\n'
                f'Dir::Cache "{root}";\nDir::Cache::archives "{root}/archives";\n'
                'APT::Install-Recommends "false";\nAPT::Architecture "amd64";\nAPT::Architectures "amd64";\n'
                'APT::Sandbox::User "root";\nAcquire::Languages "none";\n'
            )
        self._environment = {"APT_CONFIG": os.path.join(root, "apt.conf"), "LC_ALL": "C"}
        measure("apt-get", "-qq", "update", environment=self._environment)

    def run(self) -> Sample:
        """Resolve the request once, measured."""
        return measure("apt-get", "-s", "-qq", "install", *self._requested, environment=self._environment)


def resolve(pipeline: Pipeline, build_dir: str) -> Sample:
    """Resolve the request again, with the verified metadata that is on the disk."""
    # Nor does apt-get ask the repositories for news.
    args = {**pipeline.args("pkg_resolve", build_dir), "rebuild": "always", "offline": True}
    run = run_module("pkg_resolve", args)
    assert not run.failed, run.message
    return Sample(run.wall, run.cpu, run.peak)


def read_json(*parts: str) -> dict[str, t.Any]:
    """Read a JSON document."""
    with open(os.path.join(*parts), encoding="utf-8") as stream:
        return t.cast("dict[str, t.Any]", json.load(stream))


Samples = t.DefaultDict[str, t.List[Sample]]


def new_samples() -> Samples:
    """Return an empty collection of samples by scenario."""
    return collections.defaultdict(list)
