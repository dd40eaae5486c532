# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signatures by real keys, good and bad ones."""

from __future__ import annotations

import os
import pathlib
import subprocess
import time

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import SignatureError
from ansible_collections.os_image.composer.plugins.module_utils._repository.public_keys import read_keyring
from ansible_collections.os_image.composer.plugins.module_utils._repository.signature import (
    SignedContent,
    verify_clearsigned,
    verify_detached,
)
from ansible_collections.os_image.composer.tests.support.signing_keys import KeyRing, Keys, SigningKey

TEXT = b"Origin: Test\n- dashed\nSuite: stable\n"


def check(
    document: bytes, *keys: SigningKey, pinned: tuple[str, ...] = (), signature: bytes | None = None
) -> SignedContent:
    keyring = read_keyring([key.public for key in keys], what="the repository")
    if signature is not None:
        return verify_detached(document, signature, keyring=keyring, fingerprints=pinned, what="The Release of it")
    return verify_clearsigned(document, keyring=keyring, fingerprints=pinned, what="The InRelease of it")


def test_the_signed_text_is_returned(keys: Keys) -> None:
    found = check(keys.archive.clearsign(TEXT), keys.archive)
    assert (found.content, found.signed_by) == (TEXT, (keys.archive.fingerprint,))
    assert abs(found.signed_at - time.time()) < 600


def test_a_detached_signature(keys: Keys) -> None:
    signature = keys.archive.detach(TEXT)
    found = check(TEXT, keys.archive, signature=signature)
    assert (found.content, found.signed_by) == (TEXT, (keys.archive.fingerprint,))
    with pytest.raises(SignatureError, match="The Release of it does not match its signature"):
        check(TEXT + b"x", keys.archive, signature=signature)


def test_a_pinned_fingerprint(keys: Keys) -> None:
    document = keys.archive.clearsign(TEXT)
    fingerprint = keys.archive.fingerprint
    spaced = " ".join(fingerprint[index : index + 4] for index in range(0, 40, 4)).lower()
    assert check(document, keys.archive, keys.stranger, pinned=(spaced,)).signed_by == (fingerprint,)
    with pytest.raises(SignatureError) as caught:
        check(document, keys.archive, keys.stranger, pinned=(keys.stranger.fingerprint,))
    assert str(caught.value).startswith(
        f"The InRelease of it has no valid signature: it is signed with the key {fingerprint}, but the only "
        f"fingerprints allowed are {keys.stranger.fingerprint}. If the repository has changed its keys, "
    )


@pytest.mark.parametrize("line_break", ["\u2028", "\x85", "\u2029"])
def test_the_name_of_a_key_is_no_word_of_gnupg(keys: Keys, line_break: str) -> None:
    """A key that may not sign here says in its user ID that another one has."""
    allowed = keys.archive.fingerprint
    valid = f"VALIDSIG {allowed} 2026-01-01 1700000000 0 4 0 22 10 00 {allowed}"
    words = ("NEWSIG", f"GOODSIG {allowed[24:]} x", valid)
    name = line_break.join(["Liar", *(f"[GNUPG:] {line}" for line in words), "[GNUPG:] NEWSIG"])
    with KeyRing() as ring:
        liar = ring.make_key(name)
        document = liar.clearsign(TEXT)
        with pytest.raises(SignatureError, match=rf"it is signed with the key {liar.fingerprint}, but the only"):
            check(document, keys.archive, liar, pinned=(allowed,))


def test_one_of_several_signatures_suffices(keys: Keys) -> None:
    document = keys.ring.sign([keys.stranger, keys.archive], TEXT, "--clearsign")
    assert check(document, keys.archive).signed_by == (keys.archive.fingerprint,)


def test_an_unknown_key(keys: Keys) -> None:
    with pytest.raises(SignatureError) as caught:
        check(keys.stranger.clearsign(TEXT), keys.archive)
    assert (
        f"it is signed with the key {keys.stranger.fingerprint}, which is not one of the repository's keys. If the "
        "repository has changed its keys, get the new key from its owner" in str(caught.value)
    )


@pytest.mark.parametrize(
    ("algorithm", "problem"),
    [
        ("rsa1024", "is an RSA key of 1024 bits, and fewer than 2048 can be broken"),
        ("dsa1024", "is a DSA key of 1024 bits, and fewer than 2048 can be broken"),
        ("rsa2048", ""),
        ("nistp256", ""),
    ],
)
def test_the_strength_of_a_key(keys: Keys, algorithm: str, problem: str) -> None:
    key = keys.ring.make_key(f"a key of {algorithm}", algorithm=algorithm)
    document, signature = key.clearsign(TEXT), key.detach(TEXT)
    if not problem:
        assert check(document, key).signed_by == (key.fingerprint,)
        assert check(TEXT, key, signature=signature).signed_by == (key.fingerprint,)
        return
    for content, detached in ((document, None), (TEXT, signature)):
        with pytest.raises(SignatureError) as caught:
            check(content, key, pinned=(key.fingerprint,), signature=detached)
        assert f" of it has no valid signature: the key {key.fingerprint} {problem}. " in str(caught.value)


