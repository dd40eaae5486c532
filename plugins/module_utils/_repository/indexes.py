# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Package indexes: from a digest in a signed document to a decompressed file that can be believed."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import lzma
import os
import re
import subprocess
import time
import typing as t
import zlib

from ansible_collections.os_image.composer.plugins.module_utils._command import find_tool
from ansible_collections.os_image.composer.plugins.module_utils._download.downloader import Downloader
from ansible_collections.os_image.composer.plugins.module_utils._download.model import Download
from ansible_collections.os_image.composer.plugins.module_utils._errors import RepositoryError
from ansible_collections.os_image.composer.plugins.module_utils._io import atomic_file, hasher, sha256_file, write_json
from ansible_collections.os_image.composer.plugins.module_utils._parallel import run_parallel
from ansible_collections.os_image.composer.plugins.module_utils._progress import Progress
from ansible_collections.os_image.composer.plugins.module_utils._repository.model import PackageIndex
from ansible_collections.os_image.composer.plugins.module_utils._repository.repository import (
    Repository,
    WantedIndex,
    read_json,
)

# xz -9 needs 65 MiB. The dictionary of a file may be told to be as large as the memory of a machine.
_DICTIONARY_LIMIT = 256 << 20
_KEEP_SECONDS = 3600
_OPENERS: t.Mapping[str, t.Callable[[str, t.Literal["rb"]], t.Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
}

#: An index, and the repository that it belongs to.
Wish = t.Tuple[Repository[t.Any], WantedIndex]


def is_on_disk(repository: Repository[t.Any], index: WantedIndex) -> bool:
    """Tell whether a decompressed index is there and still what was decompressed."""
    path = repository.index_path(index)
    record = read_json(f"{path}.json")
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return False
    if (
        record.get("compressed_digest", record.get("compressed_sha256")) != index.listed.digest
        or record.get("size") != status.st_size
    ):
        return False
    if [status.st_mtime_ns, status.st_ino] == record.get("status"):
        return True
    if sha256_file(path) != record.get("sha256"):
        return False
    write_json(f"{path}.json", {**record, "status": [status.st_mtime_ns, status.st_ino]})
    return True


def describe_index(repository: Repository[t.Any], index: WantedIndex) -> PackageIndex:
    """Describe an index that is on disk."""
    path = repository.index_path(index)
    record = read_json(f"{path}.json")
    return PackageIndex(path, record["sha256"], index.component, index.arch, record["size"])


def fetch_indexes(missing: t.Sequence[Wish], downloader: Downloader, progress: Progress | None) -> None:
    """Download indexes, check them, and leave them decompressed.

    :raises RepositoryError: One cannot be had, or is not what the signed document says.
    """
    downloads: dict[str, tuple[Download, Wish]] = {}
    for repository, index in missing:
        os.makedirs(repository.directory, exist_ok=True)
        size = index.listed.size
        largest = repository.largest(index.component)
        what = f"the package index {index.path} of the {repository.shown}"
        for listed in (index.listed, index.plain):
            if listed is not None and (listed.size or 0) > largest:
                raise RepositoryError(
                    f"{what[:1].upper()}{what[1:]} is said to have {listed.size} bytes, more than the {largest} "
                    "that an index may have.",
                    remedy="Check the URL of the repository.",
                )
        if size is None:
            raise RepositoryError(
                f"The {repository.document} of the {repository.shown} does not tell the size of {index.path}.",
                remedy="The repository's owner has to publish metadata with sizes and digests.",
            )
        download = Download(
            urls=index.urls,
            destination=f"{repository.index_path(index)}{os.path.splitext(index.path)[1]}.download",
            digest=index.listed.digest,
            size=size,
            what=what,
            missing_remedy="The mirror may be in the middle of an update: try again in some minutes, or use another.",
        )
        downloads[download.destination] = (download, (repository, index))
    if progress is not None:
        total = sum(download.size for download, _wish in downloads.values())
        progress.milestone("Packages", f"Downloading package indexes ({len(downloads)} files, {total / 1e6:.1f} MB)")
    downloader.fetch_all([download for download, _wish in downloads.values()])
    run_parallel(
        lambda item: _unpack(*item[1], item[0]),
        list(downloads.values()),
        # Decompression runs outside of the interpreter's lock.
        workers=min(downloader.workers, os.cpu_count() or 1),
    )


def _unpack(repository: Repository[t.Any], index: WantedIndex, download: Download) -> None:
    """Decompress a verified index; give it its name and record its digest."""
    path = repository.index_path(index)
    limit = repository.largest(index.component)
    if index.plain is not None and index.plain.size is not None:
        limit = index.plain.size
    written = hashlib.sha256()
    size = 0
    try:
        chunks = _checked(
            _decompress(download.destination, os.path.splitext(index.path)[1]), repository, index, limit=limit
        )
        with atomic_file(path) as stream:
            for data in repository.normalised(chunks, index.component):
                size += len(data)
                written.update(data)
                stream.write(data)
    except (ValueError, EOFError, OSError, lzma.LZMAError, zlib.error) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise RepositoryError(
            f"{download.what[:1].upper()}{download.what[1:]} cannot be decompressed: {reason}.",
            remedy="Check the free space of the cache; if there is enough, the repository itself is damaged.",
        ) from exc
    status = os.stat(path)
    record = {
        "compressed_digest": index.listed.digest,
        "sha256": written.hexdigest(),
        "size": size,
        "status": [status.st_mtime_ns, status.st_ino],
    }
    write_json(f"{path}.json", record)
    os.unlink(download.destination)


def _checked(
    chunks: t.Iterable[bytes], repository: Repository[t.Any], index: WantedIndex, *, limit: int
) -> t.Iterator[bytes]:
    """Pass on the bytes of an index while nothing is wrong with them.

    :raises ValueError: There are too many, they must not be parsed, or they are not those that were signed.
    """
    guard = repository.guard(index.component)
    digest = None if index.plain is None else hasher(index.plain.digest)
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise ValueError(f"it grows beyond the {limit} bytes that it may have")
        if guard is not None:
            guard.feed(chunk)
        if digest is not None:
            digest.update(chunk)
        yield chunk
    if digest is not None and index.plain is not None and digest.hexdigest() != index.plain.digest:
        raise ValueError(f"decompressed it has another SHA-{digest.name[3:]} than the {repository.document} says")


def _decompress(path: str, suffix: str) -> t.Iterator[bytes]:
    """Yield the content of a compressed file, 1 MiB at most at a time, so that no small file can fill the memory."""
    chunk = 1 << 20
    if suffix == ".zst":
        argv = [find_tool("zstd"), "-dcq", "--memory=256MB", path]
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
            if process.stdout is None:
                raise AssertionError("process.stdout is known here")
            try:
                while True:
                    data = process.stdout.read(chunk)
                    if not data:
                        break
                    yield data
            except GeneratorExit:
                process.kill()
                raise
        if process.returncode != 0:
            raise ValueError("zstd cannot read it")
        return
    if suffix in (".xz", ".lzma"):
        yield from _unxz(path, chunk)
        return
    with _OPENERS.get(suffix, open)(path, "rb") as stream:
        while True:
            data = stream.read(chunk)
            if not data:
                return
            yield data


def _unxz(path: str, size: int) -> t.Iterator[bytes]:
    """Yield the content of an .xz file, or of its predecessor .lzma, within a limit of memory.

    :raises lzma.LZMAError: It is damaged, or needs more memory.
    :raises EOFError: It is cut short.
    """
    with open(path, "rb") as stream:
        data = stream.read(size)
        while data:
            decompressor = lzma.LZMADecompressor(memlimit=_DICTIONARY_LIMIT)
            while not decompressor.eof:
                if decompressor.needs_input and not data:
                    data = stream.read(size)
                    if not data:
                        raise EOFError("it is cut short")
                content = decompressor.decompress(data, size)
                data = b""
                if content:
                    yield content
            # Several may follow each other, with zeros between them.
            data = decompressor.unused_data.lstrip(b"\0")
            while not data:
                more = stream.read(size)
                if not more:
                    return
                data = more.lstrip(b"\0")


def prune_indexes(repository: Repository[t.Any], used: t.Collection[str]) -> None:
    """Remove indexes that nobody uses any more.

    :param used: The names of those that are used.
    """
    for entry in os.scandir(repository.directory):
        match = re.fullmatch(r"(.+\.[0-9a-f]{16})(?:\..*)?", entry.name)
        if match is None or match[1] in used:
            continue
        with contextlib.suppress(FileNotFoundError):
            if time.time() - entry.stat().st_mtime > _KEEP_SECONDS:
                os.unlink(entry.path)


__all__ = ("Wish", "describe_index", "fetch_indexes", "is_on_disk", "prune_indexes")
