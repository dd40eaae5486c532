# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The resolver's answers beside apt's own, for requests against the mirror of this machine.

apt gets the very indexes that the resolver has verified, an empty system, and no recommended packages.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
import re
import shutil
import subprocess
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._download.downloader import Downloader
from ansible_collections.os_image.composer.plugins.module_utils._repository.deb import DebRepository
from ansible_collections.os_image.composer.plugins.module_utils._repository.model import RepositoryMetadata
from ansible_collections.os_image.composer.plugins.module_utils._repository.refresh import refresh_repositories
from ansible_collections.os_image.composer.plugins.module_utils._resolver.deb_pool import DebPool
from ansible_collections.os_image.composer.plugins.module_utils._resolver.deb_request import DebFinder
from ansible_collections.os_image.composer.plugins.module_utils._resolver.deb_solve import solve
from ansible_collections.os_image.composer.plugins.module_utils._resolver.request import Request, requests_of
from ansible_collections.os_image.composer.plugins.module_utils._template.document import TemplateDocument
from ansible_collections.os_image.composer.tests.integration.real_mirror.conftest import STATE, resolved

REQUESTS = (
    "systemd-sysv linux-image-amd64 udev dbus iproute2 openssh-server sudo apt",
    "nginx postgresql",
    "docker.io",
    "podman buildah",
    "gnome-core",
    "xfce4 lightdm",
    "wordpress",
    "cloud-init",
    "python3-django gunicorn",
    "libvirt-daemon-system qemu-system-x86",
    "default-mta",
    "dracut linux-image-amd64 systemd-boot",
    "systemd-resolved systemd-timesyncd vim-tiny less locales",
)
_FETCHED = re.compile(r"^'\S+' ([^_\s]+)_([^_\s]+)_[^_\s]+\.deb ", re.MULTILINE)

pytestmark = pytest.mark.skipif(shutil.which("apt-get") is None, reason="there is no apt to compare with")


@dataclasses.dataclass(frozen=True)
class Oracle:
    """One distribution: the resolver and apt, with the same indexes."""

    pool: DebPool
    essential: tuple[str, ...]
    apt_conf: pathlib.Path

    def ours(self, names: t.Sequence[str]) -> set[tuple[str, str]]:
        """Return the names and versions that the resolver chooses."""
        selection = DebFinder(self.pool).select([Request(name, "system") for name in (*self.essential, *names)])
        chosen = solve(self.pool, list(selection.solvables))
        return {(self.pool.name(number), self.pool.package(number).version) for number in chosen}

    def apts(self, names: t.Sequence[str]) -> set[tuple[str, str]]:
        """Return the names and versions that apt chooses."""
        done = subprocess.run(
            ["apt-get", "install", "--yes", "--print-uris", *self.essential, *names],
            env={"PATH": os.environ["PATH"], "LC_ALL": "C", "APT_CONFIG": str(self.apt_conf)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return {(name, version.replace("%3a", ":")) for name, version in _FETCHED.findall(done.stdout)}


@functools.cache
def oracle(dist: str) -> Oracle:
    """Fetch and verify the metadata of a distribution, and lay it out for apt."""
    document = TemplateDocument.read(resolved(f"{dist}-x86_64-minimal-raw"))
    metadata_dir = os.path.join(document.package_cache, "metadata")
    with Downloader() as downloader:
        repositories = refresh_repositories(
            DebRepository,
            document.provider.repositories,
            package_arch=document.provider.package_arch,
            metadata_dir=metadata_dir,
            mirrors=None,
            downloader=downloader,
            offline=True,
        )
    pool = DebPool(arch=document.provider.package_arch, cache_dir=os.path.join(metadata_dir, "solv"))
    pool.load(repositories)
    essential = [
        request.text
        for request in requests_of(document.provider, document.system, pool)
        if request.reason == "essential"
    ]
    return Oracle(pool, tuple(essential), lay_out_for_apt(STATE / "apt" / dist, repositories))


def lay_out_for_apt(root: pathlib.Path, repositories: t.Sequence[RepositoryMetadata]) -> pathlib.Path:
    """Make a root for apt whose lists are the indexes of the repositories."""
    shutil.rmtree(root, ignore_errors=True)
    lists = root / "var/lib/apt/lists"
    for directory in (lists / "partial", root / "etc/apt", root / "var/lib/dpkg", root / "var/cache/apt"):
        directory.mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()
    sources = []
    for repository in repositories:
        sources.append(
            f"deb [trusted=yes] {repository.base_url} {repository.suite} {' '.join(repository.components)}\n"
        )
        place = re.sub(r"^\w+://", "", f"{repository.base_url}/dists/{repository.suite}").replace("/", "_")
        for index in repository.indexes:
            (lists / f"{place}_{index.component}_binary-{index.arch}_Packages").symlink_to(index.path)
    (root / "etc/apt/sources.list").write_text("".join(sources))
    conf = root / "apt.conf"
    conf.write_text(
        f'Dir "{root}";\n'
        f'Dir::State::status "{root}/var/lib/dpkg/status";\n'
        'Dir::Etc::parts "/nonexistent";\n'
        'APT::Install-Recommends "false";\n'
        'APT::Architecture "amd64";\n'
        'APT::Architectures { "amd64"; };\n'
        'Acquire::Languages "none";\n'
    )
    return conf


@pytest.mark.parametrize("names", REQUESTS)
@pytest.mark.parametrize("dist", ["debian12", "debian13"])
def test_the_answer_is_that_of_apt(dist: str, names: str) -> None:
    both = oracle(dist)
    ours, apts = both.ours(names.split()), both.apts(names.split())
    assert (sorted(ours - apts), sorted(apts - ours)) == ([], [])
    assert len(ours) > 70
