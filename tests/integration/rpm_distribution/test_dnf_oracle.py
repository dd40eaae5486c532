# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The resolver's answers beside dnf's own, for requests against the RPM distribution of the tests."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import re
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._download.downloader import Downloader
from ansible_collections.os_image.composer.plugins.module_utils._errors import ResolveError
from ansible_collections.os_image.composer.plugins.module_utils._repository.mirrors import Mirrors
from ansible_collections.os_image.composer.plugins.module_utils._repository.refresh import refresh_repositories
from ansible_collections.os_image.composer.plugins.module_utils._repository.rpm import RpmRepository
from ansible_collections.os_image.composer.plugins.module_utils._resolver.request import Request
from ansible_collections.os_image.composer.plugins.module_utils._resolver.rpm import RpmResolver
from ansible_collections.os_image.composer.plugins.module_utils._template.document import TemplateDocument
from ansible_collections.os_image.composer.tests.support.dnf_oracle import Chosen, dnf_answers
from ansible_collections.os_image.composer.tests.support.rpm_distribution.distribution import rpm_distribution
from ansible_collections.os_image.composer.tests.support.rpm_distribution.provider import (
    MIRROR,
    write_provider,
    write_template,
)
from ansible_collections.os_image.composer.tests.support.stage_driver import Pipeline

# A word in braces stands for the version of the package, or for version and release.
REQUESTS = (
    # What the default templates of Azure Linux and of CentOS Stream ask for.
    "core-packages-container azurelinux-release azurelinux-repos bash ca-certificates dbus dracut e2fsprogs filesystem "
    "iproute pam shadow-utils sudo systemd systemd-networkd systemd-resolved systemd-udev tdnf util-linux kernel "
    "systemd-boot",
    "centos-stream-release basesystem bash coreutils dnf findutils glibc-minimal-langpack rpm NetworkManager chrony "
    "dracut dracut-config-generic e2fsprogs hostname iproute kmod shadow-utils sudo systemd systemd-udev util-linux "
    "kernel systemd-boot-unsigned",
    "bash",
    "systemd",
    "kernel",
    "core-packages-base-image",
    "openssh-server sudo NetworkManager",
    "dracut systemd-boot systemd-ukify systemd-cryptsetup",
    "curl less vim-minimal logrotate cronie chrony",
    "grub2-efi-binary shim grub2-efi",
    "azurelinux-release veritysetup",
    "kernel-core system-release basesystem",
    "systemd-sysusers",
    "tdnf",
    "/usr/sbin/sshd",
    "/bin/sh",
    "/usr/bin/vi /usr/sbin/ldconfig",
    "/usr/share/zoneinfo/Europe/Berlin",
    "/usr/lib/x86_64-linux-gnu/libssl.so.3",
    "libc.so.6()(64bit)",
    "libcrypto.so.3(OPENSSL_3.0.0)(64bit)",
    "bash-{bash:version}",
    "bash-{bash:version}-{bash:release}",
    "bash-0:{bash:version}-{bash:release}.x86_64",
    "bash-{bash:version}*",
    "bash-{bash:version}-{bash:release}.x86_64",
    "bash.x86_64 tzdata.noarch",
    "dracut-*",
    "libselinux* python3-?nf",
    "systemd-[bc]*",
)
REFUSED = (
    "no-such-package",
    "/usr/bin/no-such-file",
    "no-such-*",
    "bash-1.0",
    "bash.aarch64",
    "grub2-efi-binary systemd-boot",
)

_PLACEHOLDER = re.compile(r"\{([^:}]+):(version|release)\}")


