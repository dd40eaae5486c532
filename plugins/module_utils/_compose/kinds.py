# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The kinds of images, by the names that templates have for them (imageType).

Only the one that is asked for is imported: a run that has nothing to do starts sooner without the others.
"""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._compose.image_type import ImageType
from ansible_collections.os_image.composer.plugins.module_utils._template.document import TemplateDocument


def _raw() -> t.Type[ImageType]:
    from ansible_collections.os_image.composer.plugins.module_utils._compose.raw import RawImage

    return RawImage


def _iso() -> t.Type[ImageType]:
    from ansible_collections.os_image.composer.plugins.module_utils._compose.iso import IsoImage

    return IsoImage


def _initrd() -> t.Type[ImageType]:
    from ansible_collections.os_image.composer.plugins.module_utils._compose.initrd import InitrdImage

    return InitrdImage


#: What returns the class of each type.
IMAGE_CLASSES: t.Mapping[str, t.Callable[[], t.Type[ImageType]]] = {"raw": _raw, "iso": _iso, "initrd": _initrd}


def image_of(document: TemplateDocument) -> ImageType:
    """Return the image that a template describes."""
    return IMAGE_CLASSES[document.target.image_type]()(document)


__all__ = ("IMAGE_CLASSES", "image_of")
