# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Resolvers: one for each package family, and nothing else asks which it is."""

from __future__ import annotations

import abc
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._repository.repository import Repository
from ansible_collections.os_image.composer.plugins.module_utils._resolver.pool import PackagePool
from ansible_collections.os_image.composer.plugins.module_utils._resolver.request import Finder, Request, Selection


class Resolver(abc.ABC):
    """Decides which packages an image gets.

    :ivar pool: The packages that there are; to be loaded first.
    """

    #: The class of the repositories that its packages come from.
    repository_type: t.ClassVar[t.Type[Repository[t.Any]]]
    #: The class of its pool.
    pool_type: t.ClassVar[t.Type[PackagePool]]

    pool: PackagePool
    finder: Finder

    @abc.abstractmethod
    def __init__(self, *, arch: str, cache_dir: str | None, weak: bool = False, modules: t.Sequence[str] = ()) -> None:
        """Make the pool, and what finds packages in it.

        :param arch: The family's name of the architecture.
        :param cache_dir: Where the binary form of package indexes is kept; V(None) keeps nothing.
        :param weak: Install what packages only recommend, too.
        :param modules: Streams of modules to enable (C(module:stream)).
        :raises ResolveError: The family does not do that.
        """

    @property
    def notes(self) -> list[str]:
        """What the user should know of the metadata that decided, in full sentences."""
        return []

    def modules_in_use(self, chosen: t.AbstractSet[int], requests: t.Sequence[Request]) -> list[dict[str, t.Any]]:  # noqa: ARG002
        """Return the streams of modules that the image depends on from now on, with the profiles that it has."""
        return []

    @abc.abstractmethod
    def solve(self, selection: Selection) -> set[int]:
        """Return the packages that have to be installed for the requested ones, these included.

        :raises ResolveError: No set of packages fits; the message says what is in the way of what.
        """

    @abc.abstractmethod
    def alone(self, selection: Selection) -> set[int]:
        """Return what would be installed for a part of the request alone; it need not fit together."""

    def select(self, requests: t.Sequence[Request]) -> Selection:
        """Find the packages that the requests mean.

        :raises ResolveError: Some cannot be met; the message names all of them.
        """
        return self.finder.select(requests)


__all__ = ("Resolver",)
