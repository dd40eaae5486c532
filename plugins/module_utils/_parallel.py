# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The same work on many things over a few threads, none of which is waited for when the stage is stopped."""

from __future__ import annotations

import collections
import queue
import threading
import time
import typing as t

Item = t.TypeVar("Item")
Result = t.TypeVar("Result")

# How long work in progress may take to notice that nobody wants its result any more.
_STOP_SECONDS = 1.0


def run_parallel(
    function: t.Callable[[Item], Result],
    items: t.Sequence[Item],
    *,
    workers: int,
    stop: threading.Event | None = None,
    on_result: t.Callable[[Item, Result], None] | None = None,
) -> list[Result]:
    """Call C(function) for each item, C(workers) at a time, and return the results in the items' order.

    The first exception ends the whole: no further item is begun, C(stop) is set, and the exception is raised. The same
    happens when a signal handler raises in the calling thread. The threads are daemons, so that one that hangs in a
    system call never delays the end of the process.

    :param stop: An event that C(function) looks at where it can be long; made here when it is not given.
    :param on_result: Called in the calling thread with each item and its result, in the order of their completion.
    """
    halt = stop or threading.Event()
    pending = collections.deque(enumerate(items))
    finished: queue.SimpleQueue[tuple[int, t.Any, BaseException | None]] = queue.SimpleQueue()

    def work() -> None:
        while not halt.is_set():
            try:
                index, item = pending.popleft()
            except IndexError:
                return
            try:
                finished.put((index, function(item), None))
            except BaseException as exc:
                # Raised again in the calling thread, whatever it is. First the reason, then the consequence: what
                # stops because of it reports later.
                finished.put((index, None, exc))
                halt.set()

    threads = [
        threading.Thread(target=work, name=f"worker-{number}", daemon=True)
        for number in range(min(max(workers, 1), len(items)))
    ]
    results: dict[int, Result] = {}
    try:
        for thread in threads:
            thread.start()
        while len(results) < len(items):
            try:
                # A signal that comes just before the wait does not end it: its handler runs when the wait is over.
                index, result, problem = finished.get(timeout=_STOP_SECONDS)
            except queue.Empty:
                continue
            if problem is not None:
                raise problem
            results[index] = result
            if on_result is not None:
                on_result(items[index], result)
    finally:
        halt.set()
        end = time.monotonic() + _STOP_SECONDS
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, end - time.monotonic()))
    return [results[index] for index in range(len(items))]


__all__ = ("run_parallel",)
