# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Control data (deb822) in whichever form apt takes it.

Whoever writes C(Packages) and C(Release) by other programs than Debian's own ends lines as Windows does, spells fields
in lower case, puts tabs where others have blanks, or writes in Latin-1. apt reads that (C(apt-pkg/tagfile.cc)). Here it
is brought into the one form that libsolv and the rest of the collection know; what has that form stays as it is, byte
for byte.
"""

from __future__ import annotations

import re
import typing as t

# A paragraph of today has 100 kB at most; more than this is an attack or an error.
_PARAGRAPH_LIMIT = 16 << 20
_BLANK_LINES = (b"\n\n", b"\n\r")

_RELATIONS = (
    "Pre-Depends",
    "Depends",
    "Recommends",
    "Suggests",
    "Enhances",
    "Conflicts",
    "Breaks",
    "Replaces",
    "Provides",
)
_TEXTS = ("Maintainer", "Description", "Homepage")
_FLAGS = ("Essential", "Important", "Protected")
_SPELLINGS: t.Mapping[bytes, bytes] = {
    name.lower().encode("ascii"): name.encode("ascii")
    for name in (
        *_RELATIONS,
        *_FLAGS,
        *_TEXTS,
        "Package",
        "Version",
        "Architecture",
        "Multi-Arch",
        "Priority",
        "Section",
        "Source",
        "Installed-Size",
        "Filename",
        "Size",
        "MD5sum",
        "SHA1",
        "SHA256",
        "SHA512",
        # Of a Release.
        "Origin",
        "Label",
        "Suite",
        "Codename",
        "Date",
        "Valid-Until",
        "NotAutomatic",
        "ButAutomaticUpgrades",
        "Architectures",
        "Components",
        "Acquire-By-Hash",
        "No-Support-for-Architecture-all",
    )
}
_TRUE = (b"1", b"yes", b"true", b"with", b"on", b"enable")
_BLANKS = b" \t\v\f\r"

# What cannot be in a line that is as it should be; finding more than there is does no harm. They begin with a line
# break, which is found far sooner than the beginning of a line.
_ODD = re.compile(
    rb"\n(?![ \t\n]|\Z|[A-Z][a-z0-9]+: [^ \t\v\f]"
    rb"|(?:[A-Z][a-z0-9]*(?:-[A-Z0-9][A-Za-z0-9]*)+|SHA(?:1|256|512)|MD5[Ss]um|Description-md5): [^ \t\v\f])"
)
_ODD_FLAG = re.compile(rb"\n(?:Essential|Important|Protected): (?!yes\n|no\n)")
_FIELD = re.compile(rb"^(?P<name>[^\s:#][^:\n]*):(?P<value>.*(?:\n[ \t].*)*)$", re.MULTILINE)
_WIDE_BLANKS = re.compile(rb"[\t\v\f]+")


def canonical(chunks: t.Iterable[bytes]) -> t.Iterator[bytes]:
    """Bring paragraphs into the one form, as they come.

    :raises ValueError: A paragraph is larger than any that has a meaning.
    """
    rest = b""
    for chunk in chunks:
        data = rest + chunk
        end = max(data.rfind(mark) for mark in _BLANK_LINES) + 1
        rest = data[end:]
        if len(rest) > _PARAGRAPH_LIMIT:
            raise ValueError(f"it has a paragraph of more than {_PARAGRAPH_LIMIT} bytes")
        if end:
            yield _canonical(data[:end])
    if rest:
        yield _canonical(rest)


def read_paragraph(data: bytes) -> t.Dict[str, str]:
    """Read the fields of the only paragraph of a document; lines of a value are joined by a newline."""
    # Adding to one string line by line would take hours for what somebody has made for that.
    fields: t.Dict[str, t.List[str]] = {}
    name = ""
    for line in _canonical(data).decode("utf-8").split("\n"):
        if line[:1] in (" ", "\t"):
            fields.setdefault(name, [""]).append(line.strip())
            continue
        name, colon, value = line.partition(":")
        if line and not colon:
            raise ValueError(f"bad line {line[:80]!r}")
        fields[name] = [value.strip()]
    fields.pop("", None)
    return {name: "\n".join(lines) for name, lines in fields.items()}


def control_text(data: bytes) -> str:
    """Return a package's C(control) as text: as it is, unless it has one of the odd forms that dpkg takes too."""
    names = [line.partition(b":")[0] for line in data.split(b"\n") if b":" in line and line[:1] not in (b" ", b"\t")]
    odd = b"\r" in data or any(_SPELLINGS.get(name.rstrip().lower(), name) != name for name in names)
    return (data if _is_utf8(data) and not odd else _canonical(data)).decode("utf-8")


def is_true(value: str) -> bool:
    """Read a flag as apt's StringToBool does."""
    return value.lower().encode("utf-8") in _TRUE


def _canonical(data: bytes) -> bytes:
    lines = b"\n" + data
    if b"\r" in data or b" \n" in data or b"\t\n" in data or _ODD.search(lines) or _ODD_FLAG.search(lines):
        data = _FIELD.sub(_field, b"\n".join(line.rstrip(b"\r") for line in data.split(b"\n")))
    return data if _is_utf8(data) else b"\n".join(map(_utf8, data.split(b"\n")))


def _field(match: t.Match[bytes]) -> bytes:
    name = _SPELLINGS.get(match["name"].rstrip(_BLANKS).lower())
    if name is None:
        return match[0]
    value = match["value"]
    text = name.decode("ascii")
    if text in _RELATIONS and (_WIDE_BLANKS.search(value) or not value.partition(b"\n")[0].strip(_BLANKS)):
        value = _WIDE_BLANKS.sub(b" ", b" ".join(line.strip(_BLANKS) for line in value.split(b"\n")))
    first, newline, more = value.partition(b"\n")
    # Blanks at the end of a text mean nothing.
    first = first.lstrip(_BLANKS) if text in _TEXTS else first.strip(_BLANKS)
    if text in _FLAGS and first.lower() in _TRUE:
        first = b"yes"
    return name + b":" + (b" " + first if first else b"") + newline + more


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _utf8(line: bytes) -> bytes:
    """Return a line that is no UTF-8 as what it must be then: every byte means something in Latin-1."""
    return line if _is_utf8(line) else line.decode("latin-1").encode("utf-8")


__all__ = ("canonical", "control_text", "is_true", "read_paragraph")
