# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Paths in the image: how they are written, and which of them do not last."""

from __future__ import annotations

import typing as t

#: Mount points of virtual file systems, whose content is not in the image.
VIRTUAL = ("/dev", "/proc", "/run", "/sys")


def is_normal(path: str) -> bool:
    """Tell whether an absolute path has no double slashes, no dots, and no slash at its end."""
    parts = path.split("/")[1:]
    return path == "/" or not any(part in ("", ".", "..") for part in parts)


def enclosing(path: str, directories: t.Iterable[str]) -> str | None:
    return next((name for name in directories if path == name or path.startswith(name + "/")), None)


__all__ = ("VIRTUAL", "enclosing", "is_normal")
