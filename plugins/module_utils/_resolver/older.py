# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Older versions in a solution: packages that nobody asked for in a version, and why they are not the newest."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._resolver.pool import Clause, PackagePool
from ansible_collections.os_image.composer.plugins.module_utils._resolver.request import Selection


def older_versions(pool: PackagePool, chosen: t.AbstractSet[int], selection: Selection) -> list[str]:
    """Say in words which packages are not those that are taken when nobody asks for a version, each with a reason.

    What was asked for in that version is no surprise, and left out.
    """
    usual = {number: candidate for number in chosen if (candidate := pool.candidate(pool.name(number))) is not None}
    asked = {
        number
        for choice in selection.choices
        for number in choice
        if number in chosen and usual.get(number, number) not in choice
    }
    others = sorted(
        (pool.name(number), number) for number in chosen if number not in asked and usual.get(number, number) != number
    )
    return [
        f"{name} {pool.version(number)} in place of {pool.version(usual[number])}"
        + _reason(pool, chosen, number, usual[number])
        for name, number in others
    ]


def _reason(pool: PackagePool, chosen: t.AbstractSet[int], number: int, candidate: int) -> str:
    for other in sorted(chosen - {number}, key=pool.name):
        if any(_only_by(clause, number, candidate, chosen) for clause in pool.requirements(other)):
            return f", which {pool.label(other)} needs"
        if any(candidate in alternative.solvables for clause in pool.conflicts(other) for alternative in clause):
            return f", with which {pool.label(other)} is in conflict"
    return ""


def _only_by(clause: Clause, number: int, candidate: int, chosen: t.AbstractSet[int]) -> bool:
    """Tell whether a package, and not its candidate, is what meets a dependency."""
    met = {solvable for alternative in clause for solvable in alternative.solvables}
    return number in met and candidate not in met and not (met & chosen) - {number}


__all__ = ("older_versions",)
