# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Licences that Debian packages state in their machine-readable copyright files, in SPDX's terms.

The form is that of C(https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/) (DEP-5). Only what is stated
exactly is translated: C(GPL-2+) is C(GPL-2.0-or-later), but a C(BSD-style) licence stays what the package calls it, as
a C(LicenseRef-) with the text from the package.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import typing as t

#: Debian's short names (lower case) that mean exactly one entry of the SPDX licence list.
_EXACT: t.Mapping[str, str] = {
    "agpl-3": "AGPL-3.0-only",
    "agpl-3+": "AGPL-3.0-or-later",
    "apache-2": "Apache-2.0",
    "apache-2.0 with llvm exception": "Apache-2.0 WITH LLVM-exception",
    "apache-2.0-with-llvm-exception": "Apache-2.0 WITH LLVM-exception",
    "artistic": "Artistic-1.0-Perl",
    "artistic-1": "Artistic-1.0",
    "artistic-2": "Artistic-2.0",
    "bsl-1": "BSL-1.0",
    "cc0": "CC0-1.0",
    "cc0-1": "CC0-1.0",
    "expat": "MIT",
    "gfdl-1.1": "GFDL-1.1-only",
    "gfdl-1.1+": "GFDL-1.1-or-later",
    "gfdl-1.2": "GFDL-1.2-only",
    "gfdl-1.2+": "GFDL-1.2-or-later",
    "gfdl-1.3": "GFDL-1.3-only",
    "gfdl-1.3+": "GFDL-1.3-or-later",
    "gfdl-niv-1.1+": "GFDL-1.1-no-invariants-or-later",
    "gfdl-niv-1.2": "GFDL-1.2-no-invariants-only",
    "gfdl-niv-1.2+": "GFDL-1.2-no-invariants-or-later",
    "gfdl-niv-1.3": "GFDL-1.3-no-invariants-only",
    "gfdl-niv-1.3+": "GFDL-1.3-no-invariants-or-later",
    "gpl-1": "GPL-1.0-only",
    "gpl-1+": "GPL-1.0-or-later",
    "gpl-2": "GPL-2.0-only",
    "gpl-2+": "GPL-2.0-or-later",
    "gpl-3": "GPL-3.0-only",
    "gpl-3+": "GPL-3.0-or-later",
    "lgpl-2": "LGPL-2.0-only",
    "lgpl-2+": "LGPL-2.0-or-later",
    "lgpl-2.1": "LGPL-2.1-only",
    "lgpl-2.1+": "LGPL-2.1-or-later",
    "lgpl-3": "LGPL-3.0-only",
    "lgpl-3+": "LGPL-3.0-or-later",
    "lppl-1.3c": "LPPL-1.3c",
    "mpl-1.1": "MPL-1.1",
    "mpl-2": "MPL-2.0",
    "perl": "Artistic-1.0-Perl OR GPL-1.0-or-later",
    "python-2": "Python-2.0",
    "sil-1.1": "OFL-1.1",
    "sil-ofl-1.1": "OFL-1.1",
    "zope-2.1": "ZPL-2.1",
}

#: Entries of the SPDX licence list that packages name as SPDX does, but for upper and lower case.
_IDENTIFIERS = (
    "0BSD AFL-2.1 AGPL-3.0-only AGPL-3.0-or-later Apache-1.1 Apache-2.0 Artistic-2.0 BSD-1-Clause BSD-2-Clause "
    "BSD-3-Clause BSD-4-Clause BSD-4-Clause-UC BSL-1.0 bzip2-1.0.6 CC-BY-3.0 CC-BY-4.0 CC-BY-SA-3.0 CC-BY-SA-4.0 "
    "CC0-1.0 CDDL-1.0 curl EPL-1.0 EPL-2.0 FSFAP FSFUL FSFULLR FTL GFDL-1.3-only GFDL-1.3-or-later GPL-1.0-only "
    "GPL-1.0-or-later GPL-2.0-only GPL-2.0-or-later GPL-3.0-only GPL-3.0-or-later HPND ISC LGPL-2.0-only "
    "LGPL-2.0-or-later LGPL-2.1-only LGPL-2.1-or-later LGPL-3.0-only LGPL-3.0-or-later Libpng MIT MIT-0 MPL-1.0 "
    "MPL-1.1 MPL-2.0 NTP OFL-1.1 OLDAP-2.8 OpenSSL PostgreSQL PSF-2.0 Python-2.0 Sleepycat TCL Unicode-DFS-2016 "
    "Unlicense Vim W3C WTFPL X11 Zlib ZPL-2.1"
)

