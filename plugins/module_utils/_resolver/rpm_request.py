# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The forms in which packages of RPM distributions are asked for."""

from __future__ import annotations

import fnmatch
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._resolver.pool import KEPT_OUT
from ansible_collections.os_image.composer.plugins.module_utils._resolver.request import (
    GLOB,
    Choice,
    Finder,
    Refused,
    Request,
    begins_with,
    listed,
    same_version,
    version_forms,
)
from ansible_collections.os_image.composer.plugins.module_utils._resolver.rpm_pool import RpmPool, is_primary_file

# What a name may end in; other words after a dot belong to the name.
_ARCHITECTURES = frozenset(
    {"aarch64", "armv7hl", "i386", "i586", "i686", "ppc64le", "riscv64", "s390x", "src", "x86_64"}
)


class RpmFinder(Finder):
    """Knows C(name), C(name.arch), C(name=version), C(name-version[-release][.arch]), globs, files, and provides.

    As with dnf, one of all packages that fit has to be installed, the best one; what obsoletes a package that is asked
    for by its name fits as well.
    """

    def __init__(self, pool: RpmPool) -> None:
        super().__init__(pool)
        self._pool: RpmPool = pool

    def select_files(self, requests: t.Iterable[Request]) -> None:
        """Look for the files that are asked for."""
        texts = [request.text.strip() for request in requests]
        files = [text for text in texts if text.startswith("/") and not is_primary_file(text)]
        if files:
            self._pool.add_files([*files, *self._pool.unknown_files()])

    def find(self, request: Request) -> list[Choice]:
        text = request.text.strip()
        if text.endswith(".rpm"):
            text = text[: -len(".rpm")]
        found = self._by_name(text) or self._with_relation(text) or self._with_version(text)
        if not found and GLOB.search(text.partition("=")[0]):
            found = self._by_glob(text)
        if not found:
            found = self._provided(text)
        if not found:
            raise Refused(self._missing(text))
        if request.version:
            wanted = request.version
            found = [self._of_versions(choice, wanted) for choice in found]
        return found

    def _by_name(self, text: str) -> list[Choice]:
        """Read C(name) and C(name.arch)."""
        versions = self._pool.versions(text)
        if versions:
            return [self._with_obsoleters(versions)]
        name, arch = self._split_arch(text)
        versions = self._of_arch(self._pool.versions(name), arch) if arch else []
        return [tuple(versions)] if versions else []

    def _with_obsoleters(self, versions: t.Sequence[int]) -> Choice:
        return tuple(dict.fromkeys([*versions, *self._pool.obsoleters(versions)]))

    def _split_arch(self, text: str) -> tuple[str, str]:
        """Take the architecture off the end.

        :raises Refused: It is not one that the image can have.
        """
        name, _dot, arch = text.rpartition(".")
        if arch in (self._pool.arch, "noarch"):
            return name, arch
        if name and arch in _ARCHITECTURES and self._pool.versions(name):
            raise Refused(
                f"The package {text!r} is asked for the architecture {arch!r}, but this image is for "
                f"{self._pool.arch!r}."
            )
        return text, ""

    def _of_arch(self, solvables: t.Iterable[int], arch: str) -> list[int]:
        return [number for number in solvables if not arch or self._pool.solvable(number).arch == arch]

    def _with_relation(self, text: str) -> list[Choice]:
        """Read C(name=version), where the version may be a glob."""
        name, equals, version = text.partition("=")
        name, version = name.strip(), version.strip()
        if not equals or not version or GLOB.search(name):
            return []
        name, arch = self._split_arch(name)
        versions = self._of_arch(self._pool.versions(name), arch)
        if not versions:
            return []
        fitting = self._fitting(versions, version)
        if not fitting:
            raise Refused(
                f"The package {name!r} is not available in the version {version!r}; available: "
                f"{self._available(versions)}."
            )
        return [fitting]

    def _fitting(self, solvables: t.Iterable[int], version: str) -> Choice:
        """Return the packages of a version, which may be a glob."""
        with_epoch = ":" in version

        def fits(known: str) -> bool:
            # An epoch that nobody wrote is no part of what "1*" is about.
            forms = (form for form in version_forms(known) if (":" in form) == with_epoch)
            return any(fnmatch.fnmatchcase(form, version) for form in forms)

        return tuple(solvable for solvable in solvables if fits(self._pool.version(solvable)))

    def _with_version(self, text: str) -> list[Choice]:
        """Read C(name-version-release) and C(name-version), both with C(.arch)."""
        for name, version, arch in self._versioned_forms(text):
            versions = self._of_arch(self._pool.versions(name), arch)
            fitting = [number for number in versions if same_version(self._pool.version(number), version)]
            if fitting:
                return [tuple(fitting)]
        return []

    def _versioned_forms(self, text: str) -> t.Iterator[tuple[str, str, str]]:
        """Yield name, version and architecture as a request may mean them, in dnf's order: first with a release."""
        forms = [(text, "")]
        name, arch = self._split_arch(text)
        if arch:
            forms.append((name, arch))
        for hyphens in (2, 1):
            for form, wanted in forms:
                name, *version = form.rsplit("-", hyphens)
                if name and len(version) == hyphens and all(version):
                    yield name, "-".join(version), wanted

    def _by_glob(self, text: str) -> list[Choice]:
        pattern, equals, version = text.partition("=")
        if equals:
            found = self._of_glob(pattern, version)
        else:
            names = sorted(fnmatch.filter(self.names, pattern))
            found = [self._with_obsoleters(self._pool.versions(name)) for name in names]
            if not found:
                found = next(filter(None, (self._of_glob(*form) for form in self._versioned_forms(text))), [])
        if not found:
            raise Refused(f"No package matches the pattern {text!r}.")
        return found

    def _of_glob(self, pattern: str, version: str, arch: str = "") -> list[Choice]:
        """Return the packages whose names and versions match."""
        names = sorted(fnmatch.filter(self.names, pattern))
        choices = [self._fitting(self._of_arch(self._pool.versions(name), arch), version) for name in names]
        return [choice for choice in choices if choice]

    def _provided(self, text: str) -> list[Choice]:
        """Take what provides a name, or has a file; the solver decides between several."""
        found = self._pool.providers(text)
        return [tuple(found)] if found else []

    def _of_versions(self, choice: Choice, wanted: str) -> Choice:
        """Return the kernels of a choice whose version begins as it has to."""
        fitting = tuple(number for number in choice if begins_with(self._pool.version(number), wanted))
        return fitting or (self._of_version(choice[0], wanted),)

    def _missing(self, text: str) -> str:
        if text.startswith("/"):
            return f"No package has the file {text!r}."
        others = self._pool.kept_out(text)
        excluded = listed(list(dict.fromkeys(repository for _arch, repository, installable in others if installable)))
        if excluded:
            return f"The package {text!r} is in {excluded}, but {KEPT_OUT} keeps it out."
        if others:
            found = listed([f"{arch} ({repository})" for arch, repository, _installable in others])
            return f"The package {text!r} is there for another architecture only: {found}."
        return super()._missing(text)


__all__ = ("RpmFinder",)
