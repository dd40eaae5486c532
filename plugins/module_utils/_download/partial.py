# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The file of a download that is under way.

It is locked while somebody writes it, so that two builds that share a cache share a download too, and it is continued
by whoever comes next when its writer was killed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import threading
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._download.problem import Stopped
from ansible_collections.os_image.composer.plugins.module_utils._io import hasher

_LOCK_POLL_SECONDS = 0.2


@dataclasses.dataclass
class Partial:
    """The C(.part) file of a download.

    :ivar like: A digest of the kind that is demanded.
    :ivar digest: The hash object of what it holds.
    :ivar offset: How much it holds.
    :ivar received: How much of it came in this run.
    """

    descriptor: int
    like: str
    digest: t.Any
    offset: int = 0
    received: int = 0

    def restart(self) -> None:
        """Begin with nothing."""
        os.ftruncate(self.descriptor, 0)
        self.digest = hasher(self.like)
        self.offset = 0

    def load(self, size: int) -> None:
        """Take over what an earlier run left, if it can be the beginning of the file."""
        if os.fstat(self.descriptor).st_size > size:
            self.restart()
            return
        position = 0
        while True:
            chunk = os.pread(self.descriptor, 1 << 20, position)
            if not chunk:
                break
            self.digest.update(chunk)
            position += len(chunk)
        self.offset = position

    def append(self, data: bytes) -> None:
        """Write what comes next."""
        view = memoryview(data)
        while view:
            count = os.pwrite(self.descriptor, view, self.offset)
            self.digest.update(view[:count])
            self.offset += count
            self.received += count
            view = view[count:]


@contextlib.contextmanager
def locked_part(path: str, stop: threading.Event, *, like: str) -> t.Iterator[Partial]:
    """Open a C(.part) file and hold its lock; wait for another build that is writing it.

    :param like: A digest of the kind that is demanded.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if stop.wait(_LOCK_POLL_SECONDS):
                    raise Stopped from None
                continue
            try:
                same = os.path.samestat(os.fstat(descriptor), os.stat(path))
            except FileNotFoundError:
                same = False
            if not same:
                # The one who held the lock has finished the file and given it its name.
                continue
            partial = Partial(descriptor, like, hasher(like))
            try:
                yield partial
            finally:
                if os.fstat(descriptor).st_size == 0:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(path)
            return
        finally:
            os.close(descriptor)


__all__ = ("Partial", "locked_part")