_KNOWN: t.Mapping[str, str] = {**{name.lower(): name for name in _IDENTIFIERS.split()}, **_EXACT}

# Exceptions that follow "with"; only where Debian's words leave no doubt.
_EXCEPTIONS: t.Mapping[str, str] = {
    "autoconf exception": "Autoconf-exception-generic",
    "bison exception": "Bison-exception-2.2",
    "classpath exception": "Classpath-exception-2.0",
    "font exception": "Font-exception-2.0",
    "libtool exception": "Libtool-exception",
}

# Longer than any on the list.
_LONGEST_NAME = 200
_FORMAT = re.compile(rb"\AFormat(-Specification)?:\s*\S*(copyright-format|dep5|DEP-?5)", re.IGNORECASE)
_FIELD = re.compile(r"(?P<name>[!-,./-9;-~][!-9;-~]*):[ \t]*(?P<value>.*)")


@dataclasses.dataclass(frozen=True)
class ExtractedLicense:
    """A licence that is not on the SPDX list.

    :ivar identifier: C(LicenseRef-...).
    :ivar name: What the package calls it.
    """

    identifier: str
    name: str
    text: str


@dataclasses.dataclass(frozen=True)
class DeclaredLicense:
    """What a package declares.

    :ivar expression: An SPDX licence expression; V(NOASSERTION) when the package states nothing that can be read.
    :ivar extracted: The licences in it that are not on the SPDX list.
    """

    expression: str = "NOASSERTION"
    extracted: t.Tuple[ExtractedLicense, ...] = ()


def _paragraphs(text: str) -> t.Iterator[t.Dict[str, t.List[str]]]:
    """Give the fields of each paragraph, by their names in lower case: the lines of the value."""
    fields: t.Dict[str, t.List[str]] = {}
    value: t.List[str] = []
    for line in text.splitlines():
        if not line.strip():
            if fields:
                yield fields
            fields, value = {}, []
        elif line[0] in " \t":
            value.append(line[1:].rstrip())
        elif line[0] != "#":
            match = _FIELD.fullmatch(line)
            if match:
                value = [match["value"].strip()]
                fields[match["name"].lower()] = value
    if fields:
        yield fields


def _text(lines: t.Sequence[str]) -> str:
    # A line with a single full stop is an empty line.
    return "\n".join("" if line.strip() == "." else line for line in lines).strip()


class _Translation:
    """The licences of one copyright file."""

    def __init__(self, package: str, texts: t.Mapping[str, str]) -> None:
        self._package = package
        self._texts = texts
        self.extracted: t.Dict[str, ExtractedLicense] = {}

    def expression(self, synopsis: str) -> str:
        """Translate a licence synopsis such as C(GPL-2+ or Artistic, and Expat)."""
        # The comma binds weaker than "and" and "or": split there first.
        clauses = re.split(r",\s+(and|or)\s+", synopsis.strip(), flags=re.IGNORECASE)
        translated = [self._clause(clause) for clause in clauses[::2]]
        return _join(translated, [word.upper() for word in clauses[1::2]])

    def _clause(self, clause: str) -> str:
        # From the first blank of several on, so that there is no need to look from each.
        parts = re.split(r"(?<!\s)\s+(and/or|and|or)\s+", clause.strip(), flags=re.IGNORECASE)
        names = [self._license(name.strip(" ,")) for name in parts[::2]]
        return _join(names, ["AND" if word.lower() == "and" else "OR" for word in parts[1::2]])

    def _license(self, name: str) -> str:
        known = known_license(name)
        if known is not None:
            return known
        base, separator, exception = name.partition(" with ")
        if separator:
            license_id, exception_id = known_license(base.strip()), _EXCEPTIONS.get(exception.strip().lower())
            if license_id is not None and exception_id is not None and " " not in license_id:
                return f"{license_id} WITH {exception_id}"
        return self._reference(name)

    def _reference(self, name: str) -> str:
        text = self._texts.get(name.lower()) or (
            f"The package {self._package} calls this licence {name!r}; "
            f"its text is in /usr/share/doc/{self._package}/copyright."
        )
        # Packages give one name to many texts ("public-domain"), so the text decides which licence it is.
        digest = hashlib.sha256(" ".join(text.split()).encode("utf-8")).hexdigest()[:8]
        sanitised = re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.") or "unnamed"
        identifier = f"LicenseRef-{sanitised}-{digest}"
        self.extracted.setdefault(identifier, ExtractedLicense(identifier, name, text))
        return identifier


