# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Accounts: their names, passwords and SSH keys."""

from __future__ import annotations

import base64
import binascii
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._template.checks.packages import has_package
from ansible_collections.os_image.composer.plugins.module_utils._template.checks.paths import is_normal
from ansible_collections.os_image.composer.plugins.module_utils._template.checks.rule import Finding, Subject, doubles
from ansible_collections.os_image.composer.plugins.module_utils._template.located import Mapping, Path

SUBJECT = Subject("Users")


def _users(template: Mapping) -> t.List[t.Tuple[Path, Mapping]]:
    return [(("systemConfig", "users", index), item) for index, item in enumerate(template["systemConfig"]["users"])]


@SUBJECT.rule("systemConfig.users")
def users_are_unique(template: Mapping) -> t.Iterator[Finding]:
    """Each account, and each of its groups and keys, is there once."""
    for path, name in doubles(((*path, "name"), user["name"]) for path, user in _users(template)):
        yield path, f"The user {name!r} is there twice. Put everything about a user into one entry."
    for path, user in _users(template):
        for key, what in (("groups", "group"), ("sshKeys", "key")):
            for place, _value in doubles(((*path, key, index), value) for index, value in enumerate(user[key])):
                yield place, f"The user {user['name']!r} has this {what} twice. Remove one."


#: The names of crypt(3) methods by the beginnings of their hashes.
_CRYPT_METHODS: t.Mapping[str, str] = {
    "$1$": "md5",
    "$2a$": "bcrypt",
    "$2b$": "bcrypt",
    "$2y$": "bcrypt",
    "$5$": "sha256",
    "$6$": "sha512",
    "$y$": "yescrypt",
    "$gy$": "gost-yescrypt",
    "$7$": "scrypt",
}
_CRYPT = re.compile(r"\$[0-9a-z]{1,2}\$[./A-Za-z0-9$,=+]{8,400}\Z")


def crypt_method(password: str) -> str | None:
    """Return the method of a hashed password; V(None) when it is plain text."""
    return next((name for prefix, name in _CRYPT_METHODS.items() if password.startswith(prefix)), None)


@SUBJECT.rule("systemConfig.users")
def passwords_can_be_stored(template: Mapping) -> t.Iterator[Finding]:
    """A password is a hash in a known form, or plain text that can be hashed."""
    for path, user in _users(template):
        password, algorithm = user.get("password"), user.get("hash_algo")
        place = (*path, "password")
        if password is None:
            if algorithm is not None:
                yield (*path, "hash_algo"), "hash_algo without a password has no effect. Remove it, or add a password."
            continue
        method = crypt_method(password)
        if password == "":
            yield place, "The password is empty. Remove the key for an account that is locked for passwords."
        elif password.startswith("$") and (method is None or not _CRYPT.match(password)):
            yield (
                place,
                "The password begins with $, but is no hash in a form of crypt(3). Make one with: openssl passwd -6",
            )
        elif method is not None:
            if algorithm is not None and algorithm != method:
                yield (
                    (*path, "hash_algo"),
                    f"The password is a hash made by {method}, not by {algorithm}. Correct or remove hash_algo.",
                )
        elif algorithm in ("bcrypt", "md5"):
            yield (
                (*path, "hash_algo"),
                f"A plain password is not hashed by {algorithm} here. Use sha512, or give the hash itself.",
            )
        elif not password.isprintable():
            yield place, "The password contains characters that cannot be typed. Remove them."


_KEY_TYPES = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)


def _key_problem(line: str) -> str | None:
    """Say what is wrong with a line of authorized_keys."""
    if "PRIVATE KEY" in line:
        return "This is a private key, which must never be in an image. Use the public one, from the file *.pub."
    if "\n" in line.strip():
        return "A key must be one line. Write each key as an item of its own."
    words = line.split()
    place = next((index for index, word in enumerate(words) if word in _KEY_TYPES), None)
    if place is None:
        known = ", ".join(_KEY_TYPES[:3])
        return f"This is no public SSH key. It must begin with its type ({known}, ...)."
    if place + 1 >= len(words):
        return "The key itself is missing after its type. Copy the whole line from the file *.pub."
    try:
        blob = base64.b64decode(words[place + 1], validate=True)
    except (binascii.Error, ValueError):
        blob = b""
    name = words[place].encode("ascii")
    if not blob.startswith(len(name).to_bytes(4, "big") + name) or len(blob) < len(name) + 36:
        return "The key is damaged: its content does not fit its type. Copy the whole line from the file *.pub."
    return None


@SUBJECT.rule("systemConfig.users")
def ssh_keys_are_public_keys(template: Mapping) -> t.Iterator[Finding]:
    """SSH keys are whole public keys."""
    for path, user in _users(template):
        for index, line in enumerate(user["sshKeys"]):
            problem = _key_problem(line)
            if problem:
                yield (*path, "sshKeys", index), problem


@SUBJECT.rule("systemConfig.users", "systemConfig.packages")
def user_settings_have_effect(template: Mapping) -> t.Iterator[Finding]:
    """What is said of a user can be done, and does not contradict itself."""
    for path, user in _users(template):
        if "shell" in user and "startupScript" in user:
            yield (*path, "shell"), "startupScript takes the place of the login shell. Remove one of the two."
        for key in ("home", "shell", "startupScript"):
            if key in user and (not is_normal(user[key]) or ":" in user[key]):
                yield (*path, key), f"The path {user[key]!r} must be written without //, ., .. and : in it."
        if user["sudo"] and user["name"] != "root" and not has_package(template, "sudo"):
            yield (*path, "sudo"), "sudo needs the package sudo. Add it to systemConfig.packages."


@SUBJECT.advice("systemConfig.users", "systemConfig.packages")
def somebody_can_log_in(template: Mapping) -> t.Iterator[Finding]:
    """Somebody has a password or a key, and keys have a server."""
    users = _users(template)
    if not any(user.get("password") or user["sshKeys"] for _path, user in users):
        yield (
            ("systemConfig", "users"),
            "No user has a password or an SSH key: nobody can log in to the image. Add a user to systemConfig.users.",
        )
    for path, user in users:
        if user["sshKeys"] and not has_package(template, "openssh-server", "dropbear", "dropbear-bin", "tinysshd"):
            yield (
                (*path, "sshKeys"),
                f"The user {user['name']!r} has SSH keys, but systemConfig.packages names no SSH server. "
                "Add openssh-server.",
            )


@SUBJECT.advice("systemConfig.users")
def password_hashes_are_strong(template: Mapping) -> t.Iterator[Finding]:
    """MD5 hashes can be guessed."""
    for path, user in _users(template):
        if crypt_method(user.get("password", "")) == "md5":
            yield (
                (*path, "password"),
                f"The password of {user['name']!r} is hashed by MD5, which is easily guessed. Use sha512.",
            )


__all__ = ("SUBJECT", "crypt_method")
