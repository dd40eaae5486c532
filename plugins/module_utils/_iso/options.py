# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Options of an ISO, as the template gives them."""

from __future__ import annotations

import dataclasses
import re

from ansible_collections.os_image.composer.plugins.module_utils._template.model import Disk, Image, Initramfs, Iso

# d-characters of ISO 9660 (ECMA-119, 7.4.1), as many as a volume identifier has.
_NOT_IN_VOLUME_ID = re.compile(r"[^A-Z0-9_]+")
_VOLUME_ID_LENGTH = 32


@dataclasses.dataclass(frozen=True)
class IsoOptions:
    """The section C(iso), with what follows from the rest of the template.

    :ivar type: C(live) or C(installer).
    :ivar title: What menus and messages call the image: its name and version.
    :ivar disk_path: The disk that the installer writes to; empty for the only one that fits.
    """

    type: str
    volume_id: str
    title: str
    unattended: bool
    after_install: str
    disk_path: str

    @classmethod
    def of(cls, image: Image, iso: Iso, disk: Disk, initramfs: Initramfs) -> IsoOptions:
        """Take them out of a template."""
        return cls(
            type=iso_type(iso, disk, initramfs),
            volume_id=iso.volume_id or volume_id(f"{image.name}_{image.version}"),
            title=f"{image.name} {image.version}",
            unattended=iso.unattended,
            after_install=iso.after_install,
            disk_path=disk.path or "",
        )

    @property
    def is_installer(self) -> bool:
        """Whether the ISO installs the image."""
        return self.type == "installer"


def iso_type(iso: Iso, disk: Disk, initramfs: Initramfs) -> str:
    """Return what kind of ISO a template asks for: C(live) or C(installer).

    The original's ISO is an installer always, and says so by the template for the installer's initrd.
    """
    return iso.type or ("installer" if disk.partitions or initramfs.template else "live")


def volume_id(name: str) -> str:
    """Return the volume identifier that is made of a name."""
    return _NOT_IN_VOLUME_ID.sub("_", name.upper())[:_VOLUME_ID_LENGTH].strip("_") or "ISO"


__all__ = ("IsoOptions", "iso_type", "volume_id")
