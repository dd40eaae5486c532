# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The dependency graph: order, layers, reasons, chains, and the picture."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._resolver.deb_solve import solve
from ansible_collections.os_image.composer.plugins.module_utils._resolver.graph import DependencyGraph
from ansible_collections.os_image.composer.tests.support.package_index import pool_of, repository


def graph_of(tmp_path: pathlib.Path, index: str, **reasons: str) -> DependencyGraph:
    """Resolve requests, each with its reason, and return their graph."""
    pool = pool_of(repository(tmp_path, index))
    requested = {}
    for name, reason in reasons.items():
        number = pool.candidate(name)
        assert number is not None
        requested[number] = reason
    return DependencyGraph(pool, solve(pool, list(requested)), requested)


@pytest.mark.parametrize(
    ("index", "order"),
    [
        pytest.param("app\nDepends: b, a\n\na\n\nb\nDepends: c\n\nc", "a c b app", id="dependencies first"),
        pytest.param("app\nDepends: z, a\n\na\n\nz", "a z app", id="else by the alphabet"),
        pytest.param("app\nDepends: b\n\nb\nDepends: app", "app b", id="a circle by the alphabet"),
        pytest.param(
            "app\nPre-Depends: b\n\nb\nDepends: app", "b app", id="a circle with what must be configured before first"
        ),
        pytest.param(
            "app\nDepends: b\n\nb\nDepends: c\n\nc\nPre-Depends: d\n\nd\nDepends: b", "b d c app", id="a circle below"
        ),
        pytest.param("app\nPre-Depends: b\n\nb\nPre-Depends: app", "app b", id="a circle that nobody can untie"),
        pytest.param("app\nDepends: x | y\n\nx\nDepends: y\n\ny", "y x app", id="alternatives"),
    ],
)
def test_packages_come_after_what_they_need(tmp_path: pathlib.Path, index: str, order: str) -> None:
    graph = graph_of(tmp_path, index, app="system")
    assert " ".join(graph.install_order(graph.packages)) == order


INDEX = """
    app
    Depends: lib | other, virtual

    lib
    Pre-Depends: base

    base

    provider
    Provides: virtual

    boot
    Depends: lib

    linux
"""


def test_an_edge_leads_to_what_meets_the_dependency(tmp_path: pathlib.Path) -> None:
    graph = graph_of(tmp_path, INDEX, app="system")
    assert graph.depends("app") == ["lib", "provider"]
    assert graph.depends("lib") == ["base"]
    assert graph.closure(["lib"]) == {"lib", "base"}


def test_reasons_and_chains(tmp_path: pathlib.Path) -> None:
    graph = graph_of(tmp_path, INDEX, app="system", boot="bootloader", linux="kernel")
    reasons = {name: graph.reason(name) for name in graph.packages}
    assert reasons == {
        "app": "system",
        "base": "dependency",
        "boot": "bootloader",
        "lib": "dependency",
        "linux": "kernel",
        "provider": "dependency",
    }
    assert graph.why("base") == ["boot", "lib", "base"]
    assert graph.why("provider") == ["app", "provider"]
    assert graph.why("linux") == ["linux"]
    assert graph.why("nothing") == []
