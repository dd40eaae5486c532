# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Descriptions of packages by themselves, from the layers, and never from the build host."""

from __future__ import annotations

import os
import pathlib
import subprocess

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._artifact.description import (
    LayeredTree,
    read_deb_descriptions,
    read_rpm_descriptions,
)
from ansible_collections.os_image.composer.tests.support.tiny_rpm import Rpm


@pytest.fixture
def layers(tmp_path: pathlib.Path) -> list[pathlib.Path]:
    result = [tmp_path / "low", tmp_path / "high"]
    for layer in result:
        (layer / "usr/share/doc").mkdir(parents=True)
    return result


def _tree(layers: list[pathlib.Path]) -> LayeredTree:
    return LayeredTree([str(layer) for layer in layers])


def test_the_highest_layer_wins(layers: list[pathlib.Path]) -> None:
    for layer in layers:
        (layer / "name").write_text(layer.name)
    (layers[0] / "only").write_text("low")
    assert _tree(layers).read("/name") == b"high"
    assert _tree(layers).read("/only") == b"low"
    assert _tree(layers).read("/none") is None


@pytest.mark.parametrize("target", ["libfoo", "../doc/libfoo", "/usr/share/doc/libfoo"])
def test_links_lead_through_all_layers(layers: list[pathlib.Path], target: str) -> None:
    (layers[1] / "usr/share/doc/foo").symlink_to(target)
    (layers[0] / "usr/share/doc/libfoo").mkdir()
    (layers[0] / "usr/share/doc/libfoo/copyright").write_text("x")
    assert _tree(layers).read("/usr/share/doc/foo/copyright") == b"x"


def test_a_directory_of_one_layer_that_is_a_link_in_another(layers: list[pathlib.Path], tmp_path: pathlib.Path) -> None:
    (tmp_path / "outside/package").mkdir(parents=True)
    (tmp_path / "outside/package/copyright").write_text("the host's")
    for upper, lower in (layers, reversed(layers)):
        (upper / "usr/share/doc").rmdir()
        (upper / "usr/share/doc").symlink_to(tmp_path / "outside")
        assert _tree(layers).read("/usr/share/doc/package/copyright") is None
        (upper / "usr/share/doc").unlink()
        (upper / "usr/share/doc").mkdir()
        assert lower != upper


def test_links_never_leave_the_tree(layers: list[pathlib.Path], tmp_path: pathlib.Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (layers[0] / "a").symlink_to(str(tmp_path / "secret"))
    (layers[0] / "b").symlink_to("../" * 20 + str(tmp_path / "secret"))
    (layers[0] / "c").symlink_to("c")
    for name in "abc":
        assert _tree(layers).read(f"/{name}") is None


def test_only_regular_files_are_read(layers: list[pathlib.Path]) -> None:
    os.mkfifo(layers[0] / "pipe")
    assert _tree(layers).read("/pipe") is None
    assert _tree(layers).read("/usr") is None


def test_descriptions(layers: list[pathlib.Path]) -> None:
    status = layers[0] / "var/lib/dpkg/status"
    status.parent.mkdir(parents=True)
    status.write_text(
        "Package: foo\nMaintainer: A B <a@example.org>\nDescription: short\n long: no\nHomepage: https://foo.example\n"
        "\nPackage: other\nMaintainer: X <x@example.org>\n"
    )
    descriptions = read_deb_descriptions(_tree(layers), [{"name": "foo"}, {"name": "bar"}])
    package = descriptions["foo"]
    assert (package.maintainer, package.summary, package.homepage) == (
        "A B <a@example.org>",
        "short",
        "https://foo.example",
    )
    assert package.license.expression == "NOASSERTION"
    assert descriptions["bar"].maintainer == ""


def test_rpm_packages_describe_themselves(layers: list[pathlib.Path], tmp_path: pathlib.Path) -> None:
    packages = [Rpm("one", license="GPLv2+ and BSD"), Rpm("two"), Rpm("three")]
    paths = [str(package.build(tmp_path)) for package in packages]
    database = layers[1] / "usr/lib/sysimage/rpm"
    command = ["rpm", "--dbpath", str(database), "--define", "_db_backend sqlite", "-i", "--justdb", *paths]
    subprocess.run(command, check=True, capture_output=True)
    (layers[1] / "var/lib").mkdir(parents=True)
    (layers[1] / "var/lib/rpm").symlink_to("../../usr/lib/sysimage/rpm")
    for leftover in database.glob("*-*"):
        leftover.unlink()
    before = sorted(os.listdir(database))
    found = read_rpm_descriptions(_tree(layers), [{"name": "one"}, {"name": "two"}])
    assert sorted(found) == ["one", "two"]
    one = found["one"]
    assert (one.summary, one.vendor, one.homepage) == ("A test", "Tests", "https://example.org/")
    assert one.license.expression == "GPL-2.0-or-later AND LicenseRef-BSD"
    assert sorted(os.listdir(database)) == before
    assert read_rpm_descriptions(_tree(layers[:1]), [{"name": "one"}]) == {}
