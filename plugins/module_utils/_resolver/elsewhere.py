# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Packages that are elsewhere: in a component, or in a repository of the provider, that is not enabled.

It is only asked when a package is missing, to say where it would be. What cannot be had then is not said.
"""

from __future__ import annotations

import fnmatch
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import ComposerError
from ansible_collections.os_image.composer.plugins.module_utils._repository.model import (
    PackageIndex,
    RepositoryMetadata,
)

# In Packages, and in the primary index of RPM repositories.
_PACKAGE = re.compile(rb"^package:[ \t]*([^\s:]+)\s*$|<name>([^<]+)</name>", re.IGNORECASE)


class Elsewhere:
    """The names of the packages in components that are not enabled, read once, when somebody asks."""

    def __init__(
        self, repositories: t.Sequence[RepositoryMetadata], at: t.Callable[[str], None] = lambda _step: None
    ) -> None:
        self._repositories = repositories
        self._at = at
        self._names: dict[tuple[str, str], frozenset[str]] = {}
        self._unreachable: set[str] = set()
        #: Returns the repositories that the provider knows and the template does not use, as far as they can be had.
        self.optional: t.Callable[[], t.Sequence[RepositoryMetadata]] = tuple
        self._optional: t.Sequence[RepositoryMetadata] | None = None

    def place_of(self, pattern: str) -> str:
        """Say where a package is, as the rest of a sentence that begins with "It is in"; empty where nobody knows.

        :param pattern: Its name, or a glob.
        """
        fits = re.compile(fnmatch.translate(pattern)).match
        found: dict[str, list[RepositoryMetadata]] = {}
        for repository in self._repositories:
            for component in repository.other_components:
                if any(map(fits, self._names_in(repository, component))):
                    found.setdefault(component, []).append(repository)
        if not found:
            return self._repository_with(fits)
        component, holders = next(iter(found.items()))
        places = [f"the component {name} of {', '.join(item.name for item in items)}" for name, items in found.items()]
        enabled = ", ".join([*holders[0].components, component])
        return (
            f"{' and '.join(places)}, which is not enabled: write systemConfig.components: [{enabled}], or component: "
            f"{enabled.replace(',', '')} where packageRepositories adds the repository"
        )

    def _repository_with(self, fits: t.Callable[[str], t.Any]) -> str:
        if self._optional is None:
            self._at("fetching the repositories that the provider knows and the template does not use")
            self._optional = self.optional()
        holders = []
        for repository in self._optional:
            key = (repository.name, "")
            if key not in self._names:
                self._names[key] = frozenset(name for index in repository.indexes for name in _names(index))
            if any(map(fits, self._names[key])):
                holders.append(repository.name)
        if not holders:
            return ""
        return (
            f"the repository {' and '.join(holders)}, which the provider knows and the template does not use: add "
            f"'- codename: {holders[0]}' to packageRepositories"
        )

    def _names_in(self, repository: RepositoryMetadata, component: str) -> frozenset[str]:
        key = (repository.name, component)
        if key not in self._names and repository.name not in self._unreachable:
            self._at(f"fetching the component {component} of the repository {repository.name!r}")
            try:
                indexes = repository.other_components[component]()
                self._names[key] = frozenset(name for index in indexes for name in _names(index))
            except (ComposerError, OSError):
                # A server that does not answer is not waited for again.
                self._unreachable.add(repository.name)
        return self._names.get(key, frozenset())


def _names(index: PackageIndex) -> t.Iterator[str]:
    with open(index.path, "rb") as stream:
        for line in stream:
            for match in _PACKAGE.finditer(line):
                yield (match[1] or match[2]).decode("utf-8", errors="replace")


__all__ = ("Elsewhere",)
