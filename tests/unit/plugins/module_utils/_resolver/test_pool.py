# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pool: what libsolv keeps, what is read from the index, pins, and the cache of indexes."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import RepositoryError, ResolveError
from ansible_collections.os_image.composer.plugins.module_utils._resolver.deb_pool import (
    DebPool,
    normal_relation,
    parse_stanza,
)
from ansible_collections.os_image.composer.plugins.module_utils._resolver.deb_request import DebFinder
from ansible_collections.os_image.composer.plugins.module_utils._resolver.deb_solve import solve
from ansible_collections.os_image.composer.plugins.module_utils._resolver.pool import KEPT_OUT
from ansible_collections.os_image.composer.plugins.module_utils._resolver.request import Request
from ansible_collections.os_image.composer.tests.support.package_index import pool_of, repository

INDEX = """
    shell
    Version: 1:5.2-1+b2
    Essential: yes
    Source: shell-src (1:5.2-1)
    Installed-Size: 12
    Size: 345
    Filename: pool/s/shell_5.2-1+b2_amd64.deb
    Pre-Depends: libc (>= 2.0)
    Depends: base:any, zz | shell-data (= 1:5.2-1), aa
    Recommends: nice
    Conflicts: old-shell (<< 2)

    shell-data
    Architecture: all
    Priority: required

    libc
    Version: 2.36-9

    base
    Multi-Arch: allowed
"""


def candidate(pool: DebPool, name: str) -> int:
    """Return the candidate, which is there."""
    solvable = pool.candidate(name)
    assert solvable is not None
    return solvable


def test_a_package_has_everything_that_its_stanza_says(tmp_path: pathlib.Path) -> None:
    pool = pool_of(repository(tmp_path, INDEX))
    package = pool.package(candidate(pool, "shell"))
    assert (package.name, package.version, package.arch) == ("shell", "1:5.2-1+b2", "amd64")
    assert (package.size, package.installed_size, package.source) == (345, 12 * 1024, "shell-src (1:5.2-1)")
    assert package.url == "http://mirror.example.org/debian/pool/s/shell_5.2-1+b2_amd64.deb"
    assert package.filename == "shell_1%3a5.2-1+b2_amd64.deb"
    assert len(package.sha256) == 64


def test_requirements_keep_the_order_of_the_package_even_from_the_cache(tmp_path: pathlib.Path) -> None:
    release = repository(tmp_path, INDEX)
    for _run in range(2):
        pool = pool_of(release, cache_dir=tmp_path / "cache")
        targets = [[part.target for part in clause] for clause in pool.requirements(candidate(pool, "shell"))]
        assert targets == [["libc"], ["base:any"], ["zz", "shell-data"], ["aa"]]


def test_marks_tell_essential_and_important_packages(tmp_path: pathlib.Path) -> None:
    release = repository(tmp_path, INDEX)
    for _run in range(2):
        pool = pool_of(release, cache_dir=tmp_path / "cache")
        assert pool.marked("essential") == ["shell"]
        assert pool.marked("required") == ["shell-data"]
        assert pool.marked("important") == []


def test_a_dependency_of_any_architecture_is_met_by_a_package_that_allows_it(tmp_path: pathlib.Path) -> None:
    pool = pool_of(repository(tmp_path, INDEX))
    assert pool.alternative("base:any").solvables == (candidate(pool, "base"),)


def test_a_versioned_dependency_is_not_met_by_a_provider_without_version(tmp_path: pathlib.Path) -> None:
    pool = pool_of(repository(tmp_path, "one\nProvides: mail\n\ntwo\nProvides: mail (= 3)"))
    assert [pool.name(number) for number in pool.alternative("mail").solvables] == ["one", "two"]
    assert [pool.name(number) for number in pool.alternative("mail >= 2").solvables] == ["two"]


@pytest.mark.parametrize(
    ("priorities", "expected"),
    [
        ((500, 500), "2.0 backports"),
        ((990, 500), "1.0 stable"),
        ((500, 100), "1.0 stable"),
        ((1001, 990), "1.0 stable"),
        ((0, 499), "1.0 stable"),
        ((500, -1), "1.0 stable"),
    ],
)
def test_the_candidate_is_of_the_preferred_repository_then_the_newest(
    tmp_path: pathlib.Path, priorities: tuple[int, int], expected: str
) -> None:
    pool = pool_of(
        repository(tmp_path, "app\nVersion: 1.0", name="stable", priority=priorities[0]),
        repository(tmp_path, "app\nVersion: 2.0", name="backports", priority=priorities[1]),
    )
    number = candidate(pool, "app")
    assert f"{pool.version(number)} {pool.repository(number).name}" == expected


