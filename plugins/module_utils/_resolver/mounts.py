# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""What mount needs of packages for some file systems: without it, they are not mounted when the image runs."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import ResolveError
from ansible_collections.os_image.composer.plugins.module_utils._template.document import TemplateDocument

# File system -> what Debian and its relatives, and what Fedora and its relatives call the package of its helper.
_NFS = ("nfs-common", "nfs-utils")
_HELPERS: t.Mapping[str, t.Tuple[str, ...]] = {
    "nfs": _NFS,
    "nfs4": _NFS,
    "cifs": ("cifs-utils",),
    "smb3": ("cifs-utils",),
    "fuse.sshfs": ("sshfs", "fuse-sshfs"),
    "glusterfs": ("glusterfs-client", "glusterfs-fuse"),
    "ceph": ("ceph-common",),
}


def require_mount_helpers(document: TemplateDocument, lock: t.Mapping[str, t.Any]) -> None:
    """Check that what C(disk.mounts) asks for can be mounted by the packages of the image.

    :raises ResolveError: A package is missing.
    """
    names = {package["name"] for package in lock["packages"]}
    for index, mount in enumerate(document.disk.mounts or ()):
        wanted = _HELPERS.get(mount.fs_type, ())
        if wanted and not names.intersection(wanted):
            raise ResolveError(
                f"disk.mounts[{index}] mounts {mount.source} by {mount.fs_type}, for which mount needs a program that "
                "no package of the image has.",
                remedy="Add the package that has it to systemConfig.packages; distributions call it "
                f"{' or '.join(wanted)}.",
            )


__all__ = ("require_mount_helpers",)
