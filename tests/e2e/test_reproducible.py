# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same template and the same lock give the same bytes, wherever they are built."""

from __future__ import annotations

import os
import pathlib
import shutil
import typing as t

import pytest
from ansible_collections.os_image.composer.tests.e2e.support.image import BuiltImage, Workspace
from ansible_collections.os_image.composer.tests.e2e.support.template import TestTemplate, raw_template
from ansible_collections.os_image.composer.tests.support.stage_driver import STAGES, Pipeline

pytestmark = pytest.mark.case("reproducible")


def _sums(directory: str) -> dict[str, str]:
    text = pathlib.Path(directory, "SHA256SUMS").read_text(encoding="utf-8")
    return {name.lstrip("*"): digest for digest, name in (line.split(maxsplit=1) for line in text.splitlines())}


def test_second_build_elsewhere(build: t.Callable[[TestTemplate], BuiltImage], workspace: Workspace) -> None:
    image = build(raw_template("debian12"))
    directory = workspace.path("elsewhere", "with-another-name")
    shutil.rmtree(workspace.path("elsewhere"), ignore_errors=True)
    pipeline = workspace.pipeline(image.template, directory=directory)
    lock = os.path.join(image.output_dir, "packages.lock.json")
    old_umask = os.umask(0o077)
    try:
        runs = Pipeline(
            template=pipeline.template,
            work_dir=pipeline.work_dir,
            cache_dir=pipeline.cache_dir,
            output_dir=pipeline.output_dir,
            stage_args={
                # A newer package may have been published since.
                "pkg_resolve": {"lock_file": lock},
                "pkg_fetch": {"offline": True},
                **{stage: {"workers": 1} for stage in STAGES[3:]},
            },
        ).run()
    finally:
        os.umask(old_umask)
    assert not runs["chroot_configure"].result["chrootenv_reused"]
    first, second = _sums(image.output_dir), _sums(pipeline.output_dir)
    assert sorted(first) == sorted(second)
    different = [name for name in first if first[name] != second[name]]
    assert different == [], f"compare {image.output_dir} and {pipeline.output_dir}"
    shutil.rmtree(workspace.path("elsewhere"))
