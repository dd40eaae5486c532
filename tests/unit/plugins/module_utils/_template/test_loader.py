# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import TemplateError
from ansible_collections.os_image.composer.plugins.module_utils._template.loader import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_STRING,
    load_yaml,
    parse_scalar,
    parse_yaml,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.located import origin_of, show_path


def parse(text: str | bytes) -> t.Any:
    data = text if isinstance(text, bytes) else text.encode()
    return parse_yaml(data, path="/x.yml", what="The image template")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("yes", True),
        ("Off", False),
        ("12", 12),
        ("-3", -3),
        ("0644", 0o644),
        ("0x1f", 31),
        ("1.10", 1.1),
        ("1.2.3", "1.2.3"),
        ("2026-01-01", "2026-01-01"),
        ("1:30", "1:30"),
        ("9" * 40, "9" * 40),
        ("nope", "nope"),
    ],
)
def test_scalars(text: str, value: t.Any) -> None:
    assert parse_scalar(text) == value
    assert type(parse_scalar(text)) is type(value)


def test_lines_and_paths_are_kept() -> None:
    document = parse("image:\n  name: a\nlist:\n  - x: 1\n    y: '2'\n")
    assert document == {"image": {"name": "a"}, "list": [{"x": 1, "y": "2"}]}
    origin = origin_of(document, ("list", 0, "y"))
    assert (origin.file, origin.line, show_path(origin.path)) == ("/x.yml", 5, "list[0].y")
    assert origin_of(document, ("list", 0, "missing")).line == 4
    assert origin_of(document, ("nothing",)).line == 1


def test_an_alias_is_a_copy_at_its_own_path() -> None:
    document = parse("a: &x\n  b: [1]\nc: *x\n")
    assert document["c"] == document["a"]
    assert document["c"] is not document["a"]
    assert show_path(origin_of(document, ("c", "b", 0)).path) == "c.b[0]"


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join(['*' + old] * 10)}]\n" for old, new in zip("abcdefg", "bcdefgh")
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", "/x.yml:3: a: The key 'a' is given twice; it stands in line 1 already."),
        ("a:\n  b: 1\n  b: 1\n", "/x.yml:3: a.b: The key 'b' is given twice"),
        (BOMB, "The document has more than 20000 items, aliases expanded."),
        ("a: &a [*a]\n", "/x.yml:1: a[0]: The alias *a has no anchor, or stands inside it."),
        ("a: *b\n", "The alias *b has no anchor"),
        ("a: " + "[" * (MAX_DEPTH + 1), f"The document is nested deeper than {MAX_DEPTH} levels."),
        ("a: " + "{x: " * 5000, f"The document is nested deeper than {MAX_DEPTH} levels."),
        ("- " * 5000, f"The document is nested deeper than {MAX_DEPTH} levels."),
        (b"a: 1\nb: \xff\n", "/x.yml:2: (top level): The byte 0xff is not UTF-8."),
        ('a: "x\\u202ey"\n', "/x.yml:1: a: The text contains the character U+202E, which cannot be printed."),
        ('a: "x\\0y"\n', "U+0000"),
        (b"a: x\x07y\n", "The character U+0007 at position 4 is not allowed in YAML."),
        ("a: 1\n---\nb: 2\n", "/x.yml:2: (top level): The file holds a second YAML document."),
        ("a: [1, 2\nb: 3\n", "This is not valid YAML:"),
        ("a: b: c\n", "/x.yml:1: (top level): This is not valid YAML: mapping values are not allowed"),
        ("a: nas: /x\n", "Check the indentation, and put a text that has a colon and a blank into quotes."),
        ("a:\n\t- b\n", "/x.yml:2: (top level): This is not valid YAML: while scanning for the next token"),
        ("a:\n\t- b\n", "Indent with blanks, not with tabs."),
        ("- a\n", "The top level must be a mapping"),
        ("", "The top level must be a mapping"),
        ("just text\n", "The top level must be a mapping"),
        ("? [a]\n: b\n", "A key must be a plain word, not a list or a mapping."),
        ("a: &x b\n*x : c\n", "An alias cannot be a key."),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "/x.yml:3: c: Merge keys (<<) are not supported."),
        ("a: !vault |\n  x\n", "/x.yml:1: a: The YAML tag !vault is not allowed here. Encrypt the whole file"),
        ("a: !!python/object/apply:os.system [ls]\n", "The YAML tag !!python/object/apply:os.system is not allowed"),
        (f"a: {'x' * (MAX_STRING + 1)}\n", "/x.yml:1: a: The text is longer than 65536 characters."),
        (f"{'k' * 200}: 1\n", "A key must be 1 to 128 printable characters."),
    ],
)
def test_refused(text: str | bytes, expected: str) -> None:
    with pytest.raises(TemplateError) as caught:
        parse(text)
    assert expected in str(caught.value)
    assert "The image template /x.yml is not valid" in str(caught.value)
    assert caught.value.details["errors"][0]["file"] == "/x.yml"


def test_all_duplicates_are_reported_at_once() -> None:
    with pytest.raises(TemplateError) as caught:
        parse("a: 1\na: 2\nb: {c: 1, c: 2}\n")
    assert [error["path"] for error in caught.value.details["errors"]] == ["a", "b.c"]


def test_a_file_must_be_a_plain_yaml_file(tmp_path: pathlib.Path) -> None:
    good = tmp_path / "good.yml"
    good.write_text("a: 1\n")
    assert load_yaml(str(good), what="The image template") == {"a": 1}
    (tmp_path / "link.yml").symlink_to(good)
    (tmp_path / "folder.yml").mkdir()
    os.mkfifo(tmp_path / "fifo.yml")
    (tmp_path / "good.json").write_text("{}")
    (tmp_path / "big.yml").write_bytes(b"#" * (MAX_BYTES + 1))
    for name, expected in {
        "link.yml": "The file is a symbolic link. Name the file that it points to.",
        "folder.yml": "This is not a regular file.",
        "fifo.yml": "This is not a regular file.",
        "good.json": "The file name must end in .yml or .yaml.",
        "big.yml": "The file is larger than 1 MiB.",
        "none.yml": "The file cannot be read: No such file or directory. Check the path and its permissions.",
    }.items():
        with pytest.raises(TemplateError) as caught:
            load_yaml(str(tmp_path / name), what="The image template")
        assert expected in str(caught.value), name
        assert str(tmp_path / name) in str(caught.value)


def test_an_unreadable_file(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: t.Any, **_options: t.Any) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(TemplateError, match="The file cannot be read: Permission denied. Check the path"):
        load_yaml(str(tmp_path / "x.yml"), what="The image template")
