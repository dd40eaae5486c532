# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The build host's distribution."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._host_tools.distribution import read_distribution


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12"\n',
            {"id": "debian", "version": "12", "name": "Debian GNU/Linux 12", "family": "debian"},
        ),
        (
            'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\n',
            {"id": "ubuntu", "version": "24.04", "name": "ubuntu", "family": "debian"},
        ),
        (
            'ID=linuxmint\nID_LIKE="ubuntu debian"\n',
            {"id": "linuxmint", "version": "", "name": "linuxmint", "family": "debian"},
        ),
        ("ID=fedora\n", {"id": "fedora", "version": "", "name": "fedora", "family": "redhat"}),
        (
            'ID="rocky"\nID_LIKE="rhel centos fedora"\n',
            {"id": "rocky", "version": "", "name": "rocky", "family": "redhat"},
        ),
        (
            "ID=azurelinux\nVERSION_ID=3.0\n",
            {"id": "azurelinux", "version": "3.0", "name": "azurelinux", "family": "azurelinux"},
        ),
        ("ID=plan9\n", {"id": "plan9", "version": "", "name": "plan9", "family": ""}),
        (None, {"id": "", "version": "", "name": "", "family": ""}),
    ],
)
def test_read_distribution(tmp_path: pathlib.Path, text: str | None, expected: dict[str, str]) -> None:
    path = tmp_path / "os-release"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    assert read_distribution(str(path)) == expected
