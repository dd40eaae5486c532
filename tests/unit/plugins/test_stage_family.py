# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all stages have in common: an action plugin that shows their progress, and their place in the action group."""

from __future__ import annotations

import pathlib

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[3]
STAGES = sorted(
    path.stem
    for path in (ROOT / "plugins" / "modules").glob("*.py")
    if "os_image.composer._stage_options\n" in path.read_text(encoding="utf-8")
)


def test_there_are_seven_stages() -> None:
    assert len(STAGES) == 7


def test_the_action_group_has_the_stages() -> None:
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8"))
    assert runtime["action_groups"]["composer"] == STAGES


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "image_template_validate"])
def test_stages_that_take_long_show_their_progress(stage: str) -> None:
    source = (ROOT / "plugins" / "action" / f"{stage}.py").read_text(encoding="utf-8")
    assert "class ActionModule(ProgressActionBase):" in source
