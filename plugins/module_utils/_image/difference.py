# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Differences between two images, as results tell them."""

from __future__ import annotations

import dataclasses
import typing as t

ADDED, REMOVED, CHANGED = "added", "removed", "changed"


@dataclasses.dataclass(frozen=True)
class Difference:
    """A difference.

    :ivar where: What differs: a partition, a path in the running system, a package.
    :ivar change: C(added), C(removed) or C(changed).
    :ivar aspects: What of it has changed, in single words.
    :ivar volatile: Whether two builds of the same image may differ in it.
    :ivar before: What the first image has, where that is short.
    :ivar after: What the second image has, where that is short.
    """

    where: str
    change: str
    aspects: t.Tuple[str, ...] = ()
    volatile: bool = False
    before: t.Any = None
    after: t.Any = None

    def as_facts(self) -> t.Dict[str, t.Any]:
        """Return the form of results."""
        return {**dataclasses.asdict(self), "aspects": list(self.aspects)}


Value = t.TypeVar("Value")


def pairs(
    first: t.Mapping[str, Value], second: t.Mapping[str, Value]
) -> t.Iterator[t.Tuple[str, t.Optional[Value], t.Optional[Value]]]:
    """Give each key with both values, sorted; V(None) where one has none."""
    for key in sorted({**first, **second}):
        yield key, first.get(key), second.get(key)


def change_of(first: t.Any, second: t.Any) -> str:
    """Return what happened to something of which one may be V(None)."""
    return ADDED if first is None else REMOVED if second is None else CHANGED


__all__ = ("ADDED", "CHANGED", "REMOVED", "Difference", "change_of", "pairs")
