# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The package cache of a provider: package files that are what the lock demands."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._filelock import file_lock
from ansible_collections.os_image.composer.plugins.module_utils._io import canonical_json, sha256_file, write_file
from ansible_collections.os_image.composer.plugins.module_utils._ownership import require_own_directory
from ansible_collections.os_image.composer.plugins.module_utils._parallel import run_parallel

# What was hashed once is hashed again only when the file was touched since.
_VERIFIED = ".verified.json"
_SCHEMA = 1


@dataclasses.dataclass(frozen=True)
class CachedFile:
    """A file that a lock wants in the cache.

    :ivar filename: Its name in the cache.
    :ivar sha256: Its digest, 64 hexadecimal digits.
    :ivar size: Its size in bytes.
    """

    filename: str
    sha256: str
    size: int


@dataclasses.dataclass(frozen=True)
class CacheCheck:
    """What a check of the cache has found.

    :ivar intact: Files with the demanded size and digest.
    :ivar damaged: Files that are there, each with what is wrong with it in words.
    :ivar missing: Files that are not there.
    """

    intact: tuple[CachedFile, ...]
    damaged: t.Mapping[CachedFile, str]
    missing: tuple[CachedFile, ...]


class PackageCache:
    """The directory with the package files of one provider, shared by all builds of the host.

    :param directory: C({cache_dir}/pkgCache/{provider_id}).
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._verified: dict[str, list[t.Any]] | None = None

    def path(self, filename: str) -> str:
        """Return the path of a file in the cache."""
        return os.path.join(self.directory, filename)

    @contextlib.contextmanager
    def lock(self, *, who: str, timeout: float, shared: bool = True) -> t.Iterator[None]:
        """Hold the cache's lock: shared to use and add files, exclusive to remove some.

        :raises OwnershipError: Somebody else could write into it.
        :raises LockedError: Somebody holds a conflicting lock for longer than C(timeout) seconds.
        """
        require_own_directory(self.directory, what="package cache")
        os.makedirs(self.directory, exist_ok=True)
        what = f"package cache {self.directory}"
        with file_lock(self.path(".lock"), what=what, who=who, timeout=timeout, shared=shared):
            yield

    def check(
        self, files: t.Sequence[CachedFile], *, workers: int, trust_index: bool = True, update_index: bool = True
    ) -> CacheCheck:
        """Check size and digest of files, in parallel.

        :param trust_index: Do not hash what was hashed before and was not touched since.
        :param update_index: Remember what was hashed now.
        """
        verified = self._load() if trust_index else {}
        damaged: dict[CachedFile, str] = {}
        missing = []
        unsure = []
        good = set()
        for file in files:
            try:
                status = os.stat(self.path(file.filename))
            except FileNotFoundError:
                missing.append(file)
                continue
            if status.st_size != file.size:
                damaged[file] = f"it has {status.st_size} bytes instead of {file.size}"
            elif verified.get(file.filename) == _record(file.sha256, status):
                good.add(file)
            else:
                unsure.append(file)
        digests = run_parallel(
            lambda file: sha256_file(self.path(file.filename)),
            unsure,
            # Hashing more files at once than there are processors only costs memory.
            workers=min(workers, os.cpu_count() or 1),
        )
        for file, digest in zip(unsure, digests):
            if digest == file.sha256:
                good.add(file)
            else:
                damaged[file] = f"its SHA-256 is {digest} instead of {file.sha256}"
        if update_index:
            self.record([file for file in unsure if file in good])
        return CacheCheck(tuple(file for file in files if file in good), damaged, tuple(missing))

    def record(self, files: t.Iterable[CachedFile]) -> None:
        """Remember that files have their digests; files that are gone are forgotten."""
        records = {file.filename: _record(file.sha256, os.stat(self.path(file.filename))) for file in files}
        if not records:
            return
        present = {entry.name for entry in os.scandir(self.directory)}
        kept = {name: record for name, record in self._load().items() if name in present}
        self._verified = {**kept, **records}
        data = canonical_json({"schema_version": _SCHEMA, "files": self._verified})
        write_file(self.path(_VERIFIED), data, mode=0o600)

    def _load(self) -> dict[str, list[t.Any]]:
        if self._verified is None:
            self._verified = {}
            # An index that cannot be read proves nothing: everything is hashed again.
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
                with open(self.path(_VERIFIED), encoding="utf-8") as stream:
                    data = json.load(stream)
                if data["schema_version"] == _SCHEMA:
                    self._verified = dict(data["files"])
        return self._verified


def _record(sha256: str, status: os.stat_result) -> list[t.Any]:
    # The change time: unlike the modification time nobody can set it back.
    return [sha256, status.st_size, status.st_ctime_ns, status.st_ino]


__all__ = ("CacheCheck", "CachedFile", "PackageCache")
