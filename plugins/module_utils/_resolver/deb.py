# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The resolver of the DEB family: what apt would install."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import ResolveError
from ansible_collections.os_image.composer.plugins.module_utils._repository.deb import DebRepository
from ansible_collections.os_image.composer.plugins.module_utils._resolver.deb_pool import DebPool
from ansible_collections.os_image.composer.plugins.module_utils._resolver.deb_request import DebFinder
from ansible_collections.os_image.composer.plugins.module_utils._resolver.deb_solve import solve
from ansible_collections.os_image.composer.plugins.module_utils._resolver.preference import PreferenceWalk
from ansible_collections.os_image.composer.plugins.module_utils._resolver.request import Selection
from ansible_collections.os_image.composer.plugins.module_utils._resolver.resolver import Resolver


class DebResolver(Resolver):
    """Decides as apt does."""

    repository_type = DebRepository
    pool_type = DebPool

    def __init__(self, *, arch: str, cache_dir: str | None, weak: bool = False, modules: t.Sequence[str] = ()) -> None:
        if modules:
            raise ResolveError(
                "systemConfig.modules is for RPM distributions only.",
                remedy="Remove the key, and name the packages that the image shall have.",
            )
        if weak:
            raise ResolveError(
                "systemConfig.weakDependencies is for RPM distributions only.",
                remedy="Remove the key, and name the recommended packages that the image shall have.",
            )
        self.pool: DebPool = DebPool(arch=arch, cache_dir=cache_dir)
        self.finder = DebFinder(self.pool)

    def solve(self, selection: Selection) -> set[int]:
        return solve(self.pool, list(selection.solvables))

    def alone(self, selection: Selection) -> set[int]:
        return PreferenceWalk(self.pool, list(selection.solvables)).run()


__all__ = ("DebResolver",)
