# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The forms in which packages of Debian are asked for."""

from __future__ import annotations

import fnmatch
import re

from ansible_collections.os_image.composer.plugins.module_utils._resolver.deb_pool import DebPool, NotARelationError
from ansible_collections.os_image.composer.plugins.module_utils._resolver.pool import KEPT_OUT
from ansible_collections.os_image.composer.plugins.module_utils._resolver.request import (
    GLOB,
    Choice,
    Finder,
    Refused,
    Request,
    listed,
    same_version,
)


class DebFinder(Finder):
    """Knows C(name), C(name=version), C(name-version), C(name_version), C(name:arch), C(name/repository), and globs."""

    def __init__(self, pool: DebPool) -> None:
        super().__init__(pool)
        self._pool: DebPool = pool

    def find(self, request: Request) -> list[Choice]:
        """Return one package, or with a glob several; never a choice, for apt knows none."""
        text = request.text.strip()
        if text.endswith(".deb"):
            text = text[: -len(".deb")]
        found = self._literal(text)
        if not found and GLOB.search(text.partition("=")[0]):
            found = self._by_glob(text)
        if not found:
            found = self._with_version(text) or self._virtual(text)
        if not found:
            raise Refused(self._missing(text))
        if request.version:
            found = [self._of_version(solvable, request.version) for solvable in found]
        return [(solvable,) for solvable in found]

    def _missing(self, text: str) -> str:
        name = re.split(r"[=:/]", text)[0]
        return (self._kept_out(text, name) if name else "") or super()._missing(text)

    def _literal(self, text: str) -> list[int]:
        """Read C(name), C(name:arch), C(name/repository) and C(name=version)."""
        if text.startswith("@"):
            raise Refused(f"{text!r} is a stream of a module, and only RPM repositories have modules.")
        name, _equals, version = text.partition("=")
        name, _slash, origin = name.partition("/")
        name, _colon, arch = name.partition(":")
        if arch and arch not in (self._pool.arch, "all", "any", "native"):
            raise Refused(
                f"The package {text!r} is asked for the architecture {arch!r}, but this image is for "
                f"{self._pool.arch!r}."
            )
        versions = self._pool.versions(name)
        if not versions:
            return []
        if origin:
            versions = [number for number in versions if self._comes_from(number, origin)]
            if not versions:
                if origin in {repository for _arch, repository, _installable in self._pool.kept_out(name)}:
                    raise Refused(f"The package {name!r} is in {origin}, but {KEPT_OUT} keeps it out.")
                known = sorted({self._pool.repository(number).name for number in self._pool.versions(name)})
                raise Refused(f"The repository {origin!r} has no package {name!r}; it is in {listed(known)}.")
        if not version:
            return versions[:1]
        for number in versions:
            if same_version(self._pool.version(number), version) or fnmatch.fnmatchcase(
                self._pool.version(number), version
            ):
                return [number]
        raise Refused(
            f"The package {name!r} is not available in the version {version!r}; available: {self._available(versions)}."
        )

    def _comes_from(self, solvable: int, origin: str) -> bool:
        repository = self._pool.repository(solvable)
        return origin in (repository.name, repository.suite, *repository.suite_names)

    def _by_glob(self, text: str) -> list[int]:
        pattern, _equals, version = text.partition("=")
        matching = sorted(fnmatch.filter(self.names, pattern))
        if not matching:
            place = self._pool.elsewhere.place_of(pattern)
            more = f" Packages that do are in {place}." if place else ""
            raise Refused(f"No package matches the pattern {text!r}.{more}")
        suffix = f"={version}" if version else ""
        return [number for name in matching for number in self._literal(name + suffix)]

    def _with_version(self, text: str) -> list[int]:
        """Read C(name-version) and C(name_version[_arch]): the longest name that has such a version."""
        arch = text.rpartition("_")[2]
        if arch in (self._pool.arch, "all"):
            text = text[: -len(arch) - 1]
        for match in reversed(list(re.finditer(r"[-_]", text))):
            name, version = text[: match.start()], text[match.end() :]
            for number in self._pool.versions(name):
                if version and same_version(self._pool.version(number), version.replace("%3a", ":")):
                    return [number]
        return []

    def _virtual(self, text: str) -> list[int]:
        """Take the only package that provides a name; of several nobody can tell which is meant.

        The version is that of the name, not of the package.
        """
        name, _equals, version = text.partition("=")
        name, _slash, origin = name.partition("/")
        try:
            providers = self._providers(name)
            fitting = self._providers(f"{name} = {version}") if version else providers
        except NotARelationError:
            return []
        if origin:
            fitting = [number for number in fitting if self._comes_from(number, origin)]
        names = sorted({self._pool.name(number) for number in fitting})
        if len(names) > 1:
            raise Refused(
                f"{text!r} is a virtual package, provided by {listed(names)}; ask for the one that is wanted."
            )
        if providers and not fitting:
            others = listed(sorted({self._pool.name(number) for number in providers}))
            wanted = f"in the version {version!r}" if version else f"in {origin!r}"
            raise Refused(f"{name!r} is a virtual package, provided by {others}, but by none of them {wanted}.")
        return fitting[:1]

    def _providers(self, relation: str) -> list[int]:
        found = self._pool.alternative(relation).solvables
        return [number for number in found if self._pool.candidate(self._pool.name(number)) == number]


__all__ = ("DebFinder",)
