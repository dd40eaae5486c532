# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of host tools, and that messages name the host's own packages by it."""

from __future__ import annotations

import ast
import pathlib
import sys
import types
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils import _command
from ansible_collections.os_image.composer.plugins.module_utils._boot_test.machine import HARDWARE
from ansible_collections.os_image.composer.plugins.module_utils._command import find_tool
from ansible_collections.os_image.composer.plugins.module_utils._emulation import ARCHITECTURES
from ansible_collections.os_image.composer.plugins.module_utils._errors import ToolMissingError
from ansible_collections.os_image.composer.plugins.module_utils._host_tools import table
from ansible_collections.os_image.composer.plugins.module_utils._host_tools.table import (
    HOST_LIBRARIES,
    HOST_TOOLS,
    PURPOSES,
    HostPackage,
    packages_for,
)
from ansible_collections.os_image.composer.plugins.module_utils._iso.menu import firmwares
from ansible_collections.os_image.composer.plugins.module_utils._libraries import import_library
from ansible_collections.os_image.composer.plugins.module_utils._signing.secure_boot import (
    FaketimeSbsign,
    Osslsigncode,
    Sbsign,
)

PLUGINS = pathlib.Path(table.__file__).parents[2]
FOUND_BY = {"find_tool": HOST_TOOLS, "tool_version": HOST_TOOLS, "import_library": HOST_LIBRARIES}


def nodes() -> t.Iterator[ast.AST]:
    """Yield all that the plugins' code consists of, but for the table."""
    for path in sorted(PLUGINS.rglob("*.py")):
        if path != pathlib.Path(table.__file__):
            yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def test_what_the_plugins_ask_for_is_in_the_table() -> None:
    asked = [
        (node.func.id, argument.value)
        for node in nodes()
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FOUND_BY
        for argument in node.args
        if isinstance(argument, ast.Constant)
    ]
    assert ("find_tool", "mke2fs") in asked
    assert [(function, name) for function, name in asked if name not in FOUND_BY[function]] == []


def test_what_is_handed_on_as_a_program_is_in_the_table() -> None:
    handed = {
        keyword.value.value
        for node in nodes()
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "program" and isinstance(keyword.value, ast.Constant)
    }
    assert "rpmdb" in handed
    assert sorted(handed - {*HOST_TOOLS}) == []


