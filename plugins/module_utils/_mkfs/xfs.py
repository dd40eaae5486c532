# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""XFS, made by mkfs.xfs and filled by the kernel."""

from __future__ import annotations

from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.filesystem import with_suboptions
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.mounted import MountedMaker
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.volume import Volume


class XfsMaker(MountedMaker):
    """Makes XFS."""

    # A mounted copy of the same image would be in the way.
    mount_options = (*MountedMaker.mount_options, "nouuid")

    def make(self, path: str, volume: Volume, runner: CommandRunner) -> None:
        # Named, so that a newer mkfs.xfs does not choose what GRUB 2.06 or the kernel of the image cannot read.
        metadata = {name: "1" for name in ("crc", "finobt", "reflink", "bigtime", "inobtcount")}
        metadata.update(rmapbt="0", uuid=volume.identifier)
        features, given = with_suboptions("-m", metadata, volume.options)
        inodes, given = with_suboptions("-i", {"sparse": "1", "nrext64": "0"}, given)
        label = ["-L", volume.label] if volume.label else []
        command = [find_tool("mkfs.xfs"), "-q", "-f", "-K", "-m", features, "-i", inodes, *label]
        what = f"Making the xfs file system on the partition {volume.name!r}"
        runner.run([*command, *given, path], what=what)


__all__ = ("XfsMaker",)
