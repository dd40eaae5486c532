# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Parts of a template as typed values: how one is read, and where its defaults come from."""

from __future__ import annotations

import dataclasses
import functools
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import DocumentError

AnyPart = t.TypeVar("AnyPart", bound="Part")

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def field_name(key: str) -> str:
    """Return the name that a key of a template has as a field: C(type_uuid) for C(typeUUID)."""
    return _WORD.sub("_", key).lower()


@dataclasses.dataclass(frozen=True)
class Part:
    """A mapping of a template, with a field for each key of its schema.

    A field has the schema's default where the data says nothing, and V(None) where there is no default; so no field has
    a default of its own. Annotations are evaluated when a part is read: they have to be such as Python 3.9 knows.

    :cvar form: The schema of the mapping.
    """

    form: t.ClassVar[t.Mapping[str, t.Any]]

    @classmethod
    def from_data(cls: t.Type[AnyPart], data: t.Mapping[str, t.Any]) -> AnyPart:
        """Read a valid mapping.

        :raises DocumentError: It has not all keys that it must have.
        """
        kinds = field_kinds(t.cast("type", cls))
        missing = [key for key in cls.form.get("required", ()) if key not in data]
        if missing:
            raise DocumentError(f"The {cls.__name__} {data.get('name', '')!r} of the template lacks {missing[0]!r}.")
        return cls(
            **{
                field_name(key): _read(kinds[field_name(key)], data.get(key, part.get("default")))
                for key, part in cls.form["properties"].items()
            }
        )


@functools.cache
def field_kinds(part: type) -> t.Mapping[str, t.Any]:
    """Return the types of the fields of a class of parts."""
    hints = t.get_type_hints(part)
    return {field.name: hints[field.name] for field in dataclasses.fields(part)}


def _read(kind: t.Any, value: t.Any) -> t.Any:
    if value is None:
        return None
    if t.get_origin(kind) is t.Union:
        # There are no others than t.Optional.
        kind = t.get_args(kind)[0]
    if t.get_origin(kind) is tuple:
        return tuple(_read(t.get_args(kind)[0], item) for item in value)
    return kind.from_data(value) if issubclass(kind, Part) else value


__all__ = ("AnyPart", "Part", "field_kinds", "field_name")
