# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Payloads of modules: the files of this collection that Ansible sends to a build host with each of them."""

from __future__ import annotations

import ast
import dataclasses
import pathlib
import typing as t

ROOT = pathlib.Path(__file__).parents[2]
MODULES: t.Sequence[str] = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))

_MODULE_UTILS = ROOT / "plugins" / "module_utils"
_PREFIX = "ansible_collections.os_image.composer.plugins.module_utils."


@dataclasses.dataclass(frozen=True)
class Payload:
    """What goes to the build host with a module.

    :ivar files: The module, and the files that it imports, also by others and inside of functions.
    """

    files: frozenset[pathlib.Path]

    @property
    def size(self) -> int:
        """Their bytes, as they are; Ansible compresses them."""
        return sum(path.stat().st_size for path in self.files)


def imported_files(path: pathlib.Path) -> t.Iterator[pathlib.Path]:
    """Yield the files of module_utils that a file imports anywhere, also for types alone: Ansible looks no closer."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            # What is imported may be a file of a folder as well as a name in a file.
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            found = _MODULE_UTILS.joinpath(*name[len(_PREFIX) :].split(".")).with_suffix(".py")
            if name.startswith(_PREFIX) and found.is_file():
                yield found


def payload(module: str) -> Payload:
    """Return what goes to the build host with a module."""
    files: set[pathlib.Path] = set()
    unread = [ROOT / "plugins" / "modules" / f"{module}.py"]
    while unread:
        path = unread.pop()
        if path not in files:
            files.add(path)
            unread.extend(imported_files(path))
    return Payload(frozenset(files))


__all__ = ("MODULES", "Payload", "imported_files", "payload")
