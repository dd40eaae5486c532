# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The loader of YAML files that somebody else wrote: safe, and with the line of everything.

The loader consumes the parser's events itself instead of building nodes recursively. So it can refuse duplicate keys,
deep nesting, alias bombs and over-long documents as soon as they appear, in a time that depends on the limits and not
on the input.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import re
import stat
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._libraries import import_library
from ansible_collections.os_image.composer.plugins.module_utils._template.located import (
    LocatedList,
    LocatedMapping,
    Origin,
    Path,
    relocated,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.problems import Problem, template_error

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
# Items of the document with its aliases expanded.
MAX_ITEMS = 20_000
MAX_STRING = 65_536

_TAG_PREFIX = "tag:yaml.org,2002:"
_CORE_TAGS = frozenset(_TAG_PREFIX + name for name in ("str", "int", "float", "bool", "null", "seq", "map"))

# The forms of YAML 1.1 that Ansible and PyYAML know too. Base 60 and dates are not among them: they are strings here.
_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_TRUE = frozenset(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"))
_FALSE = frozenset(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"))
# Longer numbers stand for nothing here, and would take long to convert.
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})\Z")
_OCTAL = re.compile(r"0o?[0-7]{1,18}\Z")
_HEX = re.compile(r"0x[0-9a-fA-F]{1,16}\Z")
_FLOAT = re.compile(r"[-+]?(?:[0-9]{1,18}\.[0-9]{0,18}|\.[0-9]{1,18})(?:[eE][-+]?[0-9]{1,2})?\Z")


class _Refused(Exception):
    """The document cannot be read to its end."""

    def __init__(self, line: int, message: str, path: Path = ()) -> None:
        super().__init__(message)
        self.line = line
        self.message = message
        self.path = path


@dataclasses.dataclass
class _Anchor:
    value: t.Any
    size: int


@dataclasses.dataclass
class _Frame:
    """A container that is being read."""

    container: t.Union[LocatedMapping, LocatedList]
    path: Path
    line: int
    anchor: str | None
    items_before: int
    key: str | None = None
    key_line: int = 0
    skipping: bool = False


def parse_scalar(text: str) -> t.Any:
    """Return the value of a plain (unquoted) scalar."""
    if text in _NULL:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if _INT.match(text):
        return int(text)
    if _OCTAL.match(text):
        return int(text.replace("o", ""), 8)
    if _HEX.match(text):
        return int(text, 16)
    if _FLOAT.match(text):
        return float(text)
    return text


class _Document:
    """Builds located values from parser events."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._frames: t.List[_Frame] = []
        self._anchors: t.Dict[str, _Anchor] = {}
        self._items = 0
        self._documents = 0
        self.root: t.Any = None
        self.problems: t.List[Problem] = []

    def feed(self, event: t.Any) -> None:
        line = event.start_mark.line + 1
        kind = type(event).__name__
        if kind == "DocumentStartEvent":
            self._documents += 1
            if self._documents > 1:
                raise _Refused(line, "The file holds a second YAML document. Keep one template in one file.")
        elif kind == "ScalarEvent":
            self._scalar(event, line)
        elif kind == "AliasEvent":
            self._alias(event.anchor, line)
        elif kind in ("MappingStartEvent", "SequenceStartEvent"):
            self._start(event, line, is_mapping=kind == "MappingStartEvent")
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            self._end()

    def _path(self) -> Path:
        """The path of the value that comes next."""
        if not self._frames:
            return ()
        frame = self._frames[-1]
        if isinstance(frame.container, LocatedList):
            return (*frame.path, len(frame.container))
        return (*frame.path, frame.key) if frame.key is not None else frame.path

    def _problem(self, line: int, message: str, path: Path) -> None:
        self.problems.append(Problem(Origin(self._file, line, path), message))

    def _count(self, size: int, line: int) -> None:
        self._items += size
        if self._items > MAX_ITEMS:
            raise _Refused(
                line,
                f"The document has more than {MAX_ITEMS} items, aliases expanded. Write a smaller one; lists that long "
                "belong into files of the image.",
                self._path(),
            )

    def _tag(self, tag: str | None, line: int) -> None:
        if tag is None or tag in _CORE_TAGS or tag == "!":
            return
        name = tag.replace(_TAG_PREFIX, "!!")
        remedy = "Remove the tag."
        if tag == "!vault":
            remedy = "Encrypt the whole file with ansible-vault, or give the value through overrides."
        self._problem(line, f"The YAML tag {name[:80]} is not allowed here. {remedy}", self._path())

    def _scalar(self, event: t.Any, line: int) -> None:
        self._count(1, line)
        text: str = event.value
        frame = self._frames[-1] if self._frames else None
        if frame is not None and isinstance(frame.container, LocatedMapping) and frame.key is None:
            self._key(frame, text, line, plain=event.implicit[0])
            return
        path = self._path()
        self._tag(event.tag, line)
        if len(text) > MAX_STRING:
            self._problem(
                line, f"The text is longer than {MAX_STRING} characters. Put it into a file beside the template.", path
            )
            text = ""
        bad = None if text.isprintable() else next((char for char in text if not _allowed(char)), None)
        if bad is not None:
            self._problem(
                line,
                f"The text contains the character U+{ord(bad):04X}, which cannot be printed. Remove it.",
                path,
            )
        as_string = event.tag == _TAG_PREFIX + "str" or not event.implicit[0]
        value = text if as_string else parse_scalar(text)
        if event.anchor:
            self._anchors[event.anchor] = _Anchor(value, 1)
        self._add(value, line, source=text)

    def _key(self, frame: _Frame, text: str, line: int, *, plain: bool) -> None:
        if not text or len(text) > 128 or not text.isprintable():
            raise _Refused(line, "A key must be 1 to 128 printable characters.", frame.path)
        if plain and text == "<<":
            raise _Refused(
                line, "Merge keys (<<) are not supported. Write the keys out, or alias whole values.", frame.path
            )
        if text in frame.container:
            first = t.cast(LocatedMapping, frame.container).origins[text].line
            self._problem(
                line,
                f"The key {text!r} is given twice; it stands in line {first} already. Remove one of the two.",
                (*frame.path, text),
            )
            frame.skipping = True
        frame.key = text
        frame.key_line = line

    def _alias(self, name: str, line: int) -> None:
        frame = self._frames[-1] if self._frames else None
        if frame is not None and isinstance(frame.container, LocatedMapping) and frame.key is None:
            raise _Refused(line, "An alias cannot be a key. Write the key out.", frame.path)
        anchor = self._anchors.get(name)
        if anchor is None:
            raise _Refused(
                line, f"The alias *{name[:80]} has no anchor, or stands inside it. Define it before.", self._path()
            )
        self._count(anchor.size, line)
        # A copy: what an alias stands for may mean something else at each place.
        self._add(relocated(anchor.value, self._path()), line)

    def _start(self, event: t.Any, line: int, *, is_mapping: bool) -> None:
        self._count(1, line)
        frame = self._frames[-1] if self._frames else None
        if frame is not None and isinstance(frame.container, LocatedMapping) and frame.key is None:
            raise _Refused(line, "A key must be a plain word, not a list or a mapping.", frame.path)
        if len(self._frames) >= MAX_DEPTH:
            raise _Refused(line, f"The document is nested deeper than {MAX_DEPTH} levels.", self._path()[:4])
        self._tag(event.tag, line)
        path = self._path()
        origin = Origin(self._file, line, path)
        container = LocatedMapping(origin) if is_mapping else LocatedList(origin)
        self._frames.append(_Frame(container, path, line, event.anchor, self._items - 1))

    def _end(self) -> None:
        frame = self._frames.pop()
        if frame.anchor:
            self._anchors[frame.anchor] = _Anchor(frame.container, self._items - frame.items_before)
        self._add(frame.container, frame.line)

    def _add(self, value: t.Any, line: int, *, source: str | None = None) -> None:
        path = self._path()
        if not self._frames:
            self.root = value
            return
        frame = self._frames[-1]
        if isinstance(frame.container, LocatedList):
            frame.container.add(value, Origin(self._file, line, path, source))
            return
        if frame.key is None:
            raise AssertionError("frame.key is known here")
        if not frame.skipping:
            frame.container.put(frame.key, value, Origin(self._file, frame.key_line, path, source))
        frame.key, frame.skipping = None, False


def _allowed(char: str) -> bool:
    return char.isprintable() or char in "\n\t"


def read_yaml_bytes(path: str, *, what: str) -> bytes:
    """Read a YAML file, refusing what is none.

    :param what: The subject of error messages, for example C(The image template).
    :raises TemplateError: It is missing, a symbolic link, no regular file, too large, or its name does not end in
        C(.yml) or C(.yaml).
    """

    def refused(message: str) -> t.NoReturn:
        raise template_error(f"{what} {path}", [Problem(Origin(path, 0, ()), message)])

    if not path.endswith((".yml", ".yaml")):
        refused("The file name must end in .yml or .yaml. Rename the file.")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            refused("The file is a symbolic link. Name the file that it points to.")
        refused(f"The file cannot be read: {exc.strerror}. Check the path and its permissions.")
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            refused("This is not a regular file. Name a YAML file.")
        with open(descriptor, "rb", closefd=False) as stream:
            data = stream.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(data) > MAX_BYTES:
        refused(f"The file is larger than {MAX_BYTES >> 20} MiB. Put long contents into files beside the template.")
    return data


def _remedy(line: t.Sequence[str], reason: str) -> str:
    """Return what to do about the two commonest slips in YAML, behind a blank.

    :param line: The line of the slip, where it is known.
    """
    if any("\t" in text[: len(text) - len(text.lstrip())] for text in line):
        return " Indent with blanks, not with tabs."
    if "mapping values are not allowed" in reason:
        return " Check the indentation, and put a text that has a colon and a blank into quotes."
    return ""


def parse_yaml(data: bytes, *, path: str, what: str, keys: str = "image and target") -> LocatedMapping:
    """Parse the content of a YAML file whose top level is a mapping.

    :param path: Path of the file, for error messages and origins.
    :param keys: Some keys that it may have, for an error message.
    :raises TemplateError: It is not valid; the error lists everything that was found, with lines.
    """

    def refused(line: int, message: str, where: Path = ()) -> t.NoReturn:
        raise template_error(f"{what} {path}", [*document.problems, Problem(Origin(path, line, where), message)])

    yaml = import_library("yaml")
    document = _Document(path)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        refused(line, f"The byte 0x{data[exc.start]:02x} is not UTF-8. Save the file in the encoding UTF-8.")
    parser = None
    try:
        parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
        while parser.check_event():
            document.feed(parser.get_event())
    except _Refused as exc:
        refused(exc.line, exc.message, exc.path)
    except yaml.reader.ReaderError as exc:
        line = text.count("\n", 0, exc.position) + 1
        code = exc.character if isinstance(exc.character, int) else ord(str(exc.character)[:1] or "\0")
        refused(line, f"The character U+{code:04X} at position {exc.position} is not allowed in YAML. Remove it.")
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        reason = ", ".join(part for part in (exc.context, exc.problem) if part)
        remedy = _remedy(text.splitlines()[mark.line : mark.line + 1] if mark else [], reason)
        refused(mark.line + 1 if mark else 0, f"This is not valid YAML: {reason}.{remedy}")
    except yaml.YAMLError as exc:
        refused(0, f"This is not valid YAML: {exc}.")
    finally:
        if parser is not None:
            parser.dispose()
    if not isinstance(document.root, LocatedMapping):
        refused(1, f"The top level must be a mapping with keys such as {keys}.")
    if document.problems:
        raise template_error(f"{what} {path}", document.problems)
    return document.root


def load_yaml(path: str, *, what: str, keys: str = "image and target") -> LocatedMapping:
    """Read and parse a YAML file whose top level is a mapping.

    :param what: The subject of error messages, for example C(The image template).
    :param keys: Some keys that it may have, for an error message.
    :raises TemplateError: It cannot be read or is not valid.
    """
    return parse_yaml(read_yaml_bytes(path, what=what), path=path, what=what, keys=keys)


__all__ = (
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_ITEMS",
    "MAX_STRING",
    "load_yaml",
    "parse_scalar",
    "parse_yaml",
    "read_yaml_bytes",
)
