# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reports, whole and short."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
import yaml
from ansible_collections.os_image.composer.plugins.doc_fragments._report_options import ModuleDocFragment
from ansible_collections.os_image.composer.plugins.module_utils._argspec import REPORT_OPTIONS
from ansible_collections.os_image.composer.plugins.module_utils._errors import ArtifactError
from ansible_collections.os_image.composer.plugins.module_utils._image.report import LIMIT, shorten, write_report


def test_the_options_are_those_of_the_documentation() -> None:
    documented = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    told = {
        name: {key: option[key] for key in ("type", "default") if key in option} for name, option in documented.items()
    }
    assert told == REPORT_OPTIONS


def test_a_short_report_stays_whole() -> None:
    report = {"packages": [{"name": "a"}], "more": {"files": [1, 2]}, "none": None}
    assert shorten(report) == (report, {})


def test_the_longest_lists_are_cut() -> None:
    report: t.Dict[str, t.Any] = {
        "packages": [{"name": f"package-{number}"} for number in range(3000)],
        "iso": {"files": [{"path": f"/{number}" * 10} for number in range(5000)]},
        "notes": ["kept"],
        "text": "x" * 100_000,
    }
    before = json.dumps(report)
    shortened, lost = shorten(report)
    assert json.dumps(report) == before
    assert len(json.dumps(shortened)) <= LIMIT
    assert lost["iso.files"] == 5000 - len(shortened["iso"]["files"])
    assert lost.get("packages", 0) == 3000 - len(shortened["packages"])
    assert shortened["notes"] == ["kept"]
    assert shortened["packages"][0] == {"name": "package-0"}


def test_written_once(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "report.json"
    assert write_report(str(path), {"a": [1]}, check_mode=True)
    assert not path.exists()
    assert write_report(str(path), {"a": [1]}, check_mode=False)
    assert json.loads(path.read_text()) == {"a": [1]}
    assert not write_report(str(path), {"a": [1]}, check_mode=False)
    assert write_report(str(path), {"a": [2]}, check_mode=False)
    path.write_text("no JSON")
    assert write_report(str(path), {"a": [2]}, check_mode=False)
    with pytest.raises(ArtifactError, match=r"its directory does not exist\. Make the directory, or correct"):
        write_report(str(tmp_path / "none/report.json"), {}, check_mode=False)
