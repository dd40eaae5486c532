# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""A boot: a machine from its start until its console says what is waited for.

A boot that the emulator itself has spoilt says nothing about the image, and is made once more.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import time
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._boot_test.machine import (
    Machine,
    MachineSpec,
    started_machine,
)
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner

# What emulated x86 processors do to Linux 6.12 now and then, in its first seconds: the kernel replaces an instruction
# of sched_clock_cpu while it runs, with a breakpoint in its place for a moment, and one of the processors meets that
# when the kernel does not expect it any more.
_EMULATOR_PANIC = r"\bint3: 0000 \[#\d+\](?s:.*?)\bRIP: 0010:sched_clock_cpu\+(?s:.*?)\bKernel panic - not syncing"
# From here on programs run: the initramfs opens the root file system.
_FIRST_PROGRAM = re.compile(r"Run \S+ as init process|\bsystemd\[1\]: ")

#: How often a machine is started at most.
MOST_STARTS = 3


@dataclasses.dataclass(frozen=True)
class Boot:
    """A machine that runs, or has ended.

    :ivar found: Which of the patterns its console has said first, by its index, and the match; V(None) when it has said
        none of them in time, or has ended without.
    :ivar seconds: From its start until then.
    """

    machine: Machine
    found: tuple[int, re.Match[str]] | None
    seconds: float


@contextlib.contextmanager
def booted_machine(
    spec: MachineSpec,
    *patterns: str,
    timeout: float,
    runner: CommandRunner,
    log: t.TextIO,
    temp_dir: str | None = None,
) -> t.Iterator[Boot]:
    """Start a machine, wait for one of some regular expressions on its console, and let it run while the block runs.

    When the emulator makes the kernel panic in a way that is known, before any program runs in the machine, it is
    started again, but not for ever.

    :param timeout: Seconds that each start has.
    :param log: Gets what the serial console says, live; of all starts.
    :param temp_dir: Where QEMU keeps what the guest writes.
    """
    for left in reversed(range(MOST_STARTS)):
        with started_machine(spec, runner=runner, log=log, temp_dir=temp_dir) as machine:
            console, started = machine.console, time.monotonic()
            found = console.expect(*patterns, _EMULATOR_PANIC, timeout=timeout)
            if left and _is_spoilt(spec, console.text):
                log.write("\n[boot test] The emulator has made the kernel panic: the machine is started again.\n")
                continue
            if found is not None and found[0] == len(patterns):
                found = console.expect(*patterns, timeout=timeout)
            yield Boot(machine, found, round(time.monotonic() - started, 1))
            return


def _is_spoilt(spec: MachineSpec, text: str) -> bool:
    """Tell whether the emulator has made the kernel panic, before any program has run.

    :param text: What the console has said.
    """
    if (spec.accelerator, spec.arch) != ("tcg", "x86_64"):
        return False
    panic = re.search(_EMULATOR_PANIC, text)
    return panic is not None and not _FIRST_PROGRAM.search(text, 0, panic.start())


__all__ = ("MOST_STARTS", "Boot", "booted_machine")
