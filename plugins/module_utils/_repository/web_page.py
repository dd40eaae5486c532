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

# Comments, and what XML begins with, may stand before it.
_PAGE = re.compile(
    rb"\s*(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*\?>\s*|<!--.*?-->\s*)*<(?:!doctype\s+html|html)\b", re.I | re.S
)
_TITLE = re.compile(rb"<title[^>]*>(.{0,2000}?)</title", re.IGNORECASE | re.DOTALL)
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
    if _PAGE.match(data[:4096]) is None:
        return None
    match = _TITLE.search(data[:65536])
    words = html.unescape(match[1].decode("utf-8", errors="replace")).split() if match else []
    title = "".join(char for char in " ".join(words) if char.isprintable())
    return title if len(title) <= _SHOWN else f"{title[:_SHOWN]}..."


__all__ = ("page_title", "refuse_page")
