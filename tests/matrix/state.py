# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state of the matrix: what has passed, and when, in docs/matrix.json and on the page that people read.

The matrix and the end-to-end tests note here what passes. A run of everything (C(make matrix)) writes into docs, and
C(make test) into build/matrix, so that it leaves the checkout as it is. Both go on from what either has noted last.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import pathlib
import typing as t

from ansible_collections.os_image.composer.tests.matrix.cells import (
    BOOTS,
    CELLS,
    REFUSED,
    WHOLE,
    Boot,
    Cell,
    Refused,
)
from ansible_collections.os_image.composer.tests.support.page import LICENSE
from ansible_collections.os_image.composer.tests.support.stage_driver import ROOT

#: The steps of a cell, in their order.
STEPS = ("built", "checked", "booted")

#: Where a run of everything writes, and where a part of it does.
DOCS = pathlib.Path(ROOT, "docs")
BUILD = pathlib.Path(ROOT, "build", "matrix")

_FILE = "matrix.json"
# Behind a step's name in a record: the day on which it failed.
_FAILED = " failed"

Record = t.Dict[str, str]

_HEAD = """\
<!-- Written by make matrix. Do not edit. -->

# What is built, checked and booted

The day on which each step of each cell passed last. A step that has failed since says so.

"""
_COMPOSED = """\
## Composed from a small tree

Every partition is judged by the program of its file system (e2fsck, xfs_repair, btrfs check, fsck.fat, unsquashfs,
fsck.erofs --extract), the table by sfdisk, sgdisk and its checksums, the converted image by qemu-img check and compare.
`make matrix` composes all of them, `make test` a set in which each two choices meet that meet in all.

| architecture | table | root | bootloader | format | built | checked |
|---|---|---|---|---|---|---|
"""
_BOOTED = """\
## Built whole and booted

Debian 12, or the tests' distribution of RPM packages, in QEMU, until root is logged in and no unit has failed.
`make matrix` boots all of them, `make test` the third whose turn it is: which one follows from the commit.

| image | built | checked | booted |
|---|---|---|---|
"""
_WHOLE = """\
## ISOs, initrds and others

Debian 12, where nothing else is said; built by the playbook and looked at by the end-to-end tests, which `make matrix`
runs as well. `make test` takes those whose turn it is.

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

    :param docs: Where a run of everything writes.
    :param build: Where a part of it does. Of a cell the newest record counts, and of two of the same day the one here.
    """

    def __init__(self, today: datetime.date, docs: pathlib.Path = DOCS, build: pathlib.Path = BUILD) -> None:
        self._today = today.isoformat()
        self._docs = docs
        self._build = build
        self._records = self._read()
        self._noted: set[str] = set()
        self._passed: set[tuple[str, str]] = set()

    def passed(self, name: str, step: str) -> None:
        """Note that a step of a cell has passed."""
        record = self._record(name)
        record[step] = self._today
        record.pop(f"{step}{_FAILED}", None)
        self._passed.add((name, step))

    def failed(self, name: str, steps: t.Sequence[str] = STEPS) -> None:
        """Note that a cell has failed at the first of some steps that this run has not passed, else at the last one.

        :param steps: In their order.
        """
        step = next((step for step in steps if (name, step) not in self._passed), steps[-1])
        self._record(name)[f"{step}{_FAILED}"] = self._today

    def last(self, name: str, step: str) -> str:
        """Return the day on which a step passed last, in words."""
        record = self._records.get(name, {})
        day = str(record.get(step, "never"))
        failed = record.get(f"{step}{_FAILED}")
        return f"{day} (failed {failed})" if failed else day

    def write(self, *, everything: bool) -> None:
        """Write both files, if anything was noted.

        :param everything: Whether this was a run of everything, which makes the notes of parts needless.
        """
        if not self._noted:
            return
        directory = self._docs if everything else self._build
        directory.mkdir(parents=True, exist_ok=True)
        with _only_one(directory):
            # Another run may have written meanwhile.
            self._records = {**self._read(), **{name: self._records[name] for name in self._noted}}
            text = json.dumps(self._records, indent=1, sort_keys=True) + "\n"
            (directory / _FILE).write_text(text, encoding="utf-8")
            (directory / "matrix.md").write_text(self._page(), encoding="utf-8")
            if everything:
                (self._build / _FILE).unlink(missing_ok=True)

    def _read(self) -> dict[str, Record]:
        wanted = {cell.name for cell in (*CELLS, *BOOTS, *WHOLE, *REFUSED)}
        records: dict[str, Record] = {}
        for path in (self._docs / _FILE, self._build / _FILE):
            found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            for name, record in found.items():
                if name in wanted and _newest(record) >= _newest(records.get(name, {})):
                    records[name] = record
        return records

    def _record(self, name: str) -> Record:
        self._noted.add(name)
        return self._records.setdefault(name, {})

    def _page(self) -> str:
        lines = [LICENSE + _HEAD, _BOOTED]
        lines += [self._row(boot.name) for boot in BOOTS]
        lines += ["\n", _WHOLE, *(self._row(whole.name) for whole in WHOLE)]
        lines += ["\n", _COMPOSED]
        for cell in CELLS:
            days = " | ".join(self.last(cell.name, step) for step in steps_of(cell))
            lines.append(f"| {cell.arch} | {cell.table} | {cell.root} | {cell.loader} | {cell.format} | {days} |\n")
        lines += ["\n", _REFUSED]
        lines += [f"| {entry.name} | {self.last(entry.name, *steps_of(entry))} |\n" for entry in REFUSED]
        return "".join(lines)

    def _row(self, name: str) -> str:
        return f"| {name} | {' | '.join(self.last(name, step) for step in STEPS)} |\n"


def steps_of(cell: Boot | Cell | Refused) -> t.Sequence[str]:
    """Return the steps that a cell has."""
    return STEPS if isinstance(cell, Boot) else STEPS[:2] if isinstance(cell, Cell) else STEPS[1:2]


@contextlib.contextmanager
def _only_one(directory: pathlib.Path) -> t.Iterator[None]:
    """Let others that write into a directory wait while the block runs."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _newest(record: Record) -> str:
    return max(record.values(), default="")


__all__ = ("STEPS", "MatrixState", "steps_of")
