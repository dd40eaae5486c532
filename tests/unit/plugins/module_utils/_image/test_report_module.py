# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ending of the modules that report on images."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._image.report_module import exit_with_report


class Module:
    """Stands for an AnsibleModule."""

    def __init__(self, report_file: str | None) -> None:
        self.params = {"report_file": report_file}
        self.check_mode = False
        self.result: dict[str, t.Any] = {}

    def exit_json(self, **result: t.Any) -> t.NoReturn:
        self.result = result
        raise SystemExit(0)

    def fail_json(self, **result: t.Any) -> t.NoReturn:
        self.result = result
        raise SystemExit(1)


def _end(report_file: pathlib.Path | None, **values: str) -> Module:
    module = Module(None if report_file is None else str(report_file))
    with pytest.raises(SystemExit):
        exit_with_report(t.cast("t.Any", module), {"partitions": [1, 2]}, **values)
    return module


def test_the_report_is_written_once(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "report.json"
    expected = {"changed": True, "left_out": {}, "msg": "They differ.", "partitions": [1, 2]}
    assert _end(path, msg="They differ.").result == expected
    assert json.loads(path.read_text()) == {"partitions": [1, 2]}
    assert _end(path, msg="They differ.").result == {**expected, "changed": False}


def test_without_a_file_nothing_changes() -> None:
    assert _end(None).result == {"changed": False, "left_out": {}, "partitions": [1, 2]}


def test_a_report_that_cannot_be_written_fails(tmp_path: pathlib.Path) -> None:
    assert "cannot be written" in _end(tmp_path / "missing" / "report.json").result["msg"]
