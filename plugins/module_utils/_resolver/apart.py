# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""A process apart, in which libsolv reads what repositories have published, and decides.

libsolv trusts its input. An index that makes it crash, take all memory, or go on for ever ends that process, and the
module says in words where it was. A fork takes a few milliseconds; an interpreter of its own would take longer than
most resolutions.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import resource
import select
import signal
import time
import traceback
import typing as t
import warnings

from ansible_collections.os_image.composer.plugins.module_utils import _errors
from ansible_collections.os_image.composer.plugins.module_utils._errors import ComposerError, ResolveError
from ansible_collections.os_image.composer.plugins.module_utils._resolver.pool import At

#: Bytes that one step may take beside what those before it have taken. The largest distributions need 200 MB.
MEMORY_LIMIT = 1 << 30
#: Seconds that one step may take, such as reading one index; the largest ones take some seconds.
STEP_SECONDS = 600.0

_REMEDY = (
    "The metadata of a repository is damaged, or made to do this: take the repository out of the template, or tell its "
    "maintainers."
)
# prctl(2)
_PR_SET_PDEATHSIG = 1


def run_apart(
    work: t.Callable[[At], t.Dict[str, t.Any]],
    *,
    memory: int = MEMORY_LIMIT,
    seconds: float = STEP_SECONDS,
    log: t.Callable[[str], None] | None = None,
) -> t.Dict[str, t.Any]:
    """Do something in a process of its own, and return its result, which has JSON types only.

    :param work: Gets a function that it tells of each step: C(at("reading the index x")), C(limited=False) for one that
        has a time limit of its own.
    :param memory: Bytes that a step may take.
    :param seconds: The most that a step may take.
    :param log: Gets the traceback of an error that nobody expected.
    :raises ComposerError: The work has raised it; or the process was ended by a signal, or by a limit.
    """
    read, write = os.pipe()
    parent = os.getpid()
    with warnings.catch_warnings():
        # The other threads wait for nothing that is used there.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if not pid:
        os.close(read)
        _work(work, write, memory, parent)
    os.close(write)
    try:
        return _follow(pid, read, memory=memory, seconds=seconds, log=log)
    finally:
        os.close(read)
        with contextlib.suppress(ChildProcessError):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


# -- the process


def _work(work: t.Callable[[At], t.Dict[str, t.Any]], write: int, memory: int, parent: int) -> t.NoReturn:
    status = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # The module's output is its result.
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _limit_memory(memory)
        _end_with(parent)

        def at(step: str, *, limited: bool = True) -> None:
            _limit_memory(memory)
            _send(write, {"at": step, "limited": limited})

        try:
            _send(write, {"result": work(at)})
        except BaseException as exc:
            _send(write, _described(exc))
        status = 0
    finally:
        # Nothing of the module that was forked comes to an end here.
        os._exit(status)


def _limit_memory(memory: int) -> None:
    with open("/proc/self/statm", "rb") as stream:
        used = int(stream.read().split()[5]) * resource.getpagesize()
    _soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = used + memory
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))


def _end_with(parent: int) -> None:
    """Let the process end with the module, however that ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _send(write: int, message: t.Mapping[str, t.Any]) -> None:
    data = memoryview(json.dumps(message).encode("ascii") + b"\n")
    while data:
        data = data[os.write(write, data) :]


def _described(exc: BaseException) -> t.Dict[str, t.Any]:
    if isinstance(exc, ComposerError):
        message = str(exc)
        if exc.remedy and message.endswith(f" {exc.remedy}"):
            message = message[: -len(exc.remedy) - 1]
        return {
            "error": type(exc).__name__,
            "message": message,
            "remedy": exc.remedy,
            "details": exc.details,
        }
    if isinstance(exc, OSError) and exc.errno not in (None, errno.ENOMEM):
        return {"errno": exc.errno, "strerror": exc.strerror, "filename": _text(exc.filename)}
    if isinstance(exc, (MemoryError, OSError)):
        return {"memory": True}
    return {"unexpected": f"{type(exc).__name__}: {exc}"[:300], "traceback": traceback.format_exc()}


def _text(name: t.Any) -> str | None:
    return os.fsdecode(name) if isinstance(name, (str, bytes)) else None


# -- the module


def _follow(
    pid: int, read: int, *, memory: int, seconds: float, log: t.Callable[[str], None] | None
) -> t.Dict[str, t.Any]:
    """Read what the process tells, until it has come to its end."""
    step = "reading package indexes"
    deadline: float | None = time.monotonic() + seconds
    last: t.Dict[str, t.Any] = {}
    rest = bytearray()
    # Unlike select(), it takes any descriptor.
    waiting = select.poll()
    waiting.register(read, select.POLLIN | select.POLLHUP)
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        if not waiting.poll(left):
            raise ResolveError(f"The time is over when {step}: it has taken {seconds:.0f} s.", remedy=_REMEDY)
        data = os.read(read, 1 << 20)
        if not data:
            break
        searched = len(rest)
        rest += data
        if rest.find(b"\n", searched) < 0:
            continue
        *lines, remainder = bytes(rest).split(b"\n")
        rest = bytearray(remainder)
        for line in lines:
            message = json.loads(line)
            if "at" in message:
                step = message["at"]
                deadline = time.monotonic() + seconds if message["limited"] else None
            else:
                last = message
    _pid, status = os.waitpid(pid, 0)
    if "result" in last:
        return t.cast(t.Dict[str, t.Any], last["result"])
    raise _error(last, status, step, memory=memory, log=log)


def _error(
    message: t.Mapping[str, t.Any],
    status: int,
    step: str,
    *,
    memory: int,
    log: t.Callable[[str], None] | None,
) -> Exception:
    """Return what the process has ended with, as an exception."""
    if "error" in message:
        kind = getattr(_errors, message["error"], ComposerError)
        return t.cast(
            ComposerError, kind(message["message"], remedy=message["remedy"], details=dict(message["details"]))
        )
    if "errno" in message:
        return OSError(message["errno"], message["strerror"], message["filename"])
    code = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    # libsolv calls abort() when it gets no memory.
    if "memory" in message or code == signal.SIGABRT:
        return ResolveError(f"The memory is over when {step}: it has taken {memory >> 20} MiB.", remedy=_REMEDY)
    if "unexpected" in message:
        if log is not None:
            log(message["traceback"])
        return ResolveError(f"An unknown error came up when {step}: {message['unexpected']}.", remedy=_REMEDY)
    ending = f"the signal {signal.Signals(code).name}" if code else f"the status {os.WEXITSTATUS(status)}"
    return ResolveError(f"libsolv has crashed with {ending} when {step}.", remedy=_REMEDY)


__all__ = ("MEMORY_LIMIT", "STEP_SECONDS", "run_apart")
