# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every rule of the preference walk, and the solver behind it."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import ResolveError
from ansible_collections.os_image.composer.plugins.module_utils._repository.model import RepositoryMetadata
from ansible_collections.os_image.composer.plugins.module_utils._resolver.deb_solve import solve
from ansible_collections.os_image.composer.plugins.module_utils._resolver.preference import PreferenceWalk
from ansible_collections.os_image.composer.tests.support.package_index import pool_of, repository


def solved(*repositories: RepositoryMetadata, asked: str) -> str:
    """Return the names that are chosen beside the requested ones, sorted; versions other than 1.0-1 are told."""
    pool = pool_of(*repositories)
    requested = [pool.candidate(name) for name in asked.split()]
    chosen = solve(pool, [number for number in requested if number is not None])
    assert set(requested) <= chosen
    return " ".join(
        sorted(
            pool.name(number) + ("" if pool.version(number) == "1.0-1" else f"={pool.version(number)}")
            for number in chosen
            if number not in requested
        )
    )


@pytest.mark.parametrize(
    ("index", "asked", "expected"),
    [
        pytest.param("app\nDepends: b | a\n\na\n\nb", "app", "b", id="the first alternative"),
        pytest.param("app\nDepends: none | a\n\na", "app", "a", id="the first alternative that there is"),
        pytest.param("app\nDepends: b | a\n\na\n\nb", "app a", "", id="an alternative that is requested anyway"),
        pytest.param(
            "app\nDepends: tool, b | a\n\ntool\nDepends: a\n\na\n\nb", "app", "a tool", id="one that was chosen before"
        ),
        pytest.param(
            "app\nDepends: b | a, tool\n\ntool\nDepends: a\n\na\n\nb", "app", "a b tool", id="not one chosen later"
        ),
        pytest.param(
            "app\nDepends: b | a\nPre-Depends: tool\n\ntool\nDepends: a\n\na\n\nb",
            "app",
            "a tool",
            id="pre-dependencies come first",
        ),
        pytest.param(
            "app\nDepends: mail\n\nmail\n\nexim\nProvides: mail\nPriority: required",
            "app",
            "mail",
            id="the real package before providers",
        ),
        pytest.param(
            "app\nDepends: mail\n\na\nProvides: mail\n\nb\nProvides: mail\nPriority: standard\n\nc\nProvides: mail",
            "app",
            "b",
            id="the provider of the higher priority",
        ),
        pytest.param(
            "app\nDepends: awk\n\na\nProvides: awk\nPriority: required\n\nb\nProvides: awk\nEssential: yes",
            "app",
            "b",
            id="an essential provider",
        ),
        pytest.param(
            "app\nDepends: awk\n\na\nProvides: awk\nPriority: required\n\nb\nProvides: awk\nProtected: yes",
            "app",
            "b",
            id="a protected provider",
        ),
        pytest.param(
            "app\nDepends: mail\n\na\nProvides: mail\n\nb\nProvides: mail",
            "app",
            "b",
            id="of equal providers the one named last",
        ),
        pytest.param(
            "app\nDepends: mail\nSuggests: b\n\na\nProvides: mail\n\nb\nProvides: mail",
            "app",
            "a",
            id="any mention of a name counts",
        ),
        pytest.param(
            "app\nDepends: b | a\n\na\n\nb\nDepends: gone", "app", "a", id="not an alternative that cannot be installed"
        ),
        pytest.param(
            "app\nDepends: b | a\n\na\n\nb\nDepends: c\n\nc\nDepends: gone", "app", "a", id="nor one deeper down"
        ),
        pytest.param(
            "app\nDepends: b | a\n\na\n\nb\nDepends: ok, c\n\nok\n\nc\nDepends: gone",
            "app",
            "a",
            id="what a way that was left has brought is dropped",
        ),
        pytest.param(
            "app\nDepends: b | a\nRecommends: ok\n\na\n\nb\nDepends: ok, c\n\nok\n\nc\nDepends: gone",
            "app",
            "a ok",
            id="unless something recommends it",
        ),
        pytest.param(
            "app\nDepends: b | a\n\nfirm\n\na\n\nb\nConflicts: firm",
            "app firm",
            "a",
            id="not what conflicts with a request",
        ),
        pytest.param(
            "app\nDepends: b | a\n\nfirm\nConflicts: b\n\na\n\nb",
            "firm app",
            "a",
            id="nor what a request conflicts with",
        ),
        pytest.param(
            "firm\nDepends: need\n\nneed\nConflicts: b\n\napp\nDepends: b | a\n\na\n\nb",
            "firm app",
            "a need",
            id="what a request needs without alternative is as firm",
        ),
        pytest.param(
            "app\nDepends: b | a\n\na\n\nb\nBreaks: app (<< 2)", "app", "a", id="breaks count as conflicts do"
        ),
        pytest.param(
            "app\nDepends: b\n\nb\nProvides: thing\nConflicts: thing", "app", "b", id="nothing conflicts with itself"
        ),
        pytest.param("app\nDepends: b\n\nb\nDepends: app, c\n\nc", "app", "b c", id="circles end"),
        pytest.param("app\nRecommends: b\nSuggests: c\n\nb\n\nc", "app", "", id="recommendations are left out"),
        pytest.param(
            "app\nDepends: b (>= 2) | a\n\na\n\nb", "app", "a", id="not an alternative whose version does not fit"
        ),
        pytest.param("app\nDepends: py:any\n\npy\nMulti-Arch: allowed", "app", "py", id="any architecture"),
        pytest.param(
            "app\nDepends: data\n\ndata\nArchitecture: all", "app", "data", id="packages of all architectures"
        ),
        pytest.param("app\nDepends: a | b\n\na\nArchitecture: arm64\n\nb", "app", "b", id="not another architecture"),
    ],
)
def test_the_choice_is_that_of_apt(tmp_path: pathlib.Path, index: str, asked: str, expected: str) -> None:
    assert solved(repository(tmp_path, index), asked=asked) == expected


