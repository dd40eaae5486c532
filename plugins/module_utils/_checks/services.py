# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Systemd units."""

from __future__ import annotations

import difflib
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._template.located import LocatedMapping
from ansible_collections.os_image.composer.plugins.module_utils._template.rule import Finding, Subject

SUBJECT = Subject("Services")

_LISTS = ("enable", "disable", "mask")
_UNIT_TYPES = ("automount", "mount", "path", "service", "slice", "socket", "swap", "target", "timer")
_ALIKE = 0.8


@SUBJECT.rule(
    "systemConfig.services",
    example="""
    systemConfig:
      services:
        enable: [ssh]
        mask: [ssh.service]
    """,
)
def services_do_not_conflict(template: LocatedMapping) -> t.Iterator[Finding]:
    """A unit is in one of the lists, once."""
    seen: t.Dict[str, str] = {}
    for key in _LISTS:
        for index, unit in enumerate(template["systemConfig"]["services"][key]):
            if unit in seen:
                where = "twice in" if seen[unit] == key else f"in {seen[unit]} and in"
                yield ("systemConfig", "services", key, index), f"The unit {unit} is {where} {key}. Keep one."
            seen[unit] = key


@SUBJECT.advice(
    "systemConfig.services",
    example="""
    systemConfig:
      services:
        enable: [fstrim.tmier]
    """,
)
def unit_types_are_spelled_right(template: LocatedMapping) -> t.Iterator[Finding]:
    """A unit's name ends in the name of a type of units, not in nearly one."""
    for key in _LISTS:
        for index, unit in enumerate(template["systemConfig"]["services"][key]):
            # What has no type was given that of services.
            name, _dot, _service = unit.rpartition(".")
            stem, dot, ending = name.rpartition(".")
            near = difflib.get_close_matches(ending, _UNIT_TYPES, n=1, cutoff=_ALIKE) if dot else []
            if near and near[0] != ending:
                yield (
                    ("systemConfig", "services", key, index),
                    f"{name} is taken for the service {unit}, as {ending} is no type of units. "
                    f"Write {stem}.{near[0]}, if that is meant.",
                )


__all__ = ("SUBJECT",)
