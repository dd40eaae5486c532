# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mutations: how a sound input becomes a damaged one that a parser still looks at closely."""

from __future__ import annotations

import copy
import json
import random
import typing as t

_NUMBERS = (0, 1, 2, 7, 8, 9, 0x7F, 0x80, 0xFF, 0x100, 511, 512, 513, 4095, 4096, 0x7FFF, 0x8000, 0xFFFF, 0x10000)
_LARGE = (0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0x8000000000000000, 0xFFFFFFFFFFFFFFFF)
_WORDS = (
    b"",
    b"-1",
    b"0",
    b"9" * 30,
    b"9" * 5000,
    b"1e999",
    b"NaN",
    b"..",
    b"/",
    b"../../../etc/passwd",
    b"\0",
    b"\n",
    b"\r",
    b" ",
    b":",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xe2\x80\xa8",
    b"\x85",
    b"%s",
    b"${x}",
    b"a" * 300,
    b"http://[",
    b"http://[::1",
    b"\xd9\xa1",
    b"\xc2\xb2",
)
_VALUES: t.Tuple[t.Any, ...] = (
    None,
    True,
    0,
    -1,
    1 << 70,
    1.5,
    "",
    "..",
    "\0",
    "\ud800",
    "a" * 300,
    [],
    {},
    [[]],
    [{}],
    {"": None},
)

# An input may grow by so much; the same one over and over would soon be all that there is.
_GROWTH = 1 << 18

Mutate = t.Callable[[random.Random, bytearray], None]


def _flip(rng: random.Random, data: bytearray) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _byte(rng: random.Random, data: bytearray) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.choice((0, 0xFF, 0x7F, 0x80, rng.randrange(256)))


def _integer(rng: random.Random, data: bytearray) -> None:
    """Write a number that is at the limit of something; sizes, counts and offsets are aligned."""
    size = rng.choice((2, 4, 8))
    if len(data) < size:
        return
    value = rng.choice((*_NUMBERS, *_LARGE, len(data), len(data) - 1, rng.randrange(1 << 16)))
    position = rng.randrange(len(data) - size + 1)
    position -= position % rng.choice((1, size))
    value %= 1 << (8 * size)
    data[position : position + size] = value.to_bytes(size, rng.choice(("little", "big")))


def _word(rng: random.Random, data: bytearray) -> None:
    position = rng.randrange(len(data) + 1)
    data[position : position + rng.choice((0, 0, 1, 4))] = rng.choice(_WORDS)


def _digits(rng: random.Random, data: bytearray) -> None:
    """Replace a number in a text."""
    start = rng.randrange(len(data) + 1)
    while start < len(data) and not 48 <= data[start] <= 57:
        start += 1
    end = start
    while end < len(data) and 48 <= data[end] <= 57:
        end += 1
    if end > start:
        text = rng.choice((b"", b"-1", b"0", b"9" * 20, b"9" * (end - start), b"0x1", b"1.5", b"\xd9\xa1"))
        data[start:end] = text


def _remove(rng: random.Random, data: bytearray) -> None:
    start = rng.randrange(len(data) + 1)
    del data[start : start + rng.choice((1, 2, 4, 16, 64, 512))]


def _repeat(rng: random.Random, data: bytearray) -> None:
    start = rng.randrange(len(data) + 1)
    piece = bytes(data[start : start + rng.choice((1, 4, 16, 64, 512))])
    data[start:start] = piece * rng.choice((1, 1, 2, 50))


def _cut(rng: random.Random, data: bytearray) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _zeros(rng: random.Random, data: bytearray) -> None:
    start = rng.randrange(len(data) + 1)
    end = min(len(data), start + rng.choice((4, 16, 64, 512, 4096)))
    data[start:end] = rng.choice((b"\0", b"\xff")) * (end - start)


