# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils import _command
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._errors import ResolveError
from ansible_collections.os_image.composer.plugins.module_utils._resolver.picture import View, dot_of, draw


def package(name: str, reason: str = "dependency", *depends: str, layer: int = 1) -> dict[str, t.Any]:
    return {"name": name, "reason": reason, "depends": list(depends), "layer": layer}


PACKAGES = [
    package("zlib"),
    package("app", "system", "zlib", "base"),
    package("tool", "system", "app"),
    package("base", "essential", "libc", layer=0),
    package("libc", layer=0),
    package("linux", "kernel", "zlib", "libc"),
]
LEGEND = """\
  subgraph cluster_legend {
    label="Legend";
    style=dashed;
    "legend:essential" [label="EssentialPkgList", fillcolor="#fff4d6", color="#f5c518"];
    "legend:kernel" [label="Kernel", fillcolor="#d6eaf8", color="#1f618d"];
    "legend:bootloader" [label="Bootloader", fillcolor="#fdebd0", color="#d35400"];
    "legend:system" [label="SystemConfig.Packages", fillcolor="#d4efdf", color="#27ae60"];
    "legend:dependency" [label="Dependency", fillcolor="white", color="#666666"];
  }
}
"""


def edges(view: str) -> list[str]:
    lines = dot_of(PACKAGES, View.parse(view)).splitlines()
    return [line.strip(" ;").replace('"', "") for line in lines if "->" in line]


def test_the_picture_is_grouped_and_coloured_by_reason_with_the_essential_packages_as_one() -> None:
    text = dot_of(PACKAGES, View("requested"))
    assert text == dot_of(reversed(PACKAGES), View("requested"))
    assert text == (
        """\
digraph G {
  rankdir=LR;
  concentrate=true;
  node [shape=box, style=filled, fillcolor="white", color="#666666"];
  subgraph cluster_essential {
    label="EssentialPkgList";
    style=dotted;
    node [fillcolor="#fff4d6", color="#f5c518"];
    "essential packages" [label="2 essential packages", peripheries=2];
  }
  subgraph cluster_kernel {
    label="Kernel";
    style=dotted;
    node [fillcolor="#d6eaf8", color="#1f618d"];
    "linux";
  }
  subgraph cluster_system {
    label="SystemConfig.Packages";
    style=dotted;
    node [fillcolor="#d4efdf", color="#27ae60"];
    "app";
    "tool";
  }
  "zlib";
  "app" -> "zlib";
  "linux" -> "zlib";
  "tool" -> "app";
"""
        + LEGEND
    )


def test_every_package_is_shown_on_request() -> None:
    assert edges("full") == [
        "app -> base",
        "app -> zlib",
        "base -> libc",
        "linux -> libc",
        "linux -> zlib",
        "tool -> app",
    ]


def test_why_shows_the_shortest_chain_from_each_requested_package() -> None:
    assert edges("why:libc") == ["app -> base", "base -> libc", "linux -> libc", "tool -> app"]
    assert edges("why:tool") == []


def test_why_of_a_package_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(ResolveError, match=r"it is not\. Did you mean zlib or libc\?"):
        dot_of(PACKAGES, View.parse("why:zlibb"))


@pytest.mark.parametrize("text", ["", "why:", "all", "Full"])
def test_another_view_is_refused(text: str) -> None:
    with pytest.raises(ResolveError, match=r"There is no view .* Use requested, full or why:PACKAGE\."):
        View.parse(text)


def test_a_name_with_quotes_stays_one_name() -> None:
    assert '  "a\\"b\\\\";' in dot_of([package('a"b\\')], View("full"))


def graphviz(directory: pathlib.Path, script: str) -> None:
    program = directory / "dot"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_the_picture_is_drawn_where_graphviz_is(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_command, "_SEARCH_PATH", f"{tmp_path}:{os.environ['PATH']}")
    graphviz(tmp_path, 'echo "<svg>$1 $(cat "$2")</svg>"')
    (tmp_path / "chrootpkgs.dot").write_text("digraph {}")
    drawn = draw(str(tmp_path / "chrootpkgs.dot"), CommandRunner())
    assert drawn == str(tmp_path / "chrootpkgs.svg")
    assert pathlib.Path(drawn).read_text() == "<svg>-Tsvg digraph {}</svg>\n"


@pytest.mark.parametrize("script", ["exit 1", None])
def test_without_a_drawing_an_old_one_does_not_stay(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, script: str | None
) -> None:
    monkeypatch.setattr("shutil.which", lambda name, path=None: None if name == "dot" else f"/usr/bin/{name}")
    if script is not None:
        graphviz(tmp_path, script)
        found = {"dot": str(tmp_path / "dot")}
        monkeypatch.setattr("shutil.which", lambda name, path=None: found.get(name, f"/usr/bin/{name}"))
    (tmp_path / "chrootpkgs.svg").write_text("old")
    assert draw(str(tmp_path / "chrootpkgs.dot"), CommandRunner()) == ""
    assert not (tmp_path / "chrootpkgs.svg").exists()
