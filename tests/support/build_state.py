# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Build directories in which earlier stages seem to have run."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._build_directory import (
    SCHEMA_VERSION,
    BuildDirectory,
    Facts,
)
from ansible_collections.os_image.composer.plugins.module_utils._stage import (
    Decision,
    Outcome,
    Stage,
    StageOptions,
    run_stage,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.provider import PACKAGE_ARCHITECTURES
from ansible_collections.os_image.composer.tests.support.template_data import whole_provider, whole_template


def leave(
    build: BuildDirectory, stage: str, *, result: Facts | None = None, document: t.Tuple[str, Facts] | None = None
) -> None:
    """Leave the stamp of a stage in a build directory.

    :param result: What the stage returned.
    :param document: The name and the content of the document that it wrote.
    """

    class Left(Stage):
        name = stage
        is_first = True

        def inputs(self) -> Facts:
            return {"result": result, "document": document[1] if document else None}

        def execute(self, decision: Decision) -> Outcome:
            if document is None:
                return Outcome(result or {})
            path = self.build.join(document[0])
            with open(path, "w", encoding="utf-8") as stream:
                json.dump({"schema_version": SCHEMA_VERSION, **document[1]}, stream)
            return Outcome(result or {}, {path: None})

    run_stage(Left(build, StageOptions()))


def leave_template(
    build: BuildDirectory, template: Facts, *, files: t.Mapping[str, str] | None = None, work_dir: str = "/nowhere"
) -> None:
    """Leave C(template.json), as image_template_validate does: with all defaults, and a provider for Debian 12."""
    arch = template.get("target", {}).get("arch", "x86_64")
    package_arch = PACKAGE_ARCHITECTURES["deb"][arch]
    content: Facts = {
        "provider_id": f"debian-debian12-{arch}",
        "provider": whole_provider(arch=arch, package_arch=package_arch),
        "template": whole_template(**template),
        "files": dict(files or {}),
        "directories": {"cache_dir": "/nowhere", "work_dir": work_dir, "config_dir": "/nowhere"},
        "sources": [],
        "warnings": [],
    }
    leave(build, "image_template_validate", document=("template.json", content))


def leave_lock(build: BuildDirectory, *, epoch: int, packages: t.Sequence[Facts] = ()) -> None:
    """Leave C(packages.lock.json), as pkg_resolve does."""
    content: Facts = {
        "provider_id": "debian-debian12-x86_64",
        "packages": list(packages),
        "source_date_epoch": epoch,
    }
    leave(build, "pkg_resolve", document=("packages.lock.json", content))


def leave_tree(build: BuildDirectory, tree: str, *, digest: str = "a" * 64) -> None:
    """Leave a root tree of one layer, as chroot_configure does."""
    leave(
        build,
        "chroot_configure",
        result={"layers": [{"name": "chrootenv", "digest": digest, "path": tree}]},
    )
