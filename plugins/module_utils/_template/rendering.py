# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""A merged template as people read it: YAML in the order of the reference, without what says nothing.

The controller shows templates too; so nothing here needs more than ansible-core has.
"""

from __future__ import annotations

import difflib
import json
import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._libraries import import_library
from ansible_collections.os_image.composer.plugins.module_utils._template.references import LOCAL_FILE_FIELDS
from ansible_collections.os_image.composer.plugins.module_utils._template.schema import FULL_TEMPLATE, Schema

_WIDTH = 120


def as_yaml(template: t.Mapping[str, t.Any], *, directory: str = "") -> str:
    """Return a merged template as YAML text.

    Keys stand in the order of the reference. Empty texts, lists and mappings, which are the defaults, are left out.

    :param template: The template without secrets.
    :param directory: Paths of local files below this directory are shown relative to it, as the user wrote them.
    """
    yaml = import_library("yaml")

    class Dumper(yaml.SafeDumper):  # type: ignore[misc, name-defined]
        """Indents lists, and writes texts of several lines as such."""

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> t.Any:
            return super().increase_indent(flow, False)

        def ignore_aliases(self, data: t.Any) -> bool:
            return True

    def text(dumper: t.Any, value: str) -> t.Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    Dumper.add_representer(str, text)
    shown = _tidied(template, FULL_TEMPLATE, directory, ())
    return t.cast(str, yaml.dump(shown, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH))


def _tidied(value: t.Any, schema: Schema, directory: str, field: t.Tuple[str, ...]) -> t.Any:
    """Return a value as plain data, its keys in the order of a schema, without what is empty."""
    if isinstance(value, dict):
        known = schema.get("properties", {})
        keys = [*(key for key in known if key in value), *(key for key in value if key not in known)]
        parts = {key: _tidied(value[key], known.get(key, {}), directory, (*field, key)) for key in keys}
        return {key: part for key, part in parts.items() if part is not None and part not in ("", [], {})}
    if isinstance(value, list):
        return [_tidied(item, schema.get("items", {}), directory, (*field, "*")) for item in value]
    if isinstance(value, str):
        is_inside = directory and field in LOCAL_FILE_FIELDS and value.startswith(os.path.join(directory, ""))
        return os.path.relpath(value, directory) if is_inside else str(value)
    return value


def unified_diff(before: str, after: str, *, before_name: str, after_name: str) -> t.List[str]:
    """Return the lines of a unified diff between two texts; none when they are equal."""
    return list(difflib.unified_diff(before.splitlines(), after.splitlines(), before_name, after_name, lineterm=""))


def diff_result(before: str, after: str, *, before_name: str, after_name: str, limit: int) -> t.Dict[str, str]:
    """Return what a module gives as C(diff): both texts, or where they are too long what differs, cut if need be.

    :param limit: The most bytes that they may have together as JSON.
    """
    if _size(before) + _size(after) <= limit:
        return {"before": before, "before_header": before_name, "after": after, "after_header": after_name}
    lines = unified_diff(before, after, before_name=before_name, after_name=after_name)
    kept: t.List[str] = []
    size = 0
    for line in lines:
        size += _size(line)
        if size > limit:
            kept.append(f"... and {len(lines) - len(kept)} more lines")
            break
        kept.append(line)
    return {"prepared": "".join(f"{line}\n" for line in kept)}


def _size(text: str) -> int:
    return len(json.dumps(text))


__all__ = ("as_yaml", "diff_result", "unified_diff")
