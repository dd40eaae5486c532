# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What has passed, and when: docs/matrix.json, and the page that people read."""

from __future__ import annotations

import datetime
import json
import pathlib
import typing as t

from ansible_collections.os_image.composer.tests.matrix.cells import BOOTS, CELLS, REFUSED

#: The steps of a cell, in their order.
STEPS = ("built", "checked", "booted")

Record = t.Dict[str, t.Any]

_HEAD = """\
<!--
Copyright (c) 2026 The os_image.composer authors
GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
SPDX-License-Identifier: GPL-3.0-or-later
-->
<!-- Written by make matrix. Do not edit. -->

# What is built, checked and booted

The day on which each step of each cell passed last. A cell that has failed since says so.

"""
_COMPOSED = """\
## Composed from a small tree

Every partition is judged by the program of its file system (e2fsck, xfs_repair, btrfs check, fsck.fat, unsquashfs,
fsck.erofs --extract), the table by sfdisk, sgdisk and its checksums, the converted image by qemu-img check and compare.

| architecture | table | root | bootloader | format | built | checked |
|---|---|---|---|---|---|---|
"""
_BOOTED = """\
## Built whole and booted

Debian 12, in QEMU, until root is logged in and no unit has failed. `make matrix` boots all of them, `make test` the
third whose turn it is: which one follows from the day.

| image | built | checked | booted |
|---|---|---|---|
"""
_REFUSED = """\
## Refused on purpose

| what | refused |
|---|---|
"""


class MatrixState:
    """The records of all cells.

    :param known: A file with those of earlier runs.
    """

    def __init__(self, known: pathlib.Path, today: datetime.date) -> None:
        self._today = today.isoformat()
        text = known.read_text(encoding="utf-8") if known.exists() else "{}"
        self._records: dict[str, Record] = json.loads(text)
        wanted = {cell.name for cell in (*CELLS, *BOOTS, *REFUSED)}
        self._records = {name: record for name, record in self._records.items() if name in wanted}

    def passed(self, name: str, step: str) -> None:
        """Note that a step of a cell has passed."""
        record = self._records.setdefault(name, {})
        record[step] = self._today
        record.pop("failed", None)

    def failed(self, name: str) -> None:
        """Note that a cell has failed."""
        self._records.setdefault(name, {})["failed"] = self._today

    def last(self, name: str, step: str) -> str:
        """Return the day on which a step passed last, in words."""
        record = self._records.get(name, {})
        day = str(record.get(step, "never"))
        return f"{day} (failed {record['failed']})" if "failed" in record and step != "built" else day

    def write(self, directory: pathlib.Path) -> None:
        """Write both files."""
        directory.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self._records, indent=1, sort_keys=True) + "\n"
        (directory / "matrix.json").write_text(text, encoding="utf-8")
        (directory / "matrix.md").write_text(self._page(), encoding="utf-8")

    def _page(self) -> str:
        lines = [_HEAD, _BOOTED]
        lines += [f"| {boot.name} | {' | '.join(self.last(boot.name, step) for step in STEPS)} |\n" for boot in BOOTS]
        lines += ["\n", _COMPOSED]
        for cell in CELLS:
            days = " | ".join(self.last(cell.name, step) for step in STEPS[:2])
            lines.append(f"| {cell.arch} | {cell.table} | {cell.root} | {cell.loader} | {cell.format} | {days} |\n")
        lines += ["\n", _REFUSED]
        lines += [f"| {entry.name} | {self.last(entry.name, 'checked')} |\n" for entry in REFUSED]
        return "".join(lines)


__all__ = ("STEPS", "MatrixState")
