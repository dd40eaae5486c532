# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The pace of a download: servers that are too slow are left, however little or much they send.

A timeout between two bytes does not help against a server that sends one byte now and then: whoever waits for the rest
waits for ever. So a thread of its own looks at the clock, and shuts the connections down that are behind; the thread
that reads from such a connection wakes up, and tells why.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._download.model import Limits, Timeouts
from ansible_collections.os_image.composer.plugins.module_utils._download.problem import Problem, Temporary

_LOOK_SECONDS = 0.25
_SMALLEST_CHUNK = 1 << 10
_LARGEST_CHUNK = 1 << 18


class Transfer:
    """A request that is under way, and until when its next bytes have to be here.

    :ivar chunk: How many bytes to read at once: few from a slow server, as what was read in part does not count.
    """

    def __init__(self, server: str, timeouts: Timeouts, limits: Limits, *, end: float) -> None:
        self._server = server
        self._limits = limits
        self._end = end
        self._wires: list[socket.socket] = []
        self._guard = threading.Lock()
        self._cut = False
        #: What has to come within the time that the rate is measured over.
        self._portion = limits.rate * limits.window
        self._pending = 0.0
        self._read_at = time.monotonic()
        self._answer_by = self._read_at + timeouts.connect + timeouts.read
        self._due = self._answer_by
        self.chunk = self._least_chunk

    @property
    def _least_chunk(self) -> int:
        if not self._limits.rate:
            return _LARGEST_CHUNK
        return int(min(_LARGEST_CHUNK, max(_SMALLEST_CHUNK, self._portion / 2)))

    def attach(self, wire: socket.socket) -> None:
        """Take a connection that the request uses; it is shut down when the time is over.

        TLS takes a socket over, and a library may close it while an answer is still read from a descriptor of its own;
        shutting down works by any descriptor.
        """
        own = socket.socket(fileno=os.dup(wire.fileno()))
        with self._guard:
            self._wires.append(own)
            if self._cut:
                _shut(own)

    def release(self) -> None:
        """Forget the connections."""
        with self._guard:
            for wire in self._wires:
                wire.close()
            self._wires.clear()

    def answered(self) -> None:
        """Note that the head of the answer is there."""
        self._read_at = time.monotonic()
        self._due = self._read_at + self._limits.window if self._portion else self._end

    def came(self, size: int) -> None:
        """Note the next bytes."""
        now = time.monotonic()
        took, self._read_at = now - self._read_at, now
        self.chunk = min(_LARGEST_CHUNK, self.chunk * 2) if took < 0.1 else self._least_chunk
        self._pending += size
        if self._portion and self._pending >= self._portion:
            self._pending = 0
            self._due = now + self._limits.window

    def look(self, now: float) -> None:
        """Shut the connections down when the time is over."""
        if now < min(self._due, self._end):
            return
        with self._guard:
            self._cut = True
            for wire in self._wires:
                _shut(wire)

    @property
    def problem(self) -> Problem | None:
        """Why the request was ended, if it was."""
        if not self._cut:
            return None
        if self._end <= self._due:
            return Temporary(
                "it was not there within the time that it may take",
                "Use a faster mirror, or raise download_timeout (for package metadata also refresh_timeout).",
                slow=True,
            )
        if self._due == self._answer_by:
            return Temporary(
                f"{self._server} did not send the head of an answer in time",
                "Try again later, or use another mirror.",
                slow=True,
            )
        return Temporary(
            f"{self._server} sends less than {self._limits.rate:g} bytes per second",
            "Use another mirror, or lower download_min_rate.",
            slow=True,
        )


def _shut(wire: socket.socket) -> None:
    with contextlib.suppress(OSError):
        wire.shutdown(socket.SHUT_RDWR)


class Watch:
    """Looks after all transfers of a downloader."""

    def __init__(self) -> None:
        self._transfers: set[Transfer] = set()
        self._wanted = threading.Condition()
        self._running = False

    @contextlib.contextmanager
    def over(self, transfer: Transfer) -> t.Iterator[Transfer]:
        """Look after a transfer while the block runs."""
        with self._wanted:
            self._transfers.add(transfer)
            if not self._running:
                self._running = True
                threading.Thread(target=self._look, name="download-watch", daemon=True).start()
        try:
            yield transfer
        finally:
            with self._wanted:
                self._transfers.discard(transfer)
                self._wanted.notify()
            transfer.release()

    def _look(self) -> None:
        while True:
            with self._wanted:
                self._wanted.wait(_LOOK_SECONDS)
                if not self._transfers:
                    self._running = False
                    return
                transfers = list(self._transfers)
            now = time.monotonic()
            for transfer in transfers:
                transfer.look(now)


__all__ = ("Transfer", "Watch")