def test_what_is_in_the_table_is_used() -> None:
    words = {node.value for node in nodes() if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert sorted({*HOST_TOOLS, *HOST_LIBRARIES} - words) == []


def test_the_tools_that_classes_name_are_in_the_table() -> None:
    values: list[ast.expr | None] = []
    for node in nodes():
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            values += [node.value] if node.target.id in ("tools", "shaping_tools") else []
        elif isinstance(node, ast.keyword):
            values += [node.value] if node.arg == "boot_tools" else []
    tuples = [value for value in values if isinstance(value, ast.Tuple)]
    named = {item.value for value in tuples for item in value.elts if isinstance(item, ast.Constant)}
    assert {"mkfs.btrfs", "mmd"} <= named
    assert sorted(named - {*HOST_TOOLS}) == []


def test_what_others_look_up_by_architecture_or_platform_is_there() -> None:
    assert {hardware.program for hardware in HARDWARE.values()} <= {*HOST_TOOLS}
    assert {*table.UEFI_FIRMWARE} == {*HARDWARE}
    assert {platform.directory for arch in ARCHITECTURES for platform in firmwares(arch)} == {*table.GRUB_MODULES}
    assert {*table.EMULATORS} == {*ARCHITECTURES}
    assert {signer.tool for signer in (Osslsigncode, FaketimeSbsign, Sbsign)} <= {*HOST_TOOLS}


def test_another_name_is_a_mistake() -> None:
    with pytest.raises(KeyError, match=r"mkfs\.nothing"):
        find_tool("mkfs.nothing")
    with pytest.raises(KeyError, match="no_such_library"):
        import_library("no_such_library")


def test_names_of_a_package() -> None:
    package = HostPackage("ovmf", {"redhat": "edk2-ovmf", "azurelinux": "edk2-ovmf", "azurelinux-aarch64": None})
    assert package.name("debian", "x86_64") == "ovmf"
    assert package.name("redhat", "aarch64") == "edk2-ovmf"
    assert package.name("azurelinux", "x86_64") == "edk2-ovmf"
    assert package.name("azurelinux", "aarch64") is None
    # What a host is like that nobody knows is told by Debian's names.
    assert package.name("") == "ovmf"
    assert package.names() == ["ovmf", "edk2-ovmf"]


def test_whether_a_package_is_wanted_depends_on_architectures() -> None:
    both = ("aarch64", "x86_64")
    assert HostPackage("zstd").is_wanted("x86_64", ())
    modules = HostPackage("grub-pc-bin", machine="x86_64")
    assert [modules.is_wanted(machine, both) for machine in both] == [False, True]
    emulator = HostPackage("qemu-user-static", foreign="aarch64")
    assert emulator.is_wanted("x86_64", both)
    assert not emulator.is_wanted("x86_64", ["x86_64"])
    # What the host is itself needs no emulator.
    assert not emulator.is_wanted("aarch64", both)
    firmware = HostPackage("ovmf", machine="x86_64", foreign="x86_64")
    assert firmware.is_wanted("x86_64", ())
    assert firmware.is_wanted("aarch64", both)
    assert not firmware.is_wanted("aarch64", ())


def test_packages_for_a_host() -> None:
    debian = packages_for(["build"], family="debian", machine="x86_64")
    assert {"e2fsprogs", "fdisk", "grub-efi-amd64-bin", "grub-pc-bin", "python3-solv", "systemd-boot-efi"} <= debian
    assert debian & {"grub-efi-arm64-bin", "ovmf", "qemu-user-static"} == set()
    fedora = packages_for(PURPOSES, family="redhat", machine="aarch64", foreign=["aarch64", "x86_64"])
    assert {"edk2-aarch64", "edk2-ovmf", "grub2-efi-aa64-modules", "qemu-user-static-x86", "util-linux"} <= fedora
    assert fedora & {"fdisk", "grub2-pc-modules", "mount", "qemu-user-static-aarch64"} == set()
    firmware = {
        machine: "edk2-ovmf" in packages_for(["boot_test"], family="azurelinux", machine=machine, foreign=["x86_64"])
        for machine in ("aarch64", "x86_64")
    }
    assert firmware == {"aarch64": False, "x86_64": True}


@pytest.mark.parametrize(
    ("family", "none"),
    [
        ("debian", set()),
        ("redhat", set()),
        (
            "azurelinux",
            {
                "dpkg",
                "osslsigncode",
                "python3-gnupg",
                "python3-jsonschema",
                "python3-solv",
                "qemu-efi-aarch64",
                "qemu-user-static",
                "sbsigntool",
                "systemd-boot-efi",
            },
        ),
    ],
)
def test_what_a_family_has_no_package_of(family: str, none: set[str]) -> None:
    assert {package.debian for package in table.HOST_PACKAGES if package.name(family, "x86_64") is None} == none


def test_every_package_has_a_purpose_that_is_known() -> None:
    assert {package.purpose for package in table.HOST_PACKAGES} == {*PURPOSES}


def on(monkeypatch: pytest.MonkeyPatch, name: str, family: str) -> None:
    """Let the host be of another distribution."""
    monkeypatch.setattr(table, "read_distribution", lambda: {"name": name, "family": family})


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
    monkeypatch.setattr(_command, "_SEARCH_PATH", "/nonexistent")
    with pytest.raises(ToolMissingError) as caught:
        find_tool("sbsign")
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
        import_library("gnupg")
    assert remedy in str(caught.value)
    assert str(caught.value).endswith("the Python that has it, as the distribution's own (/usr/bin/python3).")


def test_a_library_that_is_too_old_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    old = types.SimpleNamespace(__version__="2.6.0")
    monkeypatch.setitem(sys.modules, "jsonschema", t.cast(types.ModuleType, old))
    with pytest.raises(ToolMissingError, match=r"The version 2\.6\.0 of the Python library 'jsonschema' .* is too old"):
        import_library("jsonschema")
