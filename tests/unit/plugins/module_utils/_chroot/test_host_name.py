# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The host name that packages see, and whether they have made anything of it."""

from __future__ import annotations

import os
import pathlib

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._chroot.host_name import (
    PLACEHOLDER,
    NamedLayerError,
    named,
    require_nameless,
)
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles
from ansible_collections.os_image.composer.tests.support.tiny_debian import needs_root

pytestmark = needs_root


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "root/etc").mkdir(parents=True)
    return tmp_path / "root"


def test_the_name_is_there_meanwhile(tree: pathlib.Path) -> None:
    (tree / "etc/hosts").write_text("127.0.0.1 localhost\n")
    with named(TreeFiles(str(tree)), "mx.example.org"):
        assert (tree / "etc/hostname").read_text() == "mx.example.org\n"
        assert (tree / "etc/hosts").read_text() == "127.0.1.1 mx.example.org mx\n127.0.0.1 localhost\n"
        with (tree / "etc/hosts").open("a") as stream:
            stream.write("192.0.2.1 other\n")
    assert not (tree / "etc/hostname").exists()
    assert (tree / "etc/hosts").read_text() == "127.0.0.1 localhost\n192.0.2.1 other\n"


def test_what_was_there_comes_back_and_what_a_package_writes_stays(tree: pathlib.Path) -> None:
    files = TreeFiles(str(tree))
    (tree / "etc/hostname").write_text("before\n")
    with named(files, "mx"):
        pass
    assert (tree / "etc/hostname").read_text() == "before\n"
    with named(files, "mx"):
        (tree / "etc/hostname").write_text("package\n")
    assert (tree / "etc/hostname").read_text() == "package\n"
    assert "mx" not in (tree / "etc/hosts").read_text()
    with named(files, "localhost"):
        assert (tree / "etc/hostname").read_text() == "package\n"


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("etc/mailname", PLACEHOLDER),
        ("etc/samba/smb.conf", "netbios name = COMPOSING-HOST"),
        ("var/lib/ldap/data", "dc=composing-domain,dc=invalid"),
        ("etc/large", "x" * ((1 << 20) - 5) + PLACEHOLDER),
        ("usr/local/etc/x", "composing-host"),
        ("srv/composing-host/x", ""),
    ],
)
def test_what_is_made_of_the_name_is_found(tree: pathlib.Path, path: str, content: str) -> None:
    files = TreeFiles(str(tree))
    (tree / "etc/other").write_text("composing the host and its domain")
    os.mkfifo(tree / "etc/pipe")
    (tree / "etc/dangling").symlink_to("/nowhere")
    require_nameless(files)
    (tree / path).parent.mkdir(parents=True, exist_ok=True)
    (tree / path).write_text(content)
    with pytest.raises(NamedLayerError):
        require_nameless(files)


def test_links_that_are_made_of_the_name_are_found(tree: pathlib.Path) -> None:
    (tree / "etc/link").symlink_to(f"/etc/ssl/{PLACEHOLDER}.pem")
    with pytest.raises(NamedLayerError, match="/etc/link"):
        require_nameless(TreeFiles(str(tree)))
