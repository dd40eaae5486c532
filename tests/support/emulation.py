# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Emulation for a while: the kernel runs programs of another architecture, as the role build_host sets it up."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import tempfile
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._emulation import (
    BINFMT_DIRECTORY,
    emulation_problem,
    read_handlers,
)

_FORMATS = pathlib.Path("/usr/lib/binfmt.d")


@contextlib.contextmanager
def emulated(arch: str) -> t.Iterator[None]:
    """Run programs of an architecture while the block runs. What had to be registered or mounted for it goes again.

    :raises AssertionError: They do not run: the package qemu-user-static is missing, or this is a container without
        the right to mount.
    """
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="emulated-"))
        if emulation_problem(arch, directory=directory) is not None:
            if not os.path.exists(f"{BINFMT_DIRECTORY}/register"):
                subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT_DIRECTORY], check=True)
                stack.callback(subprocess.run, ["umount", BINFMT_DIRECTORY], check=True)
            _register(arch, stack)
            assert emulation_problem(arch, directory=directory) is None
        yield


def _register(arch: str, stack: contextlib.ExitStack) -> None:
    name = f"qemu-{arch}"
    broken = [handler for handler in read_handlers() if handler.name == name]
    assert not broken, f"somebody has registered an emulator that does not work: {broken}"
    # The kernel wants all of it at once.
    pathlib.Path(BINFMT_DIRECTORY, "register").write_bytes((_FORMATS / f"{name}.conf").read_bytes())
    stack.callback(pathlib.Path(BINFMT_DIRECTORY, name).write_text, "-1")


__all__ = ("emulated",)
