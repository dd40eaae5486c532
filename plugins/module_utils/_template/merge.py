# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The merge of a template over another one: what a user writes over the default template, overrides over both.

The order of lists is that of the lower template, then that of the upper one; nothing depends on hashes. A rule per
section stands in the table at the end.
"""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._template.located import LocatedList, LocatedMapping

#: Merges the upper value over the lower one; both exist.
Rule = t.Callable[[t.Any, t.Any], t.Any]


def _is_given(value: t.Any) -> bool:
    """Tell whether a value says anything; empty texts and lists do not."""
    return value is not None and value != "" and value != [] and value != {}


def replace(lower: t.Any, upper: t.Any) -> t.Any:
    """The upper value, when it says anything."""
    return upper if _is_given(upper) else lower


def fields(rules: t.Mapping[str, Rule] | None = None) -> Rule:
    """Merge mappings key by key, each key by its own rule or else by :func:`replace`."""
    known = rules or {}

    def merge(lower: LocatedMapping, upper: LocatedMapping) -> LocatedMapping:
        merged = lower.copy()
        for key in upper:
            if key not in merged:
                merged.take(upper, key)
                continue
            value = known.get(key, replace)(merged[key], upper[key])
            merged.put(key, value, merged.origins[key] if value is merged[key] else upper.origins[key])
        return merged

    return merge


def append(lower: LocatedList, upper: LocatedList) -> LocatedList:
    """The lower list, then the upper one."""
    merged = lower.copy()
    for item, origin in upper.entries():
        merged.add(item, origin)
    return merged


def union(lower: LocatedList, upper: LocatedList) -> LocatedList:
    """The lower list, then what the upper one adds to it."""
    merged = lower.copy()
    for item, origin in upper.entries():
        if item not in lower:
            merged.add(item, origin)
    return merged


def keyed(identity: t.Callable[[LocatedMapping], t.Any], rule: Rule) -> Rule:
    """Merge lists of mappings: those of the same identity by a rule, at the place of the lower one; others follow."""

    def merge(lower: LocatedList, upper: LocatedList) -> LocatedList:
        merged = lower.copy()
        places = {identity(item): index for index, item in enumerate(lower)}
        for item, origin in upper.entries():
            # Only one takes the place of the lower one; several of one name are told apart, or refused, later.
            index = places.pop(identity(item), None)
            if index is None:
                merged.add(item, origin)
            else:
                merged[index] = rule(merged[index], item)
                merged.origins[index] = origin
        return merged

    return merge


def _by(*names: str) -> t.Callable[[LocatedMapping], t.Any]:
    """The first of some keys that a mapping has is its identity."""
    return lambda item: next((item[name] for name in names if name in item), None)


def _whole(lower: LocatedMapping, upper: LocatedMapping) -> LocatedMapping:
    return upper


def merge_disk(lower: LocatedMapping, upper: LocatedMapping) -> LocatedMapping:
    """Partitions of one's own replace the default's disk whole; without them its layout is kept."""
    if _is_given(upper.get("partitions")):
        return upper
    rules: t.Mapping[str, Rule] = {"mounts": keyed(_mount_identity, _whole)}
    return t.cast(LocatedMapping, fields(rules)(lower, upper))


def _mount_identity(item: LocatedMapping) -> t.Any:
    """A mount is known by its mount point, swap space by what it is."""
    mount_point = item.get("mountPoint")
    return item.get("source") if mount_point in (None, "", "none") else mount_point


def merge_user(lower: LocatedMapping, upper: LocatedMapping) -> LocatedMapping:
    """Field by field; a password comes together with its own hash_algo."""
    merged: LocatedMapping = fields({"groups": union, "sshKeys": union})(lower, upper)
    if _is_given(upper.get("password")) and "hash_algo" not in upper and "hash_algo" in merged:
        merged.drop("hash_algo")
    return merged


def merge_services(lower: LocatedMapping, upper: LocatedMapping) -> LocatedMapping:
    """Add to the lists; what the upper template says about a unit takes it out of the lower one's other lists."""
    merged = lower.copy()
    decided = {unit for units in upper.values() for unit in units}
    for key, units in lower.items():
        kept = LocatedList(units.origin)
        for unit, origin in units.entries():
            if unit not in decided or unit in upper.get(key, ()):
                kept.add(unit, origin)
        merged.put(key, kept, lower.origins[key])
    return t.cast(LocatedMapping, fields(dict.fromkeys(upper, union))(merged, upper))


def merge_interface_lists(lower: LocatedList, upper: LocatedList) -> LocatedList:
    """The upper list replaces the lower one: a default for all interfaces would contradict one for a single one."""
    return upper


#: How each part of systemConfig is merged. Parts that are not here: the upper value, when it says anything.
SYSTEM_CONFIG_RULES: t.Mapping[str, Rule] = {
    "packages": union,
    "kernel": fields(),
    "bootloader": fields(),
    "users": keyed(_by("name"), merge_user),
    "network": fields({"interfaces": merge_interface_lists}),
    "services": merge_services,
    "additionalFiles": keyed(_by("final"), _whole),
    "configurations": append,
    "scripts": fields({"preInstall": append, "postInstall": append}),
    "initramfs": fields(),
    "immutability": fields(),
    "security": fields({"hardening": union}),
    "signing": fields(),
    "sbom": fields(),
}

#: How each section of a template is merged.
SECTION_RULES: t.Mapping[str, Rule] = {
    "metadata": replace,
    "image": fields(),
    "target": fields(),
    "disk": merge_disk,
    "iso": fields(),
    "systemConfig": fields(SYSTEM_CONFIG_RULES),
    "packageRepositories": keyed(_by("name", "codename"), _whole),
}


def merge_templates(lower: LocatedMapping, upper: LocatedMapping) -> LocatedMapping:
    """Merge a template over another one; neither is changed.

    :returns: A mapping whose values keep the origins that they had in their files.
    """
    return t.cast(LocatedMapping, fields(SECTION_RULES)(lower, upper))


__all__ = ("SECTION_RULES", "SYSTEM_CONFIG_RULES", "merge_templates")
