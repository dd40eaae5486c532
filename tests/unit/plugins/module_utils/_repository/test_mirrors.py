# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mirrors from the option, and from the package sources of hosts of all kinds."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import RepositoryError
from ansible_collections.os_image.composer.plugins.module_utils._repository.mirrors import (
    AptSource,
    Mirrors,
    read_apt_sources,
)

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
DEBIAN_SOURCES = f"""\
Types: deb
# A comment in between
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main
Signed-By: {KEYRING}

Types: deb deb-src
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main contrib
Signed-By: {KEYRING}

Types: deb
Enabled: no
URIs: http://disabled.example/debian
Suites: bookworm bookworm-updates
Components: main
"""


class Host:
    """A build host: its package sources and its name."""

    def __init__(self, root: pathlib.Path, distribution: str) -> None:
        self.apt = root / "apt"
        (self.apt / "sources.list.d").mkdir(parents=True)
        self.os_release = root / "os-release"
        self.os_release.write_text(f'NAME="Something"\nID={distribution}\nVERSION_ID="12"\n')

    def write(self, name: str, text: str) -> None:
        (self.apt / name).write_text(text)

    def mirrors(self, given: t.Mapping[str, str] | None = None) -> Mirrors:
        return Mirrors(given, apt_directory=str(self.apt), os_release=str(self.os_release))


@pytest.fixture
def debian(tmp_path: pathlib.Path) -> Host:
    return Host(tmp_path, "debian")


def test_deb822_sources(debian: Host) -> None:
    debian.write("sources.list.d/debian.sources", DEBIAN_SOURCES)
    path = str(debian.apt / "sources.list.d/debian.sources")
    assert read_apt_sources(str(debian.apt)) == [
        AptSource("http://mirror.example/debian", ("bookworm", "bookworm-updates"), ("main",), KEYRING, path),
        AptSource("http://mirror.example/debian-security", ("bookworm-security",), ("main", "contrib"), KEYRING, path),
    ]
    assert debian.mirrors().url("debian") == "http://mirror.example/debian"
    assert debian.mirrors().url("debian-security") == "http://mirror.example/debian-security"


def test_one_line_sources(debian: Host) -> None:
    debian.write(
        "sources.list",
        "# deb http://commented.example/debian bookworm main\n"
        "deb-src http://source.example/debian bookworm main\n"
        f"deb [arch=amd64 signed-by={KEYRING}] https://mirror.example/debian bookworm main contrib # why\n"
        "deb https://mirror.example/debian bookworm-updates main\n"
        "deb https://security.example/debian-security bookworm-security main\n",
    )
    first = read_apt_sources(str(debian.apt))[0]
    assert (first.uri, first.suites, first.components, first.signed_by) == (
        "https://mirror.example/debian",
        ("bookworm",),
        ("main", "contrib"),
        KEYRING,
    )
    assert debian.mirrors().url("debian") == "https://mirror.example/debian"
    assert debian.mirrors().url("debian-security") == "https://security.example/debian-security"


@pytest.mark.parametrize("order", [("10-vendor.list", "debian.sources"), ("vendor.list", "debian.sources")])
def test_third_parties_are_no_mirrors(debian: Host, order: tuple[str, str]) -> None:
    vendor, own = order
    debian.write(
        f"sources.list.d/{vendor}",
        "deb https://vendor.example/linux/debian bookworm stable\n"
        "deb https://other.example/stable/debian bookworm main\n"
        "deb https://third.example/repo stable main\n",
    )
    debian.write(f"sources.list.d/{own}", DEBIAN_SOURCES)
    assert debian.mirrors().url("debian") == "http://mirror.example/debian"


def test_a_mirror_with_an_unusual_path(debian: Host) -> None:
    debian.write(
        "sources.list",
        "deb https://cache.example/repository/deb-proxy trixie main\n"
        "deb https://cache.example/repository/deb-proxy trixie-updates main\n"
        "deb https://cache.example/repository/sec-proxy trixie-security main\n",
    )
    assert debian.mirrors().url("debian") == "https://cache.example/repository/deb-proxy"
    assert debian.mirrors().url("debian-security") == "https://cache.example/repository/sec-proxy"


def test_a_mirror_list(debian: Host, tmp_path: pathlib.Path) -> None:
    listing = tmp_path / "mirrors.list"
    listing.write_text("# nearest first\nhttps://near.example/debian/ priority:1\nhttps://far.example/debian\n")
    debian.write(
        "sources.list.d/debian.sources",
        f"Types: deb\nURIs: mirror+file://{listing}\nSuites: trixie trixie-updates\nComponents: main\n",
    )
    assert debian.mirrors().url("debian") == "https://near.example/debian"


def test_a_key_in_the_entry(debian: Host) -> None:
    debian.write(
        "sources.list.d/debian.sources",
        "Types: deb\nURIs: https://mirror.example/debian\nSuites: trixie trixie-updates\nComponents: main\nSigned-By:\n"
        " -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDMEX\n -----END PGP PUBLIC KEY BLOCK-----\n",
    )
    assert debian.mirrors().url("debian") == "https://mirror.example/debian"
    assert read_apt_sources(str(debian.apt))[0].signed_by == ""


def test_the_option_comes_first(debian: Host) -> None:
    debian.write("sources.list.d/debian.sources", DEBIAN_SOURCES)
    assert debian.mirrors({"debian": "https://mine.example/d/"}).url("debian") == "https://mine.example/d"


