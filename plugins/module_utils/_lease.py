# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The lease of a stage, which ends when nobody waits for it any more.

Ctrl-C in a terminal and a cancelled AWX job end the play without a word to the module that runs in the background on
the build host. The action plugin therefore touches a lease file while it watches; a stage whose lease is no longer
touched stops by itself, cleaning up.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import types
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import CancelledError

_CHECK_SECONDS = 1.0


def _expired(path: str, timeout: float) -> bool:
    try:
        return time.time() - os.stat(path).st_mtime > timeout
    except FileNotFoundError:
        return True


def _sign(path: str) -> None:
    """Write the process id into the lease, so that the watcher can tell a killed module from a busy one."""
    # A lease that is gone already must not come back.
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        try:
            os.write(descriptor, f"{os.getpid()}\n".encode())
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def cancellable(stage: str, *, lease_file: str | None, lease_timeout: float) -> t.Iterator[None]:
    """Turn SIGTERM, and a lease that nobody touches, into a :class:`CancelledError` in the block.

    Must be entered in the main thread: only there Python runs signal handlers, also while a program is waited for.

    :param lease_file: The file that the watcher touches; V(None) when nobody watches.
    :param lease_timeout: Seconds without a touch after which the stage stops; 0 means never.
    """

    def cancel(signum: int, frame: types.FrameType | None) -> t.NoReturn:
        raise CancelledError(
            f"{stage} was stopped, because the play that started it has gone away or the process was told to end.",
            remedy="Run the play again: finished stages are kept, and nothing unfinished was left behind.",
        )

    previous = signal.signal(signal.SIGTERM, cancel)
    main_thread = threading.get_ident()
    ended = threading.Event()

    def watch(path: str) -> None:
        while not ended.wait(_CHECK_SECONDS):
            if _expired(path, lease_timeout):
                # To the main thread by name: a signal that this thread received would not wake the other one.
                signal.pthread_kill(main_thread, signal.SIGTERM)
                return

    if lease_file:
        _sign(lease_file)
    watcher = None
    if lease_file and lease_timeout > 0:
        watcher = threading.Thread(target=watch, args=(lease_file,), name="lease", daemon=True)
        watcher.start()
    try:
        yield
    finally:
        ended.set()
        if watcher is not None:
            watcher.join()
        signal.signal(signal.SIGTERM, previous)


__all__ = ("cancellable",)
