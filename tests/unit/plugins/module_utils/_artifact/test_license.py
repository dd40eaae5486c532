# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Licences of Debian packages in SPDX's terms."""

from __future__ import annotations

import time

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._artifact.license import declared_license

HEADER = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n"


def _declared(*synopses: str) -> str:
    paragraphs = "".join(f"Files: {number}\nLicense: {synopsis}\n\n" for number, synopsis in enumerate(synopses))
    return declared_license("thing", (HEADER + paragraphs).encode()).expression


@pytest.mark.parametrize(
    ("synopsis", "expression"),
    [
        ("GPL-2+", "GPL-2.0-or-later"),
        ("GPL-2", "GPL-2.0-only"),
        ("GPL-2.0+", "GPL-2.0-or-later"),
        ("LGPL-2.1+", "LGPL-2.1-or-later"),
        ("Expat", "MIT"),
        ("bsd-3-clause", "BSD-3-Clause"),
        ("Apache-2", "Apache-2.0"),
        ("GPL-1+ or Artistic", "GPL-1.0-or-later OR Artistic-1.0-Perl"),
        ("Expat and ISC", "ISC AND MIT"),
        ("Expat and/or ISC", "MIT OR ISC"),
        ("GPL-2+ or Artistic-2.0, and BSD-3-clause", "(GPL-2.0-or-later OR Artistic-2.0) AND BSD-3-Clause"),
        ("GPL-2+ with Autoconf exception", "GPL-2.0-or-later WITH Autoconf-exception-generic"),
        ("Expat and Expat", "MIT"),
    ],
)
def test_known_names(synopsis: str, expression: str) -> None:
    assert _declared(synopsis) == expression


def test_all_licences_of_a_package_are_joined() -> None:
    assert _declared("Expat", "GPL-2+ or ISC", "Expat", "Expat and Zlib") == (
        "(GPL-2.0-or-later OR ISC) AND MIT AND Zlib"
    )


def test_unknown_licence_keeps_its_name_and_text() -> None:
    text = HEADER + "Files: *\nLicense: BSD-style (old)\n\nLicense: BSD-style (old)\n Do what\n .\n you like.\n"
    declared = declared_license("thing", text.encode())
    (extracted,) = declared.extracted
    assert declared.expression == extracted.identifier
    assert extracted.identifier.startswith("LicenseRef-BSD-style-old-")
    assert (extracted.name, extracted.text) == ("BSD-style (old)", "Do what\n\nyou like.")


def test_one_name_for_two_texts_makes_two_licences() -> None:
    texts = [f"{HEADER}Files: *\nLicense: public-domain\n {words}\n" for words in ("Mine is yours.", "Nobody's.")]
    assert len({declared_license("thing", text.encode()).expression for text in texts}) == 2


def test_unknown_licence_without_text_points_to_the_file() -> None:
    declared = declared_license("thing", f"{HEADER}Files: *\nLicense: Odd\n".encode())
    assert "/usr/share/doc/thing/copyright" in declared.extracted[0].text


@pytest.mark.parametrize(
    "text", ["", "This is free software; you may copy it.", "License: GPL-2+\n", HEADER, "Format: x\n\nFiles: *\n"]
)
def test_nothing_is_asserted_about_free_text(text: str) -> None:
    assert declared_license("thing", text.encode()).expression == "NOASSERTION"


def test_bytes_that_are_not_utf8_do_no_harm() -> None:
    data = HEADER.encode() + b"Files: *\nCopyright: J\xf6rg\nLicense: Expat\n"
    assert declared_license("thing", data).expression == "MIT"


@pytest.mark.parametrize(
    "synopsis",
    ["GPL-2" + " " * 200_000 + "x", "GPL-2," + " " * 200_000 + "x", "a " * 50_000 + "or", "0.0" * 200_000 + "x"],
)
def test_blanks_without_an_end(synopsis: str) -> None:
    """A package says what it likes; that is read in linear time."""
    start = time.process_time()
    declared_license("thing", f"{HEADER}Files: *\nLicense: {synopsis}\n".encode())
    assert time.process_time() - start < 5
