# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Sizes and offsets on a disk: the template's notation, sectors, alignment."""

from __future__ import annotations

import re

#: Bytes of a logical sector; what a partition table counts in.
SECTOR = 512

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

# Letters alone mean powers of 1024 and those with B powers of 1000, as in the original tool.
_UNITS = {
    "": 1,
    "B": 1,
    "K": KIB,
    "KIB": KIB,
    "KB": 1000,
    "M": MIB,
    "MIB": MIB,
    "MB": 1000**2,
    "G": GIB,
    "GIB": GIB,
    "GB": 1000**3,
    "T": 1 << 40,
    "TIB": 1 << 40,
    "TB": 1000**4,
}
_SIZE = re.compile(r"\s*([0-9]+)\s*([A-Za-z]*)\s*")


def parse_size(text: str | int) -> int:
    """Return the bytes that a size in a template means.

    :param text: A whole number and a unit: V(KiB), V(MiB), V(GiB), V(TiB), V(K), V(M), V(G), V(T) (powers of 1024),
        V(KB), V(MB), V(GB), V(TB) (powers of 1000); upper or lower case. Without a unit it is bytes.
    :raises ValueError: It is nothing of that; the message is for the user.
    """
    match = _SIZE.fullmatch(str(text))
    if match is None or match.group(2).upper() not in _UNITS:
        raise ValueError(
            f"{str(text)!r} is not a size. Write a whole number and one of the units KiB, MiB, GiB, TiB (powers of "
            "1024) or KB, MB, GB, TB (powers of 1000), for example 512MiB."
        )
    return int(match.group(1)) * _UNITS[match.group(2).upper()]


def show_size(size: int) -> str:
    """Return bytes for people: V(512 MiB), V(1.5 GiB); exact when the number is a whole one."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size >= unit:
            number = size / unit
            return f"{number:.0f} {name}" if size % unit == 0 else f"{number:.1f} {name}"
    return f"{size} bytes"


def align_up(value: int, alignment: int) -> int:
    """Return the least multiple of C(alignment) that is not below C(value)."""
    return -(-value // alignment) * alignment


def align_down(value: int, alignment: int) -> int:
    """Return the greatest multiple of C(alignment) that is not above C(value)."""
    return value // alignment * alignment


__all__ = ("GIB", "KIB", "MIB", "SECTOR", "align_down", "align_up", "parse_size", "show_size")
