# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The levels of a template: a file that names its parent by C(extends), that one its own, and so on to the root.

Each level says only what differs from what is below it. Folded from the root up, by the rules that hold between a
user's template and the default one, they make one template; its values keep the file and line of the level that they
come from. Which files may be parents is the caller's to say.
"""

from __future__ import annotations

import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import TemplateError
from ansible_collections.os_image.composer.plugins.module_utils._template.loader import (
    load_yaml,
    parse_yaml,
    read_yaml_bytes,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.located import LocatedMapping, Origin
from ansible_collections.os_image.composer.plugins.module_utils._template.merge import merge_templates
from ansible_collections.os_image.composer.plugins.module_utils._template.problems import Problem, template_error
from ansible_collections.os_image.composer.plugins.module_utils._template.references import lies_in
from ansible_collections.os_image.composer.plugins.module_utils._template.removal import take_out
from ansible_collections.os_image.composer.plugins.module_utils._template.schema import FULL_TEMPLATE, Schema
from ansible_collections.os_image.composer.plugins.module_utils._template.validation import shown

#: A template with more levels than these is followed by nobody.
MAX_LEVELS = 8


def load_levels(path: str, *, roots: t.Sequence[str], what: str) -> t.List[LocatedMapping]:
    """Read a template and everything that it extends.

    :param path: Absolute path of the template.
    :param roots: Absolute paths of the directories that parents may lie in.
    :param what: The subject of error messages, for example C(The default template).
    :returns: The levels from the root to the template itself. Their form is not checked, but C(extends) is gone where
        it names a parent.
    :raises TemplateError: A level cannot be read or is not valid YAML; a parent is missing or lies outside of the
        roots; levels extend each other in a circle, or are too many.
    """
    levels = [load_yaml(path, what=what)]
    while isinstance(levels[-1].get("extends"), str):
        try:
            parent, data = _read_parent(levels, roots)
        except TemplateError as exc:
            raise template_error(f"{what} {path}", [Problem(_link(levels[-1]), str(exc))]) from exc
        levels.append(parse_yaml(data, path=parent, what=what, keys="extends and systemConfig"))
    for level in levels[:-1]:
        level.drop("extends")
    return levels[::-1]


def _link(level: LocatedMapping) -> Origin:
    return level.origins["extends"]


def _read_parent(levels: t.Sequence[LocatedMapping], roots: t.Sequence[str]) -> t.Tuple[str, bytes]:
    """Return the path and the content of the file that the last level extends.

    :param levels: From the template itself on.
    :raises TemplateError: There is no such file, or it may not be extended.
    """
    name, file = levels[-1]["extends"], _link(levels[-1]).file
    path = os.path.normpath(os.path.join(os.path.dirname(file), name))
    if os.path.isabs(name):
        raise TemplateError(f"{shown(name)} is an absolute path.", remedy="Give it relative to this file.")
    if not any(lies_in(path, root) and lies_in(os.path.realpath(path), os.path.realpath(root)) for root in roots):
        raise TemplateError(f"{shown(name)} leaves {' and '.join(roots)}.", remedy="Extend a file in there.")
    files = [_link(level).file for level in levels]
    if path in files:
        circle = [_link(level).place for level in levels[files.index(path) :]]
        raise TemplateError(
            f"The files extend each other in a circle: {' -> '.join([*circle, path])}.",
            remedy="Let one of them extend nothing.",
        )
    if len(levels) == MAX_LEVELS:
        raise TemplateError(
            f"{path} would be level {len(levels) + 1} of the template, which may have {MAX_LEVELS}.",
            remedy="Say in one file what two of them say.",
        )
    try:
        return path, read_yaml_bytes(path, what="")
    except TemplateError as exc:
        reasons = " ".join(error["message"] for error in exc.details["errors"])
        raise TemplateError(f"{path} cannot be extended. {reasons}") from exc


def fold(levels: t.Sequence[LocatedMapping]) -> t.Tuple[LocatedMapping, t.List[Problem]]:
    """Merge the levels of a template, each over what is below it.

    :param levels: From the root to the template itself, translated; each has the form of a template or of a part of
        one. C(remove) is dropped from them, in place.
    :returns: The template, and what is wrong between the levels.
    """
    root, *upper = levels
    folded, problems = take_out(LocatedMapping(root.origin), root)
    folded = merge_templates(folded, root)
    for level in upper:
        problems += _other_targets(folded, level)
        kept, missing = take_out(folded, level)
        problems += missing
        folded = merge_templates(kept, level)
    if upper:
        # Which level says a thing shall not show in the order of keys.
        _put_in_order(folded, FULL_TEMPLATE)
        folded.origin = levels[-1].origin
    return folded, problems


def _other_targets(lower: LocatedMapping, upper: LocatedMapping) -> t.Iterator[Problem]:
    """Yield what a level says of the target that is not what is said below it."""
    target, inherited = upper.get("target", {}), lower.get("target", {})
    for key in target:
        if key in inherited and target[key] != inherited[key]:
            message = (
                "This is not the target of what it extends: "
                f"{inherited.origins[key].place} says {shown(inherited[key])}. "
                "Extend another file, or say nothing of it there."
            )
            yield Problem(target.origins[key], message)


def _put_in_order(value: LocatedMapping, schema: Schema) -> None:
    """Put the keys of mappings into the order of a schema, in place; lists stay as they are."""
    known = schema.get("properties", {})
    for key in [*(key for key in known if key in value), *(key for key in value if key not in known)]:
        item, origin = value[key], value.origins[key]
        value.drop(key)
        value.put(key, item, origin)
        if isinstance(item, LocatedMapping):
            _put_in_order(item, known.get(key, {}))


__all__ = ("MAX_LEVELS", "fold", "load_levels")
