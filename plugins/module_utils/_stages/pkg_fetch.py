# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The stage that brings the locked packages into the package cache."""

from __future__ import annotations

import re
import typing as t
import urllib.parse

from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory, Facts
from ansible_collections.os_image.composer.plugins.module_utils._cache.packages import (
    CacheCheck,
    CachedFile,
    PackageCache,
)
from ansible_collections.os_image.composer.plugins.module_utils._cache.signatures import SIGNATURE_CHECKS
from ansible_collections.os_image.composer.plugins.module_utils._chroot.expectations import expected_of_packages
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._download.downloader import Downloader
from ansible_collections.os_image.composer.plugins.module_utils._download.model import Download, Limits
from ansible_collections.os_image.composer.plugins.module_utils._emulation import require_emulation
from ansible_collections.os_image.composer.plugins.module_utils._errors import DocumentError, RepositoryError
from ansible_collections.os_image.composer.plugins.module_utils._io import digest_of
from ansible_collections.os_image.composer.plugins.module_utils._repository.mirrors import Mirrors
from ansible_collections.os_image.composer.plugins.module_utils._stage import Decision, Outcome, Stage, StageOptions
from ansible_collections.os_image.composer.plugins.module_utils._template.document import TemplateDocument

_ALL_CACHED = "all packages are in the cache, intact"
_NAMES_SHOWN = 10
# Of a repository: what decides whether its packages are believed.
_KEY_SETTINGS = ("name", "gpgcheck", "keys", "fingerprints")


