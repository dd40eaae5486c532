# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pathlib
import subprocess
import types

import pytest
from ansible_collections.os_image.composer.plugins.module_utils import _emulation
from ansible_collections.os_image.composer.plugins.module_utils._emulation import (
    ARCHITECTURES,
    Handler,
    emulation_problem,
    parse_handler,
    program_header,
    read_handlers,
    require_emulation,
    tiny_program,
)
from ansible_collections.os_image.composer.plugins.module_utils._errors import HostError

# What the kernel says of Debian's handler.
QEMU = """\
enabled
interpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P
flags: POF
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
"""
# And of one that goes by the suffix of a file name.
SUFFIX = "enabled\ninterpreter /usr/bin/wine\nflags: \nextension .exe\n"
PYTHON = "enabled\ninterpreter /usr/bin/python3.11\nflags: \noffset 0\nmagic a70d0d0a\n"


def test_parse_handler() -> None:
    handler = parse_handler("qemu-aarch64", QEMU)
    assert (handler.name, handler.enabled, handler.flags, handler.offset) == ("qemu-aarch64", True, "POF", 0)
    assert handler.interpreter == "/usr/libexec/qemu-binfmt/aarch64-binfmt-P"
    assert (len(handler.magic), len(handler.mask)) == (20, 20)
    # Without a mask all bits count.
    assert parse_handler("python3.11", PYTHON).mask == b"\xff" * 4
    assert parse_handler("wine", SUFFIX).magic == b""
    assert not parse_handler("qemu-aarch64", QEMU.replace("enabled", "disabled")).enabled


@pytest.mark.parametrize("kind", [2, 3])
def test_a_handler_takes_the_programs_of_its_machine(kind: int) -> None:
    handler = parse_handler("qemu-aarch64", QEMU)
    assert handler.takes(program_header("aarch64", kind))
    assert not handler.takes(program_header("x86_64", kind))
    assert not handler.takes(b"\x7fELF")
    for other in (SUFFIX, PYTHON):
        assert not parse_handler("other", other).takes(program_header("aarch64", kind))


def test_handlers_are_read(tmp_path: pathlib.Path) -> None:
    for name, text in (("qemu-aarch64", QEMU), ("wine", SUFFIX), ("status", "enabled\n"), ("register", "")):
        (tmp_path / name).write_text(text)
    assert [handler.name for handler in read_handlers(str(tmp_path))] == ["qemu-aarch64", "wine"]
    assert read_handlers(str(tmp_path / "nowhere")) == []


def test_the_tiny_program_of_this_machine_runs(tmp_path: pathlib.Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(tiny_program(os.uname().machine))
    program.chmod(0o755)
    assert subprocess.run([str(program)], check=False).returncode == 42
    assert _emulation._runs(os.uname().machine, str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["program"]


@pytest.mark.parametrize(("arch", "word"), [("x86_64", "X86-64"), ("aarch64", "AArch64")])
def test_others_take_them_for_programs(tmp_path: pathlib.Path, arch: str, word: str) -> None:
    program = tmp_path / "program"
    program.write_bytes(tiny_program(arch))
    listed = subprocess.run(
        ["readelf", "--file-header", "--segments", str(program)], capture_output=True, text=True, check=True
    )
    assert listed.stderr == ""
    assert word in listed.stdout
    assert "LOAD" in listed.stdout


@pytest.mark.parametrize(
    ("handlers", "problem"),
    [
        ([], "no emulator for it is registered with the kernel"),
        ([SUFFIX, PYTHON], "no emulator for it is registered with the kernel"),
        (
            [PYTHON, QEMU.replace("enabled", "disabled")],
            "its emulator /usr/libexec/qemu-binfmt/aarch64-binfmt-P is registered as handler1, but disabled",
        ),
        (
            [QEMU.replace("POF", "PO")],
            "its emulator /usr/libexec/qemu-binfmt/aarch64-binfmt-P is registered without the flag F, so no root tree "
            "has it",
        ),
        ([QEMU], "its registered emulator /usr/libexec/qemu-binfmt/aarch64-binfmt-P does not work"),
    ],
)
def test_why_programs_do_not_run(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, handlers: list[str], problem: str
) -> None:
    monkeypatch.setattr(_emulation, "_runs", lambda arch, directory: False)
    monkeypatch.setattr(_emulation.os, "uname", lambda: types.SimpleNamespace(machine="x86_64"))
    parsed = [parse_handler(f"handler{number}", text) for number, text in enumerate(handlers)]
    assert emulation_problem("aarch64", directory=str(tmp_path), handlers=parsed) == problem


def test_own_and_emulated_programs_run(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(_emulation, "_runs", lambda arch, directory: asked.append(arch) or True)
    monkeypatch.setattr(_emulation.os, "uname", lambda: types.SimpleNamespace(machine="x86_64"))
    for arch in ARCHITECTURES:
        # That it works counts, even where nothing can be seen of a handler.
        assert emulation_problem(arch, directory=str(tmp_path), handlers=[]) is None
    assert asked == ["aarch64"]
    assert emulation_problem("s390x", directory=str(tmp_path)) == "no emulator for it is known"


@pytest.mark.parametrize(
    ("distribution", "remedy"),
    [
        (
            {"name": "Debian GNU/Linux 12", "family": "debian"},
            "Apply the role os_image.composer.build_host with build_host_foreign_architectures: [aarch64], which "
            "installs and registers qemu-user-static, or build on a host with aarch64.",
        ),
        (
            {"name": "Fedora Linux 42", "family": "redhat"},
            "Apply the role os_image.composer.build_host with build_host_foreign_architectures: [aarch64], which "
            "installs and registers qemu-user-static-aarch64, or build on a host with aarch64.",
        ),
        (
            {"name": "Microsoft Azure Linux 3.0", "family": "azurelinux"},
            "Microsoft Azure Linux 3.0 has no package with one that would do. Register a static emulator with the "
            "kernel, with the flag F, or build on a host with aarch64.",
        ),
    ],
)
def test_the_message_names_everything(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, distribution: dict[str, str], remedy: str
) -> None:
    empty: list[Handler] = []
    monkeypatch.setattr(_emulation, "_runs", lambda arch, directory: False)
    monkeypatch.setattr(_emulation, "read_handlers", lambda: empty)
    monkeypatch.setattr(_emulation, "read_distribution", lambda: distribution)
    monkeypatch.setattr(_emulation.os, "uname", lambda: types.SimpleNamespace(machine="x86_64"))
    with pytest.raises(HostError) as caught:
        require_emulation("aarch64", directory=str(tmp_path))
    assert str(caught.value) == (
        "The image is for aarch64, and this build host (x86_64) cannot run its programs: no emulator for it is "
        f"registered with the kernel. {remedy}"
    )