def test_a_negative_priority_hides_a_repository(tmp_path: pathlib.Path) -> None:
    pool = pool_of(repository(tmp_path, "app", priority=-1))
    assert pool.candidate("app") is None
    assert pool.names() == set()


def test_of_equal_versions_the_first_repository_counts(tmp_path: pathlib.Path) -> None:
    pool = pool_of(repository(tmp_path, "app", name="first"), repository(tmp_path, "app", name="second"))
    assert pool.repository(candidate(pool, "app")).name == "first"


@pytest.mark.parametrize(
    ("allowed", "excluded", "names"),
    [
        (["app"], [], {"app"}),
        (["app*"], [], {"app", "app-data"}),
        (["lib?"], [], {"libc"}),
        ([], [], {"app", "app-data", "libc"}),
        ([], ["app-*"], {"app", "libc"}),
        (["app*"], ["app"], {"app-data"}),
        ([], ["*"], set()),
    ],
)
def test_only_allowed_packages_come_from_a_repository(
    tmp_path: pathlib.Path, allowed: list[str], excluded: list[str], names: set[str]
) -> None:
    index = "app\n\napp-data\n\nlibc"
    pool = pool_of(repository(tmp_path, index, allow_packages=allowed, exclude_packages=excluded))
    assert pool.names() == names
    assert {name for name in ("app", "app-data", "libc") if pool.candidate(name) is not None} == names


