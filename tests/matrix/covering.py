# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A covering set of the composed cells: few, in which yet each two choices meet that meet anywhere.

What goes wrong with a disk comes from one choice, or from two that meet. Where three were needed once, all three meet.
"""

from __future__ import annotations

import itertools
import typing as t

from ansible_collections.os_image.composer.tests.matrix.cells import LOADERS, Cell

# Names of a choice and what was chosen.
Choice = t.Tuple[str, str]


def meetings(cell: Cell) -> frozenset[tuple[Choice, ...]]:
    """Return what meets in a cell: each two of its choices, and three of which it is known to matter.

    GRUB tells partitions apart by the table's numbers or identifiers, and looks for kernel and initrd on other
    partitions when /boot is one of its own: it has looked for the initrd on the wrong one.
    """
    choices = [(name, getattr(cell, name)) for name in ("arch", "table", "root", "loader", "format")]
    found: list[tuple[Choice, ...]] = list(itertools.combinations(choices, 2))
    if LOADERS[cell.loader][1] == "grub":
        boot = ("boot", "separate" if cell.has_boot_partition else "in the root")
        found.append((("table", cell.table), ("loader", cell.loader), boot))
    return frozenset(found)


def covering(cells: t.Sequence[Cell]) -> list[Cell]:
    """Return cells in which everything meets that meets in all of them, the same for the same cells.

    The next one is always the first of those in which most is new. In the end, those go that later ones have made
    needless.
    """
    left = set().union(*map(meetings, cells))
    chosen: list[Cell] = []
    while left:
        best = max(cells, key=lambda cell: len(meetings(cell) & left))
        chosen.append(best)
        left -= meetings(best)
    for cell in tuple(chosen):
        others = [other for other in chosen if other is not cell]
        if meetings(cell) <= set().union(*map(meetings, others)):
            chosen = others
    return [cell for cell in cells if cell in chosen]


__all__ = ("Choice", "covering", "meetings")
