# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The compressions of whole files: what is known of each.

:mod:`_artifact.compression` compresses, :mod:`_image.source` unpacks.
"""

from __future__ import annotations

import dataclasses
import typing as t


@dataclasses.dataclass(frozen=True)
class Compression:
    """A compression.

    :ivar extension: What is appended to the file's name.
    :ivar levels: The levels that can be asked for: low ones are fast, high ones make small files.
    :ivar default_level: The level when none is asked for.
    :ivar magic: How compressed files begin.
    :ivar program: The host tool that unpacks them.
    :ivar aliases: Other words for it in templates.
    """

    extension: str
    levels: range
    default_level: int
    magic: bytes
    program: str
    aliases: t.Tuple[str, ...] = ()


#: The values of C(disk.artifacts[].compression).
COMPRESSIONS: t.Mapping[str, Compression] = {
    "gz": Compression("gz", range(1, 10), 6, b"\x1f\x8b", "gzip", aliases=("gzip",)),
    "xz": Compression("xz", range(10), 6, b"\xfd7zXZ\x00", "xz"),
    # Levels beyond ask for more memory from who unpacks.
    "zstd": Compression("zst", range(1, 20), 3, b"\x28\xb5\x2f\xfd", "zstd", aliases=("zst",)),
}

#: What templates of the original tool may name, and this version does not make.
UNSUPPORTED_COMPRESSIONS: t.Tuple[str, ...] = ("bz2",)

_NAMES = {alias: name for name, compression in COMPRESSIONS.items() for alias in compression.aliases}


def compression_name(word: str) -> str:
    """Return the one name of a compression that a template may call otherwise."""
    return _NAMES.get(word, word)


def level_problem(compression: str | None, level: int | None) -> str | None:
    """Tell in words why a compression has no such level; V(None) when it has.

    :param compression: A key of C(COMPRESSIONS), or V(None) when nothing is compressed; of others nothing is known.
    """
    if level is None or (compression is not None and compression not in COMPRESSIONS):
        return None
    if compression is None:
        return f"The level {level} is one of a compression, and none is asked for. Add compression, or remove level."
    levels = COMPRESSIONS[compression].levels
    if level in levels:
        return None
    return f"The compression {compression} has no level {level}. Use one from {levels[0]} to {levels[-1]}."


__all__ = ("COMPRESSIONS", "UNSUPPORTED_COMPRESSIONS", "Compression", "compression_name", "level_problem")
