# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Web pages that servers, proxies and captive portals give out in the place of metadata."""

from __future__ import annotations

import html
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._download.problem import Refused

_PAGE = re.compile(rb"<(?:!doctype\s+html|html)\b", re.IGNORECASE)
# What XML begins with, and comments, may stand before it.
_BEFORE = re.compile(rb"<\?xml[^<>]*\?>|<!--")
_TITLE = re.compile(rb"<title[^<>]*>([^<]{0,2000})</title", re.IGNORECASE)
_SHOWN = 80


def refuse_page(data: bytes) -> None:
    """Refuse a web page in the place of something else that a server has sent.

    :raises Refused: It is one.
    """
    title = page_title(data)
    if title is None:
        return
    called = f" ({title!r})" if title else ""
    raise Refused(
        f"there is a web page{called} in its place",
        "Check the URL of the repository in a browser: it may have moved, or a proxy, or the login of a network, "
        "answers for the server.",
    )


def page_title(data: bytes) -> t.Optional[str]:
    """Return the title of a web page, which may be empty; V(None) for everything else."""
    if _PAGE.match(_without_prologue(data[:4096])) is None:
        return None
    match = _TITLE.search(data[:65536])
    words = html.unescape(match[1].decode("utf-8", errors="replace")).split() if match else []
    title = "".join(char for char in " ".join(words) if char.isprintable())
    return title if len(title) <= _SHOWN else f"{title[:_SHOWN]}..."


def _without_prologue(data: bytes) -> bytes:
    data = data.lstrip().removeprefix(b"\xef\xbb\xbf").lstrip()
    while True:
        match = _BEFORE.match(data)
        if match is None:
            return data
        end = match.end() if match[0] != b"<!--" else data.find(b"-->", match.end()) + 3
        if end < match.end():
            return b""
        data = data[end:].lstrip()


__all__ = ("page_title", "refuse_page")
