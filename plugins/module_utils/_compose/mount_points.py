# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Mount points in a tree: what fstab names is there, also where the running system could not make it."""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._compose.tree_writer import TreeWriter
from ansible_collections.os_image.composer.plugins.module_utils._disk.fstab import Entry, Table
from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import is_below
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError, DiskError
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles

# What is empty in an image, and filled when it runs.
_VIRTUAL = ("/dev", "/proc", "/run", "/sys")


def make_mount_points(tree: str, table: Table, writer: TreeWriter) -> None:
    """Make the mount points of fstab, and what is shown at a second place.

    What lies on something that is mounted there is left to the running system. A place that a package, a script or a
    file of the template asks for, and that cannot be, is as well.

    :raises DiskError: A mount point of the template's C(disk.mounts) cannot be made.
    """
    files = TreeFiles(tree)
    entries = [*table.own, *table.present]
    # Partitions are filled from the tree.
    covered = [*_VIRTUAL, *(entry.place for entry in entries if entry.place and not _is_partition(entry))]
    for entry in entries:
        with contextlib.ExitStack() as stack:
            if entry in table.present:
                stack.enter_context(contextlib.suppress(DiskError, ChrootError))
            if entry.place is not None and not entry.is_swap:
                _make(files, entry, entry.place, covered, writer)


def _make(files: TreeFiles, entry: Entry, mount_point: str, covered: t.Sequence[str], writer: TreeWriter) -> None:
    places = [mount_point]
    if entry.is_bind and entry.source.startswith("/"):
        if files.is_file(entry.source):
            if not files.exists(mount_point) and not _is_covered(mount_point, covered):
                writer.write(mount_point, b"")
            return
        places.insert(0, entry.source)
    for place in places:
        if not _is_covered(place, covered) and not files.exists(place):
            writer.make_directory(place)


def _is_covered(place: str, covered: t.Sequence[str]) -> bool:
    return any(place != above and is_below(place, above) for above in covered)


def _is_partition(entry: Entry) -> bool:
    return entry.writer.startswith("the partition ")


__all__ = ("make_mount_points",)
