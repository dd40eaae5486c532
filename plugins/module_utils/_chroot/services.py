# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Systemd units: enabling, disabling, masking."""

from __future__ import annotations

import os
import shlex

from ansible_collections.os_image.composer.plugins.module_utils._chroot.expectations import (
    UNIT_DIRECTORIES,
    unit_files,
    unit_name,
    unknown_unit,
)
from ansible_collections.os_image.composer.plugins.module_utils._chroot.sandbox import Sandbox
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Services
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles


def unit_exists(files: TreeFiles, unit: str) -> bool:
    """Tell whether a unit, the template of an instance, or the init script that stands for it, is in the tree."""
    names = unit_files(unit)
    if any(_is_there(files, f"{directory}/{name}") for directory in UNIT_DIRECTORIES for name in names):
        return True
    return unit.endswith(".service") and files.is_executable(f"/etc/init.d/{unit[: -len('.service')]}")


def _is_there(files: TreeFiles, path: str) -> bool:
    # A link to /dev/null is a masked unit, and does exist.
    return files.exists(path, follow_last=False)


def set_up_services(files: TreeFiles, sandbox: Sandbox, services: Services) -> None:
    """Enable, disable and mask units.

    :param services: The template's C(systemConfig.services).
    :raises ChrootError: A unit does not exist.
    """
    commands = []
    verbs = {"enable": services.enable, "disable": services.disable, "mask": services.mask}
    for verb, names in verbs.items():
        units = [unit_name(name) for name in dict.fromkeys(names)]
        for unit in units:
            if not unit_exists(files, unit):
                raise unknown_unit(verb, unit, _known(files))
        if units:
            commands.append(shlex.join(["systemctl", "--quiet", verb, "--", *units]))
    if commands:
        sandbox.run(["/bin/sh", "-e", "-c", "\n".join(commands)], what="Setting up systemConfig.services")


def _known(files: TreeFiles) -> set[str]:
    return {os.path.basename(path) for directory in UNIT_DIRECTORIES for path in files.glob(directory, "*.*")}


__all__ = ("set_up_services", "unit_exists")
