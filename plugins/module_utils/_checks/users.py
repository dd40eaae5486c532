# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Accounts: their names, homes and shells, and who can log in."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._checks.packages import has_package
from ansible_collections.os_image.composer.plugins.module_utils._checks.paths import VIRTUAL, enclosing, is_normal
from ansible_collections.os_image.composer.plugins.module_utils._template.located import LocatedMapping, Path
from ansible_collections.os_image.composer.plugins.module_utils._template.rule import Finding, Subject, doubles

SUBJECT = Subject("Users")

#: Packages that let people in by SSH.
SSH_SERVERS = ("openssh-server", "dropbear", "dropbear-bin", "tinysshd")

# Accounts that packages make for services.
_SYSTEM_ACCOUNTS = frozenset(
    (
        "_apt",
        "backup",
        "bin",
        "daemon",
        "dbus",
        "games",
        "irc",
        "list",
        "lp",
        "mail",
        "man",
        "messagebus",
        "news",
        "nobody",
        "ntp",
        "proxy",
        "sshd",
        "sync",
        "sys",
        "systemd-network",
        "systemd-resolve",
        "systemd-timesync",
        "uucp",
        "www-data",
    )
)
_NO_SHELLS = ("/bin/false", "/sbin/nologin", "/usr/bin/false", "/usr/sbin/nologin")


def users(template: LocatedMapping) -> t.List[t.Tuple[Path, LocatedMapping]]:
    """Return all users with their YAML paths."""
    return [(("systemConfig", "users", index), item) for index, item in enumerate(template["systemConfig"]["users"])]


def _may_log_in(user: LocatedMapping) -> bool:
    """Tell whether a user has a password that is not locked, or a key."""
    return bool(user.get("password", "").strip("!*") or user["sshKeys"])


@SUBJECT.rule(
    "systemConfig.users",
    example="""
    systemConfig:
      users:
        - {name: admin, groups: [adm, adm]}
    """,
)
def users_are_unique(template: LocatedMapping) -> t.Iterator[Finding]:
    """Each account, and each of its groups and keys, is there once."""
    for path, name in doubles(((*path, "name"), user["name"]) for path, user in users(template)):
        yield path, f"The user {name!r} is there twice. Put everything about a user into one entry."
    for path, user in users(template):
        for key, what in (("groups", "group"), ("sshKeys", "key")):
            for place, _value in doubles(((*path, key, index), value) for index, value in enumerate(user[key])):
                yield place, f"The user {user['name']!r} has this {what} twice. Remove one."


@SUBJECT.rule(
    "systemConfig.users",
    example="""
    systemConfig:
      users:
        - {name: admin, uid: 1500}
        - {name: kiosk, uid: 1500}
    """,
)
def each_user_has_its_uid(template: LocatedMapping) -> t.Iterator[Finding]:
    """Each account has a number of its own; that of root is 0."""
    owners = {0: "root"}
    for path, user in users(template):
        uid, name = user.get("uid"), user["name"]
        if uid is None:
            continue
        if name == "root" and uid != 0:
            yield (*path, "uid"), "The uid of root is 0 in every system. Remove uid."
        elif owners.setdefault(uid, name) != name:
            yield (
                (*path, "uid"),
                f"The uid {uid} is that of {owners[uid]!r} already, so that both would be one for the system. "
                "Give each user its own.",
            )


# The package, and those that need it; if they should not any more, that is told when the users are made.
_BRING_SUDO = ("sudo", "ubuntu-minimal")


@SUBJECT.rule(
    "systemConfig.users",
    "systemConfig.packages",
    example="""
    systemConfig:
      users:
        - {name: admin, sudo: true}
        - {name: kiosk, shell: /bin/bash, startupScript: /usr/bin/kiosk}
    """,
)
def user_settings_have_effect(template: LocatedMapping) -> t.Iterator[Finding]:
    """What is said of a user can be done, and does not contradict itself."""
    for path, user in users(template):
        if "shell" in user and "startupScript" in user:
            yield (*path, "shell"), "startupScript takes the place of the login shell. Remove one of the two."
        for key in ("home", "shell", "startupScript"):
            if key in user and (not is_normal(user[key]) or ":" in user[key]):
                yield (*path, key), f"The path {user[key]!r} must be written without //, ., .. and : in it."
        if user["sudo"] and user["name"] != "root" and not has_package(template, *_BRING_SUDO):
            yield (*path, "sudo"), "sudo needs the package sudo. Add it to systemConfig.packages."
        virtual = enclosing(user.get("home", ""), VIRTUAL)
        if virtual and user["sshKeys"]:
            yield (
                (*path, "home"),
                f"SSH keys in {user['home']} would not stay in the image, as {virtual} is empty there. "
                "Use another directory.",
            )


