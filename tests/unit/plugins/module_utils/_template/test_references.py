# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import TemplateError
from ansible_collections.os_image.composer.plugins.module_utils._template.located import from_data
from ansible_collections.os_image.composer.plugins.module_utils._template.references import (
    file_references,
    find_file,
    local_path,
)


def repository(key: str) -> dict[str, t.Any]:
    return {"packageRepositories": [{"codename": "stable", "pkey": key, "pkeys": [key]}]}


def names(template: dict[str, t.Any]) -> list[str]:
    return [reference.name for reference in file_references(from_data(template, file="t.yml"))]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("file:///usr/share/keyrings/vendor.gpg", "/usr/share/keyrings/vendor.gpg"),
        ("file://localhost/etc/vendor.asc", "/etc/vendor.asc"),
        ("file:/etc/vendor.asc", "/etc/vendor.asc"),
        ("FILE:///etc/a%20b.asc", "/etc/a b.asc"),
        ("/etc/vendor.asc", "/etc/vendor.asc"),
        ("keys/100%25.asc", "keys/100%25.asc"),
        ("file://keys/vendor.asc", "file://keys/vendor.asc"),
        ("https://keys.example.com/vendor.asc", "https://keys.example.com/vendor.asc"),
    ],
)
def test_urls_of_this_host_are_paths(name: str, path: str) -> None:
    assert local_path(name) == path


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("file:///etc/vendor.asc", "/etc/vendor.asc"),
        ("/etc/vendor.asc", "/etc/vendor.asc"),
        ("keys/vendor.asc", "keys/vendor.asc"),
        ("file://other/vendor.asc", "file://other/vendor.asc"),
        ("https://keys.example.com/vendor.asc", None),
        ("<KEY>", None),
        ("[trusted=yes]", None),
    ],
)
def test_keys_of_repositories(key: str, found: str | None) -> None:
    assert names(repository(key)) == ([] if found is None else [found] * 2)
    assert names({"repositories": [{"name": "x", "gpgkey": key}]}) == ([] if found is None else [found])


def test_only_keys_of_repositories_are_fetched() -> None:
    url = "https://files.example.org/app.conf"
    template = {
        "systemConfig": {
            "additionalFiles": [{"local": url, "final": "/x"}, {"local": "file:///etc/hosts", "final": "/y"}],
            "scripts": {"postInstall": [{"file": url}]},
            "signing": {"secureBoot": {"key": "pkcs11:object=db", "certificate": url}},
        }
    }
    assert names(template) == [url, "/etc/hosts", url, url]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "https://files.example.org/app.conf",
            "https://files.example.org/app.conf is a URL, and not the path of a file. Download it, put it beside the "
            "template, and name that file; nothing is fetched for this field while an image is built.",
        ),
        ("ftp://me:secret@files.example.org/x", "ftp://files.example.org/x is a URL, and not the path of a file. Down"),
        ("file://nas/x", "file://nas/x names a file of another host. Write file:/// and an absolute path, or a path "),
    ],
)
def test_urls_are_no_files(name: str, message: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(TemplateError) as caught:
        find_file(name, directory=str(tmp_path), root=str(tmp_path))
    assert str(caught.value).startswith(message)
