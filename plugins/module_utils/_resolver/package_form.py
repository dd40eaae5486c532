# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The forms of what a repository says about a package: names, versions, sizes, and where its file lies.

All of it ends up in file names, URLs, arguments of programs and documents.
"""

from __future__ import annotations

import re
import typing as t
import urllib.parse

DIGEST = re.compile(r"[0-9a-f]{64}")
#: Of a package, and of an architecture.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]*")
VERSION = re.compile(r"[A-Za-z0-9.+:~^_-]+")
FILENAME = re.compile(r"[A-Za-z0-9%.+~^_-]+\.(?:deb|rpm)")

# That of file names on Linux.
_LONGEST = 255
# A package of a terabyte is none.
_MOST_BYTES = 1 << 40
_SHOWN = 200
_SCHEMES = ("http", "https", "file")


def shortened(text: str) -> str:
    """Return as much of a text as people read, without characters that cannot be shown."""
    text = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _shown(text: str) -> str:
    return f"'{shortened(text)}'"


def problems(
    *, name: str, version: str, arch: str, filename: str, sha256: str | None, sizes: t.Sequence[int]
) -> t.Iterator[str]:
    """Say what a package cannot have, as the ends of sentences that begin with its name.

    :param filename: That of its file in the package cache.
    :param sizes: Bytes of the package, and of what it installs.
    """
    for word, text, form in (
        ("name", name, NAME),
        ("version", version, VERSION),
        ("architecture", arch, NAME),
    ):
        if not form.fullmatch(text):
            yield f"with the {word} {_shown(text)}, which cannot be one"
    if len(filename) > _LONGEST:
        yield f"with a name and a version of {len(filename)} characters, and no file can have more than {_LONGEST}"
    if sha256 is not None and not DIGEST.fullmatch(sha256):
        yield f"with the SHA-256 checksum {_shown(sha256)}, which is none"
    for number in sizes:
        if not 0 <= number < _MOST_BYTES:
            # libsolv reads negative ones as unsigned.
            signed = number - (1 << 64) if number >= 1 << 63 else number
            yield f"with the size {signed}, which no package has"


def location_problem(location: str) -> str:
    """Say why a package cannot lie at a place of its repository; nothing when it can.

    :param location: As the index has it: below the base URL.
    """
    if not location.isprintable() or "\\" in location:
        return "which has characters that no path has"
    if urllib.parse.unquote(location).startswith("/"):
        return "which is not below the repository"
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", location):
        return "which is a URL, and not a path below the repository"
    if ".." in urllib.parse.unquote(location).split("/"):
        return "which leads out of the repository"
    return ""


def base_problem(base: str, repository: str) -> str:
    """Say why packages cannot lie below a URL that an index gives (C(xml:base)); nothing when they can.

    :param repository: Where the index itself lies: one on a server names nothing on the build host.
    """
    if not base.isprintable() or not base.isascii() or set(base) & set(' \\<>"{}^`|'):
        return "which has characters that no URL has"
    try:
        parts = urllib.parse.urlsplit(base)
        # It is only looked at when somebody asks.
        _port = parts.port
    except ValueError as exc:
        return f"which is no URL ({exc})"
    if parts.scheme not in _SCHEMES or not (parts.hostname or parts.scheme == "file"):
        return "which is no absolute URL of a server"
    if parts.scheme == "file" and not repository.startswith("file:"):
        return "which is a place on the build host"
    if "@" in parts.netloc:
        return "which holds credentials"
    if parts.query or parts.fragment or ".." in urllib.parse.unquote(parts.path).split("/"):
        return "which is no plain place on a server"
    return ""


__all__ = ("DIGEST", "FILENAME", "NAME", "VERSION", "base_problem", "location_problem", "problems", "shortened")
