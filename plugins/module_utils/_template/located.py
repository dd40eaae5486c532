# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Values that know where they were written: YAML data whose containers keep file, line and YAML path of each item.

The containers are ordinary dictionaries and lists for everybody who only reads values (JSON schema validation, JSON
output). Merging moves items together with their origins, so that an error in the merged template still names the line
of the file that it came from.
"""

from __future__ import annotations

import dataclasses
import typing as t

#: The steps from the root of a document to a value: keys of mappings and indexes of sequences.
Path = t.Tuple[t.Union[str, int], ...]


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where a value was written.

    :ivar file: Path of the file, or words such as C(overrides) for what comes from no file.
    :ivar line: Line number from 1; 0 when there are no lines.
    :ivar path: The YAML path in that file.
    :ivar source: The scalar as it was written (C(1.10) for the number 1.1); V(None) for containers.
    """

    file: str
    line: int
    path: Path
    source: str | None = None

    @property
    def place(self) -> str:
        """The file and the line, as messages have them."""
        return f"{self.file}:{self.line}" if self.line else self.file


class LocatedMapping(t.Dict[str, t.Any]):
    """A mapping with the origins of its entries."""

    def __init__(self, origin: Origin) -> None:
        super().__init__()
        self.origin = origin
        self.origins: t.Dict[str, Origin] = {}

    def put(self, key: str, value: t.Any, origin: Origin) -> None:
        """Set an entry together with its origin."""
        self[key] = value
        self.origins[key] = origin

    def take(self, other: LocatedMapping, key: str) -> None:
        """Take an entry over from another mapping, with its origin."""
        self.put(key, other[key], other.origins[key])

    def drop(self, key: str) -> None:
        """Remove an entry."""
        del self[key]
        del self.origins[key]

    def copy(self) -> LocatedMapping:
        """Return a mapping with the same entries."""
        twin = LocatedMapping(self.origin)
        twin.update(self)
        twin.origins.update(self.origins)
        return twin


class LocatedList(t.List[t.Any]):
    """A list with the origins of its items."""

    def __init__(self, origin: Origin) -> None:
        super().__init__()
        self.origin = origin
        self.origins: t.List[Origin] = []

    def add(self, value: t.Any, origin: Origin) -> None:
        """Append an item together with its origin."""
        self.append(value)
        self.origins.append(origin)

    def entries(self) -> t.Iterator[t.Tuple[t.Any, Origin]]:
        """Yield each item with its origin."""
        return zip(self, self.origins)

    def copy(self) -> LocatedList:
        """Return a list with the same items."""
        twin = LocatedList(self.origin)
        twin.extend(self)
        twin.origins.extend(self.origins)
        return twin


def from_data(value: t.Any, *, file: str, path: Path = ()) -> t.Any:
    """Wrap plain data (JSON types) that was written in no file.

    :param file: The words that stand for the file in error messages.
    """
    origin = Origin(file, 0, path)
    if isinstance(value, dict):
        mapping = LocatedMapping(origin)
        for key, item in value.items():
            name = str(key)
            where = (*path, name)
            mapping.put(name, from_data(item, file=file, path=where), Origin(file, 0, where))
        return mapping
    if isinstance(value, (list, tuple)):
        sequence = LocatedList(origin)
        for index, item in enumerate(value):
            where = (*path, index)
            sequence.add(from_data(item, file=file, path=where), Origin(file, 0, where))
        return sequence
    return value


def relocated(value: t.Any, path: Path) -> t.Any:
    """Return a deep copy of a value as if it were written at another YAML path; lines stay."""
    if isinstance(value, LocatedMapping):
        mapping = LocatedMapping(dataclasses.replace(value.origin, path=path))
        for key, item in value.items():
            where = (*path, key)
            mapping.put(key, relocated(item, where), dataclasses.replace(value.origins[key], path=where))
        return mapping
    if isinstance(value, LocatedList):
        sequence = LocatedList(dataclasses.replace(value.origin, path=path))
        for index, (item, origin) in enumerate(value.entries()):
            where = (*path, index)
            sequence.add(relocated(item, where), dataclasses.replace(origin, path=where))
        return sequence
    return value


def origin_of(root: t.Any, path: t.Iterable[t.Union[str, int]]) -> Origin:
    """Return where the value at a path was written; what does not exist is where its nearest container is."""
    origin: Origin = root.origin
    value = root
    for step in path:
        try:
            value, origin = value[step], value.origins[step]
        except (AttributeError, IndexError, KeyError, TypeError):
            break
    return origin


def show_path(path: t.Iterable[t.Union[str, int]]) -> str:
    """Write a YAML path as users read it: C(systemConfig.users[0].name)."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text or "(top level)"


__all__ = ("LocatedList", "LocatedMapping", "Origin", "Path", "from_data", "origin_of", "relocated", "show_path")
