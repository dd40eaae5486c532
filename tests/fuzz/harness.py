# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fuzzer: damaged inputs by the number, each under limits, in processes that may die of them.

An input is known by the seed, its target and its number alone, so that each can be had again. What a parser may do is
to return, or to raise a :class:`ComposerError`; everything else is a failure: another exception, more memory or time
than an input may take, a signal.
"""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import json
import mmap
import os
import pathlib
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import ComposerError

#: Seconds that one input may take.
TIME_LIMIT = 10
#: Bytes of address space that a process which parses may have.
MEMORY_LIMIT = 500 << 20

# The process gets this much longer to tell where it was when the time was over, until it is killed.
_GRACE = 3
# Which input a process is at, since when, and how many it has refused.
_STATE = struct.Struct("<qdq")
# A process is replaced after this long, so that what it leaks is not held against later inputs.
_LIFETIME = 60
_LEAKED = 100 << 20
_PLUGINS = f"{os.sep}plugins{os.sep}"

Parse = t.Callable[[bytes, pathlib.Path], None]


class TooSlow(BaseException):
    """An input has taken longer than :data:`TIME_LIMIT`. No handler of errors of the parsers sees it as one."""


@dataclasses.dataclass(frozen=True)
class Target:
    """A parser with what it is fed.

    :ivar corpus: Makes sound inputs; called once, in a process of its own with an empty directory, under no limits.
    :ivar mutate: Makes an input of the corpus.
    :ivar parse: Gets an input, and an empty directory for its files.
    :ivar weight: How many inputs it gets beside the others; few where each one starts programs.
    """

    name: str
    corpus: t.Callable[[pathlib.Path], t.Sequence[bytes]]
    mutate: t.Callable[[random.Random, t.Sequence[bytes]], bytes]
    parse: Parse
    weight: int = 1000

    def make(self, seed: int, number: int, corpus: t.Sequence[bytes]) -> bytes:
        """Return an input; the first ones are the corpus itself, which has to be understood."""
        if number < len(corpus):
            return corpus[number]
        return self.mutate(random.Random(f"{seed}/{self.name}/{number}"), corpus)


@dataclasses.dataclass(frozen=True)
class Failure:
    """An input that a parser has failed at.

    :ivar kind: What is the same for all inputs that show the same fault.
    """

    target: str
    number: int
    kind: str
    details: str


@dataclasses.dataclass
class Summary:
    """What has become of a target.

    :ivar refused: How many inputs were answered by an error of ours, as they should be.
    :ivar failures: The first failure of each kind, and how many there were.
    """

    target: str
    inputs: int = 0
    refused: int = 0
    seconds: float = 0.0
    failures: t.Dict[str, t.Tuple[Failure, int]] = dataclasses.field(default_factory=dict)

    @property
    def failed(self) -> int:
        """The number of inputs that a parser has failed at."""
        return sum(count for _failure, count in self.failures.values())

    def add(self, failure: Failure) -> None:
        """Count a failure."""
        first, count = self.failures.get(failure.kind, (failure, 0))
        self.failures[failure.kind] = (first, count + 1)


class _Worker:
    """A process that feeds a target with the inputs from a number on."""

    def __init__(
        self, target: Target, corpus: t.Sequence[bytes], seed: int, start: int, stop: int, directory: pathlib.Path
    ) -> None:
        self._state = mmap.mmap(-1, _STATE.size)
        self._state[:] = _STATE.pack(start, time.monotonic(), 0)
        self._scratch = pathlib.Path(tempfile.mkdtemp(dir=directory))
        read, write = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            os.close(read)
            status = 70
            try:
                self._work(target, corpus, seed, start, stop, write)
                status = 0
            except BaseException as exc:
                kind, details = _describe(exc)
                _report(write, {"number": self.position[0], "kind": kind, "details": details})
            finally:
                os._exit(status)
        os.close(write)
        os.set_blocking(read, False)
        self._reports = read
        self._text = b""

    @property
    def position(self) -> t.Tuple[int, float]:
        """The number of the input that it is at, and since when."""
        number, since, _refused = _STATE.unpack(self._state[:])
        return number, since

    @property
    def refused(self) -> int:
        """How many inputs were answered by an error of ours."""
        return int(_STATE.unpack(self._state[:])[2])

    def _work(self, target: Target, corpus: t.Sequence[bytes], seed: int, start: int, stop: int, write: int) -> None:
        os.setsid()
        # Whoever uses it wants to see crashes of its own process.
        faulthandler.disable()
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        # Some programs and libraries know no other place, and what they leave there goes with the directory.
        os.environ["TMPDIR"] = tempfile.tempdir = str(self._scratch)
        # Nothing of it has to outlive the host, and the disk would have most of the time.
        os.fsync = lambda _descriptor: None
        signal.signal(signal.SIGALRM, _too_slow)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # Programs that are confined get limits of their own.
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, resource.getrlimit(resource.RLIMIT_AS)[1]))
        started = time.monotonic()
        size = _address_space()
        refused = 0
        for number in range(start, stop):
            self._state[:] = _STATE.pack(number, time.monotonic(), refused)
            place = self._scratch / "input"
            place.mkdir()
            data = target.make(seed, number, corpus)
            try:
                signal.setitimer(signal.ITIMER_REAL, TIME_LIMIT)
                target.parse(data, place)
            except ComposerError as exc:
                refused += 1
                if number < len(corpus):
                    report = {"number": number, "kind": "a sound input is refused", "details": str(exc)}
                    _report(write, report)
            except (Exception, TooSlow) as exc:
                signal.setitimer(signal.ITIMER_REAL, 0)
                kind, details = _describe(exc)
                _report(write, {"number": number, "kind": kind, "details": details})
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            _remove(place)
            if time.monotonic() - started > _LIFETIME or _address_space() > size + _LEAKED:
                stop = number + 1
                break
        self._state[:] = _STATE.pack(stop, time.monotonic(), refused)

    def reports(self) -> t.Iterator[t.Dict[str, t.Any]]:
        """Yield what it has told since the last time."""
        while True:
            try:
                data = os.read(self._reports, 1 << 16)
            except BlockingIOError:
                break
            if not data:
                break
            self._text += data
        *lines, self._text = self._text.split(b"\n")
        for line in lines:
            yield json.loads(line)

    def ended(self) -> int | None:
        """Return the status that it ended with; V(None) while it runs."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

    def kill(self) -> None:
        """End it, and what it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Remove what it left."""
        self.kill()
        os.close(self._reports)
        self._state.close()
        _remove(self._scratch)


