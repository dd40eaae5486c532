# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Passwords and SSH keys of users."""

from __future__ import annotations

import base64
import binascii
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._checks.users import users
from ansible_collections.os_image.composer.plugins.module_utils._template.located import LocatedMapping
from ansible_collections.os_image.composer.plugins.module_utils._template.password import crypt_method
from ansible_collections.os_image.composer.plugins.module_utils._template.rule import Finding, Subject

SUBJECT = Subject("Passwords and SSH keys")

# What follows the beginning of a hash: parameters, salt, and the hash itself; see crypt(5).
_CRYPT_FORMS: t.Mapping[str, str] = {
    "md5": r"[^$:\s]{0,8}\$[./A-Za-z0-9]{22}",
    "bcrypt": r"[0-3][0-9]\$[./A-Za-z0-9]{53}",
    "sha256": r"(rounds=[0-9]+\$)?[^$:\s]{0,16}\$[./A-Za-z0-9]{43}",
    "sha512": r"(rounds=[0-9]+\$)?[^$:\s]{0,16}\$[./A-Za-z0-9]{86}",
    "yescrypt": r"[./A-Za-z0-9]+\$[./A-Za-z0-9]{0,86}\$[./A-Za-z0-9]{43}",
    "gost-yescrypt": r"[./A-Za-z0-9]+\$[./A-Za-z0-9]{0,86}\$[./A-Za-z0-9]{43}",
    "scrypt": r"[./A-Za-z0-9]{11,97}\$[./A-Za-z0-9]{43}",
}


def _hash_problem(password: str) -> str | None:
    """Say what is wrong with a password that looks like a hash."""
    if password.lstrip("!*") != password and password.lstrip("!*").startswith("$"):
        return "The password is a hash that is locked by ! or *. Remove the key for an account without a password."
    if not password.startswith("$"):
        return None
    method = crypt_method(password)
    if method is None:
        return "The password begins with $, but is no hash in a form of crypt(3). Make one with: openssl passwd -6"
    if not re.match(rf"\$[0-9a-z]+\${_CRYPT_FORMS[method]}\Z", password):
        return f"The password is no whole hash of the method {method}: a part is missing or changed. Copy it once more."
    return None


@SUBJECT.rule(
    "systemConfig.users",
    example="""
    systemConfig:
      users:
        - {name: admin, password: $6$Kc1Yp0dRz8Qe$fHh3tT9m}
    """,
)
def passwords_can_be_stored(template: LocatedMapping) -> t.Iterator[Finding]:
    """A password is a whole hash in a known form, or plain text that can be hashed."""
    for path, user in users(template):
        password, algorithm = user.get("password"), user.get("hash_algo")
        place = (*path, "password")
        if password is None:
            if algorithm is not None:
                yield (*path, "hash_algo"), "hash_algo without a password has no effect. Remove it, or add a password."
            continue
        method, problem = crypt_method(password), _hash_problem(password)
        if password == "":
            yield place, "The password is empty. Remove the key for an account that is locked for passwords."
        elif problem is not None:
            yield place, problem
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


@SUBJECT.advice(
    "systemConfig.users",
    example="""
    systemConfig:
      users:
        - {name: admin, password: $1$saltsalt$qjXMvbEw8oaL.CzflDtaK/}
    """,
)
def password_hashes_are_strong(template: LocatedMapping) -> t.Iterator[Finding]:
    """MD5 hashes can be guessed."""
    for path, user in users(template):
        if crypt_method(user.get("password", "")) == "md5":
            yield (
                (*path, "password"),
                f"The password of {user['name']!r} is hashed by MD5, which is easily guessed. Use sha512.",
            )


@SUBJECT.advice(
    "systemConfig.users",
    example="""
    systemConfig:
      users:
        - {name: admin, password: not-a-secret, passwordMaxAge: 0}
    """,
)
def password_ages_leave_time(template: LocatedMapping) -> t.Iterator[Finding]:
    """A password that has to be changed exists, and is valid for a day at least."""
    for path, user in users(template):
        age, place = user.get("passwordMaxAge"), (*path, "passwordMaxAge")
        if age == 0:
            yield place, "The password has to be changed at every login. Give the days that it is valid for."
        elif age is not None and "password" not in user:
            yield (
                place,
                f"The user {user['name']!r} has no password whose age could be limited. Remove passwordMaxAge, or add "
                "a password.",
            )


