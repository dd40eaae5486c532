# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The package lock: its form, reading a given one, and differences in words."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import ResolveError
from ansible_collections.os_image.composer.plugins.module_utils._resolver.lock import (
    describe_lock_change,
    lock_fingerprint,
    package_changes,
    read_lock,
)

PROVIDER = "debian-debian12-x86_64"


def package(name: str = "app", version: str = "1.0-1", **changes: t.Any) -> dict[str, t.Any]:
    """Return a package of a lock."""
    return {
        "name": name,
        "version": version,
        "arch": "amd64",
        "sha256": "a" * 64,
        "size": 1,
        "url": "http://mirror.example.org/a.deb",
        "repository": "stable",
        "reason": "system",
        "depends": [],
        "layer": 1,
        "installed_size": 1024,
        "source": name,
        "filename": f"{name}_{version}_amd64.deb",
        **changes,
    }


def lock(*packages: dict[str, t.Any], **changes: t.Any) -> dict[str, t.Any]:
    """Return a lock."""
    repository = {"name": "stable", "url": "http://mirror.example.org", "metadata_digest": "b" * 64, "signed_by": []}
    return {
        "schema_version": 1,
        "provider_id": PROVIDER,
        "repositories": [repository],
        "requested": ["app"],
        "packages": list(packages),
        "source_date_epoch": 1,
        **changes,
    }


def test_a_lock_is_read_as_it_was_written(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "packages.lock.json"
    path.write_text(json.dumps(lock(package())))
    assert read_lock(str(path), provider_id=PROVIDER) == lock(package())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "Cannot read the lock file .*: No such file or directory"),
        ("{", "is not JSON"),
        ("[]", "is not a package lock: it is not a JSON object"),
        (json.dumps(lock(schema_version=2)), "schema_version is 2, not 1"),
        ("[" * 100_000, "is not JSON: it is nested too deeply"),
        (json.dumps(lock(repositories=[{"name": []}])), r"repositories\[0\]\.name has the wrong form"),
        (json.dumps(lock(packages=3)), "packages has the wrong form"),
        (json.dumps(lock(source_date_epoch=-1)), "source_date_epoch has the wrong form"),
        (json.dumps(lock(package(sha256="x"))), r"packages\[0\]\.sha256 has the wrong form"),
        (json.dumps(lock(package(filename="../x.deb"))), r"packages\[0\]\.filename has the wrong form"),
        (json.dumps(lock(package(name="--help"))), r"packages\[0\]\.name has the wrong form"),
        (json.dumps(lock(package(reason="luck"))), r"packages\[0\]\.reason has the wrong form"),
        (json.dumps(lock(package(size=True))), r"packages\[0\]\.size has the wrong form"),
        (json.dumps(lock(package(), package())), r"packages\[1\] is a second 'app'"),
        (json.dumps(lock(package(repository="other"))), r"packages\[0\] is of the unknown repository 'other'"),
        (
            json.dumps(lock(provider_id="debian-debian13-x86_64")),
            "was made for 'debian-debian13-x86_64', but this image is for 'debian-debian12-x86_64'",
        ),
    ],
)
def test_what_is_no_lock_is_refused(tmp_path: pathlib.Path, content: str | None, message: str) -> None:
    path = tmp_path / "lock.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ResolveError, match=message) as caught:
        read_lock(str(path), provider_id=PROVIDER)
    assert "or leave out lock_file." in str(caught.value)


def test_the_difference_of_two_locks() -> None:
    before = lock(package("old"), package("lib", "1"), package("same"), package("rebuilt"))
    after = lock(package("new"), package("lib", "2"), package("same"), package("rebuilt", sha256="c" * 64))
    assert package_changes(before, after) == {
        "added": ["new 1.0-1"],
        "removed": ["old 1.0-1"],
        "changed": ["lib 1 -> 2", "rebuilt 1.0-1 (another build of the same version)"],
    }
    assert package_changes(None, lock(package())) == {"added": ["app 1.0-1"], "removed": [], "changed": []}
    assert package_changes(after, after) == {"added": [], "removed": [], "changed": []}


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (
            lock(package("openssl", "3.0.17-1")),
            lock(package("openssl", "3.0.18-1")),
            "package lock changed: openssl 3.0.17-1 -> 3.0.18-1",
        ),
        ({"openssl": "3.0.17-1"}, {"openssl": "3.0.18-1"}, "package lock changed: openssl 3.0.17-1 -> 3.0.18-1"),
        (
            lock_fingerprint(lock(package("openssl", "3.0.17-1"))),
            lock_fingerprint(lock(package("openssl", "3.0.18-1"), package("vim"))),
            "package lock changed: openssl 3.0.17-1 -> 3.0.18-1, vim 1.0-1 added",
        ),
        (
            {"a": "1", "b": "1", "c": "1"},
            {"a": "2", "d": "1", "e": "1"},
            "package lock changed: a 1 -> 2, d 1 added, e 1 added and 2 more",
        ),
        (None, {"a": "1"}, "package lock changed: a 1 added"),
        ({"a": "1"}, {"a": "1"}, "package lock changed"),
    ],
)
def test_a_change_is_told_in_words(before: t.Any, after: t.Any, words: str) -> None:
    assert describe_lock_change(before, after) == words


def test_the_fingerprint_does_not_know_the_mirror() -> None:
    assert lock_fingerprint(lock(package(url="http://one/a.deb"))) == lock_fingerprint(
        lock(package(url="http://two/a.deb"))
    )
    assert lock_fingerprint(lock(package())) != lock_fingerprint(lock(package(sha256="c" * 64)))
