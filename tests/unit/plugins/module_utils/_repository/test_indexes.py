# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests for how package indexes are decompressed."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import pathlib
import resource
import struct
import subprocess
import time
import typing as t
import zlib

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._chroot.deb_archive import parse_control
from ansible_collections.os_image.composer.plugins.module_utils._errors import RepositoryError
from ansible_collections.os_image.composer.plugins.module_utils._repository.deb import DebRepository
from ansible_collections.os_image.composer.plugins.module_utils._repository.deb822 import read_paragraph
from ansible_collections.os_image.composer.plugins.module_utils._repository.indexes import describe_index, fetch_indexes
from ansible_collections.os_image.composer.plugins.module_utils._repository.mirrors import Mirrors
from ansible_collections.os_image.composer.plugins.module_utils._repository.repository import (
    Documents,
    Listed,
    WantedIndex,
)
from ansible_collections.os_image.composer.plugins.module_utils._repository.rpm import RpmRepository
from ansible_collections.os_image.composer.plugins.module_utils._repository.web_page import page_title
from ansible_collections.os_image.composer.tests.support.template_data import repositories

_TEXT = b"Package: hello\nDescription: " + b"x" * 100_000 + b"\n\n"


class _Fetched:
    """Stands for the downloads: the compressed index is there."""

    workers = 1

    def __init__(self, data: bytes) -> None:
        self._data = data

    def fetch_all(self, downloads: t.Sequence[t.Any]) -> None:
        for download in downloads:
            pathlib.Path(download.destination).write_bytes(self._data)


def _unpack(directory: pathlib.Path, suffix: str, data: bytes, *, size: int | None = None) -> bytes:
    (config,) = repositories({"name": "vendor", "url": "http://x", "suite": "stable", "components": ["main"]})
    repository = DebRepository(config, metadata_dir=str(directory), mirrors=Mirrors())
    listed = Listed(hashlib.sha256(data).hexdigest(), len(data))
    plain = None if size is None else Listed(hashlib.sha256(_TEXT).hexdigest(), size)
    index = WantedIndex("main", "amd64", f"Packages{suffix}", "main", ("http://x",), listed, plain)
    fetch_indexes([(repository, index)], t.cast(t.Any, _Fetched(data)), None)
    return pathlib.Path(describe_index(repository, index).path).read_bytes()


def _zstd(data: bytes, *options: str) -> bytes:
    return subprocess.run(["zstd", "-cq", *options], input=data, check=True, stdout=subprocess.PIPE).stdout


_PACKED: t.Mapping[str, bytes] = {
    ".xz": lzma.compress(_TEXT),
    ".lzma": lzma.compress(_TEXT, lzma.FORMAT_ALONE),
    ".gz": gzip.compress(_TEXT),
    ".bz2": bz2.compress(_TEXT),
    ".zst": _zstd(_TEXT),
}