_KEY_TYPES = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)


# Of 1024 bits, for the example below.
_SHORT_KEY = (
    "AAAAB3NzaC1yc2EAAAADAQABAAAAgQCwIeg9dGWHBWQK/HNkeOrnLZ5ArEyfHeVuFEho3u19iigqpLnnYqmPWZLvT0J+SgbjMn/p"
    "wOnkIqVHN7L+sDyxs58SEy0idqERIsCxhUO3IohHmTTJoa5UAD9pRyKIxjxMCwhBJQj4y5l7h+XU0s7rZhn5B0YgPjRzmZQYxEfxJw=="
)


def _key_problem(line: str) -> str | None:
    """Say what is wrong with a line of authorized_keys."""
    if "PRIVATE KEY" in line:
        return "This is a private key, which must never be in an image. Use the public one, from the file *.pub."
    if "\n" in line.strip():
        return "A key must be one line. Write each key as an item of its own."
    words = line.split()
    if "ssh-dss" in words:
        return "OpenSSH does not accept DSA keys any more. Make one of the type ssh-ed25519."
    place = next((index for index, word in enumerate(words) if word in _KEY_TYPES), None)
    if place is None:
        known = ", ".join(_KEY_TYPES[:3])
        return f"This is no public SSH key. It must begin with its type ({known}, ...)."
    if place + 1 >= len(words):
        return "The key itself is missing after its type. Copy the whole line from the file *.pub."
    name, blob = words[place].encode("ascii"), _key_blob(line)
    if not blob.startswith(len(name).to_bytes(4, "big") + name) or len(blob) < len(name) + 36:
        return "The key is damaged: its content does not fit its type. Copy the whole line from the file *.pub."
    return None


def _key_blob(line: str) -> bytes:
    """Return the content of a key, which begins with its type; empty when it has none."""
    words = line.split()
    place = next((index for index, word in enumerate(words) if word in _KEY_TYPES), len(words))
    try:
        return base64.b64decode("".join(words[place + 1 : place + 2]), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _rsa_bits(line: str) -> int | None:
    """Return the size of an RSA key; V(None) for other keys. Its fields are type, exponent, modulus (RFC 4253, 6.6)."""
    rest, fields = _key_blob(line), []
    while len(rest) > 4:
        length = int.from_bytes(rest[:4], "big")
        fields.append(rest[4 : 4 + length])
        rest = rest[4 + length :]
    if len(fields) != 3 or fields[0] != b"ssh-rsa":
        return None
    return int.from_bytes(fields[2], "big").bit_length()


@SUBJECT.rule(
    "systemConfig.users",
    example="""
    systemConfig:
      packages: [openssh-server]
      users:
        - name: admin
          sshKeys:
            - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF/pgDVl admin@example.org
    """,
)
def ssh_keys_are_public_keys(template: LocatedMapping) -> t.Iterator[Finding]:
    """SSH keys are whole public keys."""
    for path, user in users(template):
        for index, line in enumerate(user["sshKeys"]):
            problem = _key_problem(line)
            if problem:
                yield (*path, "sshKeys", index), problem


@SUBJECT.advice(
    "systemConfig.users",
    example=f"""
    systemConfig:
      packages: [openssh-server]
      users:
        - name: admin
          sshKeys:
            - ssh-rsa {_SHORT_KEY} admin@example.org
    """,
)
def ssh_keys_are_strong(template: LocatedMapping) -> t.Iterator[Finding]:
    """RSA keys have the size that servers accept."""
    for path, user in users(template):
        for index, line in enumerate(user["sshKeys"]):
            bits = _rsa_bits(line)
            if bits is not None and bits < 2048:
                yield (
                    (*path, "sshKeys", index),
                    f"This RSA key has {bits} bits; many servers refuse fewer than 2048. Use one of the type "
                    "ssh-ed25519.",
                )


__all__ = ("SUBJECT",)
