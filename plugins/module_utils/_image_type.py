# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The image types: what is known of each without making one.

:mod:`_compose` makes them.
"""

from __future__ import annotations

import dataclasses
import typing as t


@dataclasses.dataclass(frozen=True)
class ImageTypeTraits:
    """A type of image.

    :ivar aliases: Other words for it in templates.
    :ivar files: What it is published as when that is not a disk: format, end of the file's name, and what of
        disk_compose it is; empty for a disk, which is published in the formats that the template asks for.
    """

    aliases: t.Tuple[str, ...] = ()
    files: t.Tuple[t.Tuple[str, str, str], ...] = ()

    @property
    def is_disk(self) -> bool:
        """Whether it is a disk."""
        return not self.files


#: The values of C(target.imageType).
IMAGE_TYPES: t.Mapping[str, ImageTypeTraits] = {
    "raw": ImageTypeTraits(),
    "iso": ImageTypeTraits(files=(("iso", "iso", "image"),)),
    "initrd": ImageTypeTraits(
        aliases=("img",), files=(("initrd", "initrd.img", "image"), ("kernel", "vmlinuz", "kernel"))
    ),
}

__all__ = ("IMAGE_TYPES", "ImageTypeTraits")
