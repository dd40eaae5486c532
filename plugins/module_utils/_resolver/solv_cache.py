# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The cache of package indexes in libsolv's own binary form.

Parsing an index takes longer than solving. Two files belong together: C({name}.solv) is libsolv's, C({name}.index)
holds checksums, and what a family wants to know beside. What is damaged or of another form is made anew.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import tempfile
import time
import typing as t
import zlib

from ansible_collections.os_image.composer.plugins.module_utils._io import atomic_file
from ansible_collections.os_image.composer.plugins.module_utils._libraries import import_library

# Raised whenever the cache's own form changes.
_CACHE_VERSION = 3
_CACHE_DAYS = 60


@dataclasses.dataclass(frozen=True)
class Beside:
    """What is kept beside the solvables of an index.

    :ivar facts: Small facts, JSON types only.
    :ivar body: Bulk.
    """

    facts: t.Mapping[str, t.Any]
    body: bytes


class SolvCache:
    """Indexes by name; a name must change with the content.

    :param directory: V(None) keeps nothing.
    """

    def __init__(self, directory: str | None) -> None:
        self.directory = directory

    def path(self, name: str) -> str | None:
        """Return the path of a file in the cache."""
        return None if self.directory is None else os.path.join(self.directory, name)

    def read(self, repo: t.Any, name: str) -> Beside | None:
        """Fill C(repo); V(None), and an empty C(repo), when there is no such index, or it is damaged."""
        path = self.path(name)
        if path is None:
            return None
        try:
            with open(f"{path}.index", "rb") as stream:
                line = stream.readline()
                body = stream.read()
            if line[:9] != _checksum(line[9:]):
                return None
            header = json.loads(line[9:])
            with open(f"{path}.solv", "rb") as stream:
                checksum = zlib.crc32(stream.read())
            if header["version"] != _CACHE_VERSION or header["solv"] != checksum or header["body"] != zlib.crc32(body):
                return None
            stream = import_library("solv").xfopen(f"{path}.solv")
            try:
                if not repo.add_solv(stream) or repo.nsolvables != header["solvables"]:
                    repo.empty()
                    return None
            finally:
                stream.close()
            # The time tells which indexes nobody uses any more.
            for suffix in ("index", "solv"):
                os.utime(f"{path}.{suffix}")
            return Beside(header["facts"], body)
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            return None

    def write(self, repo: t.Any, name: str, beside: Beside) -> None:
        """Keep an index."""
        path = self.path(name)
        if path is None or self.directory is None:
            return
        # A cache that cannot be written costs time, not correctness.
        with contextlib.suppress(OSError):
            os.makedirs(self.directory, mode=0o755, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.directory, prefix=".index.") as scratch:
                stream = import_library("solv").xfopen(os.path.join(scratch, "solv"), "w")
                repo.write(stream)
                stream.close()
                with open(os.path.join(scratch, "solv"), "rb") as written:
                    data = written.read()
            with atomic_file(f"{path}.solv") as target:
                target.write(data)
            header = {
                "version": _CACHE_VERSION,
                "solvables": repo.nsolvables,
                "solv": zlib.crc32(data),
                "body": zlib.crc32(beside.body),
                "facts": dict(beside.facts),
            }
            with atomic_file(f"{path}.index") as target:
                line = json.dumps(header).encode("ascii") + b"\n"
                target.write(_checksum(line) + line + beside.body)

    def forget_old(self) -> None:
        """Remove what nobody has used for a long time."""
        if self.directory is None:
            return
        oldest = time.time() - _CACHE_DAYS * 86400
        with contextlib.suppress(OSError), os.scandir(self.directory) as entries:
            for entry in entries:
                if (
                    entry.name.endswith((".files", ".index", ".names", ".provides", ".solv"))
                    and entry.stat().st_mtime < oldest
                ):
                    os.unlink(entry.path)


def _checksum(data: bytes) -> bytes:
    return b"%08x " % zlib.crc32(data)


__all__ = ("Beside", "SolvCache")