class PackageFetch(Stage):
    """Downloads the packages of C(packages.lock.json) and verifies all of them.

    :param offline: Use the cache alone.
    :param limits: How slow a server may be.
    :param peer_caches: Base URLs of other hosts' package caches (the parents of C({provider_id})), asked first.
    """

    name = "pkg_fetch"
    topic = "Packages"

    def __init__(
        self,
        build: BuildDirectory,
        options: StageOptions,
        *,
        offline: bool = False,
        peer_caches: t.Sequence[str] = (),
        limits: Limits | None = None,
    ) -> None:
        super().__init__(build, options)
        self.offline = offline
        self.limits = limits
        self.peer_caches = tuple(peer.rstrip("/") for peer in peer_caches)
        self._found: CacheCheck | None = None

    def inputs(self) -> Facts:
        lock = self.build.read_document("packages.lock.json")
        packages = lock["packages"]
        document = TemplateDocument.read(self.build)
        signatures: Facts = {}
        if document.provider.family in SIGNATURE_CHECKS:
            keys = [[entry.get(key) for key in _KEY_SETTINGS] for entry in document.provider_data["repositories"]]
            signatures = {"keys of the repositories": digest_of(document.fingerprint(keys))}
        expected = [item.name for item in expected_of_packages(document.system)]
        return {
            **signatures,
            **({"expected of the packages": expected} if expected else {}),
            "package lock": {package["name"]: package["version"] for package in packages},
            "package digests": digest_of(sorted(package["sha256"] for package in packages)),
            "package cache": self._cache_directory(),
        }

    def plan(self) -> Facts:
        return _facts(self.build.read_document("packages.lock.json")["packages"])

    def idle_reason(self) -> str:
        # By this setting the role image_build says in check mode that another lock is to be expected.
        if self.options.rebuild == "always":
            return ""
        found = self._look()
        return "" if found.damaged or found.missing else _ALL_CACHED

    def planned_result(self) -> Facts:
        try:
            found = self._look()
        except DocumentError:
            return {}
        wanted = [*found.damaged, *found.missing]
        return {
            "cached": len(found.intact),
            "downloaded": len(wanted),
            "bytes": sum(file.size for file in wanted),
            "verified": len(found.intact) + len(wanted),
        }

    def _look(self) -> CacheCheck:
        """Look into the cache as it is, without a trace."""
        if self._found is None:
            lock = self.build.read_document("packages.lock.json")
            files = [_cached_file(package) for package in lock["packages"]]
            cache = PackageCache(self._cache_directory())
            self._found = cache.check(files, workers=self.options.workers, update_index=False)
        return self._found

    def result_when_unchanged(self, result: Facts) -> Facts:
        return {**result, "cached": result["verified"], "downloaded": 0, "bytes": 0}

    def execute(self, decision: Decision) -> Outcome:
        document = TemplateDocument.read(self.build)
        # Nothing is fetched in vain.
        require_emulation(document.provider.arch, directory=self.build.path)
        lock = self.build.read_document("packages.lock.json")
        packages: dict[CachedFile, Facts] = {_cached_file(package): package for package in lock["packages"]}
        cache = PackageCache(self._cache_directory())
        with cache.lock(who=self.name, timeout=self.options.lock_timeout):
            found = cache.check(
                list(packages), workers=self.options.workers, trust_index=self.options.rebuild != "always"
            )
            wanted = [*found.damaged, *found.missing]
            if wanted and self.offline:
                raise self._offline_error(cache, [packages[file] for file in wanted])
            for file, problem in found.damaged.items():
                self.progress.milestone(
                    "Packages", f"Replacing the damaged cached package {file.filename}: {problem}", level="warn"
                )
            received = self._download(cache, wanted, packages, lock)
            cache.record(wanted)
            check = SIGNATURE_CHECKS.get(document.provider.family)
            if check is not None:
                runner = CommandRunner(log=self.progress)
                count = check(document, lock["packages"], runner=runner, workers=self.options.workers)
                self.progress.milestone("Packages", f"Checked the signatures of {count} packages")
            self._check_contents(document, [cache.path(file.filename) for file in packages])
            outputs: dict[str, str | None] = {cache.path(file.filename): file.sha256 for file in packages}
        self.progress.milestone(
            "Packages",
            f"Verified {len(packages)} packages ({len(found.intact)} cached, {len(wanted)} downloaded, "
            f"{received / 1e6:.1f} MB)",
        )
        return Outcome(
            result={
                "cached": len(found.intact),
                "downloaded": len(wanted),
                "bytes": received,
                "verified": len(packages),
            },
            outputs=outputs,
            facts=_facts(lock["packages"]),
            idle="" if wanted else _ALL_CACHED,
        )

    def _check_contents(self, document: TemplateDocument, paths: t.Sequence[str]) -> None:
        # A run that has nothing to do starts sooner without it.
        from ansible_collections.os_image.composer.plugins.module_utils._chroot.contents import check_contents

        check_contents(document.system, paths, family=document.provider.family, workers=self.options.workers)

    def _cache_directory(self) -> str:
        return TemplateDocument.read(self.build).package_cache

    def _download(
        self,
        cache: PackageCache,
        wanted: t.Sequence[CachedFile],
        packages: t.Mapping[CachedFile, Facts],
        lock: Facts,
    ) -> int:
        """Download files; return the bytes that came over the network."""
        done = len(packages) - len(wanted)
        message = "Downloading packages ({done}/{total} cached)"
        self.progress.count("Packages", message, done=done, total=len(packages))
        if not wanted:
            return 0

        def on_done(download: Download, size: int) -> None:
            nonlocal done
            done += 1
            self.progress.count("Packages", message, done=done, total=len(packages))

        mirrors = Mirrors()
        with Downloader(
            workers=self.options.workers,
            limits=self.limits,
            proxies=mirrors.proxies,
            log=lambda line: self.progress.write(f"{line}\n"),
        ) as downloader:
            return downloader.fetch_all(
                [self._wish(cache, file, packages[file], lock) for file in wanted], on_done=on_done
            )

    def _wish(self, cache: PackageCache, file: CachedFile, package: Facts, lock: Facts) -> Download:
        provider_id = lock["provider_id"]
        peers = [f"{peer}/{provider_id}/{urllib.parse.quote(file.filename)}" for peer in self.peer_caches]
        return Download(
            urls=(*peers, package["url"], *_elsewhere(package, lock)),
            destination=cache.path(file.filename),
            digest=file.sha256,
            size=file.size,
            what=f"the package {_shown(package)}",
            missing_remedy="The repository has replaced this version since the lock was made: run "
            "os_image.composer.pkg_resolve again.",
        )

    @staticmethod
    def _offline_error(cache: PackageCache, packages: t.Sequence[Facts]) -> RepositoryError:
        names = sorted(_shown(package) for package in packages)
        shown = ", ".join(names[:_NAMES_SHOWN])
        if len(names) > _NAMES_SHOWN:
            shown += f" and {len(names) - _NAMES_SHOWN} more"
        count = "1 package is" if len(names) == 1 else f"{len(names)} packages are"
        return RepositoryError(
            f"{count} missing or damaged in the package cache {cache.directory}, and this is an offline run: {shown}.",
            remedy="Run os_image.composer.pkg_fetch once with offline: false, or copy the files into the cache.",
            details={"missing": names},
        )


def _elsewhere(package: Facts, lock: Facts) -> t.Iterator[str]:
    """Yield where else a package lies: on the other mirrors of its repository."""
    for repository in lock["repositories"]:
        if repository["name"] == package["repository"] and package["url"].startswith(f"{repository['url']}/"):
            for mirror in repository.get("mirrors", ()):
                yield mirror + package["url"][len(repository["url"]) :]


def _shown(package: Facts) -> str:
    return f"{package['name']} {package['version']} ({package['arch']})"


def _facts(packages: t.Sequence[Facts]) -> Facts:
    return {"packages": len(packages), "size": sum(package["size"] for package in packages)}


def _cached_file(package: Facts) -> CachedFile:
    """Take a package's file out of the lock, which a user may have written.

    :raises DocumentError: The file would not lie in the cache, or has no digest.
    """
    filename, sha256, size = package["filename"], package["sha256"], package["size"]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+_~%^-]*", filename) or not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise DocumentError(
            f"The package lock gives the package {_shown(package)} the file name {filename!r} and the SHA-256 "
            f"{sha256!r}, which are not acceptable.",
            remedy="Use a lock that os_image.composer.pkg_resolve has written.",
        )
    return CachedFile(filename, sha256, size)


__all__ = ("PackageFetch",)
