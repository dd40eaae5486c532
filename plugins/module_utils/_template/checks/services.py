# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Systemd units."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._template.checks.rule import Finding, Subject
from ansible_collections.os_image.composer.plugins.module_utils._template.located import Mapping

SUBJECT = Subject("Services")


@SUBJECT.rule("systemConfig.services")
def services_do_not_conflict(template: Mapping) -> t.Iterator[Finding]:
    """A unit is in one of the lists, once."""
    seen: t.Dict[str, str] = {}
    for key in ("enable", "disable", "mask"):
        for index, unit in enumerate(template["systemConfig"]["services"][key]):
            if unit in seen:
                where = "twice in" if seen[unit] == key else f"in {seen[unit]} and in"
                yield ("systemConfig", "services", key, index), f"The unit {unit} is {where} {key}. Keep one."
            seen[unit] = key


__all__ = ("SUBJECT",)
