# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sparse files: the same content is always seen in the same way, however it is stored."""

from __future__ import annotations

import errno
import hashlib
import os
import pathlib
import threading

import pytest
from ansible_collections.os_image.composer.plugins.module_utils import _sparse as sparse
from ansible_collections.os_image.composer.plugins.module_utils._errors import CancelledError
from ansible_collections.os_image.composer.plugins.module_utils._sparse import (
    CELL,
    Segment,
    copy_sparse,
    segments,
    sha256_sparse,
)


def _file(path: pathlib.Path, size: int, data: dict[int, bytes], *, dense: bool = False) -> pathlib.Path:
    with path.open("wb") as stream:
        if dense:
            stream.write(bytes(size))
        for offset, piece in data.items():
            stream.seek(offset)
            stream.write(piece)
        stream.truncate(size)
    return path


def _segments(path: pathlib.Path, longest: int = 8 * CELL) -> list[Segment]:
    with path.open("rb") as stream:
        return list(segments(stream.fileno(), longest=longest))


@pytest.mark.parametrize(
    ("size", "data", "expected"),
    [
        pytest.param(0, {}, [], id="empty"),
        pytest.param(5, {0: b"hello"}, [(0, 5, False)], id="tiny"),
        pytest.param(2 * CELL, {}, [(0, 2 * CELL, True)], id="only zeros"),
        pytest.param(
            10 * CELL + 3,
            {9 * CELL: b"x"},
            [(0, 8 * CELL, True), (8 * CELL, CELL, True), (9 * CELL, CELL, False), (10 * CELL, 3, True)],
            id="zeros at both ends",
        ),
        pytest.param(
            9 * CELL,
            {0: b"x", 2 * CELL: b"y", 8 * CELL: b"z"},
            [(0, 3 * CELL, False), (3 * CELL, 5 * CELL, True), (8 * CELL, CELL, False)],
            id="short runs are data",
        ),
        pytest.param(
            CELL + 10, {CELL + 9: b"x"}, [(0, CELL, True), (CELL, 10, False)], id="data in the last bytes of a cell"
        ),
    ],
)
@pytest.mark.parametrize("dense", [False, True])
def test_segments_depend_on_the_content_alone(
    tmp_path: pathlib.Path, size: int, data: dict[int, bytes], expected: list[tuple[int, int, bool]], dense: bool
) -> None:
    path = _file(tmp_path / "file", size, data, dense=dense)
    assert [(part.offset, part.length, part.zero) for part in _segments(path)] == expected


def test_long_data_is_split(tmp_path: pathlib.Path) -> None:
    path = _file(tmp_path / "file", 5 * CELL, {0: b"\1" * (5 * CELL)})
    assert [(part.offset, part.length) for part in _segments(path, 2 * CELL)] == [
        (0, 2 * CELL),
        (2 * CELL, 2 * CELL),
        (4 * CELL, CELL),
    ]


@pytest.mark.parametrize("holes", [True, False])
def test_digest_and_copy(
    tmp_path: pathlib.Path, sparse_image: pathlib.Path, holes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not holes:
        # As on a file system that does not know where its holes are.
        def unknown(descriptor: int, position: int, how: int) -> int:
            if how in (os.SEEK_DATA, os.SEEK_HOLE):
                raise OSError(errno.EINVAL, "Invalid argument")
            return real(descriptor, position, how)

        real = os.lseek
        monkeypatch.setattr(sparse.os, "lseek", unknown)
    expected = hashlib.sha256(sparse_image.read_bytes()).hexdigest()
    assert sha256_sparse(str(sparse_image)) == expected
    copy = tmp_path / "copy"
    copy_sparse(str(sparse_image), str(copy))
    assert hashlib.sha256(copy.read_bytes()).hexdigest() == expected
    if holes:
        assert copy.stat().st_blocks <= sparse_image.stat().st_blocks + 16


def test_a_stopped_copy_leaves_nothing(tmp_path: pathlib.Path, sparse_image: pathlib.Path) -> None:
    stop = threading.Event()
    stop.set()
    copy = tmp_path / "copy"
    with pytest.raises(CancelledError):
        copy_sparse(str(sparse_image), str(copy), stop=stop)
    assert not copy.exists()
