# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import subprocess

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._template.located import from_data
from ansible_collections.os_image.composer.plugins.module_utils._template.secrets import (
    derive_salt,
    hash_password,
    hash_passwords,
    public,
    redacted,
)


def test_salts_are_stable_and_differ() -> None:
    salts = {derive_salt("image", "a"), derive_salt("image", "b"), derive_salt("other", "a"), derive_salt("imag", "ea")}
    assert len(salts) == 4
    assert derive_salt("image", "a") in salts
    for salt in salts:
        assert len(salt) == 16
        assert set(salt) <= set("./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


@pytest.mark.parametrize(("algorithm", "prefix", "option"), [("sha512", "$6$", "-6"), ("sha256", "$5$", "-5")])
def test_hashes_are_those_of_crypt(algorithm: str, prefix: str, option: str) -> None:
    hashed = hash_password("grün & blau", salt="saltsalt", algorithm=algorithm)
    assert hashed.startswith(f"{prefix}saltsalt$")
    expected = subprocess.run(
        ["openssl", "passwd", option, "-salt", "saltsalt", "grün & blau"], check=True, capture_output=True, text=True
    )
    assert hashed == expected.stdout.strip()


def test_only_plain_passwords_are_hashed() -> None:
    given = "$6$salt$" + "x" * 86
    users = [
        {"name": "a", "password": "plain"},
        {"name": "b", "password": given, "hash_algo": "sha512"},
        {"name": "c", "password": "!"},
        {"name": "d"},
    ]
    template = from_data({"image": {"name": "i"}, "systemConfig": {"users": users}}, file="x")
    hash_passwords(template)
    result = template["systemConfig"]["users"]
    assert result[0]["password"] == hash_password("plain", salt=derive_salt("i", "a"))
    assert result[1:] == [{"name": "b", "password": given}, {"name": "c", "password": "!"}, {"name": "d"}]


def test_redacted() -> None:
    template = {"systemConfig": {"users": [{"name": "a", "password": "x"}, {"name": "b", "password": 3}]}}
    shown = redacted(template)
    assert shown["systemConfig"]["users"] == [
        {"name": "a", "password": "(hidden)"},
        {"name": "b", "password": "(hidden)"},
    ]
    assert template["systemConfig"]["users"][0]["password"] == "x"


def test_what_everybody_may_see() -> None:
    template = {
        "signing": {"checksums": {"key": "sha256:12", "certificate": "sha256:34"}},
        "configurations": [{"cmd": "echo x"}],
        "repositories": ["https://me:secret@example.org/x", "http://example.org/@x"],
    }
    assert public(template) == {
        "signing": {"checksums": {"key": "(hidden)", "certificate": "sha256:34"}},
        "configurations": [{"cmd": f"sha256:{hashlib.sha256(b'echo x').hexdigest()}"}],
        "repositories": ["https://example.org/x", "http://example.org/@x"],
    }
