# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Trees, sandboxes and packages of a tiny distribution."""

from __future__ import annotations

import pathlib
import shutil

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._chroot.sandbox import Sandbox
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.tests.support.tiny_debian import EPOCH, Deb, Log, fill_tree


@pytest.fixture
def log() -> Log:
    """Return an empty log."""
    return Log()


@pytest.fixture
def runner(log: Log) -> CommandRunner:
    """Return a runner that writes to the log."""
    return CommandRunner(log=log)


@pytest.fixture(scope="session")
def pristine_tree(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Return a tree with programs; not to be written to."""
    root = tmp_path_factory.mktemp("pristine") / "root"
    root.mkdir()
    fill_tree(root)
    return root


@pytest.fixture
def tree(pristine_tree: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """Return a tree with programs, for one test alone."""
    root = tmp_path / "tree"
    shutil.copytree(pristine_tree, root, symlinks=True)
    return root


@pytest.fixture
def sandbox(tree: pathlib.Path, runner: CommandRunner) -> Sandbox:
    """Return a sandbox in the tree."""
    return Sandbox(str(tree), runner, source_date_epoch=EPOCH)


@pytest.fixture(scope="session")
def base_deb(pristine_tree: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Deb, pathlib.Path]:
    """Return the package that a tree needs to run anything: shell, coreutils, dpkg."""
    source = tmp_path_factory.mktemp("base") / "root"
    shutil.copytree(pristine_tree, source, symlinks=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        (source / name).unlink()
    for name in ("tmp", "root"):
        (source / name).rmdir()
    deb = Deb("dpkg", fields={"Essential": "yes"}, version="1.21.22")
    return deb, deb.build(tmp_path_factory.mktemp("debs"), tree=source, compression="none")
