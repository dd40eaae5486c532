# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The template's additional files, copied into a tree."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._chroot.additional_files import install_additional_files
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._template.model import AdditionalFile
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles
from ansible_collections.os_image.composer.tests.support.template_data import whole_part
from ansible_collections.os_image.composer.tests.support.tiny_debian import needs_root


@pytest.fixture
def root(tmp_path: pathlib.Path) -> str:
    """Return a tree with accounts."""
    tree = tmp_path / "root"
    for name in ("etc", "var"):
        (tree / name).mkdir(parents=True)
    (tree / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/:/bin/sh\n")
    (tree / "etc/group").write_text("root:x:0:\nstaff:x:50:\n")
    return str(tree)


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
        TreeFiles(root), [whole_part(AdditionalFile, {"local": str(source), "final": "/opt/new/file", **entry})]
    )
    target = pathlib.Path(root, "opt/new/file")
    assert target.read_bytes() == b"\0data"
    assert target.stat().st_mode & 0o7777 == mode
    assert (target.stat().st_uid, target.stat().st_gid) == owner
    assert target.parent.stat().st_mode & 0o7777 == 0o755


@pytest.fixture
def inhabited(root: str) -> pathlib.Path:
    """Return a tree with home directories, links, and an account without a home."""
    tree = pathlib.Path(root)
    (tree / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\n"
        "daemon:x:1:1::/usr/sbin:/bin/sh\n"
        "kiosk:x:1000:1001::/home/kiosk:/bin/sh\n"
        "db:x:100:101::/var/lib/db:/bin/sh\n"
        "odd:x:1002:1002::/:/bin/sh\n"
        "moved:x:1003:1003::/data/moved:/bin/sh\n"
        "broken:x::\n"
    )
    for name, uid, gid in (
        *(("root", 0, 0), ("usr/sbin", 0, 0), ("home", 0, 0), ("home/kiosk", 1000, 1001), ("var/lib/db", 100, 101)),
        *(("srv/moved", 1003, 1003), ("opt", 0, 0)),
    ):
        (tree / name).mkdir(parents=True, exist_ok=True)
        os.chown(tree / name, uid, gid)
    (tree / "data").symlink_to("srv")
    (tree / "home/kiosk/link").symlink_to("/opt")
    return tree


@needs_root
@pytest.mark.parametrize(
    ("final", "made"),
    [
        (
            "/home/kiosk/.config/player/x",
            {"home/kiosk/.config": "1000:1001 755", "home/kiosk/.config/player": "1000:1001 755"},
        ),
        ("/home/kiosk/.ssh/config", {"home/kiosk/.ssh": "1000:1001 700", "home/kiosk": "1000:1001 755"}),
        ("/home/other/x", {"home/other": "0:0 755", "home": "0:0 755"}),
        ("/home/kiosk2/.config/x", {"home/kiosk2": "0:0 755", "home/kiosk2/.config": "0:0 755"}),
        ("/home/kiosk/link/a/x", {"opt/a": "0:0 755"}),
        ("/var/lib/db/conf/x", {"var/lib/db/conf": "100:101 755"}),
        ("/data/moved/a/b/x", {"srv/moved/a": "1003:1003 755", "srv/moved/a/b": "1003:1003 755"}),
        ("/usr/sbin/a/x", {"usr/sbin/a": "0:0 755"}),
        ("/srv/a/x", {"srv/a": "0:0 755"}),
        ("/root/.ssh/x", {"root/.ssh": "0:0 755"}),
    ],
)
def test_directories_in_a_home_belong_to_who_lives_there(
    inhabited: pathlib.Path, tmp_path: pathlib.Path, final: str, made: dict[str, str]
) -> None:
    source = tmp_path / "source"
    source.write_text("x")
    entry = whole_part(AdditionalFile, {"local": str(source), "final": final})
    install_additional_files(TreeFiles(str(inhabited)), [entry])
    for path, expected in made.items():
        status = (inhabited / path).stat()
        assert f"{status.st_uid}:{status.st_gid} {status.st_mode & 0o7777:o}" == expected, path


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
            TreeFiles(root), [whole_part(AdditionalFile, {"local": str(source), "final": "/etc/new", **entry})]
        )