@SUBJECT.rule(
    "systemConfig.users",
    "systemConfig.additionalFiles",
    example="""
    systemConfig:
      additionalFiles:
        - {local: kiosk.sh, final: /usr/local/bin/kiosk, mode: "0644"}
      users:
        - {name: kiosk, startupScript: /usr/local/bin/kiosk}
    """,
)
def login_programs_can_run(template: LocatedMapping) -> t.Iterator[Finding]:
    """A login shell, or what runs in its place, that the template brings may be executed."""
    modes = {item["final"]: item.get("mode") for item in template["systemConfig"]["additionalFiles"]}
    for path, user in users(template):
        for key in ("shell", "startupScript"):
            mode = modes.get(user.get(key))
            if mode is not None and not int(mode, 8) & 0o111:
                yield (
                    (*path, key),
                    f"{user[key]} comes from additionalFiles with the mode {mode} and cannot be executed. "
                    'Use mode: "0755" there.',
                )


@SUBJECT.advice(
    "systemConfig.users",
    "systemConfig.packages",
    example="""
    systemConfig:
      users:
        - {name: worker}
    """,
)
def somebody_can_log_in(template: LocatedMapping) -> t.Iterator[Finding]:
    """Somebody has a password or a key, and keys have a server."""
    if not any(_may_log_in(user) and user.get("shell") not in _NO_SHELLS for _path, user in users(template)):
        yield (
            ("systemConfig", "users"),
            "No user has a password or an SSH key: nobody can log in to the image. Add a user to systemConfig.users.",
        )
    for path, user in users(template):
        if user["sshKeys"] and not has_package(template, *SSH_SERVERS):
            yield (
                (*path, "sshKeys"),
                f"The user {user['name']!r} has SSH keys, but systemConfig.packages names no SSH server. "
                "Add openssh-server.",
            )


@SUBJECT.advice(
    "systemConfig.users",
    example="""
    systemConfig:
      users:
        - {name: admin, password: not-a-secret, shell: /usr/sbin/nologin}
    """,
)
def logins_have_a_shell(template: LocatedMapping) -> t.Iterator[Finding]:
    """Who has a password or a key has a shell, too."""
    for path, user in users(template):
        if _may_log_in(user) and user.get("shell") in _NO_SHELLS:
            yield (
                (*path, "shell"),
                f"The user {user['name']!r} has a password or a key, but {user['shell']} ends every session at once. "
                "Use a shell, or remove the password and the keys.",
            )


@SUBJECT.advice(
    "systemConfig.users",
    example="""
    systemConfig:
      users:
        - {name: www-data, password: not-a-secret}
    """,
)
def system_accounts_stay_closed(template: LocatedMapping) -> t.Iterator[Finding]:
    """Nobody logs in to the accounts that services run as."""
    for path, user in users(template):
        if user["name"] in _SYSTEM_ACCOUNTS and (_may_log_in(user) or user["sudo"]):
            yield (
                (*path, "name"),
                f"{user['name']} is an account that services run as; who breaks into one of them gets what is given "
                "to it here. Use an account of its own.",
            )


@SUBJECT.advice(
    "systemConfig.users",
    example="""
    systemConfig:
      users:
        - {name: root, home: /home/root}
    """,
)
def root_has_its_home(template: LocatedMapping) -> t.Iterator[Finding]:
    """root is at home in /root."""
    for path, user in users(template):
        if user["name"] == "root" and user.get("home", "/root") != "/root":
            yield (
                (*path, "home"),
                f"Packages look for the files of root in /root, not in {user['home']}. Remove home.",
            )


__all__ = ("SSH_SERVERS", "SUBJECT", "users")
