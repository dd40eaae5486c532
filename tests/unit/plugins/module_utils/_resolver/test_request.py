# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The strings that ask for packages, and what is said when they ask in vain."""

from __future__ import annotations

import dataclasses
import pathlib

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import RepositoryError, ResolveError
from ansible_collections.os_image.composer.plugins.module_utils._repository.model import (
    PackageIndex,
    RepositoryMetadata,
)
from ansible_collections.os_image.composer.plugins.module_utils._resolver.deb_pool import DebPool
from ansible_collections.os_image.composer.plugins.module_utils._resolver.deb_request import DebFinder
from ansible_collections.os_image.composer.plugins.module_utils._resolver.deb_solve import solve
from ansible_collections.os_image.composer.plugins.module_utils._resolver.request import Request, requests_of
from ansible_collections.os_image.composer.plugins.module_utils._template.model import SystemConfig
from ansible_collections.os_image.composer.plugins.module_utils._template.provider_model import Provider
from ansible_collections.os_image.composer.tests.support.package_index import pool_of, repository, with_components
from ansible_collections.os_image.composer.tests.support.template_data import whole_part, whole_provider

STABLE = """
    base
    Essential: yes

    tar
    Priority: required

    openssl
    Version: 3.0.17-1

    ssh-server
    Version: 1:9.2p1-2+deb12u3

    linux-image-amd64
    Version: 6.1.153-1

    linux-image-6.1.0-40-amd64
    Version: 6.1.153-1

    linux-headers
    Version: 6.1.153-1

    exim
    Provides: mail-agent

    postfix
    Provides: mail-agent

    sudo-ldap
    Provides: only-one

    firmware-one

    firmware-two
    Version: 2.0-1

    python3.11
    Version: 3.11.2-6
"""
MICROCODE = "intel-microcode\nVersion: 3.2"
BACKPORTS = """
    linux-image-amd64
    Version: 6.12.9-1

    openssl
    Version: 3.4.0-1
"""


@pytest.fixture
def pool(tmp_path: pathlib.Path) -> DebPool:
    """Two repositories; the second one is only asked when it has to be."""
    return pool_of(
        repository(tmp_path, STABLE),
        repository(tmp_path, BACKPORTS, name="stable-backports", priority=100),
    )