def _remove(path: pathlib.Path) -> None:
    """Remove a directory, however deep it has become."""
    try:
        shutil.rmtree(path)
    except (OSError, RecursionError):
        subprocess.run(["rm", "-rf", "--", path], check=False)


def _address_space() -> int:
    with open("/proc/self/statm", "rb") as stream:
        return int(stream.read().split()[0]) * mmap.PAGESIZE


def _too_slow(_number: int, _frame: object) -> t.NoReturn:
    raise TooSlow(f"{TIME_LIMIT} s are over")


def _report(descriptor: int, report: t.Mapping[str, t.Any]) -> None:
    os.write(descriptor, json.dumps(report).encode("ascii") + b"\n")


def _describe(exc: BaseException) -> t.Tuple[str, str]:
    """Return the kind of a failure, and its traceback."""
    frames = traceback.extract_tb(exc.__traceback__)
    own = [frame for frame in frames if _PLUGINS in frame.filename] or frames[-1:]
    where = f"{own[-1].filename.rpartition(_PLUGINS)[2]}:{own[-1].name}" if own else "?"
    text = "".join(traceback.format_exception(type(exc), exc, exc.__traceback__))
    return f"{type(exc).__name__} in {where}", text[-3000:]


class _Run:
    """A target that is being run."""

    def __init__(self, target: Target, seed: int, *, first: int, inputs: int, seconds: float, directory: str) -> None:
        self.summary = Summary(target.name)
        self._target = target
        self._seed = seed
        self._first = self._next = first
        self._stop = first + inputs
        self._seconds = seconds
        self._directory = pathlib.Path(directory)
        self._corpus = _corpus(target, self._directory)
        self._started = time.monotonic()
        self._worker: _Worker | None = None

    def step(self) -> bool:
        """Look after the process; tell whether there is more to do."""
        late = time.monotonic() - self._started >= self._seconds
        if self._worker is None:
            if (late and self._next > self._first) or self._next >= self._stop:
                self.summary.seconds = time.monotonic() - self._started
                return False
            self._worker = _Worker(self._target, self._corpus, self._seed, self._next, self._stop, self._directory)
            return True
        worker = self._worker
        self._take_reports(worker)
        status = worker.ended()
        number, since = worker.position
        if status is None:
            if time.monotonic() - since > TIME_LIMIT + _GRACE:
                self._fail(number, f"hang: it was killed after {TIME_LIMIT + _GRACE} s")
                self._end(worker, number + 1)
            elif late and number > self._first and time.monotonic() - since < TIME_LIMIT:
                # What it is at is not finished: it does not count. The first one is, however busy the host.
                self._end(worker, number)
                self._stop = number
            return True
        if status:
            ending = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
            self._fail(number, f"crash: {ending}")
            number += 1
        self._end(worker, number)
        return True

    def _take_reports(self, worker: _Worker) -> None:
        for report in worker.reports():
            self.summary.add(Failure(self._target.name, report["number"], report["kind"], report["details"]))

    def _fail(self, number: int, kind: str) -> None:
        self.summary.add(Failure(self._target.name, number, kind, kind))

    def _end(self, worker: _Worker, following: int) -> None:
        worker.kill()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(worker.pid, 0)
        self._take_reports(worker)
        self.summary.refused += worker.refused
        worker.close()
        self.summary.inputs += following - self._next
        self._next = following
        self._worker = None

    def abort(self) -> None:
        """End it at once."""
        if self._worker is not None:
            self._end(self._worker, self._next)


