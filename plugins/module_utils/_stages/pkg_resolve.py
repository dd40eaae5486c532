# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The stage that decides which packages an image gets, and writes that down in the package lock."""

from __future__ import annotations

import contextlib
import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory, Facts
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._download.downloader import Downloader
from ansible_collections.os_image.composer.plugins.module_utils._download.model import Limits
from ansible_collections.os_image.composer.plugins.module_utils._errors import (
    ComposerError,
    DocumentError,
    MetadataError,
    RepositoryError,
    ResolveError,
)
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_file, write_file, write_json
from ansible_collections.os_image.composer.plugins.module_utils._repository.mirrors import Mirrors
from ansible_collections.os_image.composer.plugins.module_utils._repository.model import (
    RepositoryMetadata,
    metadata_fingerprint,
)
from ansible_collections.os_image.composer.plugins.module_utils._repository.refresh import refresh_repositories
from ansible_collections.os_image.composer.plugins.module_utils._resolver.families import resolver_of
from ansible_collections.os_image.composer.plugins.module_utils._resolver.lock import (
    DOCUMENT,
    package_changes,
    read_lock,
)
from ansible_collections.os_image.composer.plugins.module_utils._resolver.picture import View, dot_of, draw
from ansible_collections.os_image.composer.plugins.module_utils._resolver.pool import At
from ansible_collections.os_image.composer.plugins.module_utils._resolver.request import (
    Request,
    template_requests,
)
from ansible_collections.os_image.composer.plugins.module_utils._resolver.resolver import Resolver
from ansible_collections.os_image.composer.plugins.module_utils._stage import (
    Decision,
    Outcome,
    Stage,
    StageOptions,
    describe_change,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.document import TemplateDocument

DOT_FILE = "chrootpkgs.dot"
# What only makes a message better is worth no more seconds.
_HINT_TIMEOUT = 60


class PackageResolve(Stage):
    """Writes C(packages.lock.json) and the dependency graph.

    :param mirrors: URLs of mirrors by name, in place of the build host's own.
    :param lock_file: A lock to use; nothing is resolved then.
    :param dot_file: Another place for the dependency graph.
    :param view: What of the dependency graph is shown.
    :param offline: Use the metadata that an earlier run has verified and left; no network.
    :param limits: How slow a server may be.
    :param refresh_timeout: The most seconds that the refresh of all metadata may take.
    """

    name = "pkg_resolve"
    topic = "Packages"

    def __init__(
        self,
        build: BuildDirectory,
        options: StageOptions,
        *,
        mirrors: t.Mapping[str, str] | None = None,
        lock_file: str | None = None,
        dot_file: str | None = None,
        view: View | None = None,
        offline: bool = False,
        limits: Limits | None = None,
        refresh_timeout: float = 1800,
    ) -> None:
        super().__init__(build, options)
        self.mirrors = dict(mirrors or {})
        self.lock_file = lock_file
        self.dot_file = dot_file
        self.view = view or View("requested")
        self.offline = offline
        self.limits = limits
        self.refresh_timeout = refresh_timeout
        self._document: TemplateDocument | None = None
        self._planned: Facts | None = None
        self._repositories: list[RepositoryMetadata] | None = None

    @property
    def document(self) -> TemplateDocument:
        """The template's document."""
        if self._document is None:
            self._document = TemplateDocument.read(self.build)
        return self._document

    @property
    def _resolver(self) -> t.Type[Resolver]:
        return resolver_of(self.document.provider.family)

    def _template_requests(self) -> list[Request]:
        prefix = self._resolver.pool_type.kernel_prefix
        return template_requests(self.document.provider, self.document.system, kernel_prefix=prefix)

    def _downloader(self, known: Mirrors) -> Downloader:
        return Downloader(
            workers=self.options.workers, limits=self.limits, proxies=known.proxies, log=self.progress.debug
        )

    def repositories(self) -> list[RepositoryMetadata]:
        """Return the verified metadata; refreshed once in the life of the stage."""
        if self._repositories is None:
            known = Mirrors(self.mirrors)
            with self._downloader(known) as downloader:
                self._repositories = refresh_repositories(
                    self._resolver.repository_type,
                    self.document.provider.repositories,
                    package_arch=self.document.provider.package_arch,
                    metadata_dir=self.document.metadata_dir,
                    mirrors=known,
                    downloader=downloader,
                    timeout=self.refresh_timeout,
                    # A check leaves nothing behind, so it goes by what is there.
                    offline=self.offline or self.options.check_mode,
                    progress=self.progress,
                )
        return self._repositories

    def _optional_repositories(self) -> list[RepositoryMetadata]:
        """Return what can be had of the repositories that the template does not use, to tell what they have."""
        known = Mirrors(self.mirrors)
        found = []
        with self._downloader(known) as downloader:
            for repository in self.document.provider.optional_repositories:
                with contextlib.suppress(ComposerError, OSError):
                    found += refresh_repositories(
                        self._resolver.repository_type,
                        [repository],
                        package_arch=self.document.provider.package_arch,
                        metadata_dir=self.document.metadata_dir,
                        mirrors=known,
                        downloader=downloader,
                        timeout=min(self.refresh_timeout, _HINT_TIMEOUT),
                        offline=self.offline or self.options.check_mode,
                    )
        return found

    def inputs(self) -> Facts:
        document = self.document
        asked = self._template_requests()
        inputs: Facts = {
            "provider": document.provider_id,
            "requested packages": [
                f"{request.text} ({request.reason}{f' {request.version}' if request.version else ''})"
                for request in asked
            ],
            "essential packages": document.provider_data["essential"],
            "weak dependencies": document.system.weak_dependencies,
            **({"modules": list(document.system.modules)} if document.system.modules else {}),
            "dependency graph file": self.dot_file or "",
            "view of the dependency graph": str(self.view),
        }
        if self.lock_file is not None:
            self._given_lock()
            return {**inputs, "lock file": sha256_file(self.lock_file)}
        try:
            repositories = self.repositories()
        except RepositoryError as exc:
            if self.options.check_mode and not self.offline:
                raise DocumentError(f"The package metadata has to be fetched first: {exc}") from exc
            raise
        return {
            **inputs,
            "repositories": metadata_fingerprint(repositories),
            # The lock tells where packages lie; what is built from it does not depend on that.
            "mirrors": {repository.name: repository.base_url for repository in repositories},
        }

    def describe_change(self, name: str, before: t.Any, after: t.Any) -> str:
        if name == "requested packages" and isinstance(before, list) and isinstance(after, list):
            parts = [f"{text} added" for text in after if text not in before]
            parts += [f"{text} removed" for text in before if text not in after]
            if parts:
                more = f" and {len(parts) - 3} more" if len(parts) > 3 else ""
                return f"{name} changed: {', '.join(parts[:3])}{more}"
        if name == "repositories" and isinstance(before, dict) and isinstance(after, dict):
            changed = [key for key in after if key in before and before[key] != after[key]]
            if changed and before.keys() == after.keys():
                return f"package metadata changed: {', '.join(changed)}"
        return describe_change(name, before, after)

    def plan(self) -> Facts:
        try:
            self._planned = self._resolve()
            return _facts(self._planned)
        except MetadataError:
            # It will not be another by being fetched again.
            raise
        except RepositoryError as exc:
            # A check goes by what is there, and an index that only these packages need may not be.
            if self.offline:
                raise
            raise DocumentError(f"The package metadata has to be fetched first: {exc}") from exc

    def planned_result(self) -> Facts:
        return {} if self._planned is None else self._result(self._planned)

    def _result(self, lock: Facts) -> Facts:
        """Return the module's values for a lock that the one in the build directory gives way to."""
        return {
            "lock_file": self.build.join(DOCUMENT),
            "packages": len(lock["packages"]),
            "download_size": sum(package["size"] for package in lock["packages"]),
            "package_changes": package_changes(self._previous_lock(), lock),
            "older_versions": list(lock.get("older_versions", [])),
            "dot_file": self.dot_file or self.build.join(DOT_FILE),
        }

    def execute(self, decision: Decision) -> Outcome:
        from ansible_collections.os_image.composer.plugins.module_utils._resolver.boot import (
            require_boot_packages,
            require_boot_tools,
        )
        from ansible_collections.os_image.composer.plugins.module_utils._resolver.mounts import require_mount_helpers

        # What is missing would otherwise show when everything is installed.
        require_boot_tools(self.document)
        lock = self._resolve()
        require_boot_packages(self.document, lock)
        require_mount_helpers(self.document, lock)
        result = self._result(lock)
        path = self.build.join(DOCUMENT)
        graph = self.build.join(DOT_FILE)
        shared = os.path.join(self.document.package_cache, DOT_FILE)
        dot = dot_of(lock["packages"], self.view).encode("utf-8")
        os.makedirs(os.path.dirname(shared), exist_ok=True)
        for place in filter(None, (graph, shared, self.dot_file)):
            try:
                write_file(place, dot)
            except OSError as exc:
                raise ResolveError(
                    f"Cannot write the dependency graph {place}: {exc.strerror}.",
                    remedy="Name a file in a directory that exists and can be written to.",
                ) from exc
        drawn = draw(graph, CommandRunner(log=self.progress))
        write_json(path, lock)
        self.progress.milestone(
            "Packages",
            f"Resolved {len(lock['requested'])} requested packages to {len(lock['packages'])} "
            f"({result['download_size'] / 1e6:.1f} MB)",
        )
        outputs: dict[str, str | None] = {path: None, graph: None}
        if drawn:
            outputs[drawn] = None
        if self.dot_file:
            outputs[os.path.abspath(self.dot_file)] = None
        return Outcome(
            result={**result, "svg_file": drawn},
            outputs=outputs,
            facts=_facts(lock),
        )

    def result_when_unchanged(self, result: Facts) -> Facts:
        return {**result, "package_changes": {"added": [], "removed": [], "changed": []}}

    def _resolve(self) -> Facts:
        if self.lock_file is not None:
            lock = self._given_lock()
            self.progress.milestone("Packages", f"Using the lock file {self.lock_file}")
            return lock
        # A run that has nothing to do starts sooner without it.
        from ansible_collections.os_image.composer.plugins.module_utils._resolver.apart import run_apart
        from ansible_collections.os_image.composer.plugins.module_utils._resolver.solution import resolve

        repositories = self.repositories()
        count = sum(len(repository.indexes) for repository in repositories)
        self.progress.milestone("Packages", f"Resolving packages against {count} package indexes")

        def work(at: At) -> Facts:
            return resolve(
                self.document,
                repositories,
                cache_dir=os.path.join(self.document.metadata_dir, "solv"),
                warn=lambda text: self.progress.milestone("Packages", text, level="warn"),
                at=at,
                optional=self._optional_repositories,
            )

        lock = run_apart(work, log=self.progress.write)
        self._learn_digests(lock)
        before = self._previous_lock()
        if before is not None and not any(package_changes(before, lock).values()):
            # Repositories are published anew every day; an image of the same packages keeps its date.
            lock["source_date_epoch"] = before["source_date_epoch"]
        return lock

    def _learn_digests(self, lock: Facts) -> None:
        """Fetch the packages of which the repositories tell no SHA-256."""
        # Nothing of that is needed for most repositories.
        if not any("sha512" in package for package in lock["packages"]):
            return
        from ansible_collections.os_image.composer.plugins.module_utils._cache.digests import learn_digests
        from ansible_collections.os_image.composer.plugins.module_utils._cache.packages import PackageCache

        with self._downloader(Mirrors(self.mirrors)) as downloader:
            learn_digests(
                lock["packages"],
                PackageCache(self.document.package_cache),
                who=self.name,
                lock_timeout=self.options.lock_timeout,
                downloader=None if self.offline or self.options.check_mode else downloader,
            )

    def _given_lock(self) -> Facts:
        """Read the lock that the user gives, and check that it is one for this template."""
        if self.lock_file is None:
            raise AssertionError("self.lock_file is known here")
        lock = read_lock(self.lock_file, provider_id=self.document.provider_id)
        asked = {request.text for request in self._template_requests()}
        missing = sorted(asked.difference(lock["requested"]))
        if missing:
            raise ResolveError(
                f"The lock file {self.lock_file} was made without {', '.join(missing)}, which the template asks for.",
                remedy="Leave out lock_file once to make a new lock.",
                details={"missing": missing},
            )
        return lock

    def _previous_lock(self) -> Facts | None:
        """Return the lock that is in the build directory, whatever the stamp says of it."""
        with contextlib.suppress(OSError, ValueError, ResolveError):
            return read_lock(self.build.join(DOCUMENT), provider_id=self.document.provider_id)
        return None


def _facts(lock: t.Mapping[str, t.Any]) -> Facts:
    packages = {package["name"]: package["version"] for package in lock["packages"]}
    older = lock.get("older_versions")
    return {"packages": packages, **({"older_versions": list(older)} if older else {})}


__all__ = ("DOT_FILE", "PackageResolve")
