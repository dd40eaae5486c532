# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The resolver's answers beside apt's own, for unusual requests against small repositories that are made here."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import ResolveError
from ansible_collections.os_image.composer.plugins.module_utils._repository.deb import DebRelease, DebRepository
from ansible_collections.os_image.composer.plugins.module_utils._repository.mirrors import Mirrors
from ansible_collections.os_image.composer.plugins.module_utils._resolver.deb import DebResolver
from ansible_collections.os_image.composer.plugins.module_utils._resolver.older import older_versions
from ansible_collections.os_image.composer.plugins.module_utils._resolver.request import Request
from ansible_collections.os_image.composer.plugins.module_utils._template.provider_model import Repository
from ansible_collections.os_image.composer.tests.integration.real_mirror.test_apt_oracle import lay_out_for_apt
from ansible_collections.os_image.composer.tests.support.package_index import repository

pytestmark = pytest.mark.skipif(shutil.which("apt-get") is None, reason="there is no apt to compare with")

_FETCHED = re.compile(r"^'\S+' ([^_\s]+)_([^_\s]+)_[^_\s]+\.deb ", re.MULTILINE)

STABLE = """
    mta-one 2.0
    Provides: mail-agent, versioned-agent (= 5)

    mta-two 2.0
    Provides: mail-agent

    sole 1.0
    Provides: only-virtual (= 3.0), unversioned

    allowed 1.0
    Multi-Arch: allowed

    plain 1.0

    foreign 1.0
    Multi-Arch: foreign

    needs-allowed 1.0
    Depends: allowed:any

    needs-plain 1.0
    Depends: plain:any

    needs-foreign 1.0
    Depends: foreign:any

    needs-newer 1.0
    Depends: allowed:any (>= 5)

    has-choice 1.0
    Depends: plain:any | allowed

    provider 1.0
    Multi-Arch: allowed
    Provides: virtual, versioned (= 2)

    needs-virtual 1.0
    Depends: virtual:any

    needs-versioned 1.0
    Depends: versioned:any (>= 2)

    no-friend 1.0
    Conflicts: allowed:any

    library 1.0

    application 1.0
    Depends: library (= 1.0)

    bus-one 1.0
    Provides: bus

    bus-two 1.0
    Provides: bus

    bus-three 1.0
    Provides: bus

    service 1.0
    Depends: service-library (= 1.0), service-common (>= 1.0), bus

    service 2.0
    Depends: service-library (= 2.0), service-common (>= 2.0), bus

    service-library 1.0
    Depends: service-common (= 1.0), agent-x | agent-y

    service-library 2.0
    Depends: service-common (= 2.0), agent-x | agent-y

    service-common 1.0

    service-common 2.0

    agent-x 1.0
    Depends: bus-none | bus

    agent-y 1.0
"""
BACKPORTS = """
    library 2.0

    application 2.0
    Depends: library (= 2.0)

    new-tool 1.0
    Depends: library
"""


def _stanzas(text: str) -> str:
    return re.sub(r"(?m)^( *)(\S+) (\d\S*)$", r"\1Package: \2\n\1Version: \3", text)


