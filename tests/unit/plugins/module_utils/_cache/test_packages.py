# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The package cache: what is in it is what the lock demands."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import time

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._cache import packages
from ansible_collections.os_image.composer.plugins.module_utils._cache.packages import CachedFile, PackageCache
from ansible_collections.os_image.composer.plugins.module_utils._errors import LockedError


def wanted(name: str, data: bytes) -> CachedFile:
    return CachedFile(name, hashlib.sha256(data).hexdigest(), len(data))


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record which files are hashed."""
    names: list[str] = []

    def sha256_file(path: str) -> str:
        names.append(os.path.basename(path))
        return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()

    monkeypatch.setattr(packages, "sha256_file", sha256_file)
    return names


def test_intact_damaged_and_missing_files(tmp_path: pathlib.Path) -> None:
    good, wrong, short, gone = (wanted(name, name.encode()) for name in ("good", "wrong", "short", "gone"))
    (tmp_path / "good").write_bytes(b"good")
    (tmp_path / "wrong").write_bytes(b"wr0ng")
    (tmp_path / "short").write_bytes(b"sho")
    found = PackageCache(str(tmp_path)).check([good, wrong, short, gone], workers=4)
    assert found.intact == (good,)
    assert found.missing == (gone,)
    assert found.damaged == {
        wrong: f"its SHA-256 is {hashlib.sha256(b'wr0ng').hexdigest()} instead of {wrong.sha256}",
        short: "it has 3 bytes instead of 5",
    }


def test_what_was_verified_is_not_hashed_again(tmp_path: pathlib.Path, hashed: list[str]) -> None:
    files = [wanted(name, name.encode()) for name in ("a", "b")]
    for file in files:
        (tmp_path / file.filename).write_bytes(file.filename.encode())
    assert len(PackageCache(str(tmp_path)).check(files, workers=2).intact) == 2
    assert sorted(hashed) == ["a", "b"]
    hashed.clear()
    assert len(PackageCache(str(tmp_path)).check(files, workers=2).intact) == 2
    assert hashed == []
    # Whoever asks for it gets everything hashed.
    PackageCache(str(tmp_path)).check(files, workers=2, trust_index=False)
    assert sorted(hashed) == ["a", "b"]


def test_damage_is_found_although_size_and_time_are_as_before(tmp_path: pathlib.Path) -> None:
    file = wanted("a", b"good")
    path = tmp_path / "a"
    path.write_bytes(b"good")
    cache = PackageCache(str(tmp_path))
    cache.check([file], workers=1)
    status = path.stat()
    time.sleep(0.02)
    path.write_bytes(b"evil")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert list(cache.check([file], workers=1).damaged) == [file]


def test_another_lock_may_demand_another_digest(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a").write_bytes(b"good")
    cache = PackageCache(str(tmp_path))
    cache.check([wanted("a", b"good")], workers=1)
    other = wanted("a", b"gone")
    assert list(cache.check([other], workers=1).damaged) == [other]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema_version": 1}', '{"schema_version": 9, "files": {}}'])
def test_an_unreadable_index_proves_nothing(tmp_path: pathlib.Path, hashed: list[str], content: str) -> None:
    file = wanted("a", b"good")
    (tmp_path / "a").write_bytes(b"good")
    (tmp_path / ".verified.json").write_text(content)
    assert PackageCache(str(tmp_path)).check([file], workers=1).intact == (file,)
    assert hashed == ["a"]
    assert list(json.loads((tmp_path / ".verified.json").read_text())["files"]) == ["a"]


def test_files_that_are_gone_are_forgotten(tmp_path: pathlib.Path) -> None:
    cache = PackageCache(str(tmp_path))
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"x")
    cache.record([wanted("a", b"x"), wanted("b", b"x")])
    (tmp_path / "a").unlink()
    (tmp_path / "c").write_bytes(b"x")
    cache.record([wanted("c", b"x")])
    assert sorted(json.loads((tmp_path / ".verified.json").read_text())["files"]) == ["b", "c"]


def test_users_share_the_cache_and_exclude_a_cleaner(tmp_path: pathlib.Path) -> None:
    directory = str(tmp_path / "cache")
    with PackageCache(directory).lock(who="pkg_fetch", timeout=0):
        with PackageCache(directory).lock(who="chroot_configure", timeout=0):
            pass
        with (
            pytest.raises(LockedError, match=f"The package cache {directory} is in use by"),
            PackageCache(directory).lock(who="cache", timeout=0, shared=False),
        ):
            pass
