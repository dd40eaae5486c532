# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The disk: its partition table, its layout, and the files that it becomes."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import (
    DiskLayout,
    disk_layout,
    layout_problems,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.checks.rule import Finding, Subject, doubles
from ansible_collections.os_image.composer.plugins.module_utils._template.located import Mapping

SUBJECT = Subject("Disk")

# Stands for a size that is not known, and larger than what partitions ask for.
_ANY_SIZE = "1024TiB"


def planned_disk(template: Mapping) -> t.Mapping[str, t.Any] | None:
    """Return the disk that the image makes, or that its installer does; V(None) when there is none.

    How large the disk of the installed machine is need not be known.
    """
    disk = template["disk"]
    if template["target"]["imageType"] == "raw":
        return t.cast("t.Mapping[str, t.Any]", disk)
    if not disk["partitions"]:
        return None
    return {**disk, "size": disk.get("size") or _ANY_SIZE}


def planned_layout(template: Mapping) -> DiskLayout | None:
    """Return the layout of the disk; V(None) when it has none, which is another rule's business."""
    disk = planned_disk(template)
    return None if disk is None or layout_problems(disk) else disk_layout(disk)


@SUBJECT.rule("disk", "target")
def disk_can_be_laid_out(template: Mapping) -> t.Iterator[Finding]:
    """The disk has a size and partitions; these lie within it, do not overlap, and have ids and mount points."""
    disk = planned_disk(template)
    for problem in layout_problems(disk) if disk is not None else ():
        yield problem.path, problem.message


@SUBJECT.rule("disk", "target")
def disk_fits_the_image_type(template: Mapping) -> t.Iterator[Finding]:
    """An initrd has no disk; only a raw image has artifacts; only an installer has a disk to write to."""
    kind, disk = template["target"]["imageType"], template["disk"]
    if kind == "initrd" and disk["partitions"]:
        yield ("disk", "partitions"), "An initrd has no disk, so partitions have no effect. Remove them."
    if kind != "raw" and disk["artifacts"]:
        yield (
            ("disk", "artifacts"),
            f"An image of the type {kind} is one file; artifacts have no effect. Remove them, or use imageType: raw.",
        )
    if kind != "iso" and "path" in disk:
        yield ("disk", "path"), "disk.path is where an installer ISO writes to. Remove it, or use imageType: iso."


@SUBJECT.rule("disk")
def artifacts_are_unique(template: Mapping) -> t.Iterator[Finding]:
    """Each artifact is asked for once."""
    values = (
        (("disk", "artifacts", index), (item["type"], item.get("compression")))
        for index, item in enumerate(template["disk"]["artifacts"])
    )
    for path, (kind, compression) in doubles(values):
        yield (
            path,
            f"The artifact {kind}{f' with {compression}' if compression else ''} is asked for twice. Remove one.",
        )


__all__ = ("SUBJECT", "planned_disk", "planned_layout")
