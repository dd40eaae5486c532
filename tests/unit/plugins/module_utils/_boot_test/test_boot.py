# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import dataclasses
import io
import socket
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._boot_test import boot
from ansible_collections.os_image.composer.plugins.module_utils._boot_test.boot import MOST_STARTS, booted_machine
from ansible_collections.os_image.composer.plugins.module_utils._boot_test.console import LOGIN_PROMPT, Console
from ansible_collections.os_image.composer.plugins.module_utils._boot_test.machine import MachineSpec
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner

# What the console of Debian 13 said (kernel 6.12.118, QEMU 7.2), without most of its registers.
_BEGIN = "[    0.000000] Linux version 6.12.118+deb13-amd64 (debian-kernel@lists.debian.org)\n"
_INT3 = """\
[    2.883284] ---[ end trace 0000000000000000 ]---
[    2.883286] Oops: int3: 0000 [#2] PREEMPT SMP NOPTI
[    2.883351] RIP: 0010:sched_clock_cpu+0x9/0x1d0
[    2.883375] RSP: 0018:ff27d41b8001fba0 EFLAGS: 00000046
"""
_PANIC = "[    2.883560] Kernel panic - not syncing: Fatal exception in interrupt\n"
_INIT = "[    4.015310] Run /init as init process\n"
_CORRUPTED = "Kernel panic - not syncing: dm-verity device corrupted"
_LOGIN = "edge login: "
_EMULATORS = _BEGIN + _INT3 + _PANIC


@dataclasses.dataclass
class _Machine:
    console: Console


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., list[str]]:
    """Let machines say the given texts, and end: one text for each start."""

    def prepare(*texts: str) -> list[str]:
        left = [*texts]

        @contextlib.contextmanager
        def started(_spec: MachineSpec, *, log: t.TextIO, **_options: t.Any) -> t.Iterator[_Machine]:
            ours, theirs = socket.socketpair()
            with ours:
                theirs.sendall(left.pop(0).encode())
                theirs.close()
                yield _Machine(Console(ours, log))

        monkeypatch.setattr(boot, "started_machine", started)
        return left

    return prepare


def _boot(*patterns: str, spec: MachineSpec | None = None) -> tuple[tuple[int, str] | None, str]:
    log = io.StringIO()
    spec = spec or MachineSpec("disk.raw")
    with booted_machine(spec, *patterns, timeout=20, runner=CommandRunner(), log=log) as booted:
        return booted.found and (booted.found[0], booted.found[1].group()), log.getvalue()


@pytest.mark.parametrize("patterns", [(LOGIN_PROMPT,), (LOGIN_PROMPT, r"Kernel panic - not syncing:? *(.*)")])
def test_starts_again_when_the_emulator_made_the_kernel_panic(
    starts: t.Callable[..., list[str]], patterns: t.Sequence[str]
) -> None:
    left = starts(_EMULATORS, _BEGIN + _INIT + _LOGIN, "never")
    found, said = _boot(*patterns)
    assert found == (0, "edge login:")
    assert left == ["never"]
    assert "\n[boot test] The emulator has made the kernel panic: the machine is started again.\n" in said
    assert said.count("Linux version") == 2


def test_starts_again_only_so_often(starts: t.Callable[..., list[str]]) -> None:
    left = starts(*[_EMULATORS] * (MOST_STARTS + 1))
    found, said = _boot(LOGIN_PROMPT, "Kernel panic - not syncing")
    assert found == (1, "Kernel panic - not syncing")
    assert len(left) == 1
    assert said.count("Kernel panic") == MOST_STARTS


@pytest.mark.parametrize(
    ("says", "found"),
    [
        pytest.param(_BEGIN + _INIT + _INT3 + _PANIC, None, id="when programs run"),
        pytest.param(_BEGIN + _INT3.replace("sched_clock_cpu", "dm_verity_ctr") + _PANIC, None, id="elsewhere"),
        pytest.param(_BEGIN + _INT3.replace("int3: 0000", "invalid opcode: 0000") + _PANIC, None, id="another oops"),
        pytest.param(_BEGIN + _INT3 + _LOGIN, (0, "edge login:"), id="without a panic"),
        pytest.param(_BEGIN + _CORRUPTED + "\n", (1, _CORRUPTED), id="of the image"),
    ],
)
def test_takes_everything_else_as_it_is(
    starts: t.Callable[..., list[str]], says: str, found: tuple[int, str] | None
) -> None:
    left = starts(says, "never")
    assert _boot(LOGIN_PROMPT, _CORRUPTED) == (found, says)
    assert left == ["never"]


@pytest.mark.parametrize("spec", [MachineSpec("disk.raw", accelerator="kvm"), MachineSpec("disk.raw", arch="aarch64")])
def test_only_emulated_x86_processors_do_it(starts: t.Callable[..., list[str]], spec: MachineSpec) -> None:
    left = starts(_EMULATORS, "never")
    assert _boot(LOGIN_PROMPT, spec=spec) == (None, _EMULATORS)
    assert left == ["never"]
