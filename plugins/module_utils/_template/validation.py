# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The validation of located data by a schema: what is wrong in words, and the defaults of what is missing."""

from __future__ import annotations

import copy
import difflib
import functools
import itertools
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._libraries import import_library
from ansible_collections.os_image.composer.plugins.module_utils._template.located import (
    LocatedList,
    LocatedMapping,
    Origin,
    from_data,
    origin_of,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.problems import Problem
from ansible_collections.os_image.composer.plugins.module_utils._template.schema import Schema

#: More errors than anybody reads; without a limit a document of nothing but errors would take long.
MAX_ERRORS = 200

_TYPES: t.Mapping[str, str] = {
    "string": "a text",
    "boolean": "true or false",
    "integer": "a whole number",
    "array": "a list",
    "object": "a mapping",
}


def shown(value: t.Any) -> str:
    """Write a value into a message; long ones are cut."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def nearest(word: str, choices: t.Iterable[str]) -> str:
    """Return a remedy that names the choice that was probably meant, or all of them."""
    choices = list(choices)
    close = difflib.get_close_matches(word[:100].lower(), choices, n=1, cutoff=0.6)
    if not close:
        return f"Known are: {', '.join(choices)}." if choices else ""
    return f"Did you mean {close[0]!r}?"


def describe(value: t.Any) -> str:
    """Name the type of a value with its article."""
    if isinstance(value, LocatedMapping):
        return "a mapping"
    if isinstance(value, LocatedList):
        return "a list"
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    return f"the text {shown(value)}"


def _wrong_type(error: t.Any, origin: Origin) -> str:
    expected = _TYPES.get(error.validator_value, str(error.validator_value))
    if error.instance is None:
        return f"The value is empty, but must be {expected}. Give one, or remove the key."
    if "password" in error.absolute_path:
        return f"The value must be {expected}. Write it in quotes."
    message = f"The value is {describe(error.instance)}, but must be"
    if "enum" in error.schema:
        return f"{message} one of: {', '.join(error.schema['enum'])}."
    if error.validator_value == "string" and isinstance(error.instance, (bool, int, float)):
        quoted = str(origin.source if origin.source is not None else error.instance)
        # In quotes it would be the next error.
        if not re.search(error.schema.get("pattern", ""), quoted):
            return f"{message} {error.schema.get('patternErrorMessage', expected)}."
        return f'{message} {expected}. Write it in quotes: "{quoted}".'
    if error.validator_value == "array":
        return f"{message} {expected}. Begin each item with a hyphen and a blank."
    if error.validator_value == "object":
        keys = list(error.schema.get("required", ())) or list(error.schema.get("properties", ()))
        return f"{message} {expected}" + (f" with keys such as {' and '.join(keys[:2])}." if keys else ".")
    return f"{message} {expected}."


def _place(key: str, root: Schema) -> str:
    """Return the remedy for a key that is known elsewhere: at the top level, or in one section alone."""
    sections = root.get("properties", {})
    if key in sections:
        return "Move it to the top level."
    # What is named below remove is named elsewhere as well.
    places = [name for name, section in sections.items() if key in section.get("properties", {}) and name != "remove"]
    return f"Move it below {places[0]}." if len(places) == 1 else ""


def _unknown_keys(error: t.Any, root: Schema) -> t.Iterator[t.Tuple[t.Tuple[t.Union[str, int], ...], str]]:
    known = error.schema.get("properties", {})
    for key in error.instance:
        if key not in known:
            # Further down, keys such as type and target mean something else.
            place = _place(key, root) if len(error.absolute_path) < 2 else ""
            yield (key,), f"Unknown key {shown(key)}. {place or nearest(key, known)}"


def _alternatives(error: t.Any) -> str:
    names = [alternative["required"][0] for alternative in error.validator_value if "required" in alternative]
    given = [name for name in names if name in error.instance]
    wanted = f"{', '.join(names[:-1])} and {names[-1]}"
    if given:
        return f"Only one of the keys {wanted} may be given. Remove all but one of {', '.join(given)}."
    return f"One of the keys {wanted} is needed. Add one of them."


def _explain(
    error: t.Any, root: LocatedMapping, schema: Schema
) -> t.Iterator[t.Tuple[t.Tuple[t.Union[str, int], ...], str]]:
    """Yield (steps from the failing value to the culprit, message) for one error of the validator."""
    kind, demand, value = error.validator, error.validator_value, error.instance
    if kind == "additionalProperties":
        yield from _unknown_keys(error, schema)
    elif kind == "required":
        # One error per missing key; only the text tells which.
        missing = next((name for name in demand if name not in value and repr(name) in error.message), demand[0])
        yield (), f"The key {missing!r} is missing. Add it."
    elif kind == "dependentRequired":
        for name, needed in demand.items():
            for other in needed:
                if name in value and other not in value:
                    yield (name,), f"The key {name!r} needs the key {other!r} beside it. Add it, or remove {name!r}."
    elif kind == "oneOf":
        # What is no mapping has the wrong type, which is an error of its own.
        if isinstance(value, LocatedMapping):
            yield (), _alternatives(error)
    elif kind == "type":
        yield (), _wrong_type(error, origin_of(root, error.absolute_path))
    elif kind == "enum":
        # What is no text has the wrong type as well, and that error names the values.
        if isinstance(value, str):
            yield (), f"{shown(value)} is not known here. {nearest(value, demand)}"
    elif kind == "pattern":
        form = error.schema.get("patternErrorMessage", f"text of the form {demand}")
        yield (), f"{shown(value)} has not the right form: it must be {form}."
    elif kind == "minLength":
        yield (), "The text is empty. Give a value, or remove the key."
    elif kind == "maxLength":
        yield (), f"The text has {len(value)} characters, but may have at most {demand}. Shorten it."
    elif kind == "minimum":
        yield (), f"{shown(value)} is too small; the least value is {demand}."
    elif kind == "maximum":
        yield (), f"{shown(value)} is too large; the greatest value is {demand}."
    elif kind == "maxItems":
        yield (), f"The list has {len(value)} items, but may have at most {demand}."
    else:
        yield (), error.message


@functools.cache
def _validator_class() -> t.Any:
    """Return the validator of draft 2020-12 that takes located containers for objects and arrays."""
    jsonschema = import_library("jsonschema")
    return jsonschema.Draft202012Validator


def validate(data: LocatedMapping, schema: Schema) -> t.List[Problem]:
    """Return everything in which data does not have the form of a schema."""
    validator = _validator_class()(schema)
    problems = []
    for error in itertools.islice(validator.iter_errors(data), MAX_ERRORS):
        for steps, message in _explain(error, data, schema):
            origin = origin_of(data, (*error.absolute_path, *steps))
            problems.append(Problem(origin, message))
    return problems


# An empty password is one, and not what anybody wants.
_NEVER_EMPTY = ("password",)


def drop_empty(value: t.Any, schema: Schema) -> None:
    """Take out, in place, the empty texts of keys that need not be there: they say nothing.

    Where an empty text means something it stays, and so it does where a text is demanded.
    """
    if isinstance(value, LocatedList):
        for item in value:
            drop_empty(item, schema.get("items", {}))
    if not isinstance(value, LocatedMapping):
        return
    for key, kind in schema.get("properties", {}).items():
        if key not in value:
            continue
        is_text = kind.get("type") == "string" and kind.get("default") != ""
        if value[key] == "" and is_text and key not in schema.get("required", ()) and key not in _NEVER_EMPTY:
            value.drop(key)
        else:
            drop_empty(value[key], kind)


def fill_defaults(value: t.Any, schema: Schema) -> None:
    """Set, in place, what is missing and has a default in the schema."""
    if isinstance(value, LocatedMapping):
        for key, part in schema.get("properties", {}).items():
            if key not in value and "default" in part:
                origin = Origin(value.origin.file, value.origin.line, (*value.origin.path, key))
                default = from_data(copy.deepcopy(part["default"]), file=origin.file, path=origin.path)
                value.put(key, default, origin)
            if key in value:
                fill_defaults(value[key], part)
    elif isinstance(value, LocatedList):
        for item in value:
            fill_defaults(item, schema.get("items", {}))


__all__ = ("MAX_ERRORS", "describe", "drop_empty", "fill_defaults", "nearest", "shown", "validate")
