# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signatures by keys on a token, judged by OpenSSL with the certificate alone."""

from __future__ import annotations

import pathlib
import subprocess
import time
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._errors import SigningError
from ansible_collections.os_image.composer.plugins.module_utils._signing.token_signer import TokenSigner
from ansible_collections.os_image.composer.tests.support.tiny_debian import Log
from ansible_collections.os_image.composer.tests.support.token_keys import LIBRARY, Token, TokenKey

DATA = b"0123  image.raw\n"


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Token:
    return Token(tmp_path_factory.mktemp("token"))


@pytest.fixture(scope="module")
def rsa(token: Token) -> TokenKey:
    return token.make_key("rsa")


def signer(token: Token, key: TokenKey, *, log: Log | None = None, **more: t.Any) -> TokenSigner:
    options = {"certificate": key.certificate, "epoch": 1700000000, "pin": token.pin, **more}
    uri = options.pop("uri", key.uri)
    return TokenSigner(uri, CommandRunner(log=log or Log(), environment=token.environment), **options)


def verified(key: TokenKey, signature: bytes, data: bytes, directory: pathlib.Path) -> bool:
    """Let OpenSSL check a CMS signature against the certificate."""
    (directory / "signature").write_bytes(signature)
    (directory / "data").write_bytes(data)
    command = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", "signature", "-content", "data"]
    trust = ["-CAfile", key.certificate, "-purpose", "any", "-out", "/dev/null"]
    return subprocess.run([*command, *trust], cwd=directory, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("form", ["rsa", "ec"])
def test_a_signature_is_good(form: str, token: Token, tmp_path: pathlib.Path) -> None:
    key = token.make_key(f"sign-{form}", form=form)
    one = signer(token, key)
    signature = one.sign(DATA)
    assert verified(key, signature, DATA, tmp_path)
    assert not verified(key, signature, DATA + b"x", tmp_path)
    assert one.has_signed(DATA, signature)
    assert not one.has_signed(DATA + b"x", signature)
    assert not one.has_signed(DATA, b"no signature")
    # ECDSA draws a random number for each.
    assert (signature == signer(token, key).sign(DATA)) == (form == "rsa")
    bare = one.sign_bare(DATA)
    (tmp_path / "public.pem").write_bytes(key.public)
    (tmp_path / "bare").write_bytes(bare)
    command = ["openssl", "dgst", "-sha256", "-verify", "public.pem", "-signature", "bare"]
    assert subprocess.run(command, cwd=tmp_path, input=DATA, capture_output=True, check=False).returncode == 0


def test_another_key_has_not_signed(token: Token, rsa: TokenKey) -> None:
    other = token.make_key("other")
    assert not signer(token, rsa).has_signed(DATA, signer(token, other).sign(DATA))
    with pytest.raises(SigningError, match=f"The certificate {other.certificate} of .* does not belong to the key"):
        signer(token, rsa, certificate=other.certificate)


def test_the_pin_is_told_to_nobody(token: Token, rsa: TokenKey, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    seen = []
    real = subprocess.Popen

    def spy(argv: list[str], **options: t.Any) -> subprocess.Popen[bytes]:
        seen.append(f"{argv} {options.get('env')}")
        return real(argv, **options)

    monkeypatch.setattr(subprocess, "Popen", spy)
    signer(token, rsa, log=log).sign(DATA)
    assert len(seen) > 3
    assert not [text for text in [*seen, log.text] if token.pin in text]


def test_what_a_token_refuses_is_told_in_words(token: Token, rsa: TokenKey, tmp_path: pathlib.Path) -> None:
    with pytest.raises(SigningError, match="wants its PIN. Give it by the option signing_passphrase"):
        signer(token, rsa, pin=None)
    with pytest.raises(SigningError, match="The PIN does not open the token .* Tokens lock themselves") as caught:
        signer(token, rsa, pin="4321")
    assert "4321" not in str(caught.value)
    with pytest.raises(SigningError, match="was not found on any token. Look for it by p11tool"):
        signer(token, rsa, uri=f"pkcs11:token=images;object=none?module-path={LIBRARY}")
    with pytest.raises(SigningError, match="The PKCS#11 library /nowhere.so does not exist"):
        signer(token, rsa, uri="pkcs11:token=images;object=rsa?module-path=/nowhere.so")
    (tmp_path / "x.crt").write_text("x")
    with pytest.raises(SigningError, match="x.crt of systemConfig.signing.checksums.certificate is not a certificate"):
        signer(token, rsa, certificate=str(tmp_path / "x.crt"))


def test_a_certificate_that_has_expired_by_then(token: Token, rsa: TokenKey) -> None:
    with pytest.raises(SigningError, match=r"expired on 2\d{3}-\d\d-\d\d, and the image is of 2\d{3}-"):
        signer(token, rsa, epoch=int(time.time()) + 40000 * 86400)
