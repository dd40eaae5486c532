# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Paths that stay in the tree, and the template's additional files."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._chroot.files import (
    TreeFiles,
    install_additional_files,
    resolve_in_tree,
)
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._template.model import AdditionalFile
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
    assert resolve_in_tree(root, path) == expected


def test_the_last_link_can_be_kept(root: str) -> None:
    assert resolve_in_tree(root, "/var/run", follow_last=False) == "/var/run"
    assert resolve_in_tree(root, "/etc/chain/../x", follow_last=False) == "/run/x"


def test_a_circle_of_links_is_an_error(root: str) -> None:
    with pytest.raises(ChrootError, match=r"^The path /etc/loop of the image leads round in a circle"):
        resolve_in_tree(root, "/etc/loop")


def test_a_path_through_a_file_is_an_error(root: str) -> None:
    with pytest.raises(ChrootError, match="leads through /etc/file, which is not a directory"):
        resolve_in_tree(root, "/etc/file/below")


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


@needs_root
@pytest.mark.parametrize(
    ("source_mode", "entry", "mode", "owner"),
    [
        (0o664, {}, 0o644, (0, 0)),
        (0o600, {}, 0o600, (0, 0)),
        (0o777, {}, 0o755, (0, 0)),
        (0o644, {"mode": "4755", "owner": "web", "group": "staff"}, 0o4755, (33, 50)),
    ],
)
def test_modes_and_owners(
    root: str,
    tmp_path: pathlib.Path,
    source_mode: int,
    entry: dict[str, t.Any],
    mode: int,
    owner: tuple[int, int],
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"\0data")
    source.chmod(source_mode)
    install_additional_files(
        TreeFiles(root), [AdditionalFile.from_data({"local": str(source), "final": "/opt/new/file", **entry})]
    )
    target = pathlib.Path(root, "opt/new/file")
    assert target.read_bytes() == b"\0data"
    assert target.stat().st_mode & 0o7777 == mode
    assert (target.stat().st_uid, target.stat().st_gid) == owner
    assert target.parent.stat().st_mode & 0o7777 == 0o755


@needs_root
@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"owner": "nobody-here"}, "shall have the owner 'nobody-here', who does not exist in the image"),
        ({"local": "/no/such/file"}, "The additional file /no/such/file cannot be copied to /etc/new"),
        ({"final": "/var"}, "The path /var of the image is a directory, not a file"),
    ],
)
def test_messages(root: str, tmp_path: pathlib.Path, entry: dict[str, t.Any], message: str) -> None:
    source = tmp_path / "source"
    source.write_text("x")
    with pytest.raises(ChrootError, match=message):
        install_additional_files(
            TreeFiles(root), [AdditionalFile.from_data({"local": str(source), "final": "/etc/new", **entry})]
        )
