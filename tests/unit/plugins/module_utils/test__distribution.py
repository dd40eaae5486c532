# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The host's distribution, and that messages name its own packages."""

from __future__ import annotations

import pathlib
import sys
import types
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils import _distribution
from ansible_collections.os_image.composer.plugins.module_utils._command import find_tool
from ansible_collections.os_image.composer.plugins.module_utils._distribution import (
    package_name,
    package_names,
    read_distribution,
)
from ansible_collections.os_image.composer.plugins.module_utils._errors import ToolMissingError
from ansible_collections.os_image.composer.plugins.module_utils._libraries import import_library


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


def test_package_names() -> None:
    assert package_name("xz-utils", family="redhat") == "xz"
    assert package_name("xz-utils", family="") == "xz-utils"
    assert package_name("squashfs-tools", family="azurelinux") == "squashfs-tools"
    assert package_name("python3-solv", family="azurelinux") is None
    assert package_names("grub-pc-bin") == ["grub-pc-bin", "grub2-pc-modules", "grub2-pc"]
    assert package_names("dpkg") == ["dpkg"]


def on(monkeypatch: pytest.MonkeyPatch, name: str, family: str) -> None:
    """Let the host be of another distribution."""
    monkeypatch.setattr(_distribution, "read_distribution", lambda: {"name": name, "family": family})


@pytest.mark.parametrize(
    ("name", "family", "remedy"),
    [
        ("Debian GNU/Linux 12", "debian", "Install the package 'sbsigntool' there, or apply the role"),
        ("Fedora Linux 42", "redhat", "Install the package 'sbsigntools' there, or apply the role"),
        (
            "Microsoft Azure Linux 3.0",
            "azurelinux",
            "Microsoft Azure Linux 3.0 has no package with it that could be used. Build on a host with Debian, Ubuntu",
        ),
    ],
)
def test_a_missing_program_is_told_with_the_hosts_own_package(
    monkeypatch: pytest.MonkeyPatch, name: str, family: str, remedy: str
) -> None:
    on(monkeypatch, name, family)
    with pytest.raises(ToolMissingError) as caught:
        find_tool("no-such-program", package="sbsigntool")
    assert f"was not found on the build host. {remedy}" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "family", "remedy"),
    [
        ("Fedora Linux 42", "redhat", "Install the package 'python3-gnupg' there"),
        ("Microsoft Azure Linux 3.0", "azurelinux", "that could be used. Install 'python-gnupg' for that interpreter"),
    ],
)
def test_a_missing_library_is_told_with_the_hosts_own_package(
    monkeypatch: pytest.MonkeyPatch, name: str, family: str, remedy: str
) -> None:
    on(monkeypatch, name, family)
    monkeypatch.setitem(sys.modules, "gnupg", None)
    with pytest.raises(ToolMissingError) as caught:
        import_library("gnupg", package="python3-gnupg")
    assert remedy in str(caught.value)
    assert str(caught.value).endswith("the Python that has it, as the distribution's own (/usr/bin/python3).")


def test_a_library_that_is_too_old_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    old = types.SimpleNamespace(__version__="2.6.0")
    monkeypatch.setitem(sys.modules, "jsonschema", t.cast(types.ModuleType, old))
    with pytest.raises(ToolMissingError, match=r"The version 2\.6\.0 of the Python library 'jsonschema' .* is too old"):
        import_library("jsonschema", package="python3-jsonschema")
