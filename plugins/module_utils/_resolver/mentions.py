# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The order in which a package index names packages.

Where nothing else decides between two providers, apt takes the one that its indexes name last, as a package or in a
relation. Finding that out means reading a whole index, so the names are kept in that order in a file of their own.
"""

from __future__ import annotations

import contextlib
import mmap
import re
import typing as t
import zlib

from ansible_collections.os_image.composer.plugins.module_utils._io import atomic_file

# The fields in which a package is named, in the order in which apt reads them.
_FIELDS = (
    b"Package",
    b"Pre-Depends",
    b"Depends",
    b"Conflicts",
    b"Breaks",
    b"Recommends",
    b"Suggests",
    b"Replaces",
    b"Enhances",
    b"Provides",
)
_RANKS: t.Mapping[bytes, int] = {field: rank for rank, field in enumerate(_FIELDS)}
_LINES = re.compile(rb"^(?:" + b"|".join(_FIELDS) + rb"): .*\n(?:[ \t].*\n)*", re.MULTILINE)
# A name with an architecture is a name of its own.
_NAME = re.compile(rb"(?<![a-zA-Z0-9.+:-])[a-z0-9][a-z0-9.+-]*(?![a-zA-Z0-9.+:-])")
# Nothing in parentheses is a name.
_PARENTHESES = re.compile(rb"\([^()]*\)")
_CHECKSUM_DIGITS = 8
# Bytes of lines that are looked at together.
_PORTION = 1 << 20
# So many searches take as long as taking the file apart.
_SEARCHES = 32

Data = t.Union[bytes, mmap.mmap]


class Mentions:
    """The order of names in one package index.

    :param data: The index.
    :param path: The file that keeps the order; V(None) keeps nothing.
    """

    def __init__(self, data: Data, path: str | None) -> None:
        self._data = data
        self._path = path
        self._names = b""
        self._places: dict[bytes, int] = {}
        self._searches = 0

    def place_of(self, name: str) -> int | None:
        """Return where C(name) is met first, for comparisons with other names; V(None) when it never is."""
        names = self._load()
        sought = name.encode("ascii", errors="replace")
        self._searches += 1
        if self._searches <= _SEARCHES:
            place = names.find(b"\n" + sought + b"\n")
            return place + 1 if place >= 0 else None
        if not self._places:
            place = 0
            for line in names.split(b"\n"):
                self._places[line] = place
                place += len(line) + 1
        return self._places.get(sought)

    def _load(self) -> bytes:
        if self._names:
            return self._names
        if self._path is not None:
            with contextlib.suppress(OSError), open(self._path, "rb") as stream:
                content = stream.read()
                checksum, self._names = content[:_CHECKSUM_DIGITS], content[_CHECKSUM_DIGITS:]
                if checksum == b"%08x" % zlib.crc32(self._names):
                    return self._names
        self._names = _names_in_order(self._data)
        if self._path is not None:
            # A cache that cannot be written costs time, not correctness.
            with contextlib.suppress(OSError), atomic_file(self._path) as target:
                target.write(b"%08x" % zlib.crc32(self._names) + self._names)
        return self._names


def _names_in_order(data: Data) -> bytes:
    """Return each name once, between newlines."""
    names: dict[bytes, None] = {}
    lines: list[bytes] = []
    stanza: list[tuple[int, bytes]] = []
    size = 0

    def take() -> None:
        names.update(dict.fromkeys(_NAME.findall(_PARENTHESES.sub(b"", b"".join(lines)))))
        lines.clear()

    for match in _LINES.finditer(data):
        line = match[0]
        rank = _RANKS[line[: line.index(b":")]]
        if rank == 0:
            lines.extend(text for _rank, text in sorted(stanza))
            stanza = []
            if size > _PORTION:
                take()
                size = 0
        stanza.append((rank, line[line.index(b":") + 1 :]))
        size += len(line)
    lines.extend(text for _rank, text in sorted(stanza))
    take()
    return b"\n" + b"\n".join(names) + b"\n"


__all__ = ("Mentions",)
