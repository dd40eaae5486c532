# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The kinds of images, by the names that templates have for them (imageType)."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._compose.image_type import ImageType
from ansible_collections.os_image.composer.plugins.module_utils._compose.initrd import InitrdImage
from ansible_collections.os_image.composer.plugins.module_utils._compose.iso import IsoImage
from ansible_collections.os_image.composer.plugins.module_utils._compose.raw import RawImage
from ansible_collections.os_image.composer.plugins.module_utils._template.document import TemplateDocument

#: The class of each type.
IMAGE_CLASSES: t.Mapping[str, t.Type[ImageType]] = {"raw": RawImage, "iso": IsoImage, "initrd": InitrdImage}


def image_of(document: TemplateDocument) -> ImageType:
    """Return the image that a template describes."""
    return IMAGE_CLASSES[document.target.image_type](document)


__all__ = ("IMAGE_CLASSES", "image_of")
