# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Packages whose repository publishes SHA-512 alone: they are fetched to learn the digest that a lock has of each."""

from __future__ import annotations

import contextlib
import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._build_directory import Facts
from ansible_collections.os_image.composer.plugins.module_utils._cache.packages import CachedFile, PackageCache
from ansible_collections.os_image.composer.plugins.module_utils._download.downloader import Downloader
from ansible_collections.os_image.composer.plugins.module_utils._download.model import Download
from ansible_collections.os_image.composer.plugins.module_utils._errors import RepositoryError
from ansible_collections.os_image.composer.plugins.module_utils._io import file_digest, sha256_file

_SHOWN = 10


def learn_digests(
    packages: t.Sequence[Facts], cache: PackageCache, *, who: str, lock_timeout: float, downloader: Downloader | None
) -> None:
    """Give packages that have a C(sha512) alone the C(sha256) of the same file instead.

    :param packages: C(packages) of a lock that is being made.
    :param downloader: Fetches what is not in the cache; V(None) where there is no network.
    :raises RepositoryError: A package cannot be had.
    """
    unknown = [package for package in packages if "sha512" in package]
    if not unknown:
        return
    # Who only looks leaves nothing behind.
    lock = contextlib.nullcontext() if downloader is None else cache.lock(who=who, timeout=lock_timeout)
    with lock:
        missing = [package for package in unknown if not _is_there(package, cache)]
        if missing and downloader is None:
            shown = ", ".join(f"{package['name']} {package['version']}" for package in missing[:_SHOWN])
            more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            raise RepositoryError(
                f"Packages that their repositories describe by SHA-512 alone are not in the package cache "
                f"{cache.directory}, and nothing is fetched now: {shown}{more}.",
                remedy="Run os_image.composer.pkg_resolve once with a network.",
            )
        if missing and downloader is not None:
            downloader.fetch_all(
                [
                    Download(
                        urls=(package["url"],),
                        destination=cache.path(package["filename"]),
                        digest=package["sha512"],
                        size=package["size"],
                        what=f"the package {package['name']} {package['version']} ({package['arch']})",
                    )
                    for package in missing
                ]
            )
        for package in unknown:
            package["sha256"] = sha256_file(cache.path(package["filename"]))
            del package["sha512"]
        if downloader is not None:
            cache.record(CachedFile(package["filename"], package["sha256"], package["size"]) for package in unknown)


def _is_there(package: Facts, cache: PackageCache) -> bool:
    path = cache.path(package["filename"])
    return os.path.isfile(path) and file_digest(path, like=package["sha512"]) == package["sha512"]


__all__ = ("learn_digests",)
