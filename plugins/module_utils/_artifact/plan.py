# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The artifacts that a template asks for."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._artifact.manifest import Artifact
from ansible_collections.os_image.composer.plugins.module_utils._artifact_format import FORMATS, RAW, subformat_problem
from ansible_collections.os_image.composer.plugins.module_utils._compression import (
    COMPRESSIONS,
    compression_name,
    level_problem,
)
from ansible_collections.os_image.composer.plugins.module_utils._errors import ArtifactError
from ansible_collections.os_image.composer.plugins.module_utils._image_type import IMAGE_TYPES
from ansible_collections.os_image.composer.plugins.module_utils._template import model


@dataclasses.dataclass(frozen=True)
class ArtifactPlan:
    """An artifact as the template asks for it.

    :ivar name: Its file name.
    :ivar source: What of the result of disk_compose it is made from.
    :ivar level: The level of the compression; V(None) without one.
    :ivar subformat: The variant of the format; V(None) where it has none.
    """

    name: str
    format: str
    compression: t.Optional[str] = None
    source: str = "image"
    level: t.Optional[int] = None
    subformat: t.Optional[str] = None

    @property
    def is_converted(self) -> bool:
        """Whether it is another format than the build directory has."""
        return self.format in FORMATS and self.format != RAW

    @property
    def is_compact(self) -> bool:
        """Whether the conversion compresses, inside of the format."""
        return self.is_converted and FORMATS[self.format].is_compact(self.subformat, is_last=self.compression is None)

    @property
    def described(self) -> str:
        """The format and the compression, in words; what is as it is by default is not told."""
        words = [self.format]
        if self.format in FORMATS and self.subformat != FORMATS[self.format].default_subformat:
            words.append(str(self.subformat))
        if self.compression:
            words.append(self.compression)
            if self.level != COMPRESSIONS[self.compression].default_level:
                words.append(f"level {self.level}")
        return ", ".join(words)

    def finished(self, size: int, sha256: str) -> Artifact:
        """Return the artifact that it became."""
        return Artifact(self.name, self.format, self.compression, size, sha256, self.level, self.subformat)


def check_base_name(base_name: str) -> None:
    """Check that files can be named after an image.

    :raises ArtifactError: They cannot.
    """
    if os.path.basename(base_name) != base_name or base_name.startswith("."):
        raise ArtifactError(
            f"The image's name and version, {base_name!r}, cannot be a file name.",
            remedy="Leave slashes and a leading full stop out of image.name and image.version.",
        )


def plan_artifacts(base_name: str, wanted: t.Sequence[model.Artifact]) -> list[ArtifactPlan]:
    """Return the artifacts of an image; an uncompressed raw image when the template asks for none.

    :param base_name: The image's name and version.
    :param wanted: C(disk.artifacts) of the template.
    :raises ArtifactError: A type or a compression is not supported, or files cannot be named after the image.
    """
    check_base_name(base_name)
    plans: t.Dict[str, ArtifactPlan] = {}
    for entry in wanted or [model.Artifact.from_data({"type": RAW})]:
        kind = entry.type
        compression = compression_name(entry.compression) if entry.compression else None
        if kind not in FORMATS:
            raise ArtifactError(
                f"The artifact type {kind!r} is not supported.", remedy=f"Use one of: {', '.join(FORMATS)}."
            )
        if compression is not None and compression not in COMPRESSIONS:
            raise ArtifactError(
                f"The compression {compression!r} is not supported.", remedy=f"Use one of: {', '.join(COMPRESSIONS)}."
            )
        problem = subformat_problem(kind, entry.subformat) or level_problem(compression, entry.level)
        if problem:
            raise ArtifactError(problem)
        name = f"{base_name}.{FORMATS[kind].extension}"
        level = None
        if compression is not None:
            name = f"{name}.{COMPRESSIONS[compression].extension}"
            level = COMPRESSIONS[compression].default_level if entry.level is None else entry.level
        subformat = entry.subformat or FORMATS[kind].default_subformat
        plans[name] = ArtifactPlan(name, kind, compression, level=level, subformat=subformat)
    return list(plans.values())


def plan_image(base_name: str, image_type: str, wanted: t.Sequence[model.Artifact]) -> list[ArtifactPlan]:
    """Return the artifacts of an image of any type.

    :param image_type: C(target.imageType) of the template.
    :param wanted: C(disk.artifacts) of the template, which images that are no disks do not have.
    :raises ArtifactError: See :func:`plan_artifacts`.
    """
    traits = IMAGE_TYPES[image_type]
    if traits.is_disk:
        return plan_artifacts(base_name, wanted)
    check_base_name(base_name)
    return [ArtifactPlan(f"{base_name}.{suffix}", name, source=source) for name, suffix, source in traits.files]


__all__ = ("ArtifactPlan", "plan_artifacts", "plan_image")