def selected(pool: DebPool, *requests: Request) -> list[str]:
    """Return what was selected, with versions."""
    return [pool.label(number) for number in DebFinder(pool).select(requests).solvables]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("openssl", ["openssl 3.0.17-1"]),
        (" openssl ", ["openssl 3.0.17-1"]),
        ("openssl=3.4.0-1", ["openssl 3.4.0-1"]),
        ("openssl=3.4*", ["openssl 3.4.0-1"]),
        ("openssl=3.4.0", ["openssl 3.4.0-1"]),
        ("openssl/stable-backports", ["openssl 3.4.0-1"]),
        ("openssl:amd64", ["openssl 3.0.17-1"]),
        ("openssl:all", ["openssl 3.0.17-1"]),
        ("openssl-3.4.0-1", ["openssl 3.4.0-1"]),
        ("openssl_3.4.0-1", ["openssl 3.4.0-1"]),
        ("openssl_3.4.0-1_amd64", ["openssl 3.4.0-1"]),
        ("openssl_3.4.0-1_amd64.deb", ["openssl 3.4.0-1"]),
        ("ssh-server=1:9.2p1-2+deb12u3", ["ssh-server 1:9.2p1-2+deb12u3"]),
        ("ssh-server-9.2p1-2+deb12u3", ["ssh-server 1:9.2p1-2+deb12u3"]),
        ("ssh-server_1%3a9.2p1-2+deb12u3_amd64", ["ssh-server 1:9.2p1-2+deb12u3"]),
        ("ssh-server-9.2p1", ["ssh-server 1:9.2p1-2+deb12u3"]),
        ("linux-image-6.1.0-40-amd64", ["linux-image-6.1.0-40-amd64 6.1.153-1"]),
        ("firmware-*", ["firmware-one 1.0-1", "firmware-two 2.0-1"]),
        ("firmware-[o]*", ["firmware-one 1.0-1"]),
        ("only-one", ["sudo-ldap 1.0-1"]),
    ],
)
def test_a_package_may_be_asked_for_in_many_forms(pool: DebPool, text: str, expected: list[str]) -> None:
    assert selected(pool, Request(text, "system")) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("opensl", "There is no package 'opensl'. Similar names: openssl."),
        ("zzz", "There is no package 'zzz'."),
        (
            "openssl=1.1",
            "The package 'openssl' is not available in the version '1.1'; available: 3.0.17-1 (stable), "
            "3.4.0-1 (stable-backports).",
        ),
        (
            "openssl-1.1.1",
            "There is no package 'openssl-1.1.1'. If the version '1.1.1' of 'openssl' is meant, available are: "
            "3.0.17-1 (stable), 3.4.0-1 (stable-backports).",
        ),
        ("ssh-server/testing", "The repository 'testing' has no package 'ssh-server'; it is in stable."),
        (
            "openssl:arm64",
            "The package 'openssl:arm64' is asked for the architecture 'arm64', but this image is for 'amd64'.",
        ),
        ("fonts-*", "No package matches the pattern 'fonts-*'."),
        (
            "mail-agent",
            "'mail-agent' is a virtual package, provided by exim, postfix; ask for the one that is wanted.",
        ),
        ("two words", "There is no package 'two words'."),
        ("@nodejs:20", "'@nodejs:20' is a stream of a module, and only RPM repositories have modules."),
    ],
)
def test_what_cannot_be_had_is_explained(pool: DebPool, text: str, message: str) -> None:
    with pytest.raises(ResolveError) as caught:
        DebFinder(pool).select([Request("openssl", "system"), Request(text, "system")])
    assert str(caught.value).startswith(f"One requested package cannot be had:\n- {message}\n")
    assert "Repositories searched: stable (stable main), stable-backports (stable-backports main)." in str(caught.value)
    assert caught.value.details == {"missing": [text]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "intel-microcode",
            "The package 'intel-microcode' is in the component non-free-firmware of stable, security, which is not "
            "enabled: write systemConfig.components: [main, non-free-firmware], or component: main non-free-firmware "
            "where packageRepositories adds the repository.",
        ),
        ("intel-microcode=3.1", "The package 'intel-microcode=3.1' is in the component non-free-firmware of stable, "),
        ("unrar", "The package 'unrar' is in the component non-free of stable, which is not enabled: write systemConf"),
        ("both", "The package 'both' is in the component non-free of stable and the component non-free-firmware of s"),
        ("firmware-nvidia-*", "No package matches the pattern 'firmware-nvidia-*'. Packages that do are in the comp"),
        ("intel-microcod", "There is no package 'intel-microcod'."),
        ("firmware-two", ""),
    ],
)
def test_a_package_of_a_component_that_is_not_enabled(text: str, message: str, tmp_path: pathlib.Path) -> None:
    stable = with_components(
        repository(tmp_path, STABLE),
        tmp_path,
        non_free="unrar\n\nboth",
        non_free_firmware="intel-microcode\nVersion: 3.1\n\nfirmware-nvidia-gsp\n\nboth",
    )
    security = with_components(repository(tmp_path, "openssl", name="security"), tmp_path, non_free_firmware=MICROCODE)
    finder = DebFinder(pool_of(stable, security))
    if not message:
        finder.select([Request(text, "system")])
        return
    with pytest.raises(ResolveError) as caught:
        finder.select([Request(text, "system")])
    assert str(caught.value).partition("\n- ")[2].startswith(message)


def test_what_needs_a_package_of_another_component_is_explained(tmp_path: pathlib.Path) -> None:
    stable = repository(tmp_path, "app\nDepends: intel-microcode (>= 3)")
    pool = pool_of(with_components(stable, tmp_path, non_free_firmware=MICROCODE))
    wanted = pool.candidate("app")
    assert wanted is not None
    with pytest.raises(ResolveError) as caught:
        solve(pool, [wanted])
    assert "which no repository has; it is in the component non-free-firmware of stable, which is not" in str(
        caught.value
    )


def test_components_that_cannot_be_had_are_not_told(tmp_path: pathlib.Path) -> None:
    def fail() -> tuple[PackageIndex, ...]:
        raise RepositoryError("Package indexes are not in the cache, and this is an offline run.")

    offline = dataclasses.replace(repository(tmp_path, STABLE), other_components={"non-free-firmware": fail})
    with pytest.raises(ResolveError, match=r"\n- There is no package 'intel-microcode'\.\n"):
        DebFinder(pool_of(offline)).select([Request("intel-microcode", "system")])