def _corpus(target: Target, directory: pathlib.Path) -> t.Sequence[bytes]:
    place = pathlib.Path(tempfile.mkdtemp(dir=directory))
    try:
        return target.corpus(place)
    finally:
        _remove(place)


def fuzz(
    targets: t.Sequence[Target],
    *,
    seed: int,
    inputs: int,
    seconds: float = float("inf"),
    first: int = 0,
    workers: int = 2,
    finished: t.Callable[[Summary], None] = lambda _summary: None,
) -> t.List[Summary]:
    """Run all targets.

    :param inputs: How many inputs they get together, by their weights.
    :param seconds: How long all of it may take.
    :param first: The number of the first input of each.
    :param workers: How many targets run at once.
    :param finished: Is told of each target that has come to its end.
    """
    weights = sum(target.weight for target in targets)
    waiting = list(targets)
    deadline = time.monotonic() + seconds
    running: t.List[_Run] = []
    summaries = []
    with tempfile.TemporaryDirectory(prefix="os-image-composer-fuzz-") as directory:
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    target = waiting.pop(0)
                    left = deadline - time.monotonic()
                    # Those that come to their end early leave their time to the others.
                    fair = left * workers / (len(waiting) + len(running) + 1)
                    share = max(1, round(inputs * target.weight / weights))
                    running.append(
                        _Run(
                            target,
                            seed,
                            first=first,
                            inputs=share,
                            seconds=max(min(fair, left), 0.5),
                            directory=directory,
                        )
                    )
                for run in list(running):
                    if not run.step():
                        running.remove(run)
                        summaries.append(run.summary)
                        finished(run.summary)
                time.sleep(0.01)
        finally:
            for run in running:
                run.abort()
    return summaries


def shown(summary: Summary) -> str:
    """Return the line about a target."""
    return (
        f"{summary.target:<20} {summary.inputs:>9} inputs {summary.refused:>9} refused "
        f"{summary.seconds:>8.1f} s {summary.failed:>6} errors"
    )


__all__ = ("MEMORY_LIMIT", "TIME_LIMIT", "Failure", "Summary", "Target", "fuzz", "shown")
