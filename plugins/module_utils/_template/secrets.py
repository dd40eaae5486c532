# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Passwords of users: hashed as soon as they are read, and kept out of everything that is shown."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool
from ansible_collections.os_image.composer.plugins.module_utils._template.located import LocatedMapping
from ansible_collections.os_image.composer.plugins.module_utils._template.password import crypt_method

REDACTED = "(hidden)"

_HIDDEN = ("password", "key")
_DIGESTED = ("cmd", "inline")
_CREDENTIALS = re.compile(r"://[^/@\s]*@")

_OPTIONS: t.Mapping[str, str] = {"sha512": "-6", "sha256": "-5"}
_DEFAULT_ALGORITHM = "sha512"


def derive_salt(image_name: str, user_name: str) -> str:
    """Return the salt (16 characters) of a plain password.

    It is the same on each run, or every run would change the image; it differs between images and users. The password
    itself does not enter it: whoever reads the salt in the image could try passwords against it much faster than
    against the hash.
    """
    message = f"{image_name}\0{user_name}".encode()
    digest = hmac.new(b"os_image.composer password salt", message, hashlib.sha256).digest()
    return base64.b64encode(digest, altchars=b"./").decode("ascii")[:16]


def hash_password(password: str, *, salt: str, algorithm: str = _DEFAULT_ALGORITHM) -> str:
    """Hash a plain password in the form of crypt(3).

    :param algorithm: C(sha512) or C(sha256).
    :raises ToolMissingError: There is no openssl.
    """
    openssl = find_tool("openssl")
    done = CommandRunner().run(
        [openssl, "passwd", _OPTIONS[algorithm], "-salt", salt, "-stdin"],
        data=password.encode("utf-8") + b"\n",
        timeout=60,
        log_output=False,
        what="Hashing a password",
    )
    return done.text.strip()


def hash_passwords(template: LocatedMapping) -> None:
    """Replace, in place, the plain passwords of a merged template by their hashes; hash_algo then is done with."""
    for user in template["systemConfig"]["users"]:
        password = user.get("password")
        if password and crypt_method(password) is None and password.strip("!*"):
            user["password"] = hash_password(
                password,
                salt=derive_salt(template["image"]["name"], user["name"]),
                algorithm=user.get("hash_algo", _DEFAULT_ALGORITHM),
            )
        if "hash_algo" in user:
            user.drop("hash_algo")


def redacted(template: t.Any) -> t.Any:
    """Return a copy of a template as plain JSON types, without passwords and their hashes."""
    if isinstance(template, dict):
        return {key: REDACTED if key == "password" else redacted(value) for key, value in template.items()}
    if isinstance(template, list):
        return [redacted(item) for item in template]
    return template


def public(template: t.Any) -> t.Any:
    """Return a copy of a template as plain JSON types for everybody.

    Passwords and private keys are hidden, URLs have no credentials, and of commands and scripts the SHA-256 is told, as
    they may hold something that only the build host shall know.
    """
    if isinstance(template, dict):
        return {key: _public_value(key, value) for key, value in template.items()}
    if isinstance(template, list):
        return [public(item) for item in template]
    if isinstance(template, str) and "://" in template:
        return _CREDENTIALS.sub("://", template)
    return template


def _public_value(key: str, value: t.Any) -> t.Any:
    if key in _HIDDEN and isinstance(value, str):
        return REDACTED
    if key in _DIGESTED and isinstance(value, str):
        return f"sha256:{hashlib.sha256(value.encode('utf-8')).hexdigest()}"
    return public(value)


__all__ = ("REDACTED", "derive_salt", "hash_password", "hash_passwords", "public", "redacted")
