# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The compression of artifacts by gzip, xz and zstd: all threads, written once, sparse areas for nothing.

A file is split into parts by its content (see C(sparse.py)); each part is compressed by itself, in a pool of threads,
by the libraries zlib, liblzma and libzstd, all of which work without holding Python's lock; the pieces are joined in
order:

gz
    One gzip member (RFC 1952): the pieces are runs of deflate blocks that end at a byte boundary, as pigz makes them.
xz
    One stream (the .xz file format 1.1.0) with one block for each part, as C(xz -T0) makes it; the blocks tell their
    sizes, so C(xz -d -T0) works in parallel too.
zstd
    One frame for each part (RFC 8878, section 3: frames may follow each other), as pzstd makes them.

A run of zeros always compresses to the same piece, so it is compressed only once. The bytes depend on the content and
on the library's version, not on the number of threads or on how the file system stored the image.
"""

from __future__ import annotations

import abc
import collections
import concurrent.futures
import ctypes
import dataclasses
import functools
import hashlib
import lzma
import os
import struct
import threading
import typing as t
import zlib

from ansible_collections.os_image.composer.plugins.module_utils._compression import COMPRESSIONS
from ansible_collections.os_image.composer.plugins.module_utils._errors import ArtifactError, ToolMissingError
from ansible_collections.os_image.composer.plugins.module_utils._host_tools.table import LIBZSTD, install_remedy
from ansible_collections.os_image.composer.plugins.module_utils._sparse import Segment, segments, stop_if

_MIB = 1 << 20

#: No image shrinks to less than about a fifth; a better guess would refuse builds that fit.
BEST_RATIO = 5


@dataclasses.dataclass(frozen=True)
class Piece:
    """A compressed part.

    :ivar data: What goes into the file.
    :ivar size: How many bytes it stands for.
    :ivar check: The CRC-32 of these bytes (gzip), or the unpadded size of the block (xz).
    """

    data: bytes
    size: int
    check: int = 0


class Codec(abc.ABC):
    """One compressed file in the making.

    :ivar part_size: The most bytes of one part, a multiple of C(CELL).
    :ivar memory: About how many bytes one thread needs.
    :param level: One of the compression's C(levels).
    """

    part_size: int
    memory: int

    def __init__(self, level: int) -> None:
        self.level = level

    @classmethod
    @abc.abstractmethod
    def tool(cls) -> tuple[str, str]:
        """Return the name and version of the library that shapes the bytes.

        :raises ToolMissingError: It is not on the build host.
        """

    def header(self) -> bytes:
        """Return the beginning of the file."""
        return b""

    @abc.abstractmethod
    def compress(self, data: memoryview) -> Piece:
        """Compress a part by itself; called in several threads at once."""

    def append(self, piece: Piece) -> bytes:
        """Take the next piece, in order, and return what is to be written for it."""
        return piece.data

    def trailer(self) -> bytes:
        """Return the end of the file."""
        return b""


# --- gzip ---------------------------------------------------------------------------------------------------------

# The CRC-32 polynomial of RFC 1952, bit-reversed.
_CRC_POLYNOMIAL = 0xEDB88320


def _multiply(a: int, b: int) -> int:
    """Multiply two polynomials over GF(2) modulo that of the CRC-32; the most significant bit is x^0."""
    product = 0
    for bit in range(31, -1, -1):
        if a >> bit & 1:
            product ^= b
        b = b >> 1 ^ (_CRC_POLYNOMIAL if b & 1 else 0)
    return product


@functools.lru_cache(maxsize=64)
def _shift(length: int) -> int:
    """Return x^(8 * length) modulo the polynomial."""
    result, power, count = 1 << 31, 1 << 23, length
    while count:
        if count & 1:
            result = _multiply(result, power)
        power = _multiply(power, power)
        count >>= 1
    return result


def crc32_combine(first: int, second: int, length: int) -> int:
    """Return the CRC-32 of two parts from the CRC-32 of each.

    :param length: The second part's length in bytes.
    """
    return _multiply(_shift(length), first) ^ second


# The "extra flags" of RFC 1952, 2.3.1: what was compressed with most, or least, effort.
_GZIP_EXTRA_FLAGS: t.Mapping[int, int] = {1: 4, 9: 2}


class GzipCodec(Codec):
    """gzip, without name and time."""

    part_size = 4 * _MIB
    memory = 10 * _MIB

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._crc = 0
        self._size = 0

    @classmethod
    def tool(cls) -> tuple[str, str]:
        return "zlib", zlib.ZLIB_RUNTIME_VERSION

    def header(self) -> bytes:
        # Magic, deflate, no flags, no time, extra flags, Unix.
        return b"\x1f\x8b\x08\x00\x00\x00\x00\x00" + bytes([_GZIP_EXTRA_FLAGS.get(self.level, 0), 3])

    def compress(self, data: memoryview) -> Piece:
        deflate = zlib.compressobj(self.level, zlib.DEFLATED, -15)
        compressed = deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH)
        return Piece(compressed, len(data), zlib.crc32(data))

    def append(self, piece: Piece) -> bytes:
        self._crc = crc32_combine(self._crc, piece.check, piece.size)
        self._size += piece.size
        return piece.data

    def trailer(self) -> bytes:
        # An empty last block, then the checksum and the size modulo 2^32.
        return b"\x03\x00" + struct.pack("<II", self._crc, self._size & 0xFFFFFFFF)


# --- xz -----------------------------------------------------------------------------------------------------------

_XZ_FLAGS = bytes([0, lzma.CHECK_CRC64])
_XZ_CHECK_SIZE = 8

# MiB of the dictionary and of the compressor's memory by preset, from the manual page of xz; below 7 as 6.
_XZ_SIZES: t.Mapping[int, t.Tuple[int, int]] = {7: (16, 186), 8: (32, 370), 9: (64, 674)}


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _crc(data: bytes) -> bytes:
    return struct.pack("<I", zlib.crc32(data))


def _padding(length: int) -> bytes:
    return bytes(-length % 4)


class XzCodec(Codec):
    """xz, CRC-64; the level is the preset."""

    # Twice the dictionary: xz itself takes three times as much, for 0.1 % less, and a fifth more memory.
    part_size = 16 * _MIB
    memory = 120 * _MIB

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._records: list[tuple[int, int]] = []
        if level in _XZ_SIZES:
            dictionary, memory = _XZ_SIZES[level]
            self.part_size = 2 * dictionary * _MIB
            self.memory = memory * _MIB + 2 * self.part_size

    @classmethod
    def tool(cls) -> tuple[str, str]:
        try:
            library = ctypes.CDLL("liblzma.so.5")
        except OSError:
            # The interpreter may have been linked with the library statically.
            return "liblzma", "unknown"
        library.lzma_version_string.restype = ctypes.c_char_p
        return "liblzma", library.lzma_version_string().decode("ascii")

    def header(self) -> bytes:
        return b"\xfd7zXZ\x00" + _XZ_FLAGS + _crc(_XZ_FLAGS)

    def compress(self, data: memoryview) -> Piece:
        stream = lzma.compress(data, lzma.FORMAT_XZ, lzma.CHECK_CRC64, self.level)
        # Stream header 12 bytes; block; index; stream footer 12 bytes, of which the second word is the index's size.
        index_size = (struct.unpack("<I", stream[-8:-4])[0] + 1) * 4
        block = memoryview(stream)[12 : -12 - index_size]
        header_size = (block[0] + 1) * 4
        padded = len(block) - header_size - _XZ_CHECK_SIZE
        # The index has the exact size: indicator 0, one record (1), unpadded size, uncompressed size.
        unpadded, _position = _read_varint(stream[-12 - index_size :], 2)
        compressed_size = unpadded - header_size - _XZ_CHECK_SIZE
        filters = bytes(block[2 : header_size - 4]).rstrip(b"\0")
        # Filter flags of LZMA2: id 0x21, one byte of properties, which may not be stripped if it is 0.
        filters = filters.ljust(3, b"\0")
        body = b"\xc0" + _varint(compressed_size) + _varint(len(data)) + filters
        body += _padding(len(body) + 1)
        header = bytes([(len(body) + 1) // 4]) + body
        header += _crc(header)
        data_and_check = block[header_size : header_size + padded + _XZ_CHECK_SIZE]
        return Piece(
            header + bytes(data_and_check),
            len(data),
            len(header) + compressed_size + _XZ_CHECK_SIZE,
        )

    def append(self, piece: Piece) -> bytes:
        self._records.append((piece.check, piece.size))
        return piece.data

    def trailer(self) -> bytes:
        index = b"\0" + _varint(len(self._records))
        index += b"".join(_varint(unpadded) + _varint(size) for unpadded, size in self._records)
        index += _padding(len(index))
        index += _crc(index)
        footer = struct.pack("<I", len(index) // 4 - 1) + _XZ_FLAGS
        return index + _crc(footer) + footer + b"YZ"


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position += 1
        shift += 7
        if not byte & 0x80:
            return value, position


# --- zstd ---------------------------------------------------------------------------------------------------------

# zstd.h: ZSTD_cParameter
_ZSTD_LEVEL = 100
_ZSTD_CHECKSUM = 201


@functools.lru_cache(maxsize=1)
def _libzstd() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libzstd.so.1")
    except OSError as exc:
        raise ToolMissingError(
            f"The library libzstd cannot be loaded on the build host: {exc}.",
            remedy=install_remedy(LIBZSTD),
        ) from exc
    library.ZSTD_versionString.restype = ctypes.c_char_p
    library.ZSTD_createCCtx.restype = ctypes.c_void_p
    library.ZSTD_freeCCtx.argtypes = [ctypes.c_void_p]
    library.ZSTD_CCtx_setParameter.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
    library.ZSTD_CCtx_setParameter.restype = ctypes.c_size_t
    library.ZSTD_compressBound.argtypes = [ctypes.c_size_t]
    library.ZSTD_compressBound.restype = ctypes.c_size_t
    library.ZSTD_compress2.argtypes = [
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_void_p,
        ctypes.c_size_t,
    ]
    library.ZSTD_compress2.restype = ctypes.c_size_t
    library.ZSTD_isError.argtypes = [ctypes.c_size_t]
    library.ZSTD_getErrorName.argtypes = [ctypes.c_size_t]
    library.ZSTD_getErrorName.restype = ctypes.c_char_p
    return library


class _ZstdContext:
    """A compression context and the buffer that it writes to, for one thread."""

    def __init__(self, level: int, part_size: int) -> None:
        self._library = _libzstd()
        self._context = self._library.ZSTD_createCCtx()
        self._buffer = bytearray(self._library.ZSTD_compressBound(part_size))
        self._output = (ctypes.c_char * len(self._buffer)).from_buffer(self._buffer)
        self._check(self._library.ZSTD_CCtx_setParameter(self._context, _ZSTD_LEVEL, level))
        self._check(self._library.ZSTD_CCtx_setParameter(self._context, _ZSTD_CHECKSUM, 1))

    def __del__(self) -> None:
        self._library.ZSTD_freeCCtx(self._context)

    def _check(self, code: int) -> int:
        if self._library.ZSTD_isError(code):
            raise ArtifactError(f"libzstd reports an error: {self._library.ZSTD_getErrorName(code).decode('ascii')}.")
        return code

    def compress(self, data: memoryview) -> bytes:
        source = (ctypes.c_char * len(data)).from_buffer(data)
        # ctypes gives up Python's lock during the call.
        size = self._library.ZSTD_compress2(
            self._context, ctypes.addressof(self._output), len(self._buffer), ctypes.addressof(source), len(data)
        )
        return bytes(memoryview(self._buffer)[: self._check(size)])


class ZstdCodec(Codec):
    """zstd, with the content's size and checksum in each frame."""

    part_size = 8 * _MIB
    memory = 24 * _MIB

    def __init__(self, level: int) -> None:
        super().__init__(level)
        # The tables of the thorough strategies.
        if level > 12:
            self.memory = 120 * _MIB
        self._local = threading.local()

    @classmethod
    def tool(cls) -> tuple[str, str]:
        return "libzstd", _libzstd().ZSTD_versionString().decode("ascii")

    def compress(self, data: memoryview) -> Piece:
        context: _ZstdContext | None = getattr(self._local, "context", None)
        if context is None:
            context = self._local.context = _ZstdContext(self.level, self.part_size)
        return Piece(context.compress(data), len(data))


