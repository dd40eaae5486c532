# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The RPM distribution of the tests is one: signed, complete, installable by rpm itself, and the same each time."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import typing as t

import pytest
from ansible_collections.os_image.composer.tests.support.dnf_oracle import Chosen, dnf_answers
from ansible_collections.os_image.composer.tests.support.install_root import MOUNTS
from ansible_collections.os_image.composer.tests.support.rpm_distribution.distribution import (
    RpmDistribution,
    fetch_debian_packages,
    plan_distribution,
    rpm_distribution,
    unsigned_package,
)
from ansible_collections.os_image.composer.tests.support.rpm_distribution.rpm_package import build
from ansible_collections.os_image.composer.tests.support.tiny_debian import needs_root

_IMAGE = (
    *("core-packages-base-image", "kernel", "openssh-server", "cronie", "chrony", "systemd-boot", "NetworkManager"),
    "dnf",
)

# What packages say when all is well.
_KNOWN = re.compile(
    r"rpm: (RPM should not be used directly|However assuming you know).*"
    r"|Creating (group|user) '.*"
    r"|Created symlink .*"
)

_INSTALL = f"""\
root=$1; key=$2; shift 2
{MOUNTS}
rpmkeys --root "$root" --dbpath /var/lib/rpm --import "$key" &&
exec rpm --root "$root" --dbpath /var/lib/rpm --define '_pkgverify_level all' \\
    --define '_netsharedpath /sys:/proc:/dev' --noplugins -U "$@"
"""


@pytest.fixture(scope="module")
def distribution() -> RpmDistribution:
    return rpm_distribution()


@pytest.fixture(scope="module")
def answers(distribution: RpmDistribution) -> dict[str, set[Chosen] | str]:
    """What dnf would install for each package alone, and for an image."""
    names = [_query(path, "%{NAME}") for path in distribution.packages()]
    with distribution.serve() as server:
        found = dnf_answers(server.url, [*([name] for name in names), list(_IMAGE)])
    return dict(zip([*names, "an image"], found))


def _run(*argv: str, check: bool = False, **options: t.Any) -> subprocess.CompletedProcess[str]:
    # Debian's rpm has a database in the home directory, which is none of the tests' business.
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}
    return subprocess.run(
        argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=check, **options
    )


def _query(path: str, form: str) -> str:
    return _run("rpm", "-qp", "--nosignature", "--qf", form, path, check=True).stdout


def test_packages_and_repository_are_signed(distribution: RpmDistribution, tmp_path: pathlib.Path) -> None:
    database = f"--dbpath={tmp_path}/db"
    _run("rpmkeys", database, "--import", distribution.key, check=True)
    checked = _run("rpmkeys", database, "--define", "_pkgverify_level all", "-K", *distribution.packages())
    assert checked.returncode == 0, checked.stdout
    assert len(re.findall("digests signatures OK$", checked.stdout, re.M)) == len(distribution.packages()) > 200
    keyring = str(tmp_path / "key.gpg")
    subprocess.run(["gpg", "--dearmor", "--output", keyring, distribution.key], check=True, capture_output=True)
    repomd = os.path.join(distribution.directory, "repodata", "repomd.xml")
    verified = _run("gpgv", "--status-fd", "1", "--keyring", keyring, f"{repomd}.asc", repomd, check=True)
    assert f"VALIDSIG {distribution.fingerprint}" in verified.stdout


def test_every_package_can_be_installed(answers: dict[str, set[Chosen] | str]) -> None:
    assert {name: answer for name, answer in answers.items() if isinstance(answer, str)} == {}


def test_scriptlets_and_dependencies_of_all_kinds_occur(distribution: RpmDistribution) -> None:
    said = _run(
        "rpm", "-qp", "--nosignature", "--scripts", "--filetriggers", *distribution.packages(), check=True
    ).stdout
    for kind in (
        "preinstall scriptlet (using /bin/sh)",
        "postinstall scriptlet (using /bin/sh)",
        "postinstall scriptlet (using <lua>)",
        "pretrans scriptlet (using <lua>)",
        "transfiletriggerin scriptlet (using <lua>) -- /usr/lib",
        "transfiletriggerin scriptlet (using /bin/sh) -- /usr/lib/sysusers.d",
    ):
        assert kind in said
    relations = {
        what: _run("rpm", "-qp", "--nosignature", f"--{what}", *distribution.packages(), check=True).stdout
        for what in ("requires", "recommends", "conflicts", "obsoletes", "provides")
    }
    assert re.search(r"^\(\S.* or .*\)$", relations["requires"], re.M)
    for what, text in relations.items():
        assert re.search(r"^[a-zA-Z]\S+ (<|=|>=) \S+$", text, re.M), what


def test_a_second_generation_is_identical(tmp_path: pathlib.Path) -> None:
    plans = {plan.name: plan for plan in plan_distribution(fetch_debian_packages())}
    for name in ("filesystem", "openssh-server", "bash"):
        again = tmp_path / plans[name].filename
        build(plans[name], str(again))
        with open(unsigned_package(plans[name]), "rb") as stream:
            assert again.read_bytes() == stream.read(), name


@needs_root
def test_rpm_installs_an_image(
    distribution: RpmDistribution, answers: dict[str, set[Chosen] | str], tmp_path: pathlib.Path
) -> None:
    chosen = answers["an image"]
    assert isinstance(chosen, set)
    names = {f"{name}-{evr.rpartition(':')[2]}.{arch}" for name, evr, arch in chosen}
    root = tmp_path / "root"
    files = [os.path.join(distribution.directory, "packages", f"{name}.rpm") for name in sorted(names)]
    done = _run(
        *("unshare", "--mount", "--pid", "--fork", "--ipc", "--uts", "--net"),
        *("sh", "-c", _INSTALL, "install", str(root), distribution.key, *files),
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if not _KNOWN.fullmatch(line)] == []

    database = ("--root", str(root), "--dbpath", "/var/lib/rpm")
    listed = _run("rpm", *database, "-qa", "--qf", "%{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}\\n", check=True).stdout
    assert {line for line in listed.splitlines() if not line.startswith("gpg-pubkey-")} == names
    # Users, groups and shells are added to.
    verified = _run("rpm", *database, "-Va").stdout.splitlines()
    assert [line for line in verified if " c /etc/" not in line] == []

    # What the scriptlets did: of lua, of the shell, and of file triggers.
    assert "/bin/bash" in (root / "etc/shells").read_text().splitlines()
    (modules,) = (root / "usr/lib/modules").iterdir()
    assert (modules / "modules.dep.bin").exists()
    assert (root / "etc/ld.so.cache").exists()
    groups = {line.split(":")[0]: int(line.split(":")[2]) for line in (root / "etc/group").read_text().splitlines()}
    assert {"crontab", "messagebus", "systemd-network", "systemd-resolve"} <= set(groups)
    crontab = (root / "usr/bin/crontab").stat()
    assert (crontab.st_mode & 0o7777, crontab.st_gid) == (0o2755, groups["crontab"])
    assert (root / "etc/systemd/system/multi-user.target.wants/sshd.service").is_symlink()
    assert (root / "etc/ssl/certs/ca-certificates.crt").stat().st_size > 100_000
