# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pages of the documentation and their fenced blocks."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import typing as t

from ansible_collections.os_image.composer.tests.support.stage_driver import ROOT

#: README and everything below docs that people write.
PAGES: t.Sequence[pathlib.Path] = [
    pathlib.Path(ROOT, "README.md"),
    *sorted(
        page
        for page in pathlib.Path(ROOT, "docs").rglob("*.md")
        # It is written by a program, from examples that are tests themselves.
        if page.name != "template-checks.md"
    ),
]

_BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block.

    :ivar page: Its page, relative to the checkout.
    :ivar line: The number of its first line there.
    :ivar language: What its fence says.
    """

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """The commands of a block of the language C(console): what follows a prompt, continued lines joined."""
        found = re.findall(r"^\$ ((?:.*\\\n)*.*)$", self.text, re.MULTILINE)
        return [re.sub(r"\s+# .*$", "", re.sub(r"\\\n\s*", "", command)) for command in found]


def blocks(*languages: str) -> list[Block]:
    """Return all blocks of some languages."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in _BLOCK.finditer(text):
            if match["language"] in languages:
                line = text.count("\n", 0, match.start()) + 2
                found.append(Block(str(page.relative_to(ROOT)), line, match["language"], match["text"]))
    return found


__all__ = ("PAGES", "Block", "blocks")