@dataclasses.dataclass(frozen=True)
class _Both:
    """The resolver and apt, with the same repositories."""

    repositories: t.Sequence[t.Any]
    apt_conf: pathlib.Path

    def ours(self, *texts: str) -> tuple[set[tuple[str, str]], list[str]] | None:
        resolver = DebResolver(arch="amd64", cache_dir=None)
        resolver.pool.load(self.repositories)
        try:
            selection = resolver.select([Request(text, "system") for text in texts])
            chosen = resolver.solve(selection)
        except ResolveError:
            return None
        packages = {(resolver.pool.name(number), resolver.pool.version(number)) for number in chosen}
        return packages, older_versions(resolver.pool, chosen, selection)

    def apts(self, *texts: str) -> set[tuple[str, str]] | None:
        done = subprocess.run(
            ["apt-get", "install", "--yes", "--print-uris", *texts],
            env={"PATH": os.environ["PATH"], "LC_ALL": "C", "APT_CONFIG": str(self.apt_conf)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return set(_FETCHED.findall(done.stdout)) if done.returncode == 0 else None


def _release(suite: str, fields: str) -> str:
    version = "Version: 12.5\n" if suite == "stable" else ""
    return f"Suite: {suite}\nCodename: {suite}-name\n{version}{fields}"


@pytest.fixture(params=["", "NotAutomatic: yes\n", "NotAutomatic: yes\nButAutomaticUpgrades: yes\n"])
def both(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> _Both:
    """A release and its backports, as three Release files make them."""
    repositories = []
    for suite, stanzas, fields in (("stable", STABLE, ""), ("backports", BACKPORTS, request.param)):
        config = Repository.from_data(
            {
                "name": suite,
                "url": "http://mirror.example.org/debian",
                "suite": suite,
                "components": ["main"],
                "priority": 500,
                "allow_packages": [],
                "exclude_packages": [],
                "gpgcheck": True,
                "repo_gpgcheck": True,
                "keys": [],
                "fingerprints": [],
            }
        )
        release = dict(line.split(": ") for line in _release(suite, fields).splitlines())
        parsed = DebRelease(date=0, valid_until=None, revision=0, fields=release, files={})
        own = DebRepository(config, metadata_dir=str(tmp_path), mirrors=Mirrors(None))
        made = repository(tmp_path, _stanzas(stanzas), name=suite, priority=own.rank(parsed))
        repositories.append(dataclasses.replace(made, suite_names=own.suite_names(parsed)))
    conf = lay_out_for_apt(tmp_path / "apt", repositories)
    for suite, fields in (("stable", ""), ("backports", request.param)):
        name = f"mirror.example.org_debian_dists_{suite}_Release"
        (tmp_path / "apt/var/lib/apt/lists" / name).write_text(_release(suite, fields))
    return _Both(repositories, conf)


REQUESTS = (
    "mail-agent",
    "mail-agent=2.0",
    "versioned-agent=5",
    "versioned-agent=4",
    "only-virtual",
    "only-virtual=3.0",
    "only-virtual=1.0",
    "unversioned=3",
    "only-virtual/stable",
    "only-virtual/backports",
    "application",
    "application/stable",
    "application/stable-name",
    "application/backports",
    "application/backports-name",
    "application/12.5",
    "application/nowhere",
    "library application",
    "library=1.0 application=1.0",
    "new-tool",
    "new-tool library/backports",
    "allowed:any",
    "plain:any",
    "allowed:amd64",
    "allowed:native",
    "allowed:i386",
    "needs-allowed",
    "needs-plain",
    "needs-foreign",
    "needs-newer",
    "has-choice",
    "needs-virtual",
    "needs-versioned",
    "no-friend needs-allowed",
    "no-friend plain",
    "service",
)


def test_the_answer_is_that_of_apt(both: _Both) -> None:
    differing = []
    for text in REQUESTS:
        ours, apts = both.ours(*text.split()), both.apts(*text.split())
        if (ours and ours[0]) != apts:
            differing.append((text, ours, apts))
    assert not differing


@pytest.mark.parametrize("more", [(), ("bus-two",), ("agent-y",), ("bus-three", "plain")])
def test_siblings_of_an_older_version_are_added_and_the_rest_is_what_apt_takes_with_them(
    both: _Both, more: tuple[str, ...]
) -> None:
    assert both.apts("service=1.0", *more) is None
    ours = both.ours("service=1.0", *more)
    assert ours is not None
    packages, older = ours
    assert packages == both.apts("service=1.0", "service-library=1.0", "service-common=1.0", *more)
    assert older == [
        "service-common 1.0 in place of 2.0, which service-library 1.0 needs",
        "service-library 1.0 in place of 2.0, which service 1.0 needs",
    ]
