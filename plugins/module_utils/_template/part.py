# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Parts of a template as typed values, and how one is read."""

from __future__ import annotations

import functools
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import DocumentError

if t.TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_options: bool) -> t.Callable[[type], type]:
        """Say to type checkers that the subclasses of a class are dataclasses; nothing when the module runs."""
        return lambda part: part


AnyPart = t.TypeVar("AnyPart", bound="Part")

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@functools.cache
def field_name(key: str) -> str:
    """Return the name that a key of a template has as a field: C(type_uuid) for C(typeUUID)."""
    return _WORD.sub("_", key).lower()


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Part:
    """A mapping of a template, with a field for each of its keys: a frozen dataclass, whose values are named.

    It is no real one, as every stage imports thirty of them, and C(dataclasses) writes and compiles six methods for
    each. Here they share these. Annotations are evaluated when a part is made: they have to be such as Python 3.9
    knows.
    """

    def __init__(self, **values: t.Any) -> None:
        fields, defaults = field_kinds(t.cast("type", type(self))), vars(type(self))
        wrong = [name for name in values if name not in fields]
        wrong += [name for name in fields if name not in values and name not in defaults]
        if wrong:
            raise TypeError(f"{type(self).__name__} has no field, or is given no value for it: {wrong[0]}")
        vars(self).update({name: values[name] if name in values else defaults[name] for name in fields})

    def __setattr__(self, name: str, value: t.Any) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed: {name}")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    def replace(self: AnyPart, **changes: t.Any) -> AnyPart:
        """Return the same with other values for some fields."""
        return type(self)(**{**vars(self), **changes})

    @classmethod
    def from_data(cls: t.Type[AnyPart], data: t.Mapping[str, t.Any]) -> AnyPart:
        """Read a mapping that is whole: with all that has a default, as image_template_validate writes it.

        A field that may be V(None) is that when the mapping does not have it.

        :raises DocumentError: It has not all keys that it must have.
        """
        given = {field_name(key): value for key, value in data.items()}
        values: t.Dict[str, t.Any] = {}
        for name, kind in field_kinds(t.cast("type", cls)).items():
            if name in given:
                values[name] = _read(kind, given[name])
            elif _is_optional(kind):
                values[name] = None
            elif name not in vars(cls):
                raise DocumentError(
                    f"The {cls.__name__} {data.get('name', '')!r} of the template lacks {name!r}.",
                    remedy="Run the module os_image.composer.image_template_validate again.",
                )
        return cls(**values)


@functools.cache
def field_kinds(part: type) -> t.Mapping[str, t.Any]:
    """Return the types of the fields of a class of parts."""
    return t.get_type_hints(part)


def _is_optional(kind: t.Any) -> bool:
    """Whether a field may be V(None); there are no other unions."""
    return t.get_origin(kind) is t.Union


def _read(kind: t.Any, value: t.Any) -> t.Any:
    if value is None:
        return None
    if _is_optional(kind):
        kind = t.get_args(kind)[0]
    if t.get_origin(kind) is tuple:
        return tuple(_read(t.get_args(kind)[0], item) for item in value)
    return kind.from_data(value) if issubclass(kind, Part) else value


__all__ = ("AnyPart", "Part", "field_kinds", "field_name")
