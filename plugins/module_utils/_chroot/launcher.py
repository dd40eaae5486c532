# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The launcher of sandboxes: how a command is started in one, whatever that shows."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import sys
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._chroot import sandbox_init
from ansible_collections.os_image.composer.plugins.module_utils._chroot.seccomp import system_call_filter
from ansible_collections.os_image.composer.plugins.module_utils._namespace import bind, unmount

# What a program of the build host needs of it. Nothing of /etc but this: settings that somebody made on one build host
# must not shape an image.
_HOST_PATHS = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin", "/etc/ld.so.cache")


@contextlib.contextmanager
def launcher(spec: t.Mapping[str, t.Any]) -> t.Iterator[tuple[t.List[str], t.Tuple[int, ...]]]:
    """Give what stands before a command to run it in a sandbox, and the descriptors that it needs while the block runs.

    :param spec: See :mod:`sandbox_init`; the filter of system calls is added.
    """
    program = _in_memory("sandbox", inspect.getsource(sandbox_init).encode("utf-8"))
    rules = _in_memory("filter", system_call_filter())
    specification = _in_memory("specification", json.dumps({**spec, "filter": rules}).encode("utf-8"))
    descriptors = (program, rules, specification)
    try:
        yield [sys.executable, "-I", "-S", f"/dev/fd/{program}", str(specification), "--"], descriptors
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def host_programs() -> list[tuple[str, str, bool]]:
    """Return what a program of the build host needs of it, as C(outside) of :mod:`sandbox_init` has it."""
    return [(path, path, True) for path in _HOST_PATHS if os.path.lexists(path)]


@contextlib.contextmanager
def protected_interpreter() -> t.Iterator[None]:
    """Let this process find its interpreter on a read-only mount while the block runs.

    The first process of a sandbox runs it, so that a command finds it as /proc/1/exe; root could change its mode there.
    This process needs a mount namespace of its own, see :func:`enter_mount_namespace`.
    """
    path = os.path.realpath(sys.executable)
    # Those of several threads lie one upon another, and are all the same.
    bind(path, path, read_only=True)
    try:
        yield
    finally:
        unmount(path)


def _in_memory(name: str, content: bytes) -> int:
    """Return the descriptor of a file in memory, for a child to read."""
    descriptor = os.memfd_create(name)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


__all__ = ("host_programs", "launcher", "protected_interpreter")
