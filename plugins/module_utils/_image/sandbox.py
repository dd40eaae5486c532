# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The sandbox of programs that read an image, whose bytes nobody vouches for.

A program of the build host runs there as nobody and without any capability, sees the host's programs, the files that it
is to read, and nothing else, has neither a network nor devices, and writes into memory, as much as there is room for.
What it runs in is the sandbox of root trees, see :mod:`_chroot.sandbox`. When the module does not run as root, the
program runs as the same user, in a user namespace, and writes into the directory for temporary files.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import signal
import stat
import subprocess
import tempfile
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._chroot import sandbox_init
from ansible_collections.os_image.composer.plugins.module_utils._chroot.launcher import host_programs, launcher
from ansible_collections.os_image.composer.plugins.module_utils._command import (
    CommandLog,
    CommandRunner,
    CompletedCommand,
)
from ansible_collections.os_image.composer.plugins.module_utils._errors import ArtifactError, ChrootError, CommandError
from ansible_collections.os_image.composer.plugins.module_utils._namespace import (
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    enter_mount_namespace,
    mount,
    unmount,
)
from ansible_collections.os_image.composer.plugins.module_utils._size import GIB, MIB, show_size
from ansible_collections.os_image.composer.plugins.module_utils._sparse import clone_file, copy_sparse

#: The user ID and group ID that own nothing.
NOBODY = 65534

#: Seconds after which a program has hung.
TIMEOUT = 900.0

#: What a listing may have, which is kept in memory.
MOST_OUTPUT = 256 * MIB
_ADDRESS_SPACE = 8 * GIB
_MOST_FILES = 1_000_000
#: What is left of a file system on which files of any size are written.
KEPT_FREE = 256 * MIB


@dataclasses.dataclass(frozen=True)
class _View:
    """What a program finds beside the host's programs.

    :ivar read: Files that it may read; it finds them under the same names.
    :ivar written: Directories, or one file, that it may write to.
    :ivar most: The size that a file may have which it writes; V(None) for what it says alone.
    :ivar keep_free: Paths of file systems that it must not fill up.
    """

    read: t.Tuple[str, ...] = ()
    written: t.Tuple[str, ...] = ()
    most: int | None = None
    keep_free: t.Tuple[str, ...] = ()


class ParserSandbox(CommandRunner):
    """Runs programs that read images.

    What a program may read and write is told by :meth:`reading` and :meth:`writing`, which give another runner.
    """

    def __init__(
        self,
        *,
        log: CommandLog | None = None,
        environment: t.Mapping[str, str] | None = None,
        timeout: float = TIMEOUT,
        view: _View | None = None,
    ) -> None:
        super().__init__(log=log, environment=environment)
        self._timeout = timeout
        self._view = view or _View()

    def with_environment(self, environment: t.Mapping[str, str]) -> ParserSandbox:
        return self._with(environment=environment)

    def reading(self, *paths: str) -> ParserSandbox:
        """Show files, read-only."""
        return self._with(read=(*self._view.read, *paths))

    def writing(self, path: str, *, most: int, keep_free: bool = False) -> ParserSandbox:
        """Let programs write into a directory, or to a file.

        :param most: The bytes that each file may have.
        :param keep_free: Whether something has to be left of the file system that it lies on.
        """
        kept = (path,) if keep_free or os.geteuid() != 0 else ()
        return self._with(written=(*self._view.written, path), most=most, keep_free=(*self._view.keep_free, *kept))

    def _with(self, *, environment: t.Mapping[str, str] | None = None, **changes: t.Any) -> ParserSandbox:
        return ParserSandbox(
            log=self._log,
            environment={**self._environment, **(environment or {})},
            timeout=self._timeout,
            view=dataclasses.replace(self._view, **changes),
        )

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
        user: t.List[t.Any]
        if os.geteuid() == 0:
            enter_mount_namespace()
            user = [NOBODY, NOBODY, sorted({group for path in self._view.read for group in _groups_that_read(path)})]
        else:
            user = [os.geteuid(), os.getegid(), None]
        with contextlib.ExitStack() as stack:
            programs = host_programs()
            # What lies among the host's programs is there already.
            places = tuple(f"{path}/" for path, _target, _read_only in programs)
            shown = [(path, path, True) for path in dict.fromkeys(self._view.read) if not path.startswith(places)]
            written = [(path, path, False) for path in self._view.written]
            spec = {
                "root": None,
                "hostname": "localhost",
                "network": None,
                "environment": self._environment,
                "binds": [],
                "files": {},
                "outside": [*programs, *shown, *written],
                "directory": "/",
                "user": user,
                "limits": {
                    "RLIMIT_AS": _ADDRESS_SPACE,
                    "RLIMIT_FSIZE": self._view.most or MOST_OUTPUT,
                },
                "keep_free": dict.fromkeys(self._view.keep_free, KEPT_FREE),
                "timeout": self._timeout,
            }
            prefix, descriptors = stack.enter_context(launcher(spec))
            return super().start(
                [*prefix, *argv],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                pass_fds=[*pass_fds, *descriptors],
                start_new_session=start_new_session,
            )

    def run(
        self,
        argv: t.Sequence[str],
        *,
        data: bytes | None = None,
        cwd: str | None = None,
        timeout: float = 0,
        check: bool = True,
        merge_output: bool = False,
        log_output: bool = True,
        pass_fds: t.Collection[int] = (),
        what: str | None = None,
    ) -> CompletedCommand:
        """Run a program to its end, see :meth:`CommandRunner.run`; its time is that of the sandbox.

        :raises ChrootError: There is no sandbox.
        :raises CommandError: It failed, ran into its time limit, or filled what it may fill.
        """
        if cwd is not None:
            raise AssertionError("programs run in the root directory of their sandbox")
        subject = what or f"The command {os.path.basename(argv[0])!r}"
        with contextlib.ExitStack() as stack:
            # The limit of what a program may write holds for these, too.
            said, problems = (stack.enter_context(_in_memory()) for _stream in range(2))
            asked: t.Any = subprocess.DEVNULL
            if data is not None:
                asked = stack.enter_context(_in_memory())
                asked.write(data)
                asked.seek(0)
            errors = said if merge_output else problems
            process = self.start(
                argv, stdin=asked, stdout=said, stderr=errors, pass_fds=pass_fds, start_new_session=True
            )
            try:
                rc = process.wait(timeout or self._timeout + 60)
            except BaseException as exc:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                if isinstance(exc, subprocess.TimeoutExpired):
                    raise CommandError(f"{subject} did not end in time.") from exc
                raise
            done = CompletedCommand(tuple(argv), rc, *(_content(stream) for stream in (said, problems)))
        if log_output:
            self._write_log(done.text + done.error_text)
        self.check_ending(rc, subject, done.error_text or done.text)
        if check:
            self.check(done, what=what)
        return done

    def check_ending(self, rc: int, subject: str, said: str = "") -> None:
        """Check that it was not the sandbox that ended a program.

        :param rc: The exit status.
        :param subject: What was being done, as the subject of the message.
        :raises ChrootError: There was no sandbox.
        :raises CommandError: The program ran into a limit.
        """
        if rc == sandbox_init.SANDBOX_FAILED:
            raise ChrootError(
                f"Programs that read images cannot be confined. {said.strip()}.",
                remedy="Check that the build host's kernel allows mount, PID, IPC, UTS and network namespaces to root.",
            )
        if rc == sandbox_init.OUT_OF_TIME:
            raise CommandError(f"{subject} did not end within {self._timeout:g} s.")
        if rc == sandbox_init.OUT_OF_SPACE:
            raise CommandError(
                f"{subject} would fill up the file system of temp_dir, of which {show_size(KEPT_FREE)} stay free.",
                remedy="Set temp_dir to a directory with more space, if the image is to be trusted that far.",
            )


