# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pathlib
import random
import signal
import time
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import ComposerError
from ansible_collections.os_image.composer.tests.fuzz import harness
from ansible_collections.os_image.composer.tests.fuzz.harness import Summary, Target, fuzz, shown
from ansible_collections.os_image.composer.tests.fuzz.targets import TARGETS


def made(rng: random.Random, _corpus: t.Sequence[bytes]) -> bytes:
    return bytes([rng.randrange(8)])


def run(parse: harness.Parse, *, inputs: int = 64, seed: int = 1) -> Summary:
    target = Target("target", lambda _place: [b"\xff"], made, parse)
    (summary,) = fuzz([target], seed=seed, inputs=inputs)
    return summary


def test_what_is_returned_or_refused_has_passed() -> None:
    def parse(data: bytes, place: pathlib.Path) -> None:
        assert list(place.iterdir()) == []
        (place / "left").touch()
        if data[0] < 4:
            raise ComposerError("no")

    summary = run(parse)
    assert (summary.inputs, summary.failed) == (64, 0)
    assert 10 < summary.refused < 54
    assert " 64 inputs " in shown(summary) and shown(summary).endswith(" 0 errors")


def test_another_exception_is_a_failure_whose_input_can_be_had_again() -> None:
    def parse(data: bytes, _place: pathlib.Path) -> None:
        if data[0] == 3:
            raise KeyError("gone")

    summary = run(parse)
    ((failure, count),) = summary.failures.values()
    assert failure.kind.startswith("KeyError in ")
    assert "KeyError: 'gone'" in failure.details
    assert count == summary.failed > 1
    again = Target("target", lambda _place: [b"\xff"], made, parse).make(1, failure.number, [b"\xff"])
    assert again == b"\3"
    assert run(parse).failed == count
    assert run(parse, seed=2).failures.keys() == summary.failures.keys()


def test_a_sound_input_has_to_be_understood() -> None:
    def parse(data: bytes, _place: pathlib.Path) -> None:
        if data == b"\xff":
            raise ComposerError("not this one")

    assert list(run(parse).failures) == ["a sound input is refused"]


def test_a_signal_is_a_failure_and_the_next_inputs_follow() -> None:
    def parse(data: bytes, _place: pathlib.Path) -> None:
        if data[0] == 3:
            os.kill(os.getpid(), signal.SIGSEGV)

    summary = run(parse)
    assert summary.inputs == 64
    assert list(summary.failures) == ["crash: signal SIGSEGV"]
    assert summary.failed > 1


def test_more_memory_than_the_limit_is_a_failure() -> None:
    def parse(data: bytes, _place: pathlib.Path) -> None:
        bytes(harness.MEMORY_LIMIT if data[0] == 3 else 1)

    assert [kind.split()[0] for kind in run(parse).failures] == ["MemoryError"]


def test_a_hang_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "TIME_LIMIT", 0.3)
    monkeypatch.setattr(harness, "_GRACE", 0.3)

    def parse(data: bytes, _place: pathlib.Path) -> None:
        while data[0] == 3:
            pass

    def deaf(data: bytes, _place: pathlib.Path) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        parse(data, _place)

    summary = run(parse, inputs=24)
    assert summary.inputs == 24
    assert [kind.split()[0] for kind in summary.failures] == ["TooSlow"]
    assert [kind.split(":")[0] for kind in run(deaf, inputs=24).failures] == ["hang"]


def test_the_time_of_all_is_kept() -> None:
    started = time.monotonic()
    targets = [
        Target(f"target {number}", lambda _place: [b"\xff"], made, lambda _data, _place: None) for number in (1, 2, 3)
    ]
    summaries = fuzz(targets, seed=1, inputs=10**9, seconds=1.5)
    assert time.monotonic() - started < 10
    assert all(summary.inputs for summary in summaries)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_mutations_are_the_same_each_time(target: Target) -> None:
    corpus = [b"[1, 2, {}]" * 1000 if target.mutate.__name__ != "document" else b"[1, 2, {}]"]
    inputs = [target.make(7, number, corpus) for number in range(1, 9)]
    assert inputs == [target.make(7, number, corpus) for number in range(1, 9)]
    assert len(set(inputs)) > 1
