# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests for the process apart in which packages are resolved."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import pathlib
import resource
import signal
import subprocess
import sys
import time
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import RepositoryError, ResolveError
from ansible_collections.os_image.composer.plugins.module_utils._resolver.apart import run_apart
from ansible_collections.os_image.composer.plugins.module_utils._resolver.pool import At
from ansible_collections.os_image.composer.tests.support import package_index

_STEP = "reading the package index x of the repository 'vendor'"


def _crash(at: At) -> dict[str, t.Any]:
    at(_STEP)
    faulthandler.disable()
    ctypes.string_at(1)
    return {}


def _end(at: At) -> dict[str, t.Any]:
    at(_STEP)
    os._exit(3)


def _fill_memory(at: At) -> dict[str, t.Any]:
    at(_STEP)
    return {"size": len(bytearray(200 << 20))}


def _abort(at: At) -> dict[str, t.Any]:
    # As libsolv does without memory.
    at(_STEP)
    faulthandler.disable()
    os.abort()


def _hang(at: At) -> dict[str, t.Any]:
    at(_STEP)
    time.sleep(60)
    return {}


def _fail(at: At) -> dict[str, t.Any]:
    at(_STEP)
    raise KeyError("name")


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (_crash, f"libsolv has crashed with the signal SIGSEGV when {_STEP}."),
        (_end, f"libsolv has crashed with the status 3 when {_STEP}."),
        (_fill_memory, f"The memory is over when {_STEP}: it has taken 100 MiB."),
        (_abort, f"The memory is over when {_STEP}: it has taken 100 MiB."),
        (_hang, f"The time is over when {_STEP}: it has taken 1 s."),
        (_fail, f"An unknown error came up when {_STEP}: KeyError: 'name'."),
    ],
)
def test_an_end_that_nobody_wants_is_an_error_in_words(work: t.Callable[[At], dict[str, t.Any]], message: str) -> None:
    with pytest.raises(ResolveError) as caught:
        run_apart(work, memory=100 << 20, seconds=1)
    assert str(caught.value).startswith(message)
    assert "take the repository out of the template" in str(caught.value)


def test_the_result_is_what_the_work_returns() -> None:
    pid = os.getpid()
    result = run_apart(lambda at: {"pid": os.getpid(), "text": "ä" * 300_000, "none": at("all")})
    assert result["text"] == "ä" * 300_000
    assert result["pid"] != pid
    with pytest.raises(ProcessLookupError):
        os.kill(result["pid"], 0)


def test_a_module_with_many_open_files() -> None:
    with contextlib.ExitStack() as stack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        for _number in range(1100):
            stack.enter_context(open(os.devnull, encoding="ascii"))
        assert run_apart(lambda _at: {"done": True}) == {"done": True}


def test_errors_of_ours_come_as_they_are() -> None:
    def work(_at: At) -> dict[str, t.Any]:
        raise RepositoryError("It is damaged.", remedy="Mend it.", details={"path": "x"})

    with pytest.raises(RepositoryError, match=r"^It is damaged\. Mend it\.$") as caught:
        run_apart(work)
    assert (caught.value.remedy, caught.value.details) == ("Mend it.", {"path": "x"})


def test_errors_of_the_host_come_as_they_are(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        run_apart(lambda _at: {"text": (tmp_path / "missing").read_text()})
    assert caught.value.filename == str(tmp_path / "missing")


def test_a_traceback_goes_to_the_log() -> None:
    log: list[str] = []
    with pytest.raises(ResolveError):
        run_apart(_fail, log=log.append)
    assert "in _fail" in log[0]


def test_a_step_with_a_limit_of_its_own_may_take_longer() -> None:
    def work(at: At) -> dict[str, t.Any]:
        at("fetching", limited=False)
        time.sleep(0.5)
        return {"done": True}

    assert run_apart(work, seconds=0.2) == {"done": True}


def test_the_process_ends_with_the_module(tmp_path: pathlib.Path) -> None:
    script = f"""
import os, time
from {run_apart.__module__} import run_apart
def work(at):
    open({str(tmp_path / "pid")!r}, "w").write(str(os.getpid()))
    time.sleep(60)
run_apart(work)
"""
    with subprocess.Popen([sys.executable, "-c", script]) as module:
        end = time.monotonic() + 30
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            assert time.monotonic() < end
            time.sleep(0.05)
        module.kill()
    pid = int((tmp_path / "pid").read_text())
    while pathlib.Path(f"/proc/{pid}/stat").exists() and " Z " not in pathlib.Path(f"/proc/{pid}/stat").read_text():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_nothing_of_it_is_left_when_the_module_is_stopped() -> None:
    class Stopped(Exception):
        pass

    def stop(_number: int, _frame: object) -> t.NoReturn:
        raise Stopped

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(Stopped):
            run_apart(_hang)
    finally:
        signal.signal(signal.SIGALRM, before)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_what_libsolv_cannot_bear_ends_the_process_alone(tmp_path: pathlib.Path) -> None:
    def work(at: At) -> dict[str, t.Any]:
        at(_STEP)
        faulthandler.disable()
        pool = package_index.pool_of(package_index.repository(tmp_path, "hello")).pool
        pool.parserpmrichdep("(" * 200_000)
        return {}

    with pytest.raises(ResolveError, match=r"libsolv has crashed with the signal SIGSEGV"):
        run_apart(work)