def test_packages_of_a_repository_that_the_provider_knows_are_told(tmp_path: pathlib.Path) -> None:
    asked: list[str] = []

    def optional() -> list[RepositoryMetadata]:
        asked.append("x")
        return [repository(tmp_path, "nginx-next\n\nunrar", name="stable-backports")]

    pool = pool_of(with_components(repository(tmp_path, STABLE), tmp_path, non_free="unrar"))
    pool.elsewhere.optional = optional
    finder = DebFinder(pool)
    finder.select([Request("openssl", "system")])
    with pytest.raises(ResolveError, match="The package 'unrar' is in the component non-free of stable"):
        finder.select([Request("unrar", "system")])
    # Nobody is asked where it is not needed.
    assert not asked
    with pytest.raises(ResolveError) as caught:
        finder.select([Request(name, "system") for name in ("nginx-next", "nothing")])
    assert str(caught.value).startswith(
        "2 requested packages cannot be had:\n- The package 'nginx-next' is in the repository stable-backports, which "
        "the provider knows and the template does not use: add '- codename: stable-backports' to packageRepositories.\n"
        "- There is no package 'nothing'.\n"
    )
    assert asked == ["x"]


def test_packages_that_a_repository_may_not_bring_are_told(tmp_path: pathlib.Path) -> None:
    pool = pool_of(repository(tmp_path, "tool\n\nother", allow_packages=["other"]))
    with pytest.raises(ResolveError, match="The package 'tool' is in stable, but allowPackages, excludePackages, "):
        DebFinder(pool).select([Request("tool", "system")])


@pytest.mark.parametrize("place", ["./sub/tool.deb", ".//./sub/tool.deb", "sub/tool.deb"])
def test_a_package_below_a_repository_without_suites(place: str, tmp_path: pathlib.Path) -> None:
    pool = pool_of(repository(tmp_path, f"tool\nFilename: {place}", base_url="https://vendor.example.org"))
    (tool,) = pool.versions("tool")
    assert pool.package(tool).url == "https://vendor.example.org/sub/tool.deb"


def test_all_that_is_missing_is_told_at_once(pool: DebPool) -> None:
    with pytest.raises(ResolveError) as caught:
        DebFinder(pool).select([Request(name, "system") for name in ("opensl", "nothing", "nothing")])
    assert str(caught.value).startswith("2 requested packages cannot be had:\n- There is no package 'opensl'.")
    assert "\n- There is no package 'nothing'." in str(caught.value)


def test_two_versions_at_once_are_refused(pool: DebPool) -> None:
    with pytest.raises(
        ResolveError, match=r"'openssl' is asked for in several versions at once: 3\.0\.17-1, 3\.4\.0-1"
    ):
        DebFinder(pool).select([Request("openssl", "system"), Request("openssl=3.4.0-1", "system")])


def test_of_several_reasons_the_first_counts(pool: DebPool) -> None:
    requests = [Request("openssl", "system"), Request("openssl", "essential"), Request("tar", "bootloader")]
    assert list(DebFinder(pool).select(requests).solvables.values()) == ["essential", "bootloader"]


@pytest.mark.parametrize(
    ("version", "expected"), [("6.1", "6.1.153-1"), ("6.12", "6.12.9-1"), ("6.12.9-1", "6.12.9-1")]
)
def test_the_kernel_version_selects_among_the_kernels(pool: DebPool, version: str, expected: str) -> None:
    assert selected(pool, Request("linux-image-amd64", "kernel", version)) == [f"linux-image-amd64 {expected}"]


def test_a_kernel_version_that_nobody_has_is_explained(pool: DebPool) -> None:
    with pytest.raises(
        ResolveError, match=r"'linux-image-amd64' is not available in the version '6\.15' that systemConfig"
    ):
        DebFinder(pool).select([Request("linux-image-amd64", "kernel", "6.15")])


def test_everything_of_provider_and_template_is_requested_in_order(pool: DebPool) -> None:
    provider = whole_provider(
        essential={"priorities": ["required"], "packages": ["openssl"]}, bootloader_packages=["exim"]
    )
    system = {
        "packages": ["postfix", "openssl"],
        "kernel": {"version": "6.1", "packages": ["linux-headers", "firmware-one"]},
    }
    assert requests_of(Provider.from_data(provider), whole_part(SystemConfig, system), pool) == [
        Request("base", "essential"),
        Request("tar", "essential"),
        Request("openssl", "essential"),
        Request("linux-headers", "kernel", "6.1"),
        Request("firmware-one", "kernel"),
        Request("exim", "bootloader"),
        Request("postfix", "system"),
        Request("openssl", "system"),
    ]
