# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The removal of parts of the template below: what C(remove) names is gone before the two are merged.

What is removed can be added again by the same template, which then is all that there is of it.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._template.located import (
    LocatedList,
    LocatedMapping,
    Origin,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.problems import Problem
from ansible_collections.os_image.composer.plugins.module_utils._template.spelling import full_unit_name
from ansible_collections.os_image.composer.plugins.module_utils._template.validation import MAX_ERRORS, nearest, shown


@dataclasses.dataclass(frozen=True)
class Removable:
    """A kind of thing that can be removed.

    :ivar lists: YAML paths of the lists that hold such things.
    :ivar keys: Keys of an item, the first of which that it has names it; none when the item is its own name.
    :ivar globs: Whether it may be named by a glob.
    :ivar spelling: Brings a name into the form in which names are compared.
    """

    lists: t.Tuple[t.Tuple[str, ...], ...]
    keys: t.Tuple[str, ...] = ()
    globs: bool = False
    spelling: t.Callable[[str], str] = str

    def name(self, item: t.Any) -> str:
        """Return the name of an item."""
        if not self.keys:
            return str(item)
        return str(next((item[key] for key in self.keys if item.get(key)), ""))

    def matches(self, item: t.Any, name: str) -> bool:
        """Tell whether an item is meant by a name."""
        own = self.name(item)
        return self.spelling(own) == self.spelling(name) or (self.globs and fnmatch.fnmatchcase(own, name))


#: What each key of C(remove) takes away.
REMOVABLES: t.Mapping[str, Removable] = {
    "packages": Removable((("systemConfig", "packages"), ("systemConfig", "kernel", "packages")), globs=True),
    "services": Removable(
        tuple(("systemConfig", "services", key) for key in ("enable", "disable", "mask")), spelling=full_unit_name
    ),
    "users": Removable((("systemConfig", "users"),), ("name",)),
    "additionalFiles": Removable((("systemConfig", "additionalFiles"),), ("final",)),
    "configurations": Removable((("systemConfig", "configurations"),), ("cmd",)),
    "scripts": Removable(
        (("systemConfig", "scripts", "preInstall"), ("systemConfig", "scripts", "postInstall")), ("name",)
    ),
    "partitions": Removable((("disk", "partitions"),), ("id",)),
    "mounts": Removable((("disk", "mounts"),), ("mountPoint", "source")),
    "repositories": Removable((("packageRepositories",),), ("name", "codename")),
}


def take_out(lower: LocatedMapping, upper: LocatedMapping) -> t.Tuple[LocatedMapping, t.List[Problem]]:
    """Return the lower template without what the upper one removes, and what could not be removed.

    C(remove) is dropped from the upper template, in place.
    """
    problems: t.List[Problem] = []
    if "remove" not in upper:
        return lower, problems
    wanted = upper["remove"]
    upper.drop("remove")
    if wanted.get("partitions") and upper.get("disk", {}).get("partitions"):
        problems.append(
            Problem(
                wanted.origins["partitions"],
                "disk.partitions of this template replaces all inherited ones, so there is nothing to remove. "
                "Remove one of the two.",
            )
        )
    for kind, names in wanted.items():
        for name, origin in names.entries():
            lower, found = _without(lower, REMOVABLES[kind], name)
            if not found:
                problems.append(_missing(lower, kind, name, origin))
            if len(problems) >= MAX_ERRORS:
                return lower, problems
    return lower, problems


def _without(template: LocatedMapping, removable: Removable, name: str) -> t.Tuple[LocatedMapping, bool]:
    found = False
    for path in removable.lists:
        items = _at(template, path)
        kept = LocatedList(items.origin)
        for item, origin in items.entries():
            if removable.matches(item, name):
                found = True
            else:
                kept.add(item, origin)
        if len(kept) < len(items):
            template = _replaced(template, path, kept)
    return template, found


def _at(template: LocatedMapping, path: t.Tuple[str, ...]) -> LocatedList:
    value: t.Any = template
    for step in path:
        if not isinstance(value, LocatedMapping) or step not in value:
            return LocatedList(Origin("", 0, path))
        value = value[step]
    return t.cast(LocatedList, value)


def _replaced(template: LocatedMapping, path: t.Tuple[str, ...], value: LocatedList) -> LocatedMapping:
    """Return a copy of a template in which a list is another one; the template itself stays as it is."""
    twin = template.copy()
    step, rest = path[0], path[1:]
    twin[step] = _replaced(twin[step], rest, value) if rest else value
    return twin


def _missing(template: LocatedMapping, kind: str, name: str, origin: Origin) -> Problem:
    removable = REMOVABLES[kind]
    known = [removable.name(item) for path in removable.lists for item in _at(template, path)]
    hint = nearest(name, [word for word in known if word and len(word) < 100])
    message = f"There is nothing called {shown(name)} among the inherited {kind}. {hint or 'Remove the entry.'}"
    return Problem(origin, message)


__all__ = ("REMOVABLES", "Removable", "take_out")