def _half(data: bytes) -> tuple[bytes, bytes]:
    return data[: len(data) // 2], data[len(data) // 2 :]


@pytest.mark.parametrize("suffix", sorted(_PACKED))
def test_every_compression_is_read(tmp_path: pathlib.Path, suffix: str) -> None:
    assert _unpack(tmp_path, suffix, _PACKED[suffix], size=len(_TEXT)) == _TEXT


@pytest.mark.parametrize(
    ("suffix", "data"),
    [
        (".xz", b"".join(map(lzma.compress, _half(_TEXT)))),
        (".xz", lzma.compress(_TEXT[:7]) + bytes(8) + lzma.compress(_TEXT[7:]) + bytes(4)),
        (".gz", b"".join(map(gzip.compress, _half(_TEXT)))),
        (".bz2", b"".join(map(bz2.compress, _half(_TEXT)))),
        (".zst", b"".join(map(_zstd, _half(_TEXT)))),
        (".zst", _zstd(_TEXT, "--ultra", "-22")),
        (".xz", lzma.compress(_TEXT, preset=9 | lzma.PRESET_EXTREME)),
    ],
)
def test_what_writers_do(tmp_path: pathlib.Path, suffix: str, data: bytes) -> None:
    """Several pieces after each other, zeros between them, and the largest levels."""
    assert _unpack(tmp_path, suffix, data) == _TEXT


def _damages(data: bytes) -> t.Iterator[bytes]:
    for position in (3, len(data) // 2, len(data) - 2):
        yield data[:position] + bytes((data[position] ^ 0xFF,)) + data[position + 1 :]
    yield data[: len(data) // 2]
    yield data[:5]
    yield b"\0" * 100
    yield b"Package: hello\n"


@pytest.mark.parametrize("suffix", sorted(_PACKED))
def test_a_damaged_index_is_refused_in_words(tmp_path: pathlib.Path, suffix: str) -> None:
    refused = 0
    for number, data in enumerate(_damages(_PACKED[suffix])):
        place = tmp_path / str(number)
        place.mkdir()
        with pytest.raises(RepositoryError) as caught:
            # What no checksum of the format covers, the digest of what comes out does.
            _unpack(place, suffix, data, size=len(_TEXT))
        refused += 1
        assert str(caught.value).startswith(f"The package index Packages{suffix} of the repository 'vendor' cannot be")
    assert refused == 7


def _with_dictionary(size_code: int) -> bytes:
    """Return an .xz file that says how large its dictionary is: see the file format, 3.1 and 5.3.1."""
    data = bytearray(lzma.compress(_TEXT))
    header = 12
    length = 4 * (data[header] + 1)
    assert data[header + 2 : header + 4] == b"\x21\x01"
    data[header + 4] = size_code
    struct.pack_into("<I", data, header + length - 4, zlib.crc32(data[header : header + length - 4]))
    return bytes(data)


def test_a_dictionary_does_not_fill_the_memory(tmp_path: pathlib.Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, suffix, data in (
        ("xz", ".xz", _with_dictionary(38)),
        ("lzma", ".lzma", b"\x5d" + struct.pack("<I", 1 << 30) + _PACKED[".lzma"][5:]),
    ):
        (tmp_path / name).mkdir()
        with pytest.raises(RepositoryError, match="cannot be decompressed: Memory usage limit"):
            _unpack(tmp_path / name, suffix, data)
    # 128 MiB are allowed.
    assert _unpack(tmp_path, ".xz", _with_dictionary(30)) == _TEXT
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10


def test_a_window_of_zstd_does_not_fill_the_memory(tmp_path: pathlib.Path) -> None:
    # Frame header: a window of 2 GiB (RFC 8878, 3.1.1.1.2).
    data = b"\x28\xb5\x2f\xfd" + bytes((0x00, 0xA8)) + b"\x01\x00\x00"
    with pytest.raises(RepositoryError, match="cannot be decompressed: zstd cannot read it"):
        _unpack(tmp_path, ".zst", data)


@pytest.mark.parametrize("suffix", sorted(_PACKED))
def test_a_bomb_is_left_where_it_grows_too_large(
    tmp_path: pathlib.Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DebRepository, "largest", lambda _self, _component: 1 << 20)
    bomb = bytes(8 << 20)
    packed = {
        ".xz": lzma.compress,
        ".lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
        ".gz": gzip.compress,
        ".bz2": bz2.compress,
        ".zst": _zstd,
    }[suffix](bomb)
    with pytest.raises(RepositoryError, match="it grows beyond the 1048576 bytes that it may have"):
        _unpack(tmp_path, suffix, packed)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size > 1 << 20]


def test_file_lists_may_be_larger(tmp_path: pathlib.Path) -> None:
    (config,) = repositories({"name": "vendor", "url": "http://x", "suite": "", "components": []})
    repository = RpmRepository(config, metadata_dir=str(tmp_path), mirrors=Mirrors())
    assert repository.largest("filelists") == 4 * repository.largest("primary") == 2 << 30


@pytest.mark.parametrize("line", [b"X: " + b"\r" * 500_000 + b"x", b"Depends: a" + b" " * 500_000 + b"x\t"])
def test_blanks_without_end_take_no_time(tmp_path: pathlib.Path, line: bytes) -> None:
    """A regular expression that looks at each of them again would take hours."""
    assert _unpack(tmp_path, "", b"Package: a\n" + line + b"\nversion: 1\n").endswith(b"\nVersion: 1\n")


def test_documents_that_are_made_to_take_long(tmp_path: pathlib.Path) -> None:
    """What a signature covers, lines that go on, and comments before what is no web page: each is looked at once."""
    (config,) = repositories({"name": "vendor", "url": "http://x", "suite": "stable", "components": ["main"]})
    repository = DebRepository(config, metadata_dir=str(tmp_path), mirrors=Mirrors())
    started = time.monotonic()
    begin = b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n"
    data = begin * 100_000
    assert repository.unsigned(Documents("http://x", {"InRelease": data}, {}, fresh=True)) == data
    assert read_paragraph(b"SHA256:" + b"\n x" * 1_000_000)["SHA256"].count("x") == 1_000_000
    assert parse_control("Description:" + "\n x" * 1_000_000)["Description"].count("x") == 1_000_000
    assert page_title(b"<?xml version='1.0'?>" + b"<!-- -->" * 500 + b"<repomd>") is None
    assert page_title(b"<!-- a --> <!-- b --><!DOCTYPE html><title>Login</title>") == "Login"
    assert page_title(b"<!-- never closed <html>") is None
    assert page_title(b"<html>" + b"<title " * 10_000) == ""
    assert time.monotonic() - started < 20


def test_the_text_of_a_signed_document_is_taken_without_its_signature(tmp_path: pathlib.Path) -> None:
    (config,) = repositories({"name": "vendor", "url": "http://x", "suite": "stable", "components": ["main"]})
    repository = DebRepository(config, metadata_dir=str(tmp_path), mirrors=Mirrors())
    for data, text in (
        (
            b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: X\n\na: b\n- -c: d\n-----BEGIN PGP SIGNATURE-----\nx",
            b"a: b\n-c: d\n",
        ),
        (b"-----BEGIN PGP SIGNED MESSAGE-----\r\n\r\na: b\r\n-----BEGIN PGP SIGNATURE-----\r\nx", b"a: b\r\n"),
        (b"-----BEGIN PGP SIGNED MESSAGE-----\n\n-----BEGIN PGP SIGNATURE-----\nx", b""),
        (b"a: b\n", b"a: b\n"),
    ):
        assert repository.unsigned(Documents("http://x", {"InRelease": data}, {}, fresh=True)) == text
