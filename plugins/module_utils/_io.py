# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Files and digests: atomic writes, canonical JSON, SHA-256."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
import typing as t

_CHUNK = 1 << 20
# By the number of hexadecimal digits.
_KINDS: t.Mapping[int, str] = {64: "sha256", 128: "sha512"}
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def canonical_json(value: t.Any) -> bytes:
    """Serialize C(value) so that equal values give equal bytes (sorted keys, no blanks, UTF-8)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def parse_json(data: str | bytes) -> t.Any:
    """Parse a JSON document that somebody else may have written.

    :raises ValueError: It is none, is nested deeper than any that has a meaning, or has text that is no Unicode.
    """
    try:
        value = json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if _SURROGATE.search(data if isinstance(data, str) else data.decode("utf-8", errors="replace")):
        # Two halves make a character; one alone could never be written again.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def digest_of(value: t.Any) -> str:
    """Return the SHA-256 (64 hexadecimal digits) of the canonical JSON of C(value)."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of C(data) as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: str) -> str:
    """Return the SHA-256 of a file's content as 64 hexadecimal digits, reading 1 MiB at a time.

    :raises OSError: The file cannot be read.
    """
    return _digest(path, hashlib.sha256())


def hasher(like: str) -> t.Any:
    """Return a hash object for digests of the kind of one that is given, SHA-256 or SHA-512."""
    return hashlib.new(_KINDS[len(like)])


def has_digest(data: bytes, digests: t.Iterable[str]) -> bool:
    """Tell whether content has one of several digests, SHA-256 or SHA-512."""
    for digest in digests:
        hashing = hasher(digest)
        hashing.update(data)
        if hashing.hexdigest() == digest:
            return True
    return False


def file_digest(path: str, *, like: str) -> str:
    """Return the digest of a file's content, of the kind of one that is given.

    :raises OSError: The file cannot be read.
    """
    return _digest(path, hasher(like))


def _digest(path: str, digest: t.Any) -> str:
    buffer = memoryview(bytearray(_CHUNK))
    with open(path, "rb", buffering=0) as stream:
        while True:
            count = stream.readinto(buffer)
            if not count:
                return str(digest.hexdigest())
            digest.update(buffer[:count])


@contextlib.contextmanager
def atomic_file(path: str, *, mode: int = 0o644) -> t.Iterator[t.BinaryIO]:
    """Write a file beside its destination; give it its name only when all of it is on the disk.

    The block gets a binary stream. When the block raises, nothing is left and an older file stays as it was.
    """
    directory = os.path.dirname(path) or "."
    descriptor, temporary = tempfile.mkstemp(dir=directory, prefix=f".{os.path.basename(path)}.", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield t.cast(t.BinaryIO, stream)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def memory_file(data: bytes) -> t.BinaryIO:
    """Return a file without a name that holds some bytes, at its beginning: for a program that inherits it.

    Who may not look into the memory of both processes cannot see it, and it goes with them.
    """
    stream = t.cast(t.BinaryIO, os.fdopen(os.memfd_create("memory", os.MFD_CLOEXEC), "w+b", buffering=0))
    stream.write(data)
    stream.seek(0)
    return stream


def write_file(path: str, data: bytes, *, mode: int = 0o644) -> None:
    """Replace the content of a file atomically."""
    with atomic_file(path, mode=mode) as stream:
        stream.write(data)


def write_json(path: str, value: t.Any, *, mode: int = 0o644) -> None:
    """Replace a JSON document atomically; keys keep their order, two blanks of indentation, one final newline."""
    write_file(path, json.dumps(value, indent=2, ensure_ascii=False).encode("utf-8") + b"\n", mode=mode)


__all__ = (
    "atomic_file",
    "canonical_json",
    "digest_of",
    "file_digest",
    "has_digest",
    "hasher",
    "memory_file",
    "parse_json",
    "sha256_bytes",
    "sha256_file",
    "write_file",
    "write_json",
)
