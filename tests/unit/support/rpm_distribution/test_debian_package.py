# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests of how packages of Debian are laid out as those of the RPM distribution."""

from __future__ import annotations

import os
import pathlib

import pytest
from ansible_collections.os_image.composer.tests.support.deb_repository import DebRepository
from ansible_collections.os_image.composer.tests.support.rpm_distribution.debian_package import (
    Entry,
    licence_of,
    placed,
    read_control,
    unpack,
)
from ansible_collections.os_image.composer.tests.support.rpm_distribution.names import rpm_name


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/bin/sh", "/usr/bin/sh"),
        ("/usr/bin/sh", "/usr/bin/sh"),
        ("/lib64/ld-linux-x86-64.so.2", "/usr/lib/ld-linux-x86-64.so.2"),
        ("/usr/lib64", "/usr/lib"),
        ("/libexec/x", "/libexec/x"),
        ("/etc/lib/x", "/etc/lib/x"),
    ],
)
def test_everything_is_below_usr(path: str, expected: str) -> None:
    assert placed(path) == expected


@pytest.mark.parametrize(
    ("debian", "rpm"),
    [
        ("libc6", "glibc"),
        ("linux-image-6.12.1+deb13-cloud-amd64", "kernel"),
        ("libefivar1t64", "libefivar"),
        ("libnghttp2-14", "libnghttp2"),
        ("libnghttp3-9", "libnghttp3"),
        ("libtirpc-common", "libtirpc-common"),
        ("bash", "bash"),
    ],
)
def test_libraries_have_no_number(debian: str, rpm: str) -> None:
    assert rpm_name(debian) == rpm


def test_a_package_is_unpacked(tmp_path: pathlib.Path) -> None:
    repository = DebRepository(str(tmp_path / "repository"))
    path = repository.add_package(
        "tool",
        "1:2.0-1",
        fields={"Depends": "libc6", "Description": "does it\n It really\n .\n does."},
        files={
            "/bin/tool": b"#!/bin/sh\n",
            "/etc/init.d/tool": b"",
            "/usr/share/doc/tool/copyright": b"License: GPL-2+\n\nLicense: Expat\nLicense: Own\n",
        },
    )
    control = read_control(path)
    assert (control.fields["Version"], control.summary, control.description) == (
        "1:2.0-1",
        "does it",
        "It really\n\ndoes.",
    )
    tree = tmp_path / "tree"
    tree.mkdir()
    entries = unpack(path, str(tree), name="the-tool")
    assert entries["/usr/bin/tool"] == Entry("file", 0o644)
    assert (tree / "usr/bin/tool").read_bytes() == b"#!/bin/sh\n"
    assert "/usr/share/licenses/the-tool/copyright" in entries
    assert not [name for name in entries if name.startswith(("/bin", "/etc/init.d"))]
    assert all(os.path.lexists(f"{tree}{name}") for name in entries)
    assert licence_of(f"{tree}/usr/share/licenses/the-tool/copyright") == "GPL-2.0-or-later AND MIT"
    assert licence_of("/nonexistent") == "LicenseRef-Unknown"