def test_an_expired_key(keys: Keys) -> None:
    document = keys.expired.clearsign(TEXT, when=Keys.before_expiry)
    with pytest.raises(SignatureError) as caught:
        check(document, keys.expired)
    assert (
        f"The InRelease of it has no valid signature: the key {keys.expired.fingerprint} has expired on 2021-05-31. "
        "Get the renewed key" in str(caught.value)
    )
    # It was good in its time.
    keyring = read_keyring([keys.expired.public], what="it")
    then = verify_clearsigned(document, keyring=keyring, fingerprints=(), what="it", now=Keys.before_expiry + 10)
    assert then.content == TEXT


def test_a_revoked_key() -> None:
    with KeyRing() as ring:
        key = ring.make_key("Revoked <revoked@example.org>")
        document = key.clearsign(TEXT)
        revoked = ring.revoke(key)
        assert check(document, key).content == TEXT
        with pytest.raises(SignatureError, match=rf"the key {key.fingerprint} was revoked. Do not trust this copy"):
            check(document, revoked)


def test_an_expired_signature(keys: Keys) -> None:
    document = keys.archive.clearsign(TEXT, when=int(time.time()) - 40000, expires="seconds=3600")
    with pytest.raises(SignatureError, match=rf"the signature by the key {keys.archive.fingerprint} has expired"):
        check(document, keys.archive)


def test_a_broken_digest() -> None:
    with KeyRing() as ring:
        key = ring.make_key("Old <old@example.org>", algorithm="rsa2048")
        document = ring.sign([key], TEXT, "--clearsign", digest="SHA1")
        with pytest.raises(SignatureError, match=rf"the signature by the key {key.fingerprint} uses SHA-1"):
            check(document, key)


def test_a_changed_text(keys: Keys) -> None:
    document = keys.archive.clearsign(TEXT).replace(b"stable", b"stab1e")
    with pytest.raises(SignatureError) as caught:
        check(document, keys.archive)
    assert str(caught.value).startswith("The InRelease of it does not match its signature by the key ")
    assert "it was changed after it was signed. Do not trust this copy." in str(caught.value)


@pytest.mark.parametrize("place", ["before", "after", "between"])
def test_text_outside_of_the_signed_part(keys: Keys, place: str) -> None:
    document = keys.archive.clearsign(TEXT)
    evil = b"Suite: evil\n"
    changed = {
        "before": evil + document,
        "after": document + evil,
        "between": document.replace(b"-----BEGIN PGP SIGNATURE", evil + b"-----BEGIN PGP SIGNATURE"),
    }[place]
    with pytest.raises(SignatureError):
        check(changed, keys.archive)


def test_two_documents_in_one(keys: Keys) -> None:
    document = keys.archive.clearsign(TEXT)
    with pytest.raises(SignatureError, match="is not one clearsigned document from its first to its last line"):
        check(keys.stranger.clearsign(b"Suite: evil\n") + document, keys.archive)


@pytest.mark.parametrize("document", [b"", b"<html></html>", TEXT])
def test_no_signed_document(keys: Keys, document: bytes) -> None:
    with pytest.raises(SignatureError, match="a captive portal or a proxy for example"):
        check(document, keys.archive)


def test_an_empty_signature(keys: Keys) -> None:
    with pytest.raises(SignatureError, match="has no signature that GnuPG understands"):
        check(TEXT, keys.archive, signature=b"nothing")


def test_key_files_of_all_forms(keys: Keys, tmp_path: pathlib.Path) -> None:
    armored = pathlib.Path(keys.archive.public).read_bytes()
    binary = keys.ring.gpg("--export", keys.archive.fingerprint)
    forms = {
        "binary": binary,
        "crlf": armored.replace(b"\n", b"\r\n"),
        "comment": b"A key\n\n" + armored.replace(b"BLOCK-----\n\n", b"BLOCK-----\nComment: x\nVersion: y\n\n", 1),
        "two": pathlib.Path(keys.stranger.public).read_bytes() + armored,
    }
    document = keys.archive.clearsign(TEXT)
    for name, data in forms.items():
        (tmp_path / name).write_bytes(data)
        keyring = read_keyring([str(tmp_path / name)], what="the repository")
        assert verify_clearsigned(document, keyring=keyring, fingerprints=(), what=name).content == TEXT


def test_nothing_is_left_behind(keys: Keys, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    document = keys.archive.clearsign(TEXT)
    check(document, keys.archive)
    assert list(tmp_path.iterdir()) == []
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert not [line for line in listing.splitlines() if "os-image-composer-gnupg" in line]


def test_three_verifications_are_cheap(keys: Keys) -> None:
    document = keys.archive.clearsign(TEXT * 3000)
    check(document, keys.archive)
    before = os.times()
    for _number in range(3):
        check(document, keys.archive)
    after = os.times()
    # Measured: 0.1 s; ten times as much would mean that an agent or a trust database is at work.
    assert sum(after[:4]) - sum(before[:4]) < 1
