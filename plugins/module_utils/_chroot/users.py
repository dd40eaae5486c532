# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Accounts: groups, users, passwords, SSH keys, sudo."""

from __future__ import annotations

import os
import re
import shlex
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._chroot.expectations import (
    missing_shell,
    shell_of,
)
from ansible_collections.os_image.composer.plugins.module_utils._chroot.sandbox import Sandbox
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._template.model import User
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles, is_account_id

# The groups whose members may use sudo, by distribution: Debian's first, then that of Fedora and SUSE.
_SUDO_GROUPS = ("sudo", "wheel")
_DEFAULT_SHELL = "/bin/bash"


def account_commands(
    users: t.Sequence[User],
    *,
    existing: t.Mapping[str, int],
    groups: t.Collection[str],
    sudo_group: str | None = None,
) -> list[str]:
    """Return shell commands that make the accounts.

    Numbers that the template names are taken first; the others are given in its order.

    :param existing: The users that packages have made, with their numbers.
    :param groups: The groups that exist.
    :param sudo_group: The group whose members may use sudo, if there is one.
    """
    commands = []
    known = set(groups)
    own = {user.name for user in users}.difference(existing)
    for user in users:
        for group in user.groups:
            # A user's own group has the user's number; others leave it to the users.
            if group not in known and group not in own:
                known.add(group)
                commands.append(f"groupadd --system -- {shlex.quote(group)}")
    joined = []
    for user in sorted(users, key=lambda user: user.uid is None):
        name = user.name
        options: list[str] = []
        wanted = [group for group in user.groups if group in known]
        later = [group for group in user.groups if group not in wanted and group != name]
        if later:
            joined.append(shlex.join(["usermod", "--append", "--groups", ",".join(dict.fromkeys(later)), "--", name]))
        if user.sudo and name != "root" and sudo_group:
            wanted.append(sudo_group)
        if name in existing:
            if wanted:
                options += ["--append", "--groups", ",".join(dict.fromkeys(wanted))]
            if user.home:
                options += ["--home", user.home]
            shell = shell_of(user)
            if shell:
                options += ["--shell", shell]
            if options:
                commands.append(shlex.join(["usermod", *options, "--", name]))
        else:
            if user.uid is not None:
                options += ["--uid", str(user.uid)]
            options += ["--create-home", "--home-dir", _home(user)]
            options += ["--shell", shell_of(user) or _DEFAULT_SHELL]
            options += ["--gid", name] if name in known else ["--user-group"]
            if wanted:
                options += ["--groups", ",".join(dict.fromkeys(wanted))]
            commands.append(shlex.join(["useradd", *options, "--", name]))
            known.add(name)
        if user.password_max_age is not None:
            commands.append(shlex.join(["chage", "--maxdays", str(user.password_max_age), "--", name]))
    return [*commands, *joined]


def create_users(files: TreeFiles, sandbox: Sandbox, users: t.Sequence[User]) -> None:
    """Make the accounts of the template in the tree.

    :raises ChrootError: An account cannot be made; the message names what is missing.
    :raises CommandError: A command of the tree failed.
    """
    if not users:
        return
    if any(user.sudo for user in users) and not files.is_executable("/usr/bin/sudo"):
        name = next(user.name for user in users if user.sudo)
        raise ChrootError(
            f"The user {name} shall be allowed to use sudo, but sudo is not installed in the image.",
            remedy="Add the package sudo to systemConfig.packages, or take sudo: true away.",
        )
    existing = _accounts(files, "passwd")
    groups = _accounts(files, "group")
    for user in users:
        number = existing.get(user.name, user.uid)
        if user.uid not in (None, number):
            raise ChrootError(
                f"The user {user.name} shall have the uid {user.uid}, but a package has made it with the uid {number}, "
                "and may have files that belong to that.",
                remedy="Remove uid from the user, or use another name.",
            )
        files.make_directory(os.path.dirname(_home(user)))
    sudo_group = _sudo_group(files, groups)
    commands = account_commands(users, existing=existing, groups=groups, sudo_group=sudo_group)
    passwords = [f"{user.name}:{user.password}\n" for user in users if user.password]
    if passwords:
        # Hashes come through standard input: arguments are for everybody to see.
        commands.append("chpasswd --encrypted")
    sandbox.run(
        ["/bin/sh", "-e", "-c", "\n".join(commands)],
        data="".join(passwords).encode("utf-8"),
        what="Making the accounts of systemConfig.users",
    )
    for user in users:
        _authorize_keys(files, user)
        _allow_sudo(files, user, in_group=sudo_group is not None)


def _sudo_group(files: TreeFiles, groups: t.Collection[str]) -> str | None:
    """Return the group whose members may use sudo: one that exists, and that sudoers(5) names."""
    texts = [files.read("/etc/sudoers"), *(files.read(path) for path in files.glob("/etc/sudoers.d", "*"))]
    for group in _SUDO_GROUPS:
        rule = re.compile(rf"^%{group}\s+ALL\s*=\s*\(ALL(\s*:\s*ALL)?\)\s*ALL\s*$", re.MULTILINE)
        if group in groups and any(rule.search(text) for text in texts):
            return group
    return None


def check_shells(files: TreeFiles, users: t.Sequence[User]) -> None:
    """Check that everybody's login program is there, once all files are.

    :raises ChrootError: One is not; nobody could log in.
    """
    for user in users:
        shell = shell_of(user)
        if shell and not files.is_executable(shell):
            raise missing_shell(user)


def _home(user: User) -> str:
    """Return the home directory of an account that is made."""
    return user.home or f"/home/{user.name}"


def _authorize_keys(files: TreeFiles, user: User) -> None:
    keys = [key.strip() for key in user.ssh_keys if key.strip()]
    if not keys:
        return
    uid, gid, home = _identity(files, user.name)
    files.make_directory(f"{home}/.ssh", mode=0o700, uid=uid, gid=gid)
    content = "".join(f"{key}\n" for key in keys)
    files.write(f"{home}/.ssh/authorized_keys", content, mode=0o600, uid=uid, gid=gid)


def _allow_sudo(files: TreeFiles, user: User, *, in_group: bool) -> None:
    name = user.name
    if not user.sudo or name == "root":
        return
    # Without quotation marks, capitals could be an alias, or ALL.
    subject = name if name == name.lower() else f'"{name}"'
    rule = None
    if not user.password:
        # Who logs in by key alone has no password to give.
        rule = f"{subject} ALL=(ALL:ALL) NOPASSWD: ALL\n"
    elif not in_group:
        rule = f"{subject} ALL=(ALL:ALL) ALL\n"
    if rule:
        # sudo ignores files whose names have a dot.
        files.write(f"/etc/sudoers.d/90-{name.replace('.', '%2e')}", rule, mode=0o440)


def _identity(files: TreeFiles, name: str) -> tuple[int, int, str]:
    for fields in files.accounts("passwd"):
        if fields[0] == name and len(fields) > 5 and is_account_id(fields[3]):
            return int(fields[2]), int(fields[3]), fields[5]
    raise ChrootError(f"The user {name} does not exist in the image.")


def _accounts(files: TreeFiles, database: str) -> dict[str, int]:
    return {fields[0]: int(fields[2]) for fields in files.accounts(database)}


__all__ = ("account_commands", "check_shells", "create_users")
