# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small sparse image, and a build that has it."""

from __future__ import annotations

import pathlib
import random
import subprocess

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._artifact.compression import CODECS
from ansible_collections.os_image.composer.tests.support.finished_build import MIB, FinishedBuild


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small files have several parts."""
    for codec in CODECS.values():
        monkeypatch.setattr(codec, "part_size", MIB)


@pytest.fixture(scope="session")
def sparse_image(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Make a disk of 48 MiB with an ext4 file system that holds 1.3 MiB of text, and holes."""
    root = tmp_path_factory.mktemp("image")
    tree = root / "tree"
    tree.mkdir()
    words = random.Random(7)
    (tree / "text").write_text(" ".join(str(words.randrange(10**6)) for _number in range(200_000)))
    path = root / "image.raw"
    with path.open("wb") as stream:
        stream.truncate(48 * MIB)
    command = ["mke2fs", "-q", "-t", "ext4", "-d", str(tree), "-E", f"offset={MIB}", str(path), "40M"]
    subprocess.run(command, check=True, env={"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"})
    return path


@pytest.fixture
def finished_build(tmp_path: pathlib.Path, sparse_image: pathlib.Path) -> FinishedBuild:
    """Make a build that only lacks image_finalize."""
    return FinishedBuild(tmp_path, sparse_image)
