# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The refresh of repositories' metadata: the same steps for every package family."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import time
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._download.downloader import Downloader
from ansible_collections.os_image.composer.plugins.module_utils._errors import RepositoryError
from ansible_collections.os_image.composer.plugins.module_utils._filelock import file_lock
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_bytes
from ansible_collections.os_image.composer.plugins.module_utils._ownership import require_own_directory
from ansible_collections.os_image.composer.plugins.module_utils._parallel import run_parallel
from ansible_collections.os_image.composer.plugins.module_utils._progress import Progress
from ansible_collections.os_image.composer.plugins.module_utils._repository.indexes import (
    Wish,
    describe_index,
    fetch_indexes,
    is_on_disk,
    prune_indexes,
)
from ansible_collections.os_image.composer.plugins.module_utils._repository.loose import loose_repository
from ansible_collections.os_image.composer.plugins.module_utils._repository.memory import taken_for
from ansible_collections.os_image.composer.plugins.module_utils._repository.mirrors import Mirrors
from ansible_collections.os_image.composer.plugins.module_utils._repository.model import (
    PackageIndex,
    RepositoryMetadata,
)
from ansible_collections.os_image.composer.plugins.module_utils._repository.repository import (
    Candidate,
    Repository,
    WantedIndex,
    day,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.provider_model import (
    Repository as RepositoryConfig,
)

# What only makes a message better is worth no more seconds.
_HINT_TIMEOUT = 60


def refresh_repositories(
    kind: type[Repository[t.Any]],
    repositories: t.Sequence[RepositoryConfig],
    *,
    package_arch: str,
    metadata_dir: str,
    mirrors: t.Mapping[str, str] | Mirrors | None,
    downloader: Downloader,
    offline: bool = False,
    progress: Progress | None = None,
    lock_timeout: float = 300,
    timeout: float = math.inf,
    now: int | None = None,
) -> list[RepositoryMetadata]:
    """Bring the metadata of some repositories up to date, and return it verified.

    :param kind: The family's class.
    :param repositories: As C(template.json) has them (C(provider.repositories)).
    :param package_arch: For example C(amd64).
    :param metadata_dir: C({cache_dir}/pkgCache/{provider_id}/metadata).
    :param mirrors: The option C(mirrors), or the mirrors of the host.
    :param timeout: The most seconds that all downloads together may take.
    :param offline: Use what an earlier run has left, and verify that.
    :param now: Seconds since 1970 to be taken for the present time.
    :raises RepositoryError: A repository cannot be had, is out of date, or is not what was asked for.
    :raises SignatureError: A repository is not signed as it should be.
    """
    known = mirrors if isinstance(mirrors, Mirrors) else Mirrors(mirrors)
    moment = int(time.time()) if now is None else now
    items = [
        kind(config, metadata_dir=metadata_dir, mirrors=known, package_arch=package_arch)
        for config in repositories
        if not config.path
    ]
    if progress is not None:
        where = "from the cache" if offline else "from the repositories"
        progress.milestone("Packages", f"Refreshing package metadata {where} ({len(repositories)} repositories)")
    require_own_directory(metadata_dir, what="package cache")
    os.makedirs(metadata_dir, exist_ok=True)
    if progress is not None:
        for config in repositories:
            if not config.gpgcheck:
                progress.milestone(
                    "Packages",
                    f"The signature of the repository {config.name!r} is not checked, as the template says "
                    "(gpgcheck: false)",
                    level="warn",
                )
            elif not config.repo_gpgcheck:
                progress.milestone(
                    "Packages",
                    f"The metadata of the repository {config.name!r} is not signed (repoGpgcheck: false); only its "
                    "packages are verified",
                    level="warn",
                )
    completion = _Completion(
        metadata_dir, downloader, progress, offline=offline, lock_timeout=lock_timeout, timeout=timeout
    )
    with completion.lock(), downloader.within(timeout):
        candidates = run_parallel(
            lambda item: item.candidate(downloader, offline=offline, now=moment, faked=now),
            items,
            workers=downloader.workers,
        )
        wanted = [candidate.repository.wanted(candidate, package_arch) for candidate in candidates]
        completion.fetch(
            [(candidate.repository, index) for candidate, indexes in zip(candidates, wanted) for index in indexes]
        )
        _tell_apart(candidates)
        foreign = _foreign(candidates)
        accepted = iter(
            [
                _accept(
                    candidate,
                    indexes,
                    completion,
                    package_arch=package_arch,
                    foreign=candidate.repository.name in foreign,
                    now=moment,
                )
                for candidate, indexes in zip(candidates, wanted)
            ]
        )
        return [
            loose_repository(kind.loose, config, package_arch=package_arch, metadata_dir=metadata_dir)
            if config.path
            else next(accepted)
            for config in repositories
        ]


def _tell_apart(candidates: t.Sequence[Candidate[t.Any]]) -> None:
    """Check that no repository has the documents of another that it had nothing in common with.

    :raises RepositoryError: One has.
    """
    known = [(candidate, candidate.repository.memory) for candidate in candidates]
    for candidate, memory in known:
        others = [
            (other.repository.shown, dataclasses.replace(place.recall(), documents=(*before, other.digest)))
            for other, place in known
            # What is new here says nothing about what it was.
            if place.path != memory.path and (before := place.recall().documents)
        ]
        candidate.repository.refuse_other(
            taken_for(candidate.digest, memory.recall(), others),
            where=f"the {candidate.repository.shown} ({candidate.base_url})",
        )


class _Completion:
    """Brings indexes to the disk, now or when somebody asks for them."""

    def __init__(
        self,
        metadata_dir: str,
        downloader: Downloader,
        progress: Progress | None,
        *,
        offline: bool,
        lock_timeout: float,
        timeout: float,
    ) -> None:
        self.progress = progress
        self.offline = offline
        self._metadata_dir = metadata_dir
        self._lock_timeout = lock_timeout
        self.timeout = timeout
        self.downloader = downloader

    def lock(self) -> t.ContextManager[None]:
        """Return the lock of the metadata."""
        return file_lock(
            os.path.join(self._metadata_dir, ".lock"),
            what=f"package metadata in {self._metadata_dir}",
            who="refresh of the package metadata",
            timeout=self._lock_timeout,
        )

    def fetch(self, wanted: t.Sequence[Wish]) -> None:
        """Fetch the indexes that are not on the disk, under the lock.

        :raises RepositoryError: One cannot be had.
        """
        missing = [(repository, index) for repository, index in wanted if not is_on_disk(repository, index)]
        if missing and self.offline:
            names = ", ".join(f"{repository.name}: {index.path}" for repository, index in missing)
            raise RepositoryError(
                f"Package indexes are not in the cache, and this is an offline run: {names}.",
                remedy="Run os_image.composer.pkg_resolve once with a network for the same repositories.",
            )
        if missing:
            fetch_indexes(missing, self.downloader, self.progress)


def _foreign(candidates: t.Sequence[Candidate[t.Any]]) -> set[str]:
    """Return the names of the repositories that are somebody else's than the provider's.

    What a key of the provider has signed is the provider's, whoever names it. A provider that has no repositories of
    its own gets them by the template: there the first one stands for it.
    """
    own = [candidate for candidate in candidates if not candidate.repository.foreign] or list(candidates[:1])
    keys = {key for candidate in own for key in (*candidate.repository.fingerprints, *candidate.signed.signed_by)}
    names = {candidate.repository.name for candidate in own}
    return {
        candidate.repository.name
        for candidate in candidates
        if candidate.repository.name not in names and not keys.intersection(candidate.signed.signed_by)
    }


def _accept(
    candidate: Candidate[t.Any],
    indexes: t.Sequence[WantedIndex],
    completion: _Completion,
    *,
    package_arch: str,
    foreign: bool,
    now: int,
) -> RepositoryMetadata:
    """Keep what was verified as the repository's state, and describe it."""
    repository, release = candidate.repository, candidate.release
    optional: dict[str, list[WantedIndex]] = {}
    for index in repository.optional(candidate, package_arch):
        optional.setdefault(index.component, []).append(index)
    progress = completion.progress
    if not completion.offline:
        every = (*indexes, *(index for group in optional.values() for index in group))
        used = [os.path.basename(repository.index_path(index)) for index in every]
        if repository.keep(candidate, used):
            prune_indexes(repository, used)
        repository.remember(candidate, now=now)
    if progress is not None and candidate.warning:
        progress.milestone("Packages", candidate.warning, level="warn")
    if progress is not None and release.valid_until is not None and release.valid_until < now:
        progress.milestone(
            "Packages",
            f"The metadata of the {repository.shown} has expired ({day(release.valid_until)}); it is used because "
            "this is an offline run",
            level="warn",
        )

    def group(component: str, timeout: float) -> tuple[PackageIndex, ...]:
        wanted = optional.get(component, [])
        with completion.lock(), completion.downloader.within(timeout):
            completion.fetch([(repository, index) for index in wanted])
        return tuple(describe_index(repository, index) for index in wanted)

    def further(component: str) -> PackageIndex | None:
        return next(iter(group(component, completion.timeout)), None) if component in optional else None

    return RepositoryMetadata(
        name=repository.name,
        base_url=candidate.base_url,
        suite=repository.suite,
        components=repository.components,
        priority=repository.rank(release),
        allow_packages=repository.allow_packages,
        exclude_packages=repository.exclude_packages,
        gpgcheck=repository.gpgcheck,
        signed_by=candidate.signed.signed_by,
        metadata_digest=sha256_bytes(candidate.signed.content),
        date=release.date,
        valid_until=release.valid_until,
        indexes=tuple(describe_index(repository, index) for index in indexes),
        suite_names=repository.suite_names(release),
        module_hotfixes=repository.module_hotfixes,
        foreign=foreign,
        mirrors=candidate.documents.mirrors,
        other_components={
            name: functools.partial(group, name, min(completion.timeout, _HINT_TIMEOUT))
            for name in repository.other_components(candidate, package_arch)
        },
        further=further if optional else None,
    )


__all__ = ("refresh_repositories",)
