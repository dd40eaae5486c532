# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Credentials from apt's files."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._credentials import AptCredentials

AUTH = """\
# machine commented.example login no password no
machine private.example/debian login one password p1
machine private.example:8443
    login two
    password p2
machine http://plain.example login three password p3
machine private.example login four password p4
"""


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://private.example/debian/dists/x", ("one", "p1")),
        ("https://private.example/debian", ("one", "p1")),
        ("https://private.example/debian-security/x", ("four", "p4")),
        ("https://private.example:8443/debian-x", ("two", "p2")),
        ("http://private.example/debian/x", None),
        ("http://plain.example/x", ("three", "p3")),
        ("https://plain.example/x", None),
        ("https://commented.example/", None),
        ("https://evil-private.example/debian/", None),
    ],
)
def test_the_entry_for_a_url(tmp_path: pathlib.Path, url: str, expected: tuple[str, str] | None) -> None:
    (tmp_path / "auth.conf").write_text(AUTH)
    assert AptCredentials(str(tmp_path))(url) == expected


def test_a_host_without_credentials(tmp_path: pathlib.Path) -> None:
    assert AptCredentials(str(tmp_path / "none"))("https://private.example/") is None


def test_files_of_the_directory_follow(tmp_path: pathlib.Path) -> None:
    (tmp_path / "auth.conf.d").mkdir()
    (tmp_path / "auth.conf.d/b.conf").write_text("machine x.example login b password b")
    (tmp_path / "auth.conf.d/a.conf").write_text("machine x.example login a password a")
    (tmp_path / "auth.conf.d/ignored").write_text("machine y.example login c password c")
    credentials = AptCredentials(str(tmp_path))
    assert credentials("https://x.example/") == ("a", "a")
    assert credentials("https://y.example/") is None
