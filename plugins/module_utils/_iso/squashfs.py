# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The root file system of a live system: a squashfs of the root tree."""

from __future__ import annotations

import os

from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool

# A quarter of the default level's file size advantage costs twenty times the processor time.
_LEVEL = "3"


def make_squashfs(tree: str, path: str, *, epoch: int, workers: int, runner: CommandRunner) -> None:
    """Write a squashfs of a tree; the same bytes for the same tree, whatever the number of processors.

    :param tree: The mounted root tree.
    :param epoch: No time in it is later.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    # Not with -all-time or -mkfs-time beside: mksquashfs refuses both at once.
    runner = runner.with_environment({"SOURCE_DATE_EPOCH": str(epoch)})
    processors = max(1, min(workers, len(os.sched_getaffinity(0))))
    command = [find_tool("mksquashfs"), tree, path, "-noappend", "-no-progress", "-quiet"]
    command += ["-comp", "zstd", "-Xcompression-level", _LEVEL, "-processors", str(processors)]
    runner.run(command, what="Writing the root file system of the live system")


__all__ = ("make_squashfs",)
