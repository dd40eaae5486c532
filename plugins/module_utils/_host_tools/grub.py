# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""GRUB's modules on the build host, which ISOs start by."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import ToolMissingError
from ansible_collections.os_image.composer.plugins.module_utils._host_tools.table import GRUB_MODULES, install_remedy

#: Where build hosts, and images of Debian, have GRUB's modules.
GRUB_DIRECTORY = "/usr/lib/grub"


def module_directory(platform: str) -> str:
    """Return the directory of GRUB's modules for a platform (C(i386-pc)), on build hosts and in images."""
    return os.path.join(GRUB_DIRECTORY, platform)


def has_modules(platform: str) -> bool:
    """Tell whether the build host has GRUB's modules for a platform."""
    return os.path.exists(os.path.join(module_directory(platform), "normal.mod"))


def missing_platforms(arch: str) -> t.List[str]:
    """Return the platforms that an ISO for an architecture starts on, and whose modules the build host lacks."""
    return [name for name, package in GRUB_MODULES.items() if package.machine == arch and not has_modules(name)]


def require_grub(arch: str) -> None:
    """Check that the build host has GRUB for all firmwares of its own architecture.

    :raises ToolMissingError: It has not.
    """
    for platform in missing_platforms(arch) if arch == os.uname().machine else ():
        raise ToolMissingError(
            f"GRUB's modules for {platform} were not found on the build host.",
            remedy=install_remedy(GRUB_MODULES[platform]),
        )


__all__ = ("GRUB_DIRECTORY", "has_modules", "missing_platforms", "module_directory", "require_grub")
