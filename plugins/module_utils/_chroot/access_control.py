# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Mandatory access control: SELinux and AppArmor in the tree. What the kernel is told is in M(_boot.cmdline).

The files of the tree have no SELinux labels yet; they get them when the image is composed (M(_disk.selinux)). So the
mode holds from the first boot on, and nothing has to be labelled in the running system.
"""

from __future__ import annotations

import os
import re

from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Security
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles

_SELINUX_CONFIG = "/etc/selinux/config"
_APPARMOR_PARSER = "/sbin/apparmor_parser"


def set_up_access_control(files: TreeFiles, security: Security) -> None:
    """Set SELinux's mode, and see that what SELinux and AppArmor need is there.

    :param security: The template's C(systemConfig.security).
    :raises ChrootError: The policy, or the program that loads profiles, is not in the image.
    """
    if security.apparmor == "enabled" and not files.is_executable(_APPARMOR_PARSER):
        raise ChrootError(
            "systemConfig.security.apparmor is enabled, but nothing in the image loads profiles: "
            f"{_APPARMOR_PARSER} is missing.",
            remedy="Add the package apparmor to systemConfig.packages, or set apparmor to disabled.",
        )
    mode = security.selinux
    if mode == "disabled":
        if files.exists(_SELINUX_CONFIG):
            _set_mode(files, mode)
    elif mode:
        _require_policy(files, mode)
        _set_mode(files, mode)


def _policies(files: TreeFiles) -> list[str]:
    """Return the names of the policies of the tree, sorted."""
    return [
        os.path.basename(directory)
        for directory in files.glob("/etc/selinux", "*")
        if files.is_directory(directory) and files.glob(f"{directory}/policy", "policy.*")
    ]


def _require_policy(files: TreeFiles, mode: str) -> None:
    """Check that the policy that SELINUXTYPE names is in the tree; where it names none, name the only one."""
    policies = _policies(files)
    if not policies:
        raise ChrootError(
            f"systemConfig.security.selinux is {mode}, but the image has no policy (/etc/selinux/*/policy).",
            remedy="Add a policy to systemConfig.packages (selinux-policy-default for Debian, selinux-policy-targeted "
            "for others), or set selinux to disabled.",
        )
    match = re.search(r"^SELINUXTYPE=[ \t]*(\S+)", files.read(_SELINUX_CONFIG), re.MULTILINE)
    if match is None and len(policies) == 1:
        # libselinux takes the word "targeted" for the default, whatever the distribution calls its policy.
        text = files.read(_SELINUX_CONFIG)
        files.write(_SELINUX_CONFIG, f"{_ending_in_newline(text)}SELINUXTYPE={policies[0]}\n", follow=True)
    elif match is None or match[1] not in policies:
        named = f"names the policy {match[1]}" if match else "names no policy"
        raise ChrootError(
            f"{_SELINUX_CONFIG} of the image {named}, but the image has {', '.join(policies)}.",
            remedy="Correct SELINUXTYPE in that file, by systemConfig.additionalFiles for example.",
        )


def _set_mode(files: TreeFiles, mode: str) -> None:
    """Set SELINUX= in SELinux's configuration, and keep its other lines."""
    line = f"SELINUX={mode}"
    text, found = re.subn(r"^SELINUX=.*$", line, files.read(_SELINUX_CONFIG), flags=re.MULTILINE)
    files.write(_SELINUX_CONFIG, text if found else f"{_ending_in_newline(text)}{line}\n", follow=True)


def _ending_in_newline(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"


__all__ = ("set_up_access_control",)
