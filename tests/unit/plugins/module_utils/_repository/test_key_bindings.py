# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests for keys that are bound by digests that can be forged."""

from __future__ import annotations

import pathlib
import re
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import SignatureError
from ansible_collections.os_image.composer.plugins.module_utils._repository import key_bindings
from ansible_collections.os_image.composer.plugins.module_utils._repository.key_bindings import weak_bindings
from ansible_collections.os_image.composer.plugins.module_utils._repository.public_keys import read_keyring
from ansible_collections.os_image.composer.plugins.module_utils._repository.signature import verify_clearsigned
from ansible_collections.os_image.composer.tests.support.signing_keys import KeyRing, SigningKey

_KEYS = pathlib.Path(__file__).resolve().parents[5] / "config" / "osv"
_TEXT = b"Suite: stable\n"


@pytest.fixture
def ring() -> t.Iterator[KeyRing]:
    with KeyRing() as made:
        yield made


def _read(key: SigningKey) -> bytes:
    return read_keyring([key.public], what="the repository")


def _verify(document: bytes, key: SigningKey, *pinned: str) -> tuple[str, ...]:
    keyring = _read(key)
    return verify_clearsigned(document, keyring=keyring, fingerprints=pinned, what="The InRelease of it").signed_by


@pytest.mark.parametrize(
    ("digest", "word", "algorithm"),
    [("SHA1", "SHA-1", "rsa2048"), ("SHA1", "SHA-1", "ed25519"), ("RIPEMD160", "RIPEMD-160", "rsa2048")],
)
def test_a_key_that_vouches_for_itself_by_a_broken_digest(
    ring: KeyRing, digest: str, word: str, algorithm: str
) -> None:
    key = ring.make_key("weak <w@example.org>", digest=digest, algorithm=algorithm)
    problem = f"is bound by signatures with {word} alone, which can be forged"
    assert weak_bindings(_read(key)) == {key.fingerprint: problem}
    document = key.clearsign(_TEXT)
    with pytest.raises(SignatureError, match=re.escape(f"no valid signature: the key {key.fingerprint} {problem}")):
        _verify(document, key)
    # Its own fingerprint says which one it is, whoever vouches for it.
    assert _verify(document, key, key.fingerprint) == (key.fingerprint,)


def test_a_subkey_that_is_bound_by_a_broken_digest(ring: KeyRing) -> None:
    key = ring.make_key("strong <s@example.org>")
    subkey = ring.add_subkey(key, digest="SHA1")
    assert list(weak_bindings(_read(key))) == [subkey]
    document = ring.gpg("--clearsign", "--local-user", f"{subkey}!", data=_TEXT)
    for pinned in ((), (key.fingerprint,)):
        with pytest.raises(SignatureError, match=f"the key {subkey} is bound by signatures with SHA-1 alone"):
            _verify(document, key, *pinned)
    assert _verify(document, key, subkey) == (key.fingerprint,)
    assert _verify(key.clearsign(_TEXT), key, key.fingerprint, subkey) == (key.fingerprint,)


def test_a_subkey_of_a_key_that_vouches_for_itself_by_a_broken_digest(ring: KeyRing) -> None:
    key = ring.make_key("weak <w@example.org>", digest="SHA1")
    subkey = ring.add_subkey(key)
    document = ring.gpg("--clearsign", "--local-user", f"{subkey}!", data=_TEXT)
    with pytest.raises(SignatureError, match=f"the key {key.fingerprint} is bound by signatures with SHA-1 alone"):
        _verify(document, key)
    assert _verify(document, key, key.fingerprint) == (key.fingerprint,)


def test_a_key_that_was_renewed_with_a_good_digest(ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    key = ring.make_key("renewed <r@example.org>", digest="SHA1", when=1_500_000_000)
    subkey = ring.add_subkey(key, digest="SHA1")
    ring.renew(key)
    before = _read(key)
    ring.renew(key, digest="SHA256")
    with KeyRing() as other:
        # Who has had the key before keeps the old signature, too.
        for data in (before, _read(key)):
            other.gpg("--import", data=data)
        keyring = other.gpg("--export", key.fingerprint)
    assert key_bindings._written(keyring)[key.fingerprint] == {"2", "8"}  # noqa: SLF001
    assert list(weak_bindings(keyring)) == [subkey]
    document = ring.gpg("--clearsign", "--local-user", f"{key.fingerprint}!", data=_TEXT)
    assert verify_clearsigned(document, keyring=keyring, fingerprints=(), what="It").signed_by == (key.fingerprint,)
    # What is only written there counts for nothing.
    damaged = _with_damaged_signature(keyring, digest=8)
    weak_bindings.cache_clear()
    assert set(weak_bindings(damaged)) >= {key.fingerprint}


def _with_damaged_signature(keyring: bytes, *, digest: int) -> bytes:
    for tag, body in key_bindings._packets(keyring):  # noqa: SLF001
        if tag == 2 and body[3] == digest:
            return keyring.replace(body, body[:-1] + bytes((body[-1] ^ 1,)))
    raise AssertionError("there is such a signature")


def test_the_bindings_are_those_that_gnupg_sees() -> None:
    paths = sorted(_KEYS.glob("*/keys/*.asc"))
    assert len(paths) > 8
    for path in paths:
        keyring = read_keyring([str(path)], what="the repository")
        assert key_bindings._written(keyring) == key_bindings._checked(keyring), path  # noqa: SLF001


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x99",
        b"\xc6\xff",
        b"\xc6\xe0x",
        b"\xc6\xc0",
        b"\xc2\xdf",
        b"\xc6\xff\xff\xff",
        b"\x9b" + b"x" * 30,
        b"\xc2\x03\4\x13\1",
        b"x" * 100,
    ],
)
def test_what_is_no_key_has_no_bindings(data: bytes) -> None:
    assert weak_bindings(data) == {}
