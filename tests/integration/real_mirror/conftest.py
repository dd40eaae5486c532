# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Templates for the tests against the mirror of this machine, whose packages are resolved there.

All state lies under C(.cache/) of the checkout.
"""

from __future__ import annotations

import functools
import os
import pathlib

from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory
from ansible_collections.os_image.composer.tests.support.stage_driver import ROOT, Pipeline

STATE = pathlib.Path(ROOT, ".cache", "real-mirror")


@functools.cache
def resolved(name: str) -> BuildDirectory:
    """Run the stages up to C(pkg_resolve) for a shipped template.

    :param name: The file's name without C(.yml).
    :raises AssertionError: A stage has failed.
    """
    pipeline = Pipeline(
        template=os.path.join(ROOT, "image-templates", f"{name}.yml"),
        work_dir=str(STATE / "work"),
        cache_dir=os.path.join(ROOT, ".cache", "packages"),
        output_dir=str(STATE / "output"),
    )
    runs = pipeline.run(until="pkg_resolve")
    return BuildDirectory(str(runs["image_template_validate"].result["build_dir"]))
