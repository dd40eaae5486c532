# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The difference of two trees."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._chroot.tree_difference import differing_files

Change = t.Callable[[pathlib.Path], None]


def _tree(root: pathlib.Path) -> pathlib.Path:
    (root / "etc/own").mkdir(parents=True)
    (root / "etc/own/key").write_text("one")
    (root / "etc/same").write_text("same")
    (root / "etc/link").symlink_to("same")
    os.mkfifo(root / "etc/fifo")
    return root


def _replace_link(root: pathlib.Path) -> None:
    (root / "etc/link").unlink()
    (root / "etc/link").symlink_to("key")


def _replace_by_directory(root: pathlib.Path) -> None:
    (root / "etc/same").unlink()
    (root / "etc/same").mkdir()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda root: None, []),
        (lambda root: os.utime(root / "etc/same", (1, 1)), []),
        (lambda root: (root / "etc/own/key").write_text("two"), ["/etc/own/key"]),
        (lambda root: (root / "etc/own/key").write_text("longer"), ["/etc/own/key"]),
        (lambda root: (root / "etc/own/key").chmod(0o600), ["/etc/own/key"]),
        (lambda root: (root / "etc/own/new").write_text(""), ["/etc/own/new"]),
        (lambda root: (root / "new/deep").mkdir(parents=True), ["/new"]),
        (_replace_link, ["/etc/link"]),
        (_replace_by_directory, ["/etc/same"]),
    ],
)
def test_what_differs_is_told(tmp_path: pathlib.Path, change: Change, found: list[str]) -> None:
    first, second = _tree(tmp_path / "first"), _tree(tmp_path / "second")
    change(second)
    assert differing_files(str(first), str(second)) == found
    assert differing_files(str(second), str(first)) == found


def test_links_lead_nowhere(tmp_path: pathlib.Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "host").symlink_to("/")
    assert differing_files(str(tmp_path / "first"), str(tmp_path / "second")) == []
