# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compressed files, judged by the programs gzip, xz and zstd."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import pathlib
import random
import subprocess
import threading
import zlib

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._artifact.compression import (
    CODECS,
    Codec,
    Piece,
    compress_file,
    crc32_combine,
)
from ansible_collections.os_image.composer.plugins.module_utils._compression import COMPRESSIONS
from ansible_collections.os_image.composer.plugins.module_utils._errors import CancelledError

MIB = 1 << 20
PROGRAMS = {"gz": "gzip", "xz": "xz", "zstd": "zstd"}


def _content(kind: str) -> bytes:
    words = random.Random(3)
    text = " ".join(str(words.randrange(10**5)) for _number in range(20_000)).encode()
    return {
        "empty": b"",
        "one byte": b"x",
        "text": text,
        "zeros only": bytes(5 * MIB + 17),
        "zeros between": text + bytes(6 * MIB - len(text) + 5) + text + bytes(4 * MIB),
        "zeros first": bytes(4 * MIB) + text,
        "several parts": text * 12 + b"!",
    }[kind]


@pytest.mark.parametrize("compression", list(CODECS))
@pytest.mark.parametrize(
    "kind", ["empty", "one byte", "text", "zeros only", "zeros between", "zeros first", "several parts"]
)
def test_programs_accept_and_restore(tmp_path: pathlib.Path, compression: str, kind: str) -> None:
    content = _content(kind)
    source, packed = tmp_path / "source", tmp_path / "packed"
    source.write_bytes(content)
    done = compress_file(str(source), str(packed), compression, workers=4)
    data = packed.read_bytes()
    assert (done.size, done.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    program = PROGRAMS[compression]
    if kind == "empty" and compression == "zstd":
        # No frame at all is what zstd, too, calls an unexpected end.
        return
    subprocess.run([program, "-t", "-q"], input=data, check=True)
    restored = subprocess.run([program, "-d", "-c", "-q"], input=data, stdout=subprocess.PIPE, check=True).stdout
    assert restored == content
    if compression == "gz":
        assert gzip.decompress(data) == content
    elif compression == "xz":
        assert lzma.decompress(data) == content


@pytest.mark.parametrize("compression", list(CODECS))
def test_damage_is_found(tmp_path: pathlib.Path, compression: str) -> None:
    source, packed = tmp_path / "source", tmp_path / "packed"
    source.write_bytes(_content("zeros between"))
    compress_file(str(source), str(packed), compression, workers=2)
    data = bytearray(packed.read_bytes())
    # Among the compressed text: between two parts there are bits that mean nothing.
    data[1000] ^= 1
    assert (
        subprocess.run([PROGRAMS[compression], "-t", "-q"], input=data, capture_output=True, check=False).returncode
        != 0
    )


@pytest.mark.parametrize("compression", list(CODECS))
def test_bytes_depend_neither_on_threads_nor_on_holes(tmp_path: pathlib.Path, compression: str) -> None:
    content = _content("zeros between")
    (tmp_path / "dense").write_bytes(content)
    subprocess.run(["cp", "--sparse=always", "dense", "sparse"], cwd=tmp_path, check=True)
    digests = {
        compress_file(str(tmp_path / name), str(tmp_path / f"{name}-{workers}"), compression, workers=workers).sha256
        for name in ("dense", "sparse")
        for workers in (1, 4)
    }
    assert len(digests) == 1


def test_gzip_is_one_member_without_time(tmp_path: pathlib.Path) -> None:
    source, packed = tmp_path / "source", tmp_path / "packed"
    source.write_bytes(_content("several parts"))
    compress_file(str(source), str(packed), "gz", workers=2)
    member = zlib.decompressobj(wbits=31)
    member.decompress(packed.read_bytes())
    assert member.eof
    assert member.unused_data == b""
    assert packed.read_bytes()[4:8] == bytes(4)


def test_xz_is_one_stream_whose_blocks_tell_their_sizes(tmp_path: pathlib.Path) -> None:
    source, packed = tmp_path / "source.raw", tmp_path / "packed.xz"
    source.write_bytes(_content("several parts"))
    compress_file(str(source), str(packed), "xz", workers=2)
    listing = subprocess.run(
        ["xz", "--robot", "-l", "-vv", str(packed)], stdout=subprocess.PIPE, check=True, text=True
    ).stdout.splitlines()
    assert len([line for line in listing if line.startswith("stream")]) == 1
    blocks = [line.split("\t") for line in listing if line.startswith("block")]
    assert len(blocks) == 2
    # The flags "cu": compressed and uncompressed size are in the header, so that unpacking can use several threads.
    assert all("cu" in block for block in blocks)


def test_zeros_are_compressed_only_once(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = CODECS["zstd"].compress

    def counted(self: Codec, data: memoryview) -> Piece:
        calls.append(len(data))
        return original(self, data)

    monkeypatch.setattr(CODECS["zstd"], "compress", counted)
    source, packed = tmp_path / "source", tmp_path / "packed"
    with source.open("wb") as stream:
        stream.write(b"x")
        stream.truncate(1 << 30)
    compress_file(str(source), str(packed), "zstd", workers=2)
    # The first part, and one of zeros.
    assert calls == [MIB, MIB]
    assert packed.stat().st_size < MIB


@pytest.mark.parametrize(("compression", "low", "high"), [("gz", 1, 9), ("xz", 0, 9), ("zstd", 1, 19)])
def test_a_level_has_its_effect(tmp_path: pathlib.Path, compression: str, low: int, high: int) -> None:
    source = tmp_path / "source"
    source.write_bytes(_content("zeros between"))
    known = COMPRESSIONS[compression]
    assert (known.levels[0], known.levels[-1]) == (low, high)
    sizes = {}
    for level in (low, None, known.default_level, high):
        packed = tmp_path / f"packed-{level}"
        sizes[level] = compress_file(str(source), str(packed), compression, workers=2, level=level).size
        restored = subprocess.run(
            [PROGRAMS[compression], "-d", "-c"], input=packed.read_bytes(), capture_output=True, check=True
        )
        assert restored.stdout == source.read_bytes()
    assert sizes[low] > sizes[high]
    assert (tmp_path / "packed-None").read_bytes() == (tmp_path / f"packed-{known.default_level}").read_bytes()
    assert (tmp_path / "packed-None").read_bytes() != (tmp_path / f"packed-{high}").read_bytes()


def test_every_compression_has_its_codec() -> None:
    assert list(CODECS) == list(COMPRESSIONS)


def test_the_highest_presets_of_xz_see_as_far_as_they_can() -> None:
    assert CODECS["xz"](9).part_size == 128 * MIB
    assert CODECS["xz"](9).memory > 674 * MIB
    assert CODECS["xz"](6).part_size == CODECS["xz"].part_size


def test_stopped(tmp_path: pathlib.Path) -> None:
    stop = threading.Event()
    stop.set()
    (tmp_path / "source").write_bytes(b"x")
    with pytest.raises(CancelledError, match="stopped"):
        compress_file(str(tmp_path / "source"), str(tmp_path / "packed"), "gz", workers=2, stop=stop)


def test_crc32_combine() -> None:
    words = random.Random(1)
    for length in (0, 1, 17, MIB):
        first, second = words.randbytes(1000), words.randbytes(length)
        combined = crc32_combine(zlib.crc32(first), zlib.crc32(second), length)
        assert combined == zlib.crc32(first + second)
