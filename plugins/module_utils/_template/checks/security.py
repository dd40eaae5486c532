# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Mandatory access control, and stricter settings."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._template.checks.boot import kernel_words
from ansible_collections.os_image.composer.plugins.module_utils._template.checks.packages import has_package
from ansible_collections.os_image.composer.plugins.module_utils._template.checks.rule import Finding, Subject
from ansible_collections.os_image.composer.plugins.module_utils._template.checks.users import SSH_SERVERS, users
from ansible_collections.os_image.composer.plugins.module_utils._template.located import Mapping

SUBJECT = Subject("Security")

# Words of the kernel command line that say another thing than a setting does.
_CONTRADICTIONS: t.Mapping[t.Tuple[str, str], t.Tuple[str, ...]] = {
    ("selinux", "enforcing"): ("selinux=0", "enforcing=0", "security=apparmor"),
    ("selinux", "permissive"): ("selinux=0", "enforcing=1", "security=apparmor"),
    ("selinux", "disabled"): ("selinux=1", "enforcing=1", "security=selinux"),
    ("apparmor", "enabled"): ("apparmor=0", "security=selinux"),
    ("apparmor", "disabled"): ("apparmor=1", "security=apparmor"),
}


def _is_on(template: Mapping, module: str) -> bool:
    return template["systemConfig"]["security"].get(module, "disabled") != "disabled"


@SUBJECT.rule(
    "systemConfig.security",
    example="""
    systemConfig:
      security:
        selinux: enforcing
        apparmor: enabled
      packages: [selinux-policy-default, apparmor]
    """,
)
def one_security_module_is_chosen(template: Mapping) -> t.Iterator[Finding]:
    """SELinux and AppArmor are not used together."""
    if _is_on(template, "selinux") and _is_on(template, "apparmor"):
        mode = template["systemConfig"]["security"]["selinux"]
        yield (
            ("systemConfig", "security", "apparmor"),
            f"The kernel runs either AppArmor or SELinux, which is {mode} here. Remove one of the two.",
        )


@SUBJECT.advice(
    "systemConfig.security",
    "systemConfig.packages",
    example="""
    systemConfig:
      security:
        selinux: enforcing
    """,
)
def security_modules_have_their_policies(template: Mapping) -> t.Iterator[Finding]:
    """SELinux has a policy, AppArmor the program that loads its profiles."""
    if _is_on(template, "selinux") and not has_package(template, "selinux-policy*"):
        yield (
            ("systemConfig", "security", "selinux"),
            "SELinux needs a policy, but systemConfig.packages names none. Unless another package brings it, add "
            "selinux-policy-default (Debian), or selinux-policy or selinux-policy-targeted (RPM).",
        )
    if _is_on(template, "apparmor") and not has_package(template, "apparmor", "apparmor-parser"):
        yield (
            ("systemConfig", "security", "apparmor"),
            "Profiles of AppArmor are loaded by the package apparmor, which systemConfig.packages does not name. Add "
            "it, unless another package brings it.",
        )


@SUBJECT.rule(
    "systemConfig.security",
    "systemConfig.kernel",
    example="""
    systemConfig:
      security:
        selinux: enforcing
      packages: [selinux-policy-default]
      kernel:
        cmdline: quiet selinux=0
    """,
)
def kernel_command_line_agrees_with_security(template: Mapping) -> t.Iterator[Finding]:
    """The kernel command line does not turn off what is asked for, or on what is not."""
    words = kernel_words(template)
    for (module, setting), contradictions in _CONTRADICTIONS.items():
        if template["systemConfig"]["security"].get(module) != setting:
            continue
        for word in contradictions:
            if word in words:
                yield (
                    ("systemConfig", "kernel", "cmdline"),
                    f"{word} on the kernel command line contradicts security.{module}: {setting}. "
                    f"Remove {word}: the build adds what is needed.",
                )


@SUBJECT.advice(
    "systemConfig.security",
    "systemConfig.packages",
    example="""
    systemConfig:
      security:
        hardening: [ssh]
    """,
)
def ssh_hardening_has_a_server(template: Mapping) -> t.Iterator[Finding]:
    """Stricter settings for SSH have a server that reads them."""
    if "ssh" in template["systemConfig"]["security"]["hardening"] and not has_package(template, "openssh-server"):
        yield (
            ("systemConfig", "security", "hardening"),
            "The set ssh has settings of OpenSSH's server, which systemConfig.packages does not name. "
            "Add openssh-server, or remove ssh.",
        )


@SUBJECT.advice(
    "systemConfig.security",
    "systemConfig.users",
    "systemConfig.packages",
    example="""
    systemConfig:
      security:
        hardening: [ssh]
      packages: [openssh-server]
      users:
        - {name: admin, password: not-a-secret}
    """,
)
def ssh_hardening_lets_somebody_in(template: Mapping) -> t.Iterator[Finding]:
    """Where SSH takes neither passwords nor root, another user has a key."""
    hardened = "ssh" in template["systemConfig"]["security"]["hardening"] and has_package(template, *SSH_SERVERS)
    somebody = any(user.get("password") or user["sshKeys"] for _path, user in users(template))
    if hardened and somebody and not any(user["sshKeys"] for _path, user in users(template) if user["name"] != "root"):
        yield (
            ("systemConfig", "security", "hardening"),
            "The set ssh refuses passwords and root, but no other user has an SSH key: nobody can log in by SSH. "
            "Add sshKeys to a user.",
        )


__all__ = ("SUBJECT",)
