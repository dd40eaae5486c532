# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Control data in one form; what apt and dpkg make of the others is tested with the repositories and the packages."""

from __future__ import annotations

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._repository import deb822
from ansible_collections.os_image.composer.plugins.module_utils._repository.deb822 import canonical, read_paragraph

PLAIN = (
    b"Package: one\nVersion: 1\nEssential: yes\nX-Cargo-Built-Using: rust (= 1)\nDescription: a blank \n long\n .\n"
    b"SHA256: 00\nMD5sum: 00\nDescription-md5: 00\nTag: a::b,\n c::d\n\nPackage: two\nDepends: one (>= 1),\n other\n"
    b"Gstreamer-Uri-Sinks: x\nMaintainer: Jos\xc3\xa9 <j@example.org> \nUnknown-field:\tx\n"
)


@pytest.mark.parametrize("size", [1, 7, 60, 10_000])
@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n\n"])
def test_what_has_the_form_stays_byte_for_byte(size: int, end: bytes) -> None:
    data = PLAIN.replace(b"Unknown-field:\tx\n", b"") + end
    chunks = (data[start : start + size] for start in range(0, len(data), size))
    assert b"".join(canonical(chunks)) == data


@pytest.mark.parametrize("size", [1, 7, 60, 10_000])
def test_pieces_do_not_matter(size: int) -> None:
    odd = PLAIN.replace(b"\n", b"\r\n").replace(b"Package", b"PACKAGE").replace(b"yes", b"TRUE")
    chunks = (odd[start : start + size] for start in range(0, len(odd), size))
    assert b"".join(canonical(chunks)) == PLAIN


def test_a_paragraph_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deb822, "_PARAGRAPH_LIMIT", 1000)
    with pytest.raises(ValueError, match="it has a paragraph of more than 1000 bytes"):
        list(canonical([b"Package: x\n" + b" more\n" * 100] * 3))


def test_a_paragraph_is_read() -> None:
    data = b"suite : stable \r\nlabel:\tCaf\xe9\r\nsha256:\r\n\t00\t1\tx\r\n 11 2 y\r\n\r\n"
    assert read_paragraph(data) == {"Suite": "stable", "Label": "Caf\u00e9", "SHA256": "\n00\t1\tx\n11 2 y"}
