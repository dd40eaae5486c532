# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The content of each partition: which part of the root tree it is, and how big."""

from __future__ import annotations

import os
import stat
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import DiskLayout
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.usage import BLOCK, Usage
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles


def measure(root: str, layout: DiskLayout, *, without_holes: t.Collection[str] = ()) -> t.Dict[str, Usage]:
    """Walk the root tree once and return what goes onto each mounted partition, by partition id.

    :param without_holes: Ids of partitions on which the holes of files take space, too.
    """
    mount_points = {partition.mount_point: partition.id for partition in layout.partitions if partition.mount_point}
    return _measure(root, mount_points, without_holes)


def measure_tree(root: str) -> Usage:
    """Walk the root tree once and return how big all of it is."""
    return _measure(root, {"/": "all"})["all"]


def _measure(root: str, mount_points: t.Mapping[str, str], without_holes: t.Collection[str] = ()) -> t.Dict[str, Usage]:
    """Return what belongs to each place.

    :param mount_points: Where each place begins -> its name.
    :param without_holes: Names of places in which the holes of files take space, too.
    """
    files = TreeFiles(root)
    usages = {name: Usage() for name in mount_points.values()}
    linked: t.Set[t.Tuple[int, int]] = set()
    pending: t.List[t.Tuple[str, str, str | None]] = [("/", "", None)]
    while pending:
        path, group, place = pending.pop()
        if path in mount_points:
            if place is not None:
                # The empty directory on which the partition is mounted.
                usages[place].add_file(BLOCK, group)
            place = mount_points[path]
            group = path
        if place is None:
            continue
        usage = usages[place]
        has_holes = place not in without_holes
        directories = usage.directories
        inodes = blocks = 0
        own = 0
        with files.directory(path, links=False) as descriptor, os.scandir(descriptor) as entries:
            size = os.fstat(descriptor).st_size
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                kind = status.st_mode & 0o170000
                name = f"/{entry.name}" if path == "/" else f"{path}/{entry.name}"
                if kind == stat.S_IFDIR:
                    pending.append((name, name if name.count("/") <= 2 else group, place))
                    continue
                if status.st_nlink > 1:
                    key = (status.st_dev, status.st_ino)
                    if key in linked:
                        continue
                    linked.add(key)
                inodes += 1
                if kind == stat.S_IFREG:
                    stored = min(status.st_size, status.st_blocks * 512) if has_holes else status.st_size
                    own += -(-stored // BLOCK)
                elif kind == stat.S_IFLNK and status.st_size >= 60:
                    blocks += 1
        # A directory needs a block even when it is empty.
        blocks += own + max(1, -(-size // BLOCK))
        usage.inodes += inodes + 1
        usage.blocks += blocks
        directories[group] = directories.get(group, 0) + blocks * BLOCK
    return usages


__all__ = ("measure", "measure_tree")
