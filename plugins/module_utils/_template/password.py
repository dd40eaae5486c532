# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The forms of crypt(3)."""

from __future__ import annotations

import typing as t

#: The names of crypt(3) methods by the beginnings of their hashes.
_CRYPT_METHODS: t.Mapping[str, str] = {
    "$1$": "md5",
    "$2a$": "bcrypt",
    "$2b$": "bcrypt",
    "$2y$": "bcrypt",
    "$5$": "sha256",
    "$6$": "sha512",
    "$y$": "yescrypt",
    "$gy$": "gost-yescrypt",
    "$7$": "scrypt",
}


def crypt_method(password: str) -> str | None:
    """Return the method of a hashed password; V(None) when it is plain text."""
    return next((name for prefix, name in _CRYPT_METHODS.items() if password.startswith(prefix)), None)


__all__ = ("crypt_method",)
