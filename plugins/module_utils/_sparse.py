# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Sparse files: where their data is, and copying, hashing and splitting them without touching their holes."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import os
import threading
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import CancelledError

#: Zeros are looked for in cells of this size, so that where they are found depends on the content alone and not on
#: how a file system happens to have stored it.
CELL = 1 << 20

# Shorter runs of zeros than this are compressed like everything else.
_SHORTEST_RUN = 4 * CELL

_SAMPLE = 4096
_BUFFER = 4 << 20
# What comes from a pipe is looked at in pieces of this size.
_HOLE = 64 << 10
# linux/fs.h: _IOW(0x94, 9, int)
_FICLONE = 0x40049409


@dataclasses.dataclass(frozen=True)
class Segment:
    """A part of a file.

    :ivar zero: All of its bytes are 0.
    """

    offset: int
    length: int
    zero: bool


def stop_if(stop: threading.Event | None) -> None:
    """Leave a long loop in a thread.

    :raises CancelledError: C(stop) is set.
    """
    if stop is not None and stop.is_set():
        raise CancelledError("The work on the artifacts was stopped.")


def extents(descriptor: int) -> t.Iterator[tuple[int, int]]:
    """Give the parts of a file that hold data: (offset, length) in bytes, in order.

    On a file system that knows no holes this is the whole file.
    """
    size = os.fstat(descriptor).st_size
    position = 0
    while position < size:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError as exc:
            if exc.errno == errno.ENXIO:
                return
            if exc.errno in (errno.EINVAL, errno.EOPNOTSUPP):
                yield position, size - position
                return
            raise
        end = min(os.lseek(descriptor, start, os.SEEK_HOLE), size)
        yield start, end - start
        position = end


def allocated(path: str) -> int:
    """Return how many bytes of a file are stored."""
    return os.stat(path).st_blocks * 512