@pytest.mark.parametrize("suffix", ["index", "solv"])
@pytest.mark.parametrize("damage", [b"", b"\x00" * 64, b"[" * 100_000, b"5\n", None])
def test_a_damaged_cache_is_made_anew(tmp_path: pathlib.Path, suffix: str, damage: bytes | None) -> None:
    release = repository(tmp_path, INDEX)
    cache = tmp_path / "cache"
    pool_of(release, cache_dir=cache)
    (path,) = cache.glob(f"*.{suffix}")
    good = path.read_bytes()
    changed = bytearray(good)
    changed[len(good) // 2] ^= 0xFF
    path.write_bytes(bytes(changed) if damage is None else damage)
    pool = pool_of(release, cache_dir=cache)
    assert pool.package(candidate(pool, "shell")).version == "1:5.2-1+b2"
    assert path.read_bytes() == good


def test_the_cache_is_used(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = repository(tmp_path, INDEX)
    pool_of(release, cache_dir=tmp_path / "cache")

    def refuse(*_arguments: object) -> None:
        raise AssertionError("the index was parsed again")

    monkeypatch.setattr(DebPool, "_parse", refuse)
    pool = pool_of(release, cache_dir=tmp_path / "cache")
    assert pool.package(candidate(pool, "libc")).version == "2.36-9"


def test_a_cache_that_cannot_be_written_does_no_harm(tmp_path: pathlib.Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    pool = pool_of(repository(tmp_path, INDEX), cache_dir=tmp_path / "cache")
    assert pool.candidate("shell") is not None


def test_an_empty_index_is_no_error(tmp_path: pathlib.Path) -> None:
    release = repository(tmp_path, "app")
    empty = repository(tmp_path, "app", name="empty")
    pathlib.Path(empty.indexes[0].path).write_bytes(b"")
    pool = pool_of(empty, release)
    assert pool.names() == {"app"}
    assert pool.repository(candidate(pool, "app")).name == "stable"


def test_a_package_without_digest_is_refused(tmp_path: pathlib.Path) -> None:
    pool = pool_of(repository(tmp_path, "app\nSize: many"))
    with pytest.raises(RepositoryError, match=r"'stable' describes the package app 1\.0-1 with the size 'many'"):
        pool.package(candidate(pool, "app"))


def test_names_are_ordered_as_the_index_mentions_them(tmp_path: pathlib.Path) -> None:
    index = """
        first
        Recommends: late
        Provides: early
        Depends: middle (>= 1) | other:any, last
        Source: never

        never

        other
    """
    pool = pool_of(repository(tmp_path, index))
    names = ["first", "middle", "last", "late", "early", "never", "other"]
    assert all(pool.is_named_first(left, right) for left, right in zip(names, names[1:]))
    # So many names that the other way of looking them up is taken.
    many = "\n\n".join(f"package-{number:02}" for number in range(99, 0, -1))
    pool = pool_of(repository(tmp_path, many))
    assert all(pool.is_named_first(f"package-{number + 1:02}", f"package-{number:02}") for number in range(1, 99))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("libc6", "libc6"),
        (" libc6 (>= 2.36~) ", "libc6 >= 2.36~"),
        ("libc6(<<2)", "libc6 << 2"),
        ("python3:any (= 1:3)", "python3:any = 1:3"),
        ("gcc [amd64]", "gcc"),
    ],
)
def test_relations_are_written_in_one_way(text: str, expected: str) -> None:
    assert normal_relation(text) == expected


def test_a_stanza_may_have_folded_fields() -> None:
    assert parse_stanza(b"Package: a\nDepends: b,\n c\nX: y\n") == {"Package": "a", "Depends": "b,\nc", "X": "y"}


# ---- foreign repositories

BASE = """
    base-files
    Version: 12
    Essential: yes

    nginx
    Version: 1.22-1

    app
    Depends: gone | tool, mta

    tool

    exim
    Provides: mta
"""
VENDOR = """
    base-files
    Version: 99:13
    Essential: yes

    nginx
    Version: 1.29-1

    tool
    Version: 0.9

    agent
    Essential: yes
    Depends: gone | tool

    gone

    postman
    Provides: mta
    Priority: required
"""


def test_a_foreign_repository_replaces_nothing(tmp_path: pathlib.Path) -> None:
    pool = pool_of(repository(tmp_path, BASE), repository(tmp_path, VENDOR, name="vendor", foreign=True))
    assert {name: pool.label(candidate(pool, name)) for name in ("base-files", "nginx", "tool", "agent")} == {
        "base-files": "base-files 12",
        "nginx": "nginx 1.22-1",
        "tool": "tool 1.0-1",
        "agent": "agent 1.0-1",
    }
    # What would not have been taken anyway is not worth a word.
    assert pool.left_out == {"vendor": ["base-files 99:13", "nginx 1.29-1"]}
    assert pool.marked("essential") == ["base-files"]
    assert pool.marked("required") == []


def test_a_foreign_repository_is_not_used_for_what_others_need(tmp_path: pathlib.Path) -> None:
    pool = pool_of(repository(tmp_path, BASE), repository(tmp_path, VENDOR, name="vendor", foreign=True))
    chosen = solve(pool, [candidate(pool, "app")])
    assert sorted(map(pool.name, chosen)) == ["app", "exim", "tool"]
    # Its own packages get what they ask for first.
    assert sorted(map(pool.name, solve(pool, [candidate(pool, "agent")]))) == ["agent", "gone"]


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        (["nginx"], {"base-files": "base-files 12", "nginx": "nginx 1.29-1", "agent": ""}),
        (["*"], {"base-files": "base-files 99:13", "nginx": "nginx 1.29-1", "agent": "agent 1.0-1"}),
    ],
)
def test_a_foreign_repository_replaces_what_is_allowed(
    tmp_path: pathlib.Path, allowed: list[str], expected: dict[str, str]
) -> None:
    vendor = repository(tmp_path, VENDOR, name="vendor", foreign=True, allow_packages=allowed)
    pool = pool_of(repository(tmp_path, BASE), vendor)
    found = {name: pool.candidate(name) for name in expected}
    assert {name: "" if number is None else pool.label(number) for name, number in found.items()} == expected
    assert pool.left_out == {}
    # It does not say what is essential; what is, stays so.
    assert pool.marked("essential") == ["base-files"]


def test_a_foreign_repository_of_higher_priority_replaces_nothing_either(tmp_path: pathlib.Path) -> None:
    vendor = repository(tmp_path, VENDOR, name="vendor", foreign=True, priority=990)
    pool = pool_of(repository(tmp_path, BASE), vendor)
    assert pool.label(candidate(pool, "tool")) == "tool 1.0-1"
    assert pool.left_out == {"vendor": ["base-files 99:13", "nginx 1.29-1", "tool 0.9"]}
    with pytest.raises(ResolveError) as caught:
        DebFinder(pool).select([Request("nginx/vendor", "system")])
    assert f"The package 'nginx' is in vendor, but {KEPT_OUT} keeps it out." in str(caught.value)
