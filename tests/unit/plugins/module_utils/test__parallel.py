# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work over a few threads."""

from __future__ import annotations

import threading
import time

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._parallel import run_parallel


def test_results_have_the_order_of_the_items() -> None:
    def work(number: int) -> int:
        time.sleep(0.01 * (5 - number))
        return number * number

    seen: list[tuple[int, int]] = []
    assert run_parallel(work, range(5), workers=5, on_result=lambda item, result: seen.append((item, result))) == [
        0,
        1,
        4,
        9,
        16,
    ]
    assert sorted(seen) == [(0, 0), (1, 1), (2, 4), (3, 9), (4, 16)]


def test_no_items_are_no_work() -> None:
    assert run_parallel(lambda item: item, [], workers=3) == []


def test_no_more_than_the_workers_run_at_once() -> None:
    running = 0
    most = 0
    guard = threading.Lock()

    def work(item: int) -> None:
        nonlocal running, most
        with guard:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with guard:
            running -= 1

    run_parallel(work, range(12), workers=3)
    assert most == 3


def test_the_first_failure_ends_all() -> None:
    begun: list[int] = []
    stop = threading.Event()

    def work(item: int) -> None:
        begun.append(item)
        if item == 2:
            raise ValueError("two")
        stop.wait(5)

    begin = time.monotonic()
    with pytest.raises(ValueError, match="two"):
        run_parallel(work, range(100), workers=4, stop=stop)
    assert time.monotonic() - begin < 3
    assert 2 in begun and max(begun) <= 3


def test_hanging_work_is_not_waited_for() -> None:
    hang = threading.Event()

    def work(item: int) -> None:
        if item == 0:
            hang.wait(30)
        raise ValueError("one")

    begin = time.monotonic()
    with pytest.raises(ValueError, match="one"):
        run_parallel(work, range(2), workers=2)
    assert time.monotonic() - begin < 5
    hang.set()
