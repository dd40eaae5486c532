# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The limits of package indexes, which are looked at before libsolv reads them.

libsolv reads alternatives and rich dependencies by recursion, and brings the latter into a normal form that may be
exponentially larger. All limits are many times what any distribution has.
"""

from __future__ import annotations

import html
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import MetadataError
from ansible_collections.os_image.composer.plugins.module_utils._repository.model import PackageIndex
from ansible_collections.os_image.composer.plugins.module_utils._resolver.package_form import shortened

#: Of one index. Debian and Fedora have fewer than 100,000.
PACKAGES = 250_000
#: Of one dependency.
ALTERNATIVES = 1_000
#: Of one package. Kernels provide tens of thousands of symbols, and need hundreds.
PROVIDED = 100_000
NEEDED = 20_000
#: Bytes of a name or a version.
WORD = 4_096
#: Of parentheses in a rich dependency.
NESTED = 32
#: Of the normal form of a rich dependency.
CLAUSES = 10_000
#: Bytes of an XML tag with its attributes, and of what follows it.
PIECE = 1 << 20
#: Bytes of what an index says about one package.
DESCRIPTION = 16 << 20

# What is shorter cannot reach any of the limits.
_LARGE_STANZA = 2 * ALTERNATIVES
_LARGE_PACKAGE = 20 * NEEDED
_RELATION_FIELD = re.compile(
    rb"^(Package|Version|Depends|Pre-Depends|Provides|Conflicts|Breaks|Replaces):(.*(?:\n[ \t].*)*)", re.MULTILINE
)
_DEB_NAME = re.compile(rb"^Package: *(.*)$", re.MULTILINE)
_RPM_NAME = re.compile(rb"<name>([^<]*)</name>")
_PACKAGE_END = b"</package>"
_READ = 1 << 22
# How a rich dependency begins in an attribute; the parenthesis may be written as a character reference.
_RICH_BEGINNINGS = (b'"(', b"'(", b'"&#', b"'&#")
_ATTRIBUTE = re.compile(rb"=\s*(?:\"((?:\(|&#)[^\"]*)|'((?:\(|&#)[^']*))")
_PROVIDES = re.compile(rb"<[^<>]*provides>")
_COMPARISON = re.compile(r"\s*[<>=]+\s*[^\s()]+")

_REMEDY = (
    "The metadata of a repository is damaged, or made to do this: take the repository out of the template, or tell its "
    "maintainers."
)


class LimitError(Exception):
    """A package is beyond a limit; the text is the end of a sentence that begins with its name."""


def refuse(problem: object, *, index: PackageIndex, repository: str, package: str = "") -> MetadataError:
    """Return the error about an index that must not be read.

    :param problem: The end of a sentence, about the package if there is one.
    """
    subject = f"the package '{shortened(package)}'" if package else "it"
    return MetadataError(
        f"The package index {index.path} of the repository {repository!r} is not read: {subject} {problem}.",
        remedy=_REMEDY,
    )


def check_number(number: int) -> None:
    """Check how many packages an index has."""
    if number > PACKAGES:
        raise LimitError(f"describes {number} packages, and more than {PACKAGES} are not read")


# -- DEB


def check_stanzas(data: bytes, bounds: t.Sequence[int], *, index: PackageIndex, repository: str) -> None:
    """Look at some stanzas of a C(Packages) file.

    :param bounds: The offsets of the stanzas, closed by the end of the last one.
    :raises MetadataError: One is beyond a limit.
    """
    if b"\0" in data:
        position = data.index(b"\0")
        start = max(bound for bound in bounds if bound <= position)
        raise refuse("has a zero byte in it", index=index, repository=repository, package=_deb_name(data[start:]))
    for start, end in zip(bounds, bounds[1:]):
        if end - start > _LARGE_STANZA:
            try:
                _check_stanza(data[start:end])
            except LimitError as exc:
                raise refuse(exc, index=index, repository=repository, package=_deb_name(data[start:end])) from exc


def _deb_name(stanza: bytes) -> str:
    match = _DEB_NAME.search(stanza)
    return match[1].decode("utf-8", errors="replace") if match else ""


def _check_stanza(stanza: bytes) -> None:
    if len(stanza) > DESCRIPTION:
        raise LimitError(f"is described by {len(stanza)} bytes, and more than {DESCRIPTION} are not read")
    for match in _RELATION_FIELD.finditer(stanza):
        field, text = match[1].decode("ascii"), match[2]
        if field not in ("Package", "Version"):
            clauses = text.split(b",")
            _check_count(len(clauses), field, PROVIDED if field == "Provides" else NEEDED)
            largest = max(clause.count(b"|") for clause in clauses) + 1
            if largest > ALTERNATIVES:
                raise LimitError(
                    f"has a dependency with {largest} alternatives ({field}), and more than {ALTERNATIVES} are not read"
                )
        if len(text) > WORD:
            _check_word(max(map(len, re.split(rb"[\s,|]+", text))), field)


def _check_count(number: int, field: str, limit: int) -> None:
    if number > limit:
        raise LimitError(f"has {number} entries in {field}, and more than {limit} are not read")


def _check_word(length: int, field: str) -> None:
    if length > WORD:
        raise LimitError(f"has a name or a version of {length} bytes ({field}), and more than {WORD} are not read")


# -- RPM


def check_primary(index: PackageIndex, *, repository: str) -> None:
    """Look at a C(primary) index.

    :raises MetadataError: Something is beyond a limit.
    """
    for number, package in enumerate(_packages(index.path)):
        try:
            check_number(number)
        except LimitError as exc:
            raise refuse(exc, index=index, repository=repository) from exc
        try:
            _check_package(package)
        except LimitError as exc:
            match = _RPM_NAME.search(package)
            name = html.unescape(match[1].decode("utf-8", errors="replace")) if match else ""
            raise refuse(exc, index=index, repository=repository, package=name) from exc


def _packages(path: str) -> t.Iterator[bytes]:
    """Yield an index in pieces, each of which ends with a package; the last one with the index."""
    rest = bytearray()
    with open(path, "rb") as stream:
        while True:
            chunk = stream.read(_READ)
            searched = max(0, len(rest) - len(_PACKAGE_END))
            rest += chunk
            start = 0
            end = rest.find(_PACKAGE_END, searched)
            while end >= 0:
                end += len(_PACKAGE_END)
                yield bytes(rest[start:end])
                start = end
                end = rest.find(_PACKAGE_END, start)
            del rest[:start]
            if not chunk or len(rest) > DESCRIPTION:
                yield bytes(rest)
                return


def _check_package(package: bytes) -> None:
    if len(package) > DESCRIPTION:
        raise LimitError(f"is described by more than {DESCRIPTION} bytes, and they are not read")
    if len(package) > _LARGE_PACKAGE:
        # Entries have no end tags of their own.
        for part in package.split(b"</"):
            provided = _PROVIDES.search(part) is not None
            _check_count(part.count(b"entry "), "provides" if provided else "a list", PROVIDED if provided else NEEDED)
    if any(beginning in package for beginning in _RICH_BEGINNINGS):
        for match in _ATTRIBUTE.finditer(package):
            check_rich(html.unescape((match[1] or match[2]).decode("utf-8", errors="replace")))
    if len(package) > PIECE:
        _check_pieces(package)


def _check_pieces(package: bytes) -> None:
    """Refuse a tag so long that older versions of the XML parser would read it thousands of times."""
    largest = max(map(len, package.split(b"<")))
    if largest > PIECE:
        raise LimitError(f"has a tag or a text of {largest} bytes, and more than {PIECE} are not read")


def check_rich(text: str) -> None:
    """Look at a dependency that may be a rich one.

    :raises LimitError: libsolv would not bear it.
    """
    if not text.startswith("("):
        return
    depth = deepest = 0
    for char in text:
        depth += (char == "(") - (char == ")")
        deepest = max(deepest, depth)
    if deepest > NESTED:
        raise LimitError(f"has a rich dependency nested {deepest} deep, and more than {NESTED} is not read")
    words = len(text.split()) // 2 + 1
    if words > ALTERNATIVES:
        raise LimitError(f"has a rich dependency of {words} parts, and more than {ALTERNATIVES} are not read")
    clauses = _Rich(text).clauses()
    if clauses > CLAUSES:
        raise LimitError(
            f"has a rich dependency that means {clauses} alternatives at once, and more than {CLAUSES} are not read"
        )


class _Rich:
    """A rich dependency, and how large its normal forms are.

    :param text: Nested no deeper than Python's own recursion.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0

    def clauses(self) -> int:
        """Return the number of clauses in conjunctive normal form."""
        return self._operand()[0]

    def _operand(self) -> t.Tuple[int, int]:
        """Read a dependency; return the number of clauses in conjunctive and in disjunctive normal form."""
        self._skip_blanks()
        if self._text[self._position : self._position + 1] != "(":
            self._name()
            return 1, 1
        self._position += 1
        size = self._operand()
        condition: t.Tuple[int, int] | None = None
        while True:
            self._skip_blanks()
            if self._text[self._position : self._position + 1] in (")", ""):
                self._position += 1
                return size
            operator = self._word()
            other = self._operand()
            size, condition = _combined(operator, size, other, condition), other

    def _skip_blanks(self) -> None:
        while self._text[self._position : self._position + 1].isspace():
            self._position += 1

    def _word(self) -> str:
        """Read up to a blank, or to a parenthesis that the word has not opened."""
        start, depth = self._position, 0
        while self._position < len(self._text):
            char = self._text[self._position]
            depth += (char == "(") - (char == ")")
            if depth < 0 or (char.isspace() and depth == 0):
                break
            self._position += 1
        return self._text[start : self._position]

    def _name(self) -> None:
        self._word()
        match = _COMPARISON.match(self._text, self._position)
        if match is not None:
            self._position = match.end()


def _combined(
    operator: str, left: t.Tuple[int, int], right: t.Tuple[int, int], condition: t.Tuple[int, int] | None
) -> t.Tuple[int, int]:
    """Return the sizes of two dependencies together; what is negated has those of the other form."""
    if operator == "or":
        return left[0] * right[0], left[1] + right[1]
    if operator == "and":
        return left[0] + right[0], left[1] * right[1]
    if operator == "if":
        return left[0] * right[1], left[1] + right[0]
    if operator == "unless":
        return left[0] + right[1], left[1] * right[0]
    if operator == "else" and condition is not None:
        return left[0] + right[0] * condition[0], left[1] + right[1] * condition[1]
    return left


__all__ = (
    "ALTERNATIVES",
    "CLAUSES",
    "DESCRIPTION",
    "NEEDED",
    "NESTED",
    "PACKAGES",
    "PIECE",
    "PROVIDED",
    "WORD",
    "LimitError",
    "check_number",
    "check_primary",
    "check_rich",
    "check_stanzas",
    "refuse",
)
