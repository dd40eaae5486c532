# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Directories of loose packages on the build host, in the place of a repository.

Their index is made here, and again only when a file has come, gone or changed. Nobody signs it: what the packages are
is known by their own signatures where the family has such, and by the digests that end up in the lock.
"""

from __future__ import annotations

import os
import re
import tempfile
import typing as t
import urllib.parse

from ansible_collections.os_image.composer.plugins.module_utils._errors import RepositoryError
from ansible_collections.os_image.composer.plugins.module_utils._io import (
    digest_of,
    sha256_bytes,
    sha256_file,
    write_file,
    write_json,
)
from ansible_collections.os_image.composer.plugins.module_utils._repository.model import (
    PackageIndex,
    RepositoryMetadata,
)
from ansible_collections.os_image.composer.plugins.module_utils._repository.repository import (
    LoosePackages,
    read_json,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.provider_model import (
    Repository as RepositoryConfig,
)


def loose_repository(
    kind: LoosePackages, config: RepositoryConfig, *, package_arch: str, metadata_dir: str
) -> RepositoryMetadata:
    """Describe a directory of loose packages.

    :param config: As in C(template.json), with a C(path).
    :raises RepositoryError: There is no such directory, it is empty, or a file in it is no package, or has a name that
        cannot be written down.
    """
    if config.path is None:
        raise AssertionError("config.path is known here")
    name, directory = config.name, os.path.normpath(config.path)
    kind.check(config)
    files = _files(directory, kind.suffix)
    if not files:
        there_is = f"holds no {kind.suffix} files" if os.path.isdir(directory) else "does not exist on the build host"
        raise RepositoryError(
            f"The directory {directory} of the repository {name!r} {there_is}.",
            remedy="Correct the path in the template, or put the packages there.",
        )
    # Neither an index nor a lock could name them.
    unprintable = [file for file in files if not file.isprintable()]
    if unprintable:
        raise RepositoryError(
            f"The directory {directory} of the repository {name!r} holds the file {unprintable[0]!a}, whose name is "
            "not UTF-8, or has characters that cannot be shown.",
            remedy="Rename it.",
        )
    label = re.sub(r"[^A-Za-z0-9._-]+", "_", name)
    target = os.path.join(metadata_dir, f"{label}-{digest_of({'place': directory})[:8]}")
    listing = digest_of({"arch": package_arch, "files": files})
    indexes = _known_indexes(target, listing)
    if indexes is None:
        os.makedirs(target, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target, prefix=".index.") as scratch:
            made = kind.index(directory, list(files), arch=package_arch, scratch=scratch)
        indexes = [_write(target, component, data) for component, data in made.items()]
        write_json(
            os.path.join(target, "listing.json"),
            {"listing": listing, "indexes": {index.component: index.sha256 for index in indexes}},
        )
        _prune(target, indexes)
    further = {index.component: index for index in indexes[1:]}
    return RepositoryMetadata(
        name=name,
        base_url="file://" + urllib.parse.quote(directory),
        suite=config.suite,
        components=(),
        priority=config.priority,
        allow_packages=config.allow_packages,
        exclude_packages=config.exclude_packages,
        gpgcheck=config.gpgcheck,
        signed_by=(),
        metadata_digest=digest_of([index.sha256 for index in indexes]),
        # When the files were copied to this host says nothing about the packages.
        date=0,
        valid_until=None,
        indexes=(indexes[0],),
        further=further.get if further else None,
        module_hotfixes=bool(config.module_hotfixes),
    )


def _files(directory: str, suffix: str) -> dict[str, list[int]]:
    """Return size and time of change of all packages, by their paths below a directory, sorted."""
    found = {}
    for parent, _directories, names in os.walk(directory):
        for name in names:
            path = os.path.join(parent, name)
            if name.endswith(suffix) and os.path.isfile(path):
                status = os.stat(path)
                found[os.path.relpath(path, directory)] = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    return dict(sorted(found.items()))


def _known_indexes(target: str, listing: str) -> list[PackageIndex] | None:
    """Return the indexes of an earlier run; V(None) when the packages have changed, or an index is damaged."""
    state = read_json(os.path.join(target, "listing.json"))
    if state.get("listing") != listing or not isinstance(state.get("indexes"), dict):
        return None
    indexes = []
    for component, sha256 in state["indexes"].items():
        path = _path(target, component, sha256)
        try:
            if sha256_file(path) != sha256:
                return None
            indexes.append(PackageIndex(path, sha256, component, "", os.path.getsize(path)))
        except OSError:
            return None
    return indexes or None


def _path(target: str, component: str, sha256: str) -> str:
    return os.path.join(target, f"{component}.{sha256[:16]}")


def _write(target: str, component: str, data: bytes) -> PackageIndex:
    sha256 = sha256_bytes(data)
    path = _path(target, component, sha256)
    write_file(path, data)
    return PackageIndex(path, sha256, component, "", len(data))


def _prune(target: str, used: t.Sequence[PackageIndex]) -> None:
    names = {os.path.basename(index.path) for index in used}
    for entry in os.scandir(target):
        if re.fullmatch(r".+\.[0-9a-f]{16}", entry.name) and entry.name not in names:
            os.unlink(entry.path)


__all__ = ("loose_repository",)
