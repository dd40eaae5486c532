# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small images that the composer has made, and a tree with awkward files."""

from __future__ import annotations

import os
import pathlib
import shutil
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._image.sandbox import ParserSandbox
from ansible_collections.os_image.composer.tests.support.disk_tree import Composed, compose, make_tree

STATUS = """\
Package: bash
Status: install ok installed
Version: 5.2.15-2+b7
Architecture: amd64
Description: a shell
 Package: not this

Package: gone
Status: deinstall ok config-files
Version: 1.0
Architecture: amd64

Package: adduser
Status: install ok installed
Version: 3.134
Architecture: all
"""


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Make a root tree with a package database and a bill of materials."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    path = make_tree(tmp_path_factory.mktemp("image") / "tree")
    # GRUB's own modules make listings long, and are not needed here.
    shutil.rmtree(path / "usr/lib/grub-modules")
    for name in ("var/lib/dpkg", "usr/share/sbom"):
        (path / name).mkdir(parents=True)
    (path / "var/lib/dpkg/status").write_text(STATUS)
    (path / "usr/share/sbom/image-1.0.spdx.json").write_text(
        '{"documentNamespace": "https://example.org/1", "packages": [{"name": "image"}, {"name": "bash"}]}'
    )
    return path


@pytest.fixture(scope="session")
def loader_image(tree: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Composed:
    """Compose an image with entries of systemd-boot."""
    return compose(tree, tmp_path_factory.mktemp("loader") / "disk")


@pytest.fixture(scope="session")
def uki_image(tree: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Composed:
    """Compose an image with a unified kernel image."""
    return compose(tree, tmp_path_factory.mktemp("uki") / "disk", use_uki=True)


@pytest.fixture
def runner() -> CommandRunner:
    """Return what runs programs."""
    return CommandRunner()


@pytest.fixture
def sandbox() -> ParserSandbox:
    """Return what runs programs that read images."""
    return ParserSandbox()


@pytest.fixture
def temp_dir(tmp_path: pathlib.Path) -> t.Iterator[str]:
    """Return a directory for temporary files, in which nothing may be left."""
    path = tmp_path / "temporary"
    path.mkdir()
    yield str(path)
    assert list(path.iterdir()) == []


@pytest.fixture(scope="session")
def awkward_tree(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Make a tree of files that programs like to trip over."""
    path = tmp_path_factory.mktemp("awkward") / "tree"
    (path / "dir with blanks/deeper").mkdir(parents=True)
    (path / "empty").touch()
    (path / "small").write_text("small\n")
    (path / "dir with blanks/a -> b").write_text("arrow\n")
    (path / "dir with blanks/deeper/large").write_bytes(os.urandom(300_000))
    with open(path / "sparse", "wb") as stream:
        stream.truncate(1 << 20)
        stream.seek(1 << 19)
        stream.write(b"middle")
    (path / "small").chmod(0o4755)
    return path
