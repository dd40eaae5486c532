# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Programs of the build host: finding them, and running them without surprises."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import selectors
import shlex
import shutil
import signal
import subprocess
import time
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import CommandError, ToolMissingError
from ansible_collections.os_image.composer.plugins.module_utils._host_tools.table import HOST_TOOLS, install_remedy

_SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TAIL_LINES = 20
_PIECE = 65536
#: What a program may say that is run to its end: it is kept in memory, and a script could go on for ever.
MOST_OUTPUT = 128 << 20
# Where a program that refuses its arguments goes on to explain all that there are.
# As in "mke2fs 1.47.0 (5-Feb-2023)".
_VERSION = re.compile(r"\d\.\d")
_USAGE = re.compile(r"\s*(usage|syntax)\s*:", re.IGNORECASE)

# Programs get nothing of the caller's environment: neither its locale nor its secrets reach an artifact.
_BASE_ENVIRONMENT: t.Mapping[str, str] = {
    "HOME": "/root",
    "LANGUAGE": "C",
    "LC_ALL": "C",
    "PATH": _SEARCH_PATH,
    "TZ": "UTC",
}


@dataclasses.dataclass(frozen=True)
class CompletedCommand:
    """What a program said.

    :ivar argv: The command as it was run.
    :ivar rc: Its exit status; negative when a signal ended it.
    :ivar stdout: Its standard output, as bytes.
    :ivar stderr: Its standard error, as bytes; empty when it was merged into C(stdout).
    """

    argv: tuple[str, ...]
    rc: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text; bytes that are not UTF-8 are replaced."""
        return self.stdout.decode("utf-8", errors="replace")

    @property
    def error_text(self) -> str:
        """Standard error as text; bytes that are not UTF-8 are replaced."""
        return self.stderr.decode("utf-8", errors="replace")


class CommandLog(t.Protocol):
    """Where commands and their output are written in full, see M(_progress)."""

    @property
    def path(self) -> str | None:
        """The log's path, for error messages."""

    def write(self, text: str) -> None:
        """Append C(text)."""


def find_tool(name: str) -> str:
    """Return the absolute path of a program.

    :param name: One of :data:`HOST_TOOLS`.
    :raises ToolMissingError: It is not installed.
    """
    path = _path_of(name)
    if path is None:
        raise ToolMissingError(
            f"The program {name!r} was not found on the build host.",
            remedy=install_remedy(HOST_TOOLS[name].package),
        )
    return path


def has_tool(name: str) -> bool:
    """Whether a program is installed.

    :param name: One of :data:`HOST_TOOLS`.
    """
    return _path_of(name) is not None


def _path_of(name: str) -> str | None:
    paths = (shutil.which(spelled, path=_SEARCH_PATH) for spelled in (name, *HOST_TOOLS[name].other_names))
    return next((path for path in paths if path is not None), None)