def _cells_with_data(descriptor: int) -> t.Iterator[int]:
    """Give the numbers of the cells that have a byte other than 0, in order."""
    zeros = bytes(CELL)
    following = 0
    for start, length in extents(descriptor):
        for cell in range(max(start // CELL, following), (start + length - 1) // CELL + 1):
            following = cell + 1
            sample = os.pread(descriptor, _SAMPLE, cell * CELL)
            # Nearly always the first page tells; only where it is all zeros the whole cell has to be read.
            if sample != zeros[: len(sample)]:
                yield cell
                continue
            data = os.pread(descriptor, CELL, cell * CELL)
            if data != zeros[: len(data)]:
                yield cell


def segments(descriptor: int, *, longest: int) -> t.Iterator[Segment]:
    """Split a file into parts of data and runs of zeros; equal content is always split in the same way.

    :param longest: The most bytes that a part may have, a multiple of C(CELL); runs of zeros are split too.
    """
    size = os.fstat(descriptor).st_size
    position = 0
    run_start = run_end = 0
    for cell in _cells_with_data(descriptor):
        start = cell * CELL
        if start - run_end >= _SHORTEST_RUN or (run_end == 0 and start > 0):
            yield from _split(run_start, run_end, longest, zero=False)
            yield from _split(run_end, start, longest, zero=True)
            run_start = start
        run_end = start + CELL
        position = run_end
    run_end = min(position, size)
    yield from _split(run_start, run_end, longest, zero=False)
    yield from _split(run_end, size, longest, zero=True)


def _split(start: int, end: int, longest: int, *, zero: bool) -> t.Iterator[Segment]:
    while start < end:
        length = min(longest, end - start)
        yield Segment(start, length, zero)
        start += length


def sha256_sparse(path: str, *, stop: threading.Event | None = None) -> str:
    """Return the SHA-256 of a file's content as 64 hexadecimal digits, without reading its holes."""
    digest = hashlib.sha256()
    zeros = memoryview(bytes(_BUFFER))
    buffer = memoryview(bytearray(_BUFFER))
    with open(path, "rb", buffering=0) as stream:
        descriptor = stream.fileno()
        size = os.fstat(descriptor).st_size
        position = 0
        for start, length in [*extents(descriptor), (size, 0)]:
            while position < start:
                stop_if(stop)
                count = min(_BUFFER, start - position)
                digest.update(zeros[:count])
                position += count
            while position < start + length:
                stop_if(stop)
                count = os.preadv(descriptor, [buffer[: start + length - position]], position)
                if not count:
                    raise OSError(errno.EIO, "The file became shorter while it was read", path)
                digest.update(buffer[:count])
                position += count
    return digest.hexdigest()


def clone_file(source: str, destination: str) -> bool:
    """Make a copy that shares its blocks with the original until one of them is written to (a reflink).

    :returns: Whether the file system can do that; if not, nothing is left.
    """
    with open(source, "rb") as reader, open(destination, "xb") as writer:
        try:
            fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
            return True
        except OSError:
            pass
    os.unlink(destination)
    return False


def copy_sparse(source: str, destination: str, *, stop: threading.Event | None = None) -> None:
    """Copy a file and keep its holes.

    :raises OSError: Reading or writing failed; nothing is left at C(destination).
    """
    try:
        with open(source, "rb", buffering=0) as reader, open(destination, "xb", buffering=0) as writer:
            os.ftruncate(writer.fileno(), os.fstat(reader.fileno()).st_size)
            for start, length in extents(reader.fileno()):
                _copy_range(reader.fileno(), writer.fileno(), start, length, stop)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(destination)
        raise


def _copy_range(reader: int, writer: int, start: int, length: int, stop: threading.Event | None) -> None:
    os.lseek(writer, start, os.SEEK_SET)
    end = start + length
    while start < end:
        stop_if(stop)
        count = os.sendfile(writer, reader, start, min(end - start, 8 * _BUFFER))
        if not count:
            raise OSError(errno.EIO, "The file became shorter while it was read")
        start += count


def copy_into(source: str, image: str, offset: int) -> None:
    """Write a file into an image at C(offset), leaving the image as it is where the file has holes."""
    buffer = memoryview(bytearray(_BUFFER))
    with open(source, "rb", buffering=0) as reader, open(image, "r+b", buffering=0) as writer:
        for start, length in extents(reader.fileno()):
            reader.seek(start)
            writer.seek(offset + start)
            while length:
                count = reader.readinto(buffer[: min(_BUFFER, length)]) or 0
                written = 0
                while written < count:
                    written += writer.write(buffer[written:count]) or 0
                length -= count


def copy_out(image: str, offset: int, size: int, destination: str) -> None:
    """Write a part of an image into a new file, with holes where it has them.

    :raises OSError: Reading or writing failed.
    """
    with open(image, "rb", buffering=0) as reader, open(destination, "xb", buffering=0) as writer:
        os.ftruncate(writer.fileno(), size)
        for start, length in extents(reader.fileno()):
            begin, end = max(start, offset), min(start + length, offset + size)
            os.lseek(writer.fileno(), begin - offset, os.SEEK_SET)
            while begin < end:
                count = os.sendfile(writer.fileno(), reader.fileno(), begin, min(end - begin, 8 * _BUFFER))
                if not count:
                    raise OSError(errno.EIO, "The file became shorter while it was read", image)
                begin += count


def write_sparse(stream: t.BinaryIO, destination: str, *, most: int | None = None, longest: int | None = None) -> None:
    """Write what comes from a pipe into a new file, with holes in place of zeros.

    :param most: The bytes that may be stored.
    :param longest: The bytes that the file may seem to have.
    :raises OSError: Writing failed.
    :raises OverflowError: There are more; the message says how many may be.
    """
    stored = 0
    zeros = bytes(_HOLE)
    with open(destination, "xb", buffering=0) as writer:
        position = 0
        while True:
            data = stream.read(_HOLE)
            if not data:
                break
            for count, limit in ((stored, most), (position, longest)):
                if limit is not None and count > limit:
                    raise OverflowError(f"more than {limit} bytes")
            if data != zeros[: len(data)]:
                stored += len(data)
                writer.seek(position)
                written = 0
                while written < len(data):
                    written += writer.write(data[written:]) or 0
            position += len(data)
        os.ftruncate(writer.fileno(), position)


__all__ = (
    "CELL",
    "Segment",
    "allocated",
    "clone_file",
    "copy_into",
    "copy_out",
    "copy_sparse",
    "extents",
    "segments",
    "sha256_sparse",
    "stop_if",
    "write_sparse",
)
