# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The forms in which packages of RPM distributions are asked for."""

from __future__ import annotations

import fnmatch
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._resolver.request import (
    GLOB,
    Choice,
    Finder,
    Refused,
    Request,
    begins_with,
    listed,
    same_version,
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
        fitting = []
        for solvable in solvables:
            known = self._pool.version(solvable)
            forms = (known, known.partition(":")[2] or known)
            if same_version(known, version) or any(fnmatch.fnmatchcase(form, version) for form in forms):
                fitting.append(solvable)
        return tuple(fitting)

    def _with_version(self, text: str) -> list[Choice]:
        """Read C(name-version), C(name-version-release), and both with C(.arch): the longest name that has it."""
        forms = [(text, "")]
        name, arch = self._split_arch(text)
        if arch:
            forms.append((name, arch))
        for form, wanted in forms:
            for match in reversed(list(re.finditer("-", form))):
                name, version = form[: match.start()], form[match.end() :]
                if not version:
                    continue
                versions = self._of_arch(self._pool.versions(name), wanted)
                fitting = [number for number in versions if same_version(self._pool.version(number), version)]
                if fitting:
                    return [tuple(fitting)]
        return []

    def _by_glob(self, text: str) -> list[Choice]:
        pattern, _equals, version = text.partition("=")
        found = []
        for name in sorted(fnmatch.filter(self.names, pattern)):
            versions = self._pool.versions(name)
            choice = self._fitting(versions, version) if version else self._with_obsoleters(versions)
            if choice:
                found.append(choice)
        if not found:
            raise Refused(f"No package matches the pattern {text!r}.")
        return found

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
        excluded = listed([repository for _arch, repository, installable in others if installable])
        if excluded:
            return (
                f"The package {text!r} is in {excluded}, but allowPackages, excludePackages or a negative priority "
                "keeps it out."
            )
        if others:
            found = listed([f"{arch} ({repository})" for arch, repository, _installable in others])
            return f"The package {text!r} is there for another architecture only: {found}."
        return super()._missing(text)


__all__ = ("RpmFinder",)