def tool_version(name: str) -> str:
    """Return the line that a program prints about its version, for fingerprints and manifests.

    :param name: One of :data:`HOST_TOOLS`.
    :raises ToolMissingError: It is not installed.
    """
    path = find_tool(name)
    if HOST_TOOLS[name].versioned_by:
        return tool_version(HOST_TOOLS[name].versioned_by)
    done = subprocess.run(  # noqa: S603
        [path, *HOST_TOOLS[name].version_arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(_BASE_ENVIRONMENT),
        check=False,
        timeout=30,
    )
    lines = [line.strip() for line in done.stdout.decode("utf-8", errors="replace").strip().splitlines()]
    # Some complain first.
    return next((line for line in lines if _VERSION.search(line)), "")


def _tail(data: bytes) -> str:
    lines = data.decode("utf-8", errors="replace").replace("\r", "\n").strip().splitlines()
    usage = next((index for index, line in enumerate(lines) if index and _USAGE.match(line)), None)
    return "\n".join(lines[:usage][-_TAIL_LINES:])


@contextlib.contextmanager
def killed_on_error(process: subprocess.Popen[bytes]) -> t.Iterator[None]:
    """Kill a program when the block that feeds it, reads from it or waits for it does not come to its end."""
    try:
        yield
    except BaseException:
        process.kill()
        process.wait()
        raise


class _Endless(Exception):
    """A program goes on for too long, or says too much."""

    def __init__(self, *, late: bool) -> None:
        super().__init__()
        self.late = late


class _Conversation:
    """What a program is told by its pipes, and what it says, of which no more is kept than :data:`MOST_OUTPUT`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._said = {stream: bytearray() for stream in (process.stdout, process.stderr) if stream is not None}

    @property
    def said(self) -> t.Tuple[bytes, bytes]:
        """Standard output and standard error."""
        streams = (self._process.stdout, self._process.stderr)
        stdout, stderr = (bytes(self._said[stream]) if stream is not None else b"" for stream in streams)
        return stdout, stderr

    def close(self) -> None:
        """Close the pipes."""
        for stream in (self._process.stdin, *self._said):
            if stream is not None:
                # What is not written yet nobody reads any more.
                with contextlib.suppress(OSError):
                    stream.close()

    def hold(self, data: bytes, *, end: float) -> None:
        """Write, and read until the program has ended.

        :param end: When it has to have ended, by C(time.monotonic()).
        :raises _Endless: It has not, or has said too much.
        """
        rest = memoryview(data)
        with selectors.DefaultSelector() as selector:
            for stream in self._said:
                selector.register(stream, selectors.EVENT_READ)
            stdin = self._process.stdin
            if stdin is not None:
                os.set_blocking(stdin.fileno(), False)
                selector.register(stdin, selectors.EVENT_WRITE)
            while selector.get_map():
                ready = selector.select(max(0.0, end - time.monotonic()))
                if not ready and time.monotonic() >= end:
                    raise _Endless(late=True)
                for key, _events in ready:
                    if key.fileobj is stdin:
                        rest = self._write(key.fd, rest)
                        is_over = not rest
                    else:
                        is_over = not self._read(t.cast(t.IO[bytes], key.fileobj))
                    if is_over:
                        selector.unregister(key.fileobj)
                        t.cast(t.IO[bytes], key.fileobj).close()
        try:
            self._process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired as exc:
            raise _Endless(late=True) from exc

    @staticmethod
    def _write(descriptor: int, rest: memoryview) -> memoryview:
        """Write some bytes; returns what is left, nothing when the program reads no more."""
        try:
            return rest[os.write(descriptor, rest[:_PIECE]) :]
        except BrokenPipeError:
            return rest[:0]

    def _read(self, stream: t.IO[bytes]) -> bytes:
        piece = os.read(stream.fileno(), _PIECE)
        self._said[stream] += piece
        if sum(map(len, self._said.values())) > MOST_OUTPUT:
            raise _Endless(late=False)
        return piece


class CommandRunner:
    """Runs programs: argument lists only, C locale, standard input closed, own session, ended with the module.

    :param log: Gets each command line with all of its output. Input is never logged.
    :param environment: Variables beside the fixed minimal environment, for example C(SOURCE_DATE_EPOCH).
    """

    def __init__(self, *, log: CommandLog | None = None, environment: t.Mapping[str, str] | None = None) -> None:
        self._log = log
        self._environment = dict(_BASE_ENVIRONMENT, **(environment or {}))
        # The kernel sends the program SIGKILL when the module dies, even by SIGKILL: nothing is orphaned.
        self._guard = (find_tool("setpriv"), "--pdeathsig", "KILL", "--")

    def with_environment(self, environment: t.Mapping[str, str]) -> CommandRunner:
        """Return a runner with more variables."""
        return CommandRunner(log=self._log, environment={**self._environment, **environment})

    def start(
        self,
        argv: t.Sequence[str],
        *,
        stdin: int | t.IO[bytes] = subprocess.DEVNULL,
        stdout: int | t.IO[bytes] | None = None,
        stderr: int | t.IO[bytes] | None = None,
        pass_fds: t.Collection[int] = (),
        start_new_session: bool = False,
    ) -> subprocess.Popen[bytes]:
        """Start a program for streaming (pipelines); the caller feeds, reads and waits for it."""
        self._write_log(f"$ {shlex.join(argv)}\n")
        return subprocess.Popen(  # noqa: S603
            [*self._guard, *argv],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=self._environment,
            pass_fds=pass_fds,
            start_new_session=start_new_session,
        )

    def run(
        self,
        argv: t.Sequence[str],
        *,
        data: bytes | None = None,
        cwd: str | None = None,
        timeout: float = 3600,
        check: bool = True,
        merge_output: bool = False,
        log_output: bool = True,
        pass_fds: t.Collection[int] = (),
        what: str | None = None,
    ) -> CompletedCommand:
        """Run a program to its end.

        :param data: Bytes for its standard input; secrets go here and never into C(argv).
        :param timeout: Seconds after which it is killed.
        :param check: Raise when its exit status is not 0.
        :param merge_output: Put standard error between the lines of standard output.
        :param log_output: Write its output to the log; the command line itself is always written.
        :param what: What was being done, as the subject of the error message ("Formatting partition 'rootfs'").
        :raises CommandError: It failed, was killed, said too much, or could not be started. The message holds its last
            lines.
        """
        argv = tuple(argv)
        self._write_log(f"$ {shlex.join(argv)}\n")
        subject = what or f"The command {os.path.basename(argv[0])!r}"
        try:
            process = subprocess.Popen(  # noqa: S603
                [*self._guard, *argv],
                stdin=subprocess.PIPE if data is not None else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if merge_output else subprocess.PIPE,
                cwd=cwd,
                env=self._environment,
                pass_fds=pass_fds,
                start_new_session=True,
            )
        except OSError as exc:
            raise CommandError(f"{subject} could not be started: {exc}.", details={"cmd": list(argv)}) from exc
        talk = _Conversation(process)
        try:
            talk.hold(data or b"", end=time.monotonic() + timeout)
        except _Endless as exc:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            stdout, stderr = talk.said
            self._write_log(_decode(stdout) + _decode(stderr))
            problem = f"did not end within {timeout:g} s" if exc.late else f"said more than {MOST_OUTPUT >> 20} MiB"
            raise CommandError(
                self._explain(f"{subject} {problem}.", stdout + stderr), details={"cmd": list(argv)}
            ) from exc
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        finally:
            talk.close()
        stdout, stderr = talk.said
        completed = CompletedCommand(argv, process.returncode, stdout, stderr)
        if log_output:
            self._write_log(_decode(completed.stdout) + _decode(completed.stderr))
        if check:
            self.check(completed, what=what)
        return completed

    def check(self, completed: CompletedCommand, *, what: str | None = None) -> None:
        """Raise when a program did not succeed.

        :param what: What was being done, see :meth:`run`.
        :raises CommandError: Its exit status is not 0. The message holds its last lines.
        """
        if completed.rc == 0:
            return
        subject = what or f"The command {os.path.basename(completed.argv[0])!r}"
        ending = f"ended with status {completed.rc}" if completed.rc > 0 else f"was ended by signal {-completed.rc}"
        raise CommandError(
            self._explain(f"{subject} {ending}.", completed.stderr.strip() or completed.stdout),
            details={"cmd": list(completed.argv), "rc": completed.rc},
        )

    def _explain(self, message: str, output: bytes) -> str:
        tail = _tail(output)
        if tail:
            message = f"{message} Its last lines:\n{tail}"
        if self._log is not None and self._log.path:
            message = f"{message}\nThe full log is {self._log.path}."
        return message

    def _write_log(self, text: str) -> None:
        if self._log is not None and text:
            self._log.write(text if text.endswith("\n") else text + "\n")


def _decode(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")


__all__ = (
    "CommandLog",
    "CommandRunner",
    "CompletedCommand",
    "find_tool",
    "has_tool",
    "killed_on_error",
    "tool_version",
)
