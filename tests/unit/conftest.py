# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures that several tests share."""

from __future__ import annotations

import pathlib
import random
import subprocess
import time
import typing as t

import pytest
from ansible_collections.os_image.composer.tests.support.finished_build import MIB
from ansible_collections.os_image.composer.tests.support.http_server import FileServer
from ansible_collections.os_image.composer.tests.support.signing_keys import KeyRing, Keys


@pytest.fixture(scope="session")
def keys() -> t.Iterator[Keys]:
    """Make the key pairs once."""
    with KeyRing() as ring:
        born = int(time.time()) - 86400
        yield Keys(
            ring=ring,
            archive=ring.make_key("Archive <archive@example.org>", when=born),
            stranger=ring.make_key("Stranger <stranger@example.org>", when=born),
            expired=ring.make_key("Expired <expired@example.org>", expires="1y", when=Keys.before_expiry - 86400),
        )


@pytest.fixture
def server(tmp_path: pathlib.Path) -> t.Iterator[FileServer]:
    """Serve C(tmp_path/served) over HTTP."""
    root = tmp_path / "served"
    root.mkdir()
    with FileServer(root) as file_server:
        yield file_server


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
