# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Atomic files, canonical JSON, digests."""

from __future__ import annotations

import hashlib
import os
import pathlib
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._io import (
    atomic_file,
    canonical_json,
    digest_of,
    sha256_file,
    write_file,
    write_json,
)


def test_equal_values_have_equal_digests() -> None:
    assert canonical_json({"b": 1, "a": ["ä"]}) == '{"a":["ä"],"b":1}'.encode()
    assert digest_of({"b": 1, "a": 2}) == digest_of({"a": 2, "b": 1})
    assert digest_of({"a": 1}) != digest_of({"a": "1"})


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_sha256_file(tmp_path: pathlib.Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * size)
    assert sha256_file(str(path)) == hashlib.sha256(b"x" * size).hexdigest()


def test_failure_keeps_the_old_file_and_leaves_nothing(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), atomic_file(str(path)) as stream:
        stream.write(b"new")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("write", "content"),
    [
        (lambda path: write_file(path, b"x", mode=0o600), b"x"),
        (lambda path: write_json(path, {"b": "ä", "a": 1}, mode=0o600), '{\n  "b": "ä",\n  "a": 1\n}\n'.encode()),
    ],
)
def test_write(tmp_path: pathlib.Path, write: t.Callable[[str], None], content: bytes) -> None:
    path = tmp_path / "file"
    umask = os.umask(0o077)
    try:
        write(str(path))
    finally:
        os.umask(umask)
    assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o600
