# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""EROFS, made by mkfs.erofs."""

from __future__ import annotations

from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.packed import PackedMaker
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.volume import Volume


class ErofsMaker(PackedMaker):
    """Makes EROFS."""

    def pack(self, directory: str, path: str, volume: Volume, runner: CommandRunner) -> None:
        compression = [] if any(option.startswith("-z") for option in volume.options) else ["-zlz4"]
        command = [find_tool("mkfs.erofs"), "-d1", f"-T{volume.epoch}", f"-U{volume.identifier}"]
        what = f"Making the erofs file system on the partition {volume.name!r}"
        runner.run([*command, *compression, *volume.options, path, directory], what=what)


__all__ = ("ErofsMaker",)