def _line(rng: random.Random, data: bytearray) -> None:
    """Remove, repeat, move or join lines."""
    lines = bytes(data).splitlines(keepends=True)
    if not lines:
        return
    index = rng.randrange(len(lines))
    action = rng.randrange(5)
    if action == 0:
        del lines[index]
    elif action == 1:
        lines.insert(rng.randrange(len(lines)), lines[index])
    elif action == 2:
        lines[index] = lines[index].strip()
    elif action == 3:
        lines[index] = b" " + lines[index]
    else:
        lines[index:index] = [lines[index][: _GROWTH // 200]] * 200
    data[:] = b"".join(lines)


BINARY: t.Tuple[Mutate, ...] = (_flip, _byte, _integer, _integer, _remove, _repeat, _cut, _zeros)
TEXT: t.Tuple[Mutate, ...] = (_flip, _word, _word, _digits, _line, _line, _remove, _repeat, _cut)


def _several(rng: random.Random, data: bytearray, mutations: t.Sequence[Mutate]) -> bytes:
    limit = len(data) + _GROWTH
    for _number in range(rng.choice((1, 1, 2, 3, 8))):
        rng.choice(mutations)(rng, data)
        del data[limit:]
    return bytes(data)


def binary(rng: random.Random, corpus: t.Sequence[bytes]) -> bytes:
    """Damage a binary format anywhere."""
    return _several(rng, bytearray(rng.choice(corpus)), BINARY)


def text(rng: random.Random, corpus: t.Sequence[bytes]) -> bytes:
    """Damage a text by bytes, numbers and lines; now and then two of them meet in one."""
    data = bytearray(rng.choice(corpus))
    if rng.random() < 0.05:
        other = rng.choice(corpus)
        data = data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]
    return _several(rng, data, TEXT)


def head(size: int, *, every: int = 0) -> t.Callable[[random.Random, t.Sequence[bytes]], bytes]:
    """Damage a format where its headers are, and leave its size as it is most of the time.

    :param size: How many bytes at the beginning are headers; as many at the end may be, too.
    :param every: Further structures lie at multiples of it.
    """

    def mutate(rng: random.Random, corpus: t.Sequence[bytes]) -> bytes:
        data = bytearray(rng.choice(corpus))
        for _number in range(rng.choice((1, 1, 2, 4))):
            start = 0
            if len(data) > size and rng.random() < 0.25:
                start = len(data) - size
            elif every and len(data) > size and rng.random() < 0.5:
                start = rng.randrange(len(data) // every + 1) * every
            part = data[start : start + size]
            length = len(part)
            rng.choice((_flip, _byte, _integer, _integer, _integer, _zeros))(rng, part)
            data[start : start + length] = part
        if rng.random() < 0.05:
            _cut(rng, data)
        return bytes(data)

    return mutate


def document(rng: random.Random, corpus: t.Sequence[bytes]) -> bytes:
    """Damage a JSON document: most of the time its values, now and then its text."""
    if rng.random() < 0.2:
        return text(rng, corpus)
    value = json.loads(rng.choice(corpus))
    for _number in range(rng.choice((1, 1, 2, 4))):
        value = _damaged(rng, value)
    if rng.random() < 0.02:
        deep = "[" * 100_000
        return deep.encode()
    return json.dumps(value).encode("ascii")


def _damaged(rng: random.Random, value: t.Any) -> t.Any:
    if rng.random() < 0.1 or not isinstance(value, (dict, list)) or not value:
        return copy.deepcopy(rng.choice(_VALUES))
    if isinstance(value, dict):
        key = rng.choice(sorted(value))
        action = rng.random()
        if action < 0.15:
            return {name: item for name, item in value.items() if name != key}
        if action < 0.2:
            return {**value, rng.choice(("", "x", "schema_version", "\0")): rng.choice(_VALUES)}
        return {**value, key: _damaged(rng, value[key])}
    index = rng.randrange(len(value))
    action = rng.random()
    if action < 0.1:
        return [*value[:index], *value[index + 1 :]]
    if action < 0.2:
        return [*value, value[index]]
    return [*value[:index], _damaged(rng, value[index]), *value[index + 1 :]]


__all__ = ("binary", "document", "head", "text")
