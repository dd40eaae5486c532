# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The boot of an image, as far as it is known before a package is fetched: who makes what it starts by."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._bootloader import BOOTLOADERS, bootloaders_of
from ansible_collections.os_image.composer.plugins.module_utils._command import find_tool
from ansible_collections.os_image.composer.plugins.module_utils._errors import ResolveError
from ansible_collections.os_image.composer.plugins.module_utils._host_tools.grub import missing_platforms, require_grub
from ansible_collections.os_image.composer.plugins.module_utils._host_tools.table import GRUB_MODULES
from ansible_collections.os_image.composer.plugins.module_utils._image_type import IMAGE_TYPES
from ansible_collections.os_image.composer.plugins.module_utils._template.document import TemplateDocument


def require_boot_tools(document: TemplateDocument) -> None:
    """Check that the build host has what makes an image boot.

    :raises ToolMissingError: It has not.
    """
    traits = IMAGE_TYPES[document.target.image_type]
    has_disk = traits.is_disk or (traits.can_hold_disk and bool(document.disk.partitions))
    bootloader = document.system.bootloader
    loaders = bootloaders_of(bootloader.boot_type, bootloader.provider) if has_disk else ()
    tools = [tool for name in loaders for tool in BOOTLOADERS[name].host_tools]
    for tool in dict.fromkeys((*traits.boot_tools, *tools)):
        find_tool(tool)
    if traits.is_medium:
        require_grub(document.provider.arch)


def require_boot_packages(document: TemplateDocument, lock: t.Mapping[str, t.Any]) -> None:
    """Check that a medium gets those modules of GRUB that the build host does not have for its architecture.

    :raises ResolveError: They are in no package of the image.
    """
    if not IMAGE_TYPES[document.target.image_type].is_medium:
        return
    names = {package["name"] for package in lock["packages"]}
    for platform in missing_platforms(document.provider.arch):
        wanted = GRUB_MODULES[platform].names()
        if not names.intersection(wanted):
            raise ResolveError(
                f"The ISO starts by modules of GRUB for {platform}, which neither the build host nor a package of the "
                "image has.",
                remedy="Add the package that has them to systemConfig.packages; distributions call it "
                f"{' or '.join(wanted)}.",
            )


__all__ = ("require_boot_packages", "require_boot_tools")
