# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signatures of root hashes, by keys in files and on a token of SoftHSM."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import re
import subprocess
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._disk.verity import SIGNATURE_SIZE
from ansible_collections.os_image.composer.plugins.module_utils._errors import SigningError
from ansible_collections.os_image.composer.plugins.module_utils._signing.private_key import opened_key
from ansible_collections.os_image.composer.plugins.module_utils._signing.root_hash import (
    sign_root_hash,
    signature_problem,
    write_root_hash_signature,
)
from ansible_collections.os_image.composer.tests.support.token_keys import Token

ROOT_HASH = "d89fb251e4dd1b94ff0f73e20cd7b1f9f205bd482490fa7b9e11cc4af71f8ad8"
SECRET = "open sesame"


def _pair(directory: pathlib.Path, bits: int = 2048, *, name: str = "db", subject: str = "/CN=Fleet db/") -> list[str]:
    """Return the paths of a key and its certificate."""
    key, certificate = str(directory / f"{name}.key"), str(directory / f"{name}.crt")
    command = ["openssl", "req", "-newkey", f"rsa:{bits}", "-nodes", "-keyout", key, "-new", "-x509", "-days", "2"]
    subprocess.run([*command, "-subj", subject, "-out", certificate], check=True, capture_output=True)
    return [key, certificate]


def _sign(key: str, certificate: str, runner: CommandRunner, passphrase: str | None = None) -> bytes:
    with opened_key(key, runner, passphrase=passphrase) as opened:
        return sign_root_hash(ROOT_HASH, opened, certificate, "ab" * 32)


def _taken_apart(data: bytes) -> t.Dict[str, t.Any]:
    text, _newline, rest = data.partition(b"\n")
    assert rest.strip(b"\0") == b""
    return dict(json.loads(text))


@pytest.mark.parametrize(
    ("bits", "subject"),
    [(2048, "/CN=Fleet db/"), (4096, f"/O={'o' * 60}/OU={'u' * 60}/L={'l' * 60}/CN={'c' * 60}/")],
    ids=["short", "long"],
)
def test_openssl_verifies_it(tmp_path: pathlib.Path, bits: int, subject: str) -> None:
    key, certificate = _pair(tmp_path, bits, subject=subject)
    data = _sign(key, certificate, CommandRunner())
    assert (len(data) % 4096, len(data) <= SIGNATURE_SIZE) == (0, True)
    assert data == _sign(key, certificate, CommandRunner())
    document = _taken_apart(data)
    signature = base64.b64decode(document["signature"])
    (tmp_path / "p7s").write_bytes(signature)
    (tmp_path / "content").write_text(ROOT_HASH)
    command = ["openssl", "smime", "-verify", "-binary", "-inform", "DER", "-in", str(tmp_path / "p7s")]
    command += ["-content", str(tmp_path / "content"), "-CAfile", certificate, "-purpose", "any", "-out", os.devnull]
    subprocess.run(command, check=True, capture_output=True)
    # The kernel takes no signature with attributes, and no other version.
    shown = subprocess.run(
        ["openssl", "cms", "-cmsout", "-print", "-noout", "-inform", "DER", "-in", str(tmp_path / "p7s")],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert re.search(r"\bsignedAttrs:\s+<ABSENT>", shown)
    assert re.search(r"\beContent:\s+<ABSENT>", shown)
    assert "version: 1\n" in shown


def test_a_passphrase_opens_the_key(tmp_path: pathlib.Path) -> None:
    key, certificate = _pair(tmp_path)
    locked = str(tmp_path / "locked.key")
    command = ["openssl", "pkey", "-in", key, "-aes256", "-passout", f"pass:{SECRET}", "-out", locked]
    subprocess.run(command, check=True)
    assert _sign(locked, certificate, CommandRunner(), SECRET) == _sign(key, certificate, CommandRunner())


def test_a_token_signs(tmp_path: pathlib.Path) -> None:
    token = Token(tmp_path)
    key = token.make_key("db")
    document = _taken_apart(_sign(key.uri, key.certificate, CommandRunner(environment=token.environment), token.pin))
    assert signature_problem(ROOT_HASH, base64.b64decode(document["signature"]), key.certificate, CommandRunner()) == ""


def test_what_is_no_signature_of_the_root_hash(tmp_path: pathlib.Path) -> None:
    key, certificate = _pair(tmp_path)
    other_key, other = _pair(tmp_path, name="other")
    signed = base64.b64decode(_taken_apart(_sign(key, certificate, CommandRunner()))["signature"])
    assert signature_problem(ROOT_HASH, signed, certificate, CommandRunner()) == ""
    assert signature_problem(ROOT_HASH[::-1], signed, certificate, CommandRunner())
    assert signature_problem(ROOT_HASH, signed, other, CommandRunner())
    assert signature_problem(ROOT_HASH, signed[:-9], certificate, CommandRunner())
    assert signature_problem(ROOT_HASH, b"", certificate, CommandRunner())
    with pytest.raises(Exception, match="Signing the root hash"):
        _sign(other_key, certificate, CommandRunner())


def test_it_is_written_onto_its_partition(tmp_path: pathlib.Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(64 << 10))
    esp = {"id": "boot", "type": "c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "start": 0, "size": 4096}
    place = {"id": "sig", "type": "6db69de6-29f4-4758-a7a5-962190f00ce3", "start": 8192, "size": 8192}
    write_root_hash_signature(str(image), [esp, place], b"x" * 8192)
    assert image.read_bytes() == bytes(8192) + b"x" * 8192 + bytes(48 << 10)
    with pytest.raises(SigningError, match=r"'sig' has 8192 bytes, but the signature of the root hash needs 8193\."):
        write_root_hash_signature(str(image), [esp, place], b"x" * 8193)
    with pytest.raises(SigningError, match=r"no partition for the signature of the root hash\. Add one with id: "):
        write_root_hash_signature(str(image), [esp], b"x")
