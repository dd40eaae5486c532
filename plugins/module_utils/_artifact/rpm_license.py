# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Licences that RPM packages state in their tag C(License), in SPDX's terms.

Fedora, and those that follow it, write SPDX expressions today, and had short names of their own before
(U(https://fedoraproject.org/wiki/Licensing:Main)). Only what is stated exactly is translated: C(GPLv2+) is
C(GPL-2.0-or-later), but a C(BSD) licence stays what the package calls it, as a C(LicenseRef-).
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._artifact.license import (
    DeclaredLicense,
    ExtractedLicense,
    join_alternatives,
    join_conjunction,
    known_license,
)

#: Fedora's old short names (lower case) that mean exactly one entry of the SPDX licence list.
_SHORT_NAMES: t.Mapping[str, str] = {
    "agplv3": "AGPL-3.0-only",
    "agplv3+": "AGPL-3.0-or-later",
    "artistic 2.0": "Artistic-2.0",
    "asl 1.1": "Apache-1.1",
    "asl 2.0": "Apache-2.0",
    "boost": "BSL-1.0",
    "cddl-1.0": "CDDL-1.0",
    "epl-1.0": "EPL-1.0",
    "gpl+": "GPL-1.0-or-later",
    "gplv1": "GPL-1.0-only",
    "gplv2": "GPL-2.0-only",
    "gplv2+": "GPL-2.0-or-later",
    "gplv3": "GPL-3.0-only",
    "gplv3+": "GPL-3.0-or-later",
    "lgplv2": "LGPL-2.0-only",
    "lgplv2+": "LGPL-2.0-or-later",
    "lgplv2.1": "LGPL-2.1-only",
    "lgplv2.1+": "LGPL-2.1-or-later",
    "lgplv3": "LGPL-3.0-only",
    "lgplv3+": "LGPL-3.0-or-later",
    "mplv1.0": "MPL-1.0",
    "mplv1.1": "MPL-1.1",
    "mplv2.0": "MPL-2.0",
    "openldap": "OLDAP-2.8",
    "zlib": "Zlib",
}

# Entries of the SPDX list of exceptions that packages name.
_EXCEPTIONS = (
    "Autoconf-exception-2.0 Autoconf-exception-3.0 Autoconf-exception-generic Bison-exception-2.2 Bootloader-exception "
    "Classpath-exception-2.0 Font-exception-2.0 GCC-exception-2.0 GCC-exception-3.1 LGPL-3.0-linking-exception "
    "Libtool-exception Linux-syscall-note LLVM-exception OCaml-LGPL-linking-exception openvpn-openssl-exception "
    "Qt-GPL-exception-1.0 Texinfo-exception u-boot-exception-2.0"
)
_KNOWN_EXCEPTIONS: t.Mapping[str, str] = {name.lower(): name for name in _EXCEPTIONS.split()}

_REFERENCE = re.compile(r"LicenseRef-[A-Za-z0-9.-]+")
_WORDS = re.compile(r"[()]|[^()\s]+")
_EXCEPTION = re.compile(r"(?P<license>\S+) WITH (?P<exception>[A-Za-z0-9.-]+)", re.IGNORECASE)


class _SyntaxError(Exception):
    """The text is no expression."""


class _Expression:
    """A licence tag, read from left to right."""

    def __init__(self, text: str) -> None:
        self._words = _WORDS.findall(text)
        self._position = 0
        self.extracted: dict[str, ExtractedLicense] = {}

    def translate(self) -> str:
        """Return the SPDX expression."""
        translated = self._alternatives()
        if self._next() is not None:
            raise _SyntaxError
        return translated

    def _next(self) -> str | None:
        return self._words[self._position] if self._position < len(self._words) else None

    def _accept(self, operator: str) -> bool:
        word = self._next()
        if word is None or word.lower() != operator:
            return False
        self._position += 1
        return True

    def _alternatives(self) -> str:
        terms = [self._conjunction()]
        while self._accept("or"):
            terms.append(self._conjunction())
        return join_alternatives(terms)

    def _conjunction(self) -> str:
        terms = [self._term()]
        while self._accept("and"):
            terms.append(self._term())
        return join_conjunction(terms)

    def _term(self) -> str:
        if self._accept("("):
            inner = self._alternatives()
            if not self._accept(")"):
                raise _SyntaxError
            return inner
        words: list[str] = []
        word = self._next()
        while word is not None and word not in ("(", ")") and word.lower() not in ("and", "or"):
            words.append(word)
            self._position += 1
            word = self._next()
        if not words:
            raise _SyntaxError
        return self._license(" ".join(words))

    def _license(self, name: str) -> str:
        known = known_license(name) or _SHORT_NAMES.get(name.lower())
        if known is not None:
            return known
        match = _EXCEPTION.fullmatch(name)
        if match is not None:
            base = known_license(match["license"])
            exception = _KNOWN_EXCEPTIONS.get(match["exception"].lower())
            if base is not None and exception is not None:
                return f"{base} WITH {exception}"
        return self.reference(name)

    def reference(self, name: str) -> str:
        """Return a licence that is not on the SPDX list, by what packages call it."""
        sanitised = re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.") or "unnamed"
        identifier = name if _REFERENCE.fullmatch(name) else f"LicenseRef-{sanitised}"
        text = f"Packages of this distribution call this licence {name!r}; they have its text in /usr/share/licenses."
        self.extracted.setdefault(identifier, ExtractedLicense(identifier, name, text))
        return identifier


def tagged_license(tag: str) -> DeclaredLicense:
    """Translate the tag C(License) of a package."""
    if not tag.strip():
        return DeclaredLicense()
    expression = _Expression(tag)
    try:
        translated = expression.translate()
    except _SyntaxError:
        # Not even the whole says what it means.
        expression = _Expression("")
        translated = expression.reference(" ".join(tag.split()))
    return DeclaredLicense(translated, tuple(expression.extracted.values()))


__all__ = ("tagged_license",)