def known_license(name: str) -> str | None:
    """Return the entry of the SPDX licence list that a package means by a name; V(None) when there is none."""
    if len(name) > _LONGEST_NAME:
        return None
    key = name.lower()
    # Debian leaves out ".0", SPDX does not; packages write both.
    plain = re.sub(r"(\d)(?:\.0)+(\+?)$", r"\1\2", key)
    return _KNOWN.get(key) or _KNOWN.get(plain)


def _join(terms: t.Sequence[str], operators: t.Sequence[str]) -> str:
    """Join expressions; "and" binds closer than "or", in SPDX as in Debian."""
    alternatives: t.List[t.List[str]] = [[terms[0]]]
    for operator, term in zip(operators, terms[1:]):
        if operator == "AND":
            alternatives[-1].append(term)
        else:
            alternatives.append([term])
    return join_alternatives([join_conjunction(group) for group in alternatives])


def join_alternatives(terms: t.Iterable[str]) -> str:
    """Return the expression that any of C(terms) may be chosen."""
    return " OR ".join(dict.fromkeys(terms))


def join_conjunction(terms: t.Iterable[str]) -> str:
    """Return the expression that all of C(terms) hold."""
    distinct = list(dict.fromkeys(terms))
    if len(distinct) == 1:
        return distinct[0]
    return " AND ".join(f"({term})" if " OR " in term else term for term in distinct)


def declared_license(package: str, data: bytes) -> DeclaredLicense:
    """Read a copyright file.

    :param package: The name of the package, for licences whose text is not given.
    :param data: The file's content.
    :returns: All licences of the package's files, joined by AND. Files that are not machine-readable state nothing.
    """
    if not _FORMAT.search(data[:400].lstrip(b"\xef\xbb\xbf\n")):
        return DeclaredLicense()
    paragraphs = list(_paragraphs(data.decode("utf-8", errors="replace").lstrip("\ufeff")))
    texts: t.Dict[str, str] = {}
    synopses: t.List[str] = []
    for number, paragraph in enumerate(paragraphs):
        lines = paragraph.get("license")
        if not lines:
            continue
        text = _text(lines[1:])
        if text and lines[0]:
            texts.setdefault(lines[0].lower(), text)
        # A paragraph of files, or the header; one that only has a licence holds its text.
        if lines[0] and ("files" in paragraph or number == 0):
            synopses.append(lines[0])
    if not synopses:
        return DeclaredLicense()
    translation = _Translation(package, texts)
    terms: t.Set[str] = set()
    for synopsis in dict.fromkeys(synopses):
        expression = translation.expression(synopsis)
        terms.update([expression] if " OR " in expression else expression.split(" AND "))
    return DeclaredLicense(join_conjunction(sorted(terms)), tuple(translation.extracted.values()))


__all__ = (
    "DeclaredLicense",
    "ExtractedLicense",
    "declared_license",
    "join_alternatives",
    "join_conjunction",
    "known_license",
)
