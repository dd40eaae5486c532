# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Mandatory access control, and stricter settings."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._boot.cmdline import access_control_words, word_name
from ansible_collections.os_image.composer.plugins.module_utils._checks.boot import kernel_words
from ansible_collections.os_image.composer.plugins.module_utils._checks.disk import image_traits
from ansible_collections.os_image.composer.plugins.module_utils._checks.iso import is_live_iso
from ansible_collections.os_image.composer.plugins.module_utils._checks.packages import has_package
from ansible_collections.os_image.composer.plugins.module_utils._checks.users import users
from ansible_collections.os_image.composer.plugins.module_utils._chroot.blocked_modules import BLOCKED_MODULES
from ansible_collections.os_image.composer.plugins.module_utils._template.located import LocatedMapping
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Security
from ansible_collections.os_image.composer.plugins.module_utils._template.rule import Finding, Subject

SUBJECT = Subject("Security")


def _is_on(template: LocatedMapping, module: str) -> bool:
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
def one_security_module_is_chosen(template: LocatedMapping) -> t.Iterator[Finding]:
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
def security_modules_have_their_policies(template: LocatedMapping) -> t.Iterator[Finding]:
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
    "target",
    "iso",
    example="""
    target:
      imageType: initrd
    disk:
      artifacts: []
      partitions: []
    systemConfig:
      security:
        selinux: enforcing
      packages: [selinux-policy-default]
    """,
)
def files_can_have_labels(template: LocatedMapping) -> t.Iterator[Finding]:
    """SELinux is not asked for in an initrd, whose files have no labels, nor enforced by a live system."""
    path = ("systemConfig", "security", "selinux")
    if not image_traits(template).keeps_attributes and _is_on(template, "selinux"):
        yield (
            path,
            "An initrd is an archive that holds no SELinux labels, so that a policy would know none of its files. "
            "Remove selinux, or use imageType: raw or iso.",
        )
    if is_live_iso(template) and template["systemConfig"]["security"].get("selinux") == "enforcing":
        yield (
            path,
            "The root directory of a live system lies in memory and has the label of that, so that no service could "
            "look into it. Set selinux to permissive, or use imageType: raw, or an installer.",
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
def kernel_command_line_agrees_with_security(template: LocatedMapping) -> t.Iterator[Finding]:
    """The kernel command line says nothing else about SELinux and AppArmor than systemConfig.security does."""
    security, path = template["systemConfig"]["security"], ("systemConfig", "kernel", "cmdline")
    wanted = {word_name(word): word for word in access_control_words(Security.from_data(security))}
    for word in kernel_words(template):
        name, value = word_name(word), word.partition("=")[2]
        if name == "enforcing" and _is_on(template, "selinux"):
            mode = security["selinux"]
            if value != {"enforcing": "1", "permissive": "0"}[mode]:
                yield path, f"{word} overrules systemConfig.security, by which SELinux is {mode}. Remove it."
        elif word != wanted.get(name, word):
            yield (
                path,
                f"{word} contradicts systemConfig.security, which makes it {wanted[name]}. Remove one of the two.",
            )
        elif name == "lsm" and "security" in wanted:
            module = wanted["security"].partition("=")[2]
            if module not in value.split(","):
                yield (
                    path,
                    f"{word} leaves out {module}, which systemConfig.security asks for. Add it to the list, or remove "
                    "the word.",
                )


@SUBJECT.rule(
    "systemConfig.security",
    "systemConfig.kernel",
    example="""
    systemConfig:
      security:
        hardening: [modules]
      kernel:
        enableExtraModules: nvme sctp
    """,
)
def blocked_modules_are_not_wanted(template: LocatedMapping) -> t.Iterator[Finding]:
    """The initramfs is not asked to load what hardening keeps from being loaded."""
    config = template["systemConfig"]
    if "modules" not in config["security"]["hardening"]:
        return
    for name in config["kernel"]["enableExtraModules"].split():
        if name.replace("-", "_") in BLOCKED_MODULES:
            yield (
                ("systemConfig", "kernel", "enableExtraModules"),
                f"The module {name} is one that security.hardening keeps from being loaded. Remove it here, or modules "
                "there.",
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
def ssh_hardening_has_a_server(template: LocatedMapping) -> t.Iterator[Finding]:
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
    example="""
    systemConfig:
      security:
        hardening: [ssh]
      packages: [openssh-server]
      users:
        - {name: admin, password: not-a-secret}
    """,
)
def somebody_can_log_in_by_ssh(template: LocatedMapping) -> t.Iterator[Finding]:
    """Where SSH takes neither passwords nor root, somebody else has a key."""
    hardening, everybody = template["systemConfig"]["security"]["hardening"], [user for _path, user in users(template)]
    if "ssh" not in hardening or any(user["sshKeys"] and user["name"] != "root" for user in everybody):
        return
    # Where nobody can log in at all, another rule says so.
    if any(user.get("password") or user["sshKeys"] for user in everybody):
        yield (
            ("systemConfig", "security", "hardening", hardening.index("ssh")),
            "ssh lets in neither passwords nor root, and nobody else has an SSH key: nobody can log in over the "
            "network. Give a user sshKeys.",
        )


__all__ = ("SUBJECT",)