#: What makes each of C(COMPRESSIONS).
CODECS: t.Mapping[str, type[Codec]] = {"gz": GzipCodec, "xz": XzCodec, "zstd": ZstdCodec}


@dataclasses.dataclass(frozen=True)
class CompressedFile:
    """A compressed file as it was written.

    :ivar sha256: 64 hexadecimal digits.
    """

    size: int
    sha256: str


def thread_count(codec: Codec, workers: int) -> int:
    """Return how many threads compress: one for each processor, but no more than C(workers) and than memory allows."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    return max(1, min(workers, len(os.sched_getaffinity(0)), memory // codec.memory))


def compress_file(
    source: str,
    destination: str,
    compression: str,
    *,
    workers: int,
    level: int | None = None,
    stop: threading.Event | None = None,
    on_progress: t.Callable[[int, int], None] | None = None,
) -> CompressedFile:
    """Write the compressed form of a file.

    :param destination: Must not exist; what was written of it stays when an error is raised.
    :param compression: A key of C(CODECS).
    :param workers: The most threads to use.
    :param level: One of the compression's C(levels); V(None) for its default.
    :param stop: Ends the work early.
    :param on_progress: Gets the bytes done and their total.
    :raises OSError: Reading or writing failed.
    """
    codec = CODECS[compression](COMPRESSIONS[compression].default_level if level is None else level)
    threads = thread_count(codec, workers)
    local = threading.local()
    digest = hashlib.sha256()
    zero_pieces: dict[int, Piece] = {}

    with open(source, "rb", buffering=0) as reader, open(destination, "xb", buffering=0) as writer:
        descriptor = reader.fileno()
        total = os.fstat(descriptor).st_size
        written = 0

        def work(segment: Segment) -> Piece:
            stop_if(stop)
            buffer: bytearray | None = getattr(local, "buffer", None)
            if buffer is None:
                buffer = local.buffer = bytearray(min(codec.part_size, total))
            view = memoryview(buffer)[: segment.length]
            _read_exactly(descriptor, view, segment.offset, source)
            return codec.compress(view)

        def put(data: bytes) -> None:
            nonlocal written
            view = memoryview(data)
            digest.update(view)
            while view:
                count = writer.write(view)
                view = view[count:]
                written += count

        def finish(future: concurrent.futures.Future[Piece] | Piece, position: int) -> None:
            piece = future if isinstance(future, Piece) else future.result()
            put(codec.append(piece))
            if on_progress is not None:
                on_progress(position, total)

        put(codec.header())
        with concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="compress") as pool:
            pending: collections.deque[tuple[concurrent.futures.Future[Piece] | Piece, int]] = collections.deque()
            try:
                for segment in segments(descriptor, longest=codec.part_size):
                    stop_if(stop)
                    item: concurrent.futures.Future[Piece] | Piece
                    if segment.zero:
                        known = zero_pieces.get(segment.length)
                        if known is None:
                            known = zero_pieces[segment.length] = codec.compress(memoryview(bytearray(segment.length)))
                        item = known
                    else:
                        item = pool.submit(work, segment)
                    pending.append((item, segment.offset + segment.length))
                    while len(pending) > threads + 2:
                        finish(*pending.popleft())
                while pending:
                    finish(*pending.popleft())
            finally:
                for item, _position in pending:
                    if not isinstance(item, Piece):
                        item.cancel()
        put(codec.trailer())
    return CompressedFile(written, digest.hexdigest())


def _read_exactly(descriptor: int, view: memoryview, offset: int, path: str) -> None:
    while view:
        count = os.preadv(descriptor, [view], offset)
        if not count:
            raise ArtifactError(f"{path} became shorter while it was compressed.", remedy="Run the stage again.")
        view = view[count:]
        offset += count


__all__ = (
    "BEST_RATIO",
    "CODECS",
    "Codec",
    "CompressedFile",
    "Piece",
    "compress_file",
    "crc32_combine",
    "thread_count",
)
