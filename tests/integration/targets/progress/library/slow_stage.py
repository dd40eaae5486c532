#!/usr/bin/python

# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: slow_stage
short_description: A stage that takes its time
description:
  - Tells a milestone each half second, and leaves a file that says how it ended.
author:
  - The os_image.composer authors (@os-image)
options:
  build_dir:
    description: The build directory.
    type: path
    required: true
  seconds:
    description: How long the stage takes.
    type: float
    default: 2
  gate:
    description: End as soon as this file exists, though not later than after O(seconds).
    type: path
  silent:
    description: Tell no milestones.
    type: bool
    default: false
  ending:
    description: How the stage ends.
    type: str
    choices: [good, error, killed]
    default: good
"""

EXAMPLES = r"""
- slow_stage:
    build_dir: /tmp/build
"""

RETURN = r"""
value:
  description: Some value.
  returned: success
  type: int
"""

import os
import signal
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.os_image.composer.plugins.module_utils._argspec import BUILD_DIR, stage_argument_spec
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory, Facts
from ansible_collections.os_image.composer.plugins.module_utils._errors import ComposerError
from ansible_collections.os_image.composer.plugins.module_utils._stage import Decision, Outcome, Stage, StageOptions
from ansible_collections.os_image.composer.plugins.module_utils._stage_module import run_stage_module


class SlowStage(Stage):
    """Works for some seconds."""

    name = "slow_stage"

    def __init__(self, build: BuildDirectory, options: StageOptions, params: t.Mapping[str, t.Any]) -> None:
        super().__init__(build, options)
        self._params = params

    def inputs(self) -> Facts:
        return {"seconds": self._params["seconds"], "ending": self._params["ending"]}

    def execute(self, decision: Decision) -> Outcome:
        marker = self.build.join("working")
        with open(marker, "w", encoding="utf-8"):
            pass
        try:
            end = time.monotonic() + self._params["seconds"]
            number = 0
            while time.monotonic() < end and not os.path.exists(self._params["gate"] or ""):
                if not self._params["silent"]:
                    number += 1
                    self.progress.milestone("Packages", f"Step {number} of {self.build}")
                time.sleep(0.5)
            if self._params["ending"] == "error":
                raise ComposerError("The slow stage did not like it.", remedy="Be kind.")
            if self._params["ending"] == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os.unlink(marker)
        return Outcome({"value": 42})


def main() -> None:
    """Run the stage as a module."""
    module = AnsibleModule(
        argument_spec=stage_argument_spec(
            BUILD_DIR,
            {
                "seconds": {"type": "float", "default": 2},
                "gate": {"type": "path"},
                "silent": {"type": "bool", "default": False},
                "ending": {"type": "str", "choices": ["good", "error", "killed"], "default": "good"},
            },
        ),
        supports_check_mode=True,
    )
    module.warn("A warning of the slow stage")
    run_stage_module(module, lambda params, options: SlowStage(BuildDirectory(params["build_dir"]), options, params))


if __name__ == "__main__":
    main()