def _groups_that_read(path: str) -> t.Set[int]:
    """Return the group that somebody has to be in to read a file, if there is such a need."""
    status = os.stat(path)
    if status.st_mode & stat.S_IROTH:
        return set()
    if status.st_mode & stat.S_IRGRP:
        return {status.st_gid}
    raise AssertionError(f"nobody can read {path}")


def _in_memory() -> t.BinaryIO:
    return os.fdopen(os.memfd_create("output"), "w+b", buffering=0)  # type: ignore[return-value]


def _content(stream: t.BinaryIO) -> bytes:
    stream.seek(0, io.SEEK_SET)
    return stream.read()


@contextlib.contextmanager
def readable_file(path: str, *, temp_dir: str) -> t.Iterator[str]:
    """Give a file that programs in the sandbox can read: the file itself, or a copy when only its owner may read it.

    :param temp_dir: Where the copy lies, which shares its blocks with the file where the file system can.
    """
    if os.geteuid() != 0 or os.stat(path).st_mode & (stat.S_IROTH | stat.S_IRGRP):
        yield path
        return
    with tempfile.TemporaryDirectory(dir=temp_dir, prefix=".image-") as directory:
        copy = os.path.join(directory, "copy")
        if not clone_file(path, copy):
            copy_sparse(path, copy)
        os.chmod(copy, 0o644)
        yield copy


@contextlib.contextmanager
def output_directory(size: int, *, temp_dir: str, what: str) -> t.Iterator[str]:
    """Give a directory in memory for programs in the sandbox to write into while the block runs.

    :param size: The bytes that are needed at most.
    :param temp_dir: Where nobody else sees it.
    :raises ArtifactError: There is not so much memory.
    """
    if os.geteuid() != 0:
        # Only root can mount something that the module sees, too; what is left of the file system is looked after.
        with tempfile.TemporaryDirectory(dir=temp_dir, prefix=".image-") as directory:
            yield directory
        return
    enter_mount_namespace()
    size += 64 * MIB
    available = _available_memory() // 2
    if size > available:
        raise ArtifactError(
            f"{what} is read in memory, and needs up to {show_size(size)}; half of what is available is "
            f"{show_size(available)}.",
            remedy="Look at the image on a host with more memory.",
        )
    with tempfile.TemporaryDirectory(dir=temp_dir, prefix=".image-") as directory:
        options = f"mode=0700,uid={NOBODY},gid={NOBODY},size={size},nr_inodes={_MOST_FILES}"
        mount("tmpfs", directory, "tmpfs", flags=MS_NOSUID | MS_NODEV | MS_NOEXEC, options=options)
        try:
            yield directory
        finally:
            unmount(directory)


def _available_memory() -> int:
    with open("/proc/meminfo", encoding="ascii") as stream:
        fields = dict(line.split(":", 1) for line in stream)
    return int(fields["MemAvailable"].split()[0]) * 1024


def hand_over(descriptor: int) -> None:
    """Let programs in the sandbox write to a file."""
    if os.geteuid() == 0:
        os.fchown(descriptor, NOBODY, NOBODY)


__all__ = ("KEPT_FREE", "NOBODY", "TIMEOUT", "ParserSandbox", "hand_over", "output_directory", "readable_file")
