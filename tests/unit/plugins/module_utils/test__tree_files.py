# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Paths that stay in the tree, whatever a package has put there."""

from __future__ import annotations

import os
import pathlib

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles
from ansible_collections.os_image.composer.tests.support.tiny_debian import needs_root


@pytest.fixture
def root(tmp_path: pathlib.Path) -> str:
    """Return a tree with links of all kinds."""
    tree = tmp_path / "root"
    for name in ("etc", "run/lock", "usr/lib", "var/lib"):
        (tree / name).mkdir(parents=True)
    links = {
        "var/run": "/run",
        "lib": "usr/lib",
        "etc/outside": "../../../../../../etc",
        "etc/chain": "link2",
        "etc/link2": "/var/run/lock",
        "etc/loop": "loop",
        "etc/mtab": "/proc/mounts",
        "etc/dots": "/../..//usr/./lib/",
    }
    for name, target in links.items():
        (tree / name).symlink_to(target)
    (tree / "etc/file").write_text("x")
    (tree / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/:/bin/sh\n")
    (tree / "etc/group").write_text("root:x:0:\nstaff:x:50:\n")
    return str(tree)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/etc/file", "/etc/file"),
        ("/", "/"),
        ("//etc/./file/", "/etc/file"),
        ("/var/run/x", "/run/x"),
        ("/lib/modules", "/usr/lib/modules"),
        ("/etc/../../../etc/file", "/etc/file"),
        ("/etc/outside/passwd", "/etc/passwd"),
        ("/etc/chain/y", "/run/lock/y"),
        ("/etc/mtab", "/proc/mounts"),
        ("/etc/dots/z", "/usr/lib/z"),
        ("/no/such/../thing", "/no/thing"),
    ],
)
def test_paths_stay_in_the_tree(root: str, path: str, expected: str) -> None:
    assert TreeFiles(root).resolve(path) == expected


def test_the_last_link_can_be_kept(root: str) -> None:
    assert TreeFiles(root).resolve("/var/run", follow_last=False) == "/var/run"
    assert TreeFiles(root).resolve("/etc/chain/../x", follow_last=False) == "/run/x"


def test_a_circle_of_links_is_an_error(root: str) -> None:
    with pytest.raises(ChrootError, match=r"^The path /etc/loop of the image leads round in a circle"):
        TreeFiles(root).resolve("/etc/loop")


def test_a_path_through_a_file_is_an_error(root: str) -> None:
    with pytest.raises(ChrootError, match="leads through /etc/file, which is not a directory"):
        TreeFiles(root).resolve("/etc/file/below")


@needs_root
def test_writing_through_an_absolute_link_never_reaches_the_host(root: str) -> None:
    files = TreeFiles(root)
    files.write("/var/run/composer-test", "inside")
    assert pathlib.Path(root, "run/composer-test").read_text() == "inside"
    assert not os.path.exists("/run/composer-test")


@needs_root
def test_a_link_is_replaced_and_not_written_through(root: str) -> None:
    files = TreeFiles(root)
    files.write("/etc/mtab", "own")
    assert not os.path.islink(f"{root}/etc/mtab")
    files.write("/etc/file", "new", follow=True)
    assert files.read("/etc/file") == "new"


@needs_root
def test_following_writes_to_where_the_link_leads(root: str) -> None:
    os.symlink("file", f"{root}/etc/alias")
    TreeFiles(root).write("/etc/alias", "through", follow=True)
    assert os.path.islink(f"{root}/etc/alias")
    assert pathlib.Path(root, "etc/file").read_text() == "through"
