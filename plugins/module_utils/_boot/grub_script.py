# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Words of GRUB's script language, which resembles that of a shell; see its manual, "Quoting"."""

from __future__ import annotations

import re


def quoted_title(text: str) -> str:
    """Return the title of a menu entry as one word. It may not hold what would end it."""
    return "'" + text.replace("'", "") + "'"


def escaped_cmdline(cmdline: str) -> str:
    """Keep GRUB's script language from reading anything into a kernel command line."""
    parts = cmdline.split('"')
    # Every second part stands between double quotes, where fewer characters mean something.
    for index, part in enumerate(parts):
        parts[index] = re.sub(r"([\\$])" if index % 2 else r"([\\$';&|<>{}#])", r"\\\1", part)
    return '"'.join(parts)


__all__ = ("escaped_cmdline", "quoted_title")