def test_an_ubuntu_host_is_no_debian_mirror(tmp_path: pathlib.Path) -> None:
    host = Host(tmp_path, "ubuntu")
    host.write(
        "sources.list.d/ubuntu.sources",
        "Types: deb\nURIs: http://archive.example/ubuntu/\nSuites: noble noble-updates noble-backports\n"
        "Components: main universe\n\n"
        "Types: deb\nURIs: http://security.example/ubuntu/\nSuites: noble-security\nComponents: main universe\n",
    )
    assert host.mirrors().url("ubuntu") == "http://archive.example/ubuntu"
    assert host.mirrors().url("ubuntu-security") == "http://security.example/ubuntu"
    with pytest.raises(RepositoryError) as caught:
        host.mirrors().url("debian")
    assert str(caught.value) == (
        "No mirror is known for 'debian': the option mirrors does not name it, and neither do the package sources of "
        f"the build host in {host.apt}. Name its URL in the option mirrors (the role variable image_build_mirrors), "
        'for example {"debian": "https://mirror.example/debian"}.'
    )


def test_a_host_without_apt(tmp_path: pathlib.Path) -> None:
    mirrors = Mirrors({}, apt_directory=str(tmp_path / "none"), os_release=str(tmp_path / "none"))
    with pytest.raises(RepositoryError, match="image_build_mirrors"):
        mirrors.url("debian-security")


def test_a_mirror_must_have_a_url(debian: Host) -> None:
    with pytest.raises(RepositoryError, match="The mirror 'debian' has the URL 'ftp://x', which cannot be fetched"):
        debian.mirrors({"debian": "ftp://x"}).url("debian")


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        ('Acquire::http::Proxy "http://proxy.example:3128";', {"http": "http://proxy.example:3128"}),
        ('Acquire { HTTP { Proxy "http://proxy.example:3128"; }; };', {"http": "http://proxy.example:3128"}),
        (
            'Acquire::http::Proxy "http://proxy.example:3128"; Acquire::http::Proxy::mirror.example "DIRECT";',
            {"http": None},
        ),
        ('Acquire::https::Proxy "http://proxy.example:3128";', None),
        ("", None),
    ],
)
def test_the_proxy_of_apt(
    debian: Host,
    monkeypatch: pytest.MonkeyPatch,
    configuration: str,
    expected: t.Mapping[str, str | None] | None,
) -> None:
    debian.write("sources.list.d/debian.sources", DEBIAN_SOURCES)
    debian.write("apt.conf", configuration)
    monkeypatch.setenv("APT_CONFIG", str(debian.apt / "apt.conf"))
    mirrors = debian.mirrors()
    assert mirrors.proxies("http://mirror.example/debian/dists/bookworm/InRelease") == expected
    # What does not come from apt's sources is none of apt's business.
    assert mirrors.proxies("http://mirror.example/other/file") is None


def yum_host(root: pathlib.Path, files: t.Mapping[str, str]) -> Mirrors:
    """Make a build host of the RPM family."""
    for name, text in {"etc/os-release": 'ID="example"\nVERSION_ID="3.0"\n', **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Mirrors(apt_directory=str(root / "etc/apt"), os_release=str(root / "etc/os-release"), yum_root=str(root))


_REPOSITORIES = """
[base]
name=Base
baseurl=https://packages.example.org/$releasever/prod/base/$basearch/
    https://other.example.org/

[listed]
metalink=https://mirrors.example.org/metalink?repo=listed

[off]
baseurl=https://off.example.org
enabled=0

[proxied]
baseurl=http://inner.example.org/${stream}/proxied
proxy=http://proxy.example.org:3128
"""


def test_a_repository_of_an_rpm_host_is_a_mirror_by_its_id(tmp_path: pathlib.Path) -> None:
    mirrors = yum_host(tmp_path, {"etc/yum.repos.d/all.repo": _REPOSITORIES, "etc/dnf/vars/stream": "10-stream\n"})
    machine = os.uname().machine
    assert mirrors.url("base") == f"https://packages.example.org/3.0/prod/base/{machine}"
    assert mirrors.url("proxied") == "http://inner.example.org/10-stream/proxied"
    assert mirrors.proxies("http://inner.example.org/10-stream/proxied/repodata/repomd.xml") == {
        "http": "http://proxy.example.org:3128"
    }
    assert mirrors.proxies("https://packages.example.org/3.0") is None
    with pytest.raises(RepositoryError, match="'listed'.* names only a list of mirrors. Name its URL in the option"):
        mirrors.url("listed")
    # Where lists of mirrors are read, it does not matter.
    assert mirrors.list_url("listed") == "https://mirrors.example.org/metalink?repo=listed"
    assert [mirrors.list_url(name) for name in ("base", "off", "unknown")] == ["", "", ""]
    for name in ("off", "unknown"):
        with pytest.raises(
            RepositoryError, match=r"no repository of the build host in .*/etc/yum.repos.d is called so"
        ):
            mirrors.url(name)


@pytest.mark.parametrize(
    ("release", "version"),
    [('ID="centos"\nVERSION_ID="10"', "10"), ("ID=rocky\nID_LIKE='rhel centos fedora'\nVERSION_ID=10.1", "10")],
)
def test_enterprise_linux_counts_by_major_versions(tmp_path: pathlib.Path, release: str, version: str) -> None:
    repository = "[appstream]\nbaseurl=https://example.org/$releasever/AppStream"
    mirrors = yum_host(tmp_path, {"etc/yum.repos.d/a.repo": repository, "etc/os-release": release + "\n"})
    assert mirrors.url("appstream") == f"https://example.org/{version}/AppStream"


def test_broken_repository_files_are_left_to_dnf(tmp_path: pathlib.Path) -> None:
    files = {"etc/yum.repos.d/a.repo": "baseurl=x\n", "etc/yum.repos.d/b.repo": "[b]\nbaseurl=ftp://example.org\n"}
    with pytest.raises(RepositoryError, match="No mirror is known for 'a'"):
        yum_host(tmp_path, files).url("a")
