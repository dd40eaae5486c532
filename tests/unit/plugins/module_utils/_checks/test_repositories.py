# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.os_image.composer.tests.unit.plugins.module_utils._checks.conftest import (
    Approve,
    Judge,
    Part,
    Right,
    neighbours,
    repository,
)

URL = "https://packages.example.com/debian"

WRONG: list[tuple[Part, str]] = [
    (repository(url="ftp://x/y", pkey="k"), "'ftp://x/y' is no URL of a repository."),
    (
        repository(url="file:///srv/debs", pkey="k"),
        "'file:///srv/debs' is a place on the build host. Name a directory of",
    ),
    (repository(url="<URL>", pkey="k"), "<URL> is a placeholder."),
    (repository(url="https://me:secret@x/y", pkey="k"), "The URL holds a user name or password"),
    (repository(url="https://x/$arch", pkey="k"), "Nothing is known that could be filled in for $arch."),
    (repository(url="http://x/y", gpgcheck=False), "Unsigned packages that come over http can be changed by anybody."),
    (repository(url=URL), "The repository 'stable' has no key."),
    (repository(url=URL, pkey="https://x/key.asc"), "A key that is fetched at build time would be trusted blindly."),
    (repository(url=URL, pkey="[trusted=yes]"), "Write gpgcheck: false, and no key"),
    (repository(url=URL, pkey="<KEY>"), "<KEY> is a placeholder."),
    (
        repository(codename="deb/../x/", url=URL, pkey="k"),
        "packageRepositories[0].codename: The directory 'deb/../x/' must be written without",
    ),
    (
        repository(codename="./", component="main contrib", url=URL, pkey="k"),
        "packageRepositories[0].component: './' ends in a slash",
    ),
    (repository(codename="../", url=URL, pkey="k"), "'../' has not the right form: it must be the name of a suite"),
    (repository(codename="//", url=URL, pkey="k"), "'//' has not the right form: it must be the name of a suite"),
    *(
        (repository(**{key: value}), f"packageRepositories[0].{key}: Without url, mirror or path, 'stable' is a repos")
        for key, value in (("pkey", "k"), ("gpgcheck", False), ("component", "contrib"), ("maxAge", 3))
    ),
    (repository(url=URL, gpgcheck=False, fingerprints=["A" * 40]), "Keys have no effect with gpgcheck: false."),
    (
        {"packageRepositories": [{"name": "x", "codename": "y", "mirror": "debian", "gpgcheck": False}] * 2},
        "Two repositories are called 'x'.",
    ),
    (
        {"packageRepositories": [{"name": name, "codename": "x", "url": URL, "pkey": "k"} for name in "ab"]},
        "packageRepositories[1]: The repository https://packages.example.com/debian is there twice.",
    ),
    (repository(mirror="debian", gpgcheck=False), "Signatures of the repository 'stable' are not checked"),
    (
        repository(url=URL, pkey="k", allowPackages=["a", "b=1"]),
        "allowPackages[1]: allowPackages knows names and globs",
    ),
    (
        repository(url=URL, pkey="k", excludePackages=["b=1"]),
        "excludePackages[0]: excludePackages knows names and globs, so b=1 excludes nothing",
    ),
    (repository(url=URL, pkey="k", priority=-1), "Nothing is taken from 'stable' with a priority below 0."),
    (repository(url=URL, pkey="k", priority=1001), "With a priority above 1000"),
]

RIGHT: Right = {
    "repositories_are_unique": [
        {"packageRepositories": [{"codename": "x", "mirror": name, "gpgcheck": False} for name in "ab"]},
        {"packageRepositories": [{"name": name, "codename": "x", "mirror": name, "gpgcheck": False} for name in "ab"]},
    ],
    "repositories_are_described_once": [
        {
            "packageRepositories": [
                {"name": name, "codename": "x", "url": URL, "pkey": "k", "component": name} for name in "ab"
            ]
        }
    ],
    "repository_urls_are_sound": [
        repository(url="http://10.0.0.1:8080/{arch}", pkey="k"),
        repository(url="https://x/$releasever/$basearch/", pkey="k"),
        repository(url="https://x", pkey="k"),
    ],
    "flat_repositories_are_directories": [
        repository(codename=codename, url=URL, pkey="k") for codename in ("./", "/", "./deb/", "debian12/x.y/", "a/b")
    ],
    "places_of_repositories_are_given": [
        repository(url=URL, pkey="k", component="contrib", maxAge=3, priority=900),
        repository(mirror="debian", gpgcheck=False),
    ],
    "repository_keys_are_named": [
        repository(url=URL, pkey="keys/file.asc"),
        repository(url=URL, pkeys=["k", "keys/l"]),
        repository(url=URL, pkey="https://x/key.asc", fingerprints=["A" * 40]),
        repository(url=URL, gpgcheck=False),
    ],
    "repositories_are_signed": [repository(url=URL, pkey="k")],
    "allowed_packages_are_names": [repository(url=URL, pkey="k", allowPackages=["docker-*", "curl"])],
    "priorities_let_the_best_win": [
        repository(url=URL, pkey="k", priority=number) for number in (0, 1, 500, 990, 1000)
    ],
}


@pytest.mark.parametrize(("part", "expected"), WRONG, ids=[text[:60] for _part, text in WRONG])
def test_wrong(part: Part, expected: str, judge: Judge) -> None:
    found = judge(part)
    assert any(expected in line for line in found), found


@pytest.mark.parametrize(("name", "part"), neighbours(RIGHT))
def test_right(name: str, part: Part, approve: Approve) -> None:
    approve(name, part)
