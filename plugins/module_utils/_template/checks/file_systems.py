# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""File systems: what they can hold, and how large they must be."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._disk.size import MIB, show_size
from ansible_collections.os_image.composer.plugins.module_utils._template.checks.disk import planned_layout
from ansible_collections.os_image.composer.plugins.module_utils._template.checks.partitions import FAT, SWAP, partitions
from ansible_collections.os_image.composer.plugins.module_utils._template.checks.rule import Finding, Subject
from ansible_collections.os_image.composer.plugins.module_utils._template.located import Mapping

SUBJECT = Subject("File systems")

# FAT32 begins at 65525 clusters of one sector; a root file system below this holds no system.
_LEAST_SIZES = {"fat32": 33 * MIB, "vfat": 33 * MIB, "fat16": 5 * MIB}
_LEAST_ROOT = 256 * MIB


@SUBJECT.rule("disk")
def file_systems_fit_their_use(template: Mapping) -> t.Iterator[Finding]:
    """Swap is not mounted; types and file systems agree."""
    for path, item in partitions(template):
        kind, purpose = item.get("fsType"), item.get("type")
        if kind is None:
            if item["fsLabel"]:
                yield (*path, "fsLabel"), "A label without a file system has no effect. Add fsType, or remove fsLabel."
        elif kind in SWAP:
            if item["mountPoint"] not in ("", "none"):
                yield (*path, "mountPoint"), "Swap cannot be mounted. Remove the mountPoint."
            if purpose not in (None, "linux-swap", "swap"):
                yield (*path, "type"), f"A swap partition must have the type linux-swap, not {purpose}."
        elif purpose in ("linux-swap", "swap"):
            yield (*path, "fsType"), f"A partition of the type {purpose} cannot hold {kind}. Use fsType: linux-swap."


@SUBJECT.rule("disk")
def labels_fit_their_file_systems(template: Mapping) -> t.Iterator[Finding]:
    """Labels have the length and the characters that the file system can store."""
    for path, item in partitions(template):
        label, kind = item["fsLabel"], item.get("fsType")
        limit = 11 if kind in FAT else 15 if kind in SWAP else 16
        if not label or kind is None:
            continue
        if len(label.encode("utf-8")) > limit:
            yield (*path, "fsLabel"), f"The label {label!r} is longer than the {limit} bytes that {kind} can store."
        elif kind in FAT and not re.match(r"[A-Z0-9_ -]+\Z", label):
            yield (
                (*path, "fsLabel"),
                f"The label {label!r} of a FAT file system may only have capital letters, digits, blanks, - and _.",
            )
        elif not re.match(r"[!-~ ]+\Z", label):
            yield (*path, "fsLabel"), f"The label {label!r} may only have printable ASCII characters."


@SUBJECT.rule("disk", "target")
def partitions_are_large_enough(template: Mapping) -> t.Iterator[Finding]:
    """File systems have at least the size that they can be made with."""
    layout = planned_layout(template)
    if layout is None:
        return
    for partition, (path, item) in zip(layout.partitions, partitions(template)):
        is_root = partition.mount_point == "/"
        least = _LEAST_ROOT if is_root else _LEAST_SIZES.get(partition.fs_type, 0)
        if partition.size < least:
            what = "a root file system" if is_root else f"a {partition.fs_type} file system"
            yield (
                (*path, "size" if "size" in item else "end"),
                f"The partition {partition.id!r} has {show_size(partition.size)}, but {what} needs at least "
                f"{show_size(least)}. Make it larger.",
            )


__all__ = ("SUBJECT",)
