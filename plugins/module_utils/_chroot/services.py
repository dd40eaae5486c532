# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Systemd units: enabling, disabling, masking."""

from __future__ import annotations

import difflib
import os
import shlex

from ansible_collections.os_image.composer.plugins.module_utils._chroot.sandbox import Sandbox
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Services
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles

_UNIT_DIRECTORIES = (
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
_SUFFIXES = (
    ".automount",
    ".device",
    ".mount",
    ".path",
    ".scope",
    ".service",
    ".slice",
    ".socket",
    ".swap",
    ".target",
    ".timer",
)


def unit_name(name: str) -> str:
    """Return the full name of a unit: V(ssh) is V(ssh.service)."""
    return name if name.endswith(_SUFFIXES) else f"{name}.service"


def unit_exists(files: TreeFiles, unit: str) -> bool:
    """Tell whether a unit, the template of an instance, or the init script that stands for it, is in the tree."""
    names = [unit]
    stem, at, rest = unit.partition("@")
    if at:
        names.append(f"{stem}@.{rest.rpartition('.')[2]}")
    if any(_is_there(files, f"{directory}/{name}") for directory in _UNIT_DIRECTORIES for name in names):
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
                raise _unknown(files, verb, unit)
        if units:
            commands.append(shlex.join(["systemctl", "--quiet", verb, "--", *units]))
    if commands:
        sandbox.run(["/bin/sh", "-e", "-c", "\n".join(commands)], what="Setting up systemConfig.services")


def _unknown(files: TreeFiles, verb: str, unit: str) -> ChrootError:
    known = {os.path.basename(path) for directory in _UNIT_DIRECTORIES for path in files.glob(directory, "*.*")}
    near = difflib.get_close_matches(unit, sorted(known), n=3)
    hint = f" Similar units are {', '.join(near)}." if near else ""
    return ChrootError(
        f"The unit {unit} of systemConfig.services.{verb} does not exist in the image.{hint}",
        remedy="Correct the name, or add the package that brings the unit to systemConfig.packages.",
    )


__all__ = ("set_up_services", "unit_exists", "unit_name")
