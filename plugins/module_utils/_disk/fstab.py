# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The file systems that an image mounts when it boots."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import DiskLayout
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.kinds import file_system
from ansible_collections.os_image.composer.plugins.module_utils._template.immutability import (
    PERSISTENT,
    ROOT_DEVICE,
    Protection,
)

_HEADER = "# Static file system information; see fstab(5).\n"


def fstab(layout: DiskLayout, partition_uuids: t.Mapping[str, str], protection: Protection | None = None) -> str:
    """Return the content of C(/etc/fstab): mounted partitions, outer mount points first, then swap.

    A root file system that is never written to gets a /tmp in memory.

    :param partition_uuids: Partition id -> PARTUUID.
    :param protection: How the root file system is protected.
    """
    lines = []
    mounted = [partition for partition in layout.partitions if partition.mount_point]
    for partition in sorted(mounted, key=lambda partition: str(partition.mount_point)):
        fs = file_system(partition.fs_type)
        check = 0 if not fs.is_checked else 1 if partition.mount_point == "/" else 2
        options = fs.fstab_options(partition.mount_options)
        if partition.grows and "x-systemd.growfs" not in options.split(","):
            options += ",x-systemd.growfs"
        device = f"PARTUUID={partition_uuids[partition.id]}"
        if protection is not None and partition.mount_point == "/":
            device, check = ROOT_DEVICE, 0
        elif protection is not None and partition.mount_point == "/var" and protection.etc == PERSISTENT:
            # The initramfs has mounted it, so that nobody can check it any more.
            options, check = f"{options},x-initrd.mount", 0
        lines.append(f"{device} {_escape(str(partition.mount_point))} {fs.fstab_type} {options} 0 {check}")
    for partition in layout.partitions:
        if partition.fs_type and file_system(partition.fs_type).fstab_type == "swap":
            lines.append(f"PARTUUID={partition_uuids[partition.id]} none swap {partition.mount_options} 0 0")
    root = layout.root
    is_read_only = protection is not None or (root is not None and file_system(root.fs_type).is_read_only)
    if root is not None and is_read_only and layout.mounted_at("/tmp") is None:
        # systemd itself works in /tmp when it starts a service that sees only some devices.
        lines.append("tmpfs /tmp tmpfs mode=1777,nosuid,nodev 0 0")
    return _HEADER + "".join(f"{line}\n" for line in lines)


def _escape(path: str) -> str:
    for char in "\\ \t\n":
        path = path.replace(char, f"\\{ord(char):03o}")
    return path


__all__ = ("fstab",)
