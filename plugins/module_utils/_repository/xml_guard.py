# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""XML that somebody else has written, before anybody parses it."""

from __future__ import annotations

import re


class XmlGuard:
    """Refuses XML that could mean more than it says: document types, entities, and encodings that hide them."""

    # The longest of the sought words, less one.
    _OVERLAP = 8

    def __init__(self) -> None:
        self._tail: bytes | None = None

    def feed(self, data: bytes) -> None:
        """Look at the next bytes.

        :raises ValueError: They must not be parsed.
        """
        if self._tail is None:
            start = data[3:] if data.startswith(b"\xef\xbb\xbf") else data
            declaration = re.match(rb"<\?xml[^>]*?encoding\s*=\s*[\"']([^\"']*)[\"']", start)
            if not start.lstrip().startswith(b"<"):
                raise ValueError("it is not XML in UTF-8")
            if declaration and declaration[1].lower() not in (b"utf-8", b"us-ascii"):
                raise ValueError("it is not XML in UTF-8")
            self._tail = b""
        window = self._tail + data
        for word in (b"<!DOCTYPE", b"<!ENTITY"):
            if word in window:
                raise ValueError(f"it holds {word.decode('ascii')}, which package metadata has no use for")
        if b"\0" in data:
            raise ValueError("it is not XML in UTF-8")
        self._tail = window[-self._OVERLAP :]


__all__ = ("XmlGuard",)
