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

#: Directories that are symbolic links in all systems that are built here, and where they lead.
LINKS: t.Mapping[str, str] = {
    "/bin": "/usr/bin",
    "/lib": "/usr/lib",
    "/lib32": "/usr/lib32",
    "/lib64": "/usr/lib64",
    "/sbin": "/usr/sbin",
    "/var/lock": "/run/lock",
    "/var/run": "/run",
}


def is_normal(path: str) -> bool:
    """Tell whether an absolute path has no double slashes, no dots, and no slash at its end."""
    parts = path.split("/")[1:]
    return path == "/" or not any(part in ("", ".", "..") for part in parts)


def enclosing(path: str, directories: t.Iterable[str]) -> str | None:
    return next((name for name in directories if path == name or path.startswith(name + "/")), None)


def resolved(path: str) -> str:
    """Follow the link that a path begins with."""
    link = enclosing(path, LINKS)
    return LINKS[link] + path[len(link) :] if link else path


__all__ = ("LINKS", "VIRTUAL", "enclosing", "is_normal", "resolved")