def test_the_candidate_is_taken_though_another_version_would_do(tmp_path: pathlib.Path) -> None:
    stable = repository(tmp_path, "app\nDepends: lib\n\nlib\nVersion: 1")
    updates = repository(tmp_path, "lib\nVersion: 2", name="updates")
    assert solved(stable, updates, asked="app") == "lib=2"


def test_the_solver_mends_what_the_walk_leaves_broken(tmp_path: pathlib.Path) -> None:
    # The walk takes "b" for the first dependency and then meets what needs the opposite.
    index = "app\nDepends: b | a, c\n\na\n\nb\n\nc\nDepends: d\n\nd\nConflicts: b"
    pool = pool_of(repository(tmp_path, index))
    app = pool.candidate("app")
    assert app is not None
    assert solved(repository(tmp_path, index), asked="app") == "a c d"


def test_another_version_is_taken_where_the_candidates_do_not_fit(tmp_path: pathlib.Path) -> None:
    stable = repository(tmp_path, "app\nDepends: lib (<< 2), tool\n\ntool\n\nlib\nVersion: 1")
    updates = repository(tmp_path, "lib\nVersion: 2", name="updates")
    assert solved(stable, updates, asked="app") == "lib=1 tool"


def test_a_long_chain_of_dependencies_is_followed(tmp_path: pathlib.Path) -> None:
    index = "\n\n".join(f"p{number}\nDepends: p{number + 1}" for number in range(1500)) + "\n\np1500"
    pool = pool_of(repository(tmp_path, index))
    first = pool.candidate("p0")
    assert first is not None
    assert len(PreferenceWalk(pool, [first]).run()) == 1501


@pytest.mark.parametrize(
    ("index", "asked", "sentences"),
    [
        pytest.param(
            "app\nDepends: lib (>= 2)\n\nlib",
            "app",
            [
                "app 1.0-1 (requested, from stable) needs 'lib >= 2', which no repository has (of 'lib' they have "
                "1.0-1 (stable))."
            ],
            id="a version that nobody has",
        ),
        pytest.param(
            "app\nDepends: gone",
            "app",
            ["app 1.0-1 (requested, from stable) needs 'gone', which no repository has."],
            id="a package that nobody has",
        ),
        pytest.param(
            "one\nConflicts: two\n\ntwo",
            "one two",
            ["one 1.0-1 (requested, from stable) conflicts with 'two', which is two 1.0-1 (requested, from stable)."],
            id="requests in conflict",
        ),
        pytest.param(
            "one\nDepends: lib\n\nlib\nBreaks: two (<< 3)\n\ntwo",
            "one two",
            [
                "one 1.0-1 (requested, from stable) needs 'lib'; available: lib 1.0-1 (stable).",
                "lib 1.0-1 (from stable) conflicts with 'two << 3', which is two 1.0-1 (requested, from stable).",
            ],
            id="a dependency in conflict",
        ),
    ],
)
def test_conflicts_are_explained(tmp_path: pathlib.Path, index: str, asked: str, sentences: list[str]) -> None:
    with pytest.raises(ResolveError) as caught:
        solved(repository(tmp_path, index), asked=asked)
    message = str(caught.value)
    assert message.startswith("The requested packages cannot be installed together:\n")
    for sentence in sentences:
        assert f"- {sentence}\n" in message
    assert message.endswith("or ask for a version that fits.")
    assert caught.value.details["problems"]