@dataclasses.dataclass
class Oracle:
    """The distribution, served: the resolver and dnf look at the same repository.

    :ivar weak_resolver: The one that takes what packages recommend, too.
    :ivar lock: The package lock of a template.
    """

    url: str
    resolver: RpmResolver
    weak_resolver: RpmResolver
    lock: t.Mapping[str, t.Any]

    @functools.cached_property
    def _answers(self) -> dict[tuple[str, bool], set[Chosen] | str]:
        # One run of dnf for all of them: it takes longer to start than to answer.
        requests = (*REQUESTS, *REFUSED)
        return {
            (request, weak): answer
            for weak in (False, True)
            for request, answer in zip(
                requests, dnf_answers(self.url, [self.words(request) for request in requests], weak=weak)
            )
        }

    def theirs(self, request: str, *, weak: bool = False) -> set[Chosen] | str:
        """Return what dnf chooses, or why it refuses."""
        return self._answers[request, weak]

    def words(self, request: str) -> list[str]:
        """Return the words of a request, with versions filled in."""
        return [_PLACEHOLDER.sub(self._part, word) for word in request.split()]

    def _part(self, match: re.Match[str]) -> str:
        pool = self.resolver.pool
        version, _dash, release = pool.version(pool.versions(match[1])[0]).rpartition("-")
        return {"version": version.rpartition(":")[2], "release": release}[match[2]]

    def ours(self, words: t.Sequence[str], *, weak: bool = False) -> set[Chosen]:
        """Return what the resolver chooses."""
        resolver = self.weak_resolver if weak else self.resolver
        selection = resolver.select([Request(word, "system") for word in words])
        return {_chosen(resolver, number) for number in resolver.solve(selection)}


def _chosen(resolver: RpmResolver, number: int) -> Chosen:
    package = resolver.pool.package(number)
    return package.name, package.version, package.arch


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Oracle]:
    directory = tmp_path_factory.mktemp("oracle")
    distribution = rpm_distribution()
    with distribution.serve() as server, Downloader() as downloader:
        pipeline = Pipeline(
            template=write_template(directory / "template.yml", packages=["sudo"]),
            config_dir=write_provider(directory / "config", distribution),
            work_dir=str(directory / "work"),
            cache_dir=str(directory / "cache"),
            output_dir=str(directory / "output"),
            stage_args={"pkg_resolve": {"mirrors": {MIRROR: server.url}}},
        )
        runs = pipeline.run(until="pkg_resolve")
        build_dir = pathlib.Path(str(runs["image_template_validate"].result["build_dir"]))
        document = TemplateDocument.from_data(json.loads((build_dir / "template.json").read_text()))
        repositories = refresh_repositories(
            RpmRepository,
            document.provider.repositories,
            package_arch="x86_64",
            metadata_dir=str(directory / "metadata"),
            mirrors=Mirrors({MIRROR: server.url}),
            downloader=downloader,
        )
        resolvers = [RpmResolver(arch="x86_64", cache_dir=None, weak=weak) for weak in (False, True)]
        for resolver in resolvers:
            resolver.pool.load(repositories)
        lock = json.loads((build_dir / "packages.lock.json").read_text())
        yield Oracle(server.url, resolvers[0], resolvers[1], lock)


@pytest.mark.parametrize("weak", [False, True], ids=["", "weak"])
@pytest.mark.parametrize("request_", REQUESTS)
def test_the_answer_is_that_of_dnf(oracle: Oracle, request_: str, weak: bool) -> None:
    theirs = oracle.theirs(request_, weak=weak)
    assert isinstance(theirs, set), theirs
    ours = oracle.ours(oracle.words(request_), weak=weak)
    assert (sorted(ours - theirs), sorted(theirs - ours)) == ([], [])
    assert ours


@pytest.mark.parametrize("request_", REFUSED)
def test_what_dnf_refuses_is_refused(oracle: Oracle, request_: str) -> None:
    assert isinstance(oracle.theirs(request_), str)
    with pytest.raises(ResolveError):
        oracle.ours(request_.split())


def test_the_lock_is_what_dnf_would_install(oracle: Oracle) -> None:
    locked = {(entry["name"], entry["version"], entry["arch"]) for entry in oracle.lock["packages"]}
    (theirs,) = dnf_answers(oracle.url, [oracle.lock["requested"]])
    assert isinstance(theirs, set), theirs
    assert (sorted(locked - theirs), sorted(theirs - locked)) == ([], [])
    assert len(locked) > 100
