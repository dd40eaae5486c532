# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The protocol of image types: a disk, an ISO and an initrd are made by disk_compose from the same root tree.

One class for each, found in :mod:`kinds` by the template's imageType. What others have to know of a type without
making one stands in :mod:`_image_type`.
"""

from __future__ import annotations

import abc
import dataclasses
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._build_directory import Facts
from ansible_collections.os_image.composer.plugins.module_utils._command import find_tool, tool_version
from ansible_collections.os_image.composer.plugins.module_utils._compose.workplace import Workplace
from ansible_collections.os_image.composer.plugins.module_utils._template.document import TemplateDocument


class Part(t.Protocol):
    """Something that is made by programs of the build host: an image itself, a file system, a bootloader.

    :ivar tools: Their names, see :data:`HOST_TOOLS`.
    :ivar shaping_tools: Those of them whose versions shape the image.
    """

    @property
    def tools(self) -> t.Tuple[str, ...]: ...

    @property
    def shaping_tools(self) -> t.Tuple[str, ...]: ...


@dataclasses.dataclass(frozen=True)
class ComposedBoot:
    """How an image boots.

    :ivar loader: The bootloader; empty when it is started by one that is not part of it.
    :ivar entries: The entries of its menu, the default one first.
    """

    loader: str
    entries: t.Sequence[str]
    kernel_version: str
    cmdline: str


@dataclasses.dataclass(frozen=True)
class ComposedImage:
    """A finished image.

    :ivar files: The paths of what artifacts are made from, by C(ArtifactPlan.source).
    :ivar partitions: Those of the disk that it is, or holds, as results have them.
    :ivar more: What results tell of images of this type alone.
    """

    files: t.Mapping[str, str]
    boot: ComposedBoot
    partitions: t.Sequence[Facts] = ()
    more: Facts = dataclasses.field(default_factory=dict)

    @property
    def result(self) -> Facts:
        """The form of results."""
        boot = {**dataclasses.asdict(self.boot), "entries": list(self.boot.entries)}
        return {**self.files, "partitions": list(self.partitions), "boot": boot, **self.more}


class ImageType(abc.ABC):
    """An image as a template describes it."""

    #: The template's imageType.
    name: t.ClassVar[str]
    #: Host tools that are needed.
    tools: t.ClassVar[t.Tuple[str, ...]] = ()
    #: Those of them whose versions shape the image.
    shaping_tools: t.ClassVar[t.Tuple[str, ...]] = ()

    def __init__(self, document: TemplateDocument) -> None:
        self.document = document

    def parts(self) -> t.Sequence[Part]:
        """Return everything in it that programs of the build host shape, itself first."""
        return (self,)

    def tool_versions(self) -> t.Dict[str, str]:
        """Return the versions of the programs of the build host that shape it.

        :raises ToolMissingError: Something that it needs is missing.
        """
        parts = self.parts()
        for part in parts:
            for tool in part.tools:
                find_tool(tool)
        return {tool: tool_version(tool) for tool in sorted({tool for part in parts for tool in part.shaping_tools})}

    def inputs(self) -> Facts:
        """Return what of the template shapes it, beside what shapes every image."""
        return {}

    @abc.abstractmethod
    def facts(self) -> Facts:
        """Return what C(--diff) shows."""

    @abc.abstractmethod
    def compose(self, workplace: Workplace) -> ComposedImage:
        """Make the image in the workplace's directory. Its files get their names only when they are whole.

        :raises DiskError: It does not fit where it belongs, or there is too little space to make it.
        :raises ComposerError: It cannot be made.
        """


__all__ = ("ComposedBoot", "ComposedImage", "ImageType", "Part")
