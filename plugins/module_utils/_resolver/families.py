# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The resolvers of package families, by the name that a provider gives the family.

Only the one that is asked for is imported: a run that has nothing to do starts sooner without the other.
"""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._resolver.resolver import Resolver


def _deb() -> t.Type[Resolver]:
    from ansible_collections.os_image.composer.plugins.module_utils._resolver.deb import DebResolver

    return DebResolver


def _rpm() -> t.Type[Resolver]:
    from ansible_collections.os_image.composer.plugins.module_utils._resolver.rpm import RpmResolver

    return RpmResolver


#: What returns the resolver of each family.
RESOLVERS: t.Mapping[str, t.Callable[[], t.Type[Resolver]]] = {"deb": _deb, "rpm": _rpm}


def resolver_of(family: str) -> t.Type[Resolver]:
    """Return what resolves the packages of a family."""
    return RESOLVERS[family]()


__all__ = ("RESOLVERS", "resolver_of")
