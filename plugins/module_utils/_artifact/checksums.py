# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The checksums of all files of a root tree, for bills of materials by which an installed system can be verified."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import stat
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._parallel import run_parallel

#: Where disk_compose leaves the checksums of the image's files, below the build directory.
CHECKSUMS_OF_FILES = ("disk", "files.json")

_BUFFER = 1 << 20


@dataclasses.dataclass(frozen=True)
class FileChecksums:
    """A regular file.

    :ivar path: Absolute path in the tree; bytes that are not UTF-8 are written as C(\\xNN).
    :ivar sha1: 40 hexadecimal digits; SPDX 2.3 asks for it (8.4), and makes its verification code of it (7.9).
    :ivar sha256: 64 hexadecimal digits.
    """

    path: str
    sha1: str
    sha256: str


def tree_checksums(tree: str, *, workers: int) -> t.List[FileChecksums]:
    """Return the checksums of all regular files below a directory, sorted by path.

    :param workers: How many threads read.
    :raises OSError: A file cannot be read.
    """
    root = os.path.abspath(tree)
    paths = []
    for directory, _directories, names in os.walk(root):
        for name in names:
            path = os.path.join(directory, name)
            if stat.S_ISREG(os.lstat(path).st_mode):
                paths.append(path)
    made = run_parallel(lambda path: _checksums(path, path[len(root) :]), sorted(paths), workers=workers)
    return sorted(made, key=lambda item: item.path)


def _checksums(path: str, shown: str) -> FileChecksums:
    sha1, sha256 = hashlib.sha1(usedforsecurity=False), hashlib.sha256()
    with open(path, "rb", buffering=0) as stream:
        while True:
            data = stream.read(_BUFFER)
            if not data:
                break
            sha1.update(data)
            sha256.update(data)
    text = os.fsencode(shown).decode("utf-8", errors="backslashreplace")
    return FileChecksums(text, sha1.hexdigest(), sha256.hexdigest())


def write_checksums(files: t.Sequence[FileChecksums]) -> bytes:
    """Return checksums as a JSON document."""
    return json.dumps([dataclasses.astuple(item) for item in files], ensure_ascii=False).encode("utf-8") + b"\n"


def read_checksums(data: bytes) -> t.List[FileChecksums]:
    """Take checksums out of :func:`write_checksums`'s document."""
    return [FileChecksums(*item) for item in json.loads(data)]


__all__ = ("CHECKSUMS_OF_FILES", "FileChecksums", "read_checksums", "tree_checksums", "write_checksums")
