# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Signatures by a key on a PKCS#11 token: a hardware security module, a smart card, or a program that acts as one.

OpenSSL makes them, so that the key never leaves its token. A file gets a detached CMS signature (RFC 5652, DER) without
signed attributes: it has no time of its own, and by an RSA key it is the same each time. An envelope gets the bare
signature over SHA-256, in the forms that are usual there: PKCS #1 v1.5 for RSA, DER for ECDSA.
"""

from __future__ import annotations

import hashlib
import os
import ssl
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool, tool_version
from ansible_collections.os_image.composer.plugins.module_utils._errors import SigningError
from ansible_collections.os_image.composer.plugins.module_utils._io import memory_file
from ansible_collections.os_image.composer.plugins.module_utils._signing.openpgp import FIELD, day
from ansible_collections.os_image.composer.plugins.module_utils._signing.private_key import (
    pkcs11_engine,
    token_reference,
)

_GIVE_PIN = "Give it by the option signing_passphrase (of the role: image_build_signing_passphrase)."


class TokenSigner:
    """Signs with a key on a token.

    :param key: The PKCS#11 URI of the key (RFC 7512). Its attribute C(module-path) names the token's library; without
        it, p11-kit knows the tokens of the host.
    :param certificate: Absolute path of the key's certificate (PEM).
    :param epoch: The date of the image, in seconds since 1970.
    :param pin: The PIN of the token.
    :raises SigningError: The token, its key or the certificate cannot be used.
    """

    #: What is behind the name of a file in that of its signature.
    suffix = ".p7s"

    def __init__(
        self, key: str, runner: CommandRunner, *, certificate: str, epoch: int, pin: str | None = None
    ) -> None:
        pkcs11_engine()
        self._key, environment = token_reference(key)
        self._certificate = certificate
        self._runner = runner.with_environment(environment)
        self._pin = pin or ""
        self._openssl = find_tool("openssl")
        #: The SHA-256 of the certificate, by which the signature can be attributed.
        self.fingerprint = hashlib.sha256(self._certificate_der()).hexdigest().upper()
        #: What envelopes call the key: the SHA-256 of its public half.
        self.key_id = hashlib.sha256(self._openssl_says("x509", "-pubkey", "-noout")).hexdigest()
        expires = ssl.cert_time_to_seconds(self._openssl_says("x509", "-enddate", "-noout").decode().strip()[9:])
        if expires < epoch:
            raise SigningError(
                f"The certificate {certificate} of {FIELD} expired on {day(expires)}, and the image is of "
                f"{day(epoch)}.",
                remedy="Name a certificate of the key that is valid then.",
            )
        # Only signing tells whether all of it fits together: now, and not when all else is done.
        if not self.has_signed(b"", self.sign(b"")):
            raise self._stranger()

    @staticmethod
    def tool() -> t.Tuple[str, str]:
        """Return the program that shapes a signature, and its version."""
        return "openssl", tool_version("openssl")

    def sign(self, data: bytes) -> bytes:
        """Return a detached CMS signature.

        :raises SigningError: The token does not sign; the message says why.
        """
        form = ("-sign", "-binary", "-noattr", "-outform", "DER", "-md", "sha512", "-signer", self._certificate)
        return self._with_key(["cms", *form], "-inkey", data)

    def sign_bare(self, data: bytes) -> bytes:
        """Return the signature alone, for an envelope."""
        return self._with_key(["dgst", "-sha256"], "-sign", data)

    def has_signed(self, data: bytes, signature: bytes) -> bool:
        """Tell whether a detached signature is a good one by this key."""
        with memory_file(data) as content:
            path = _path_of(content)
            command = ["cms", "-verify", "-binary", "-inform", "DER", "-content", path, "-out", os.devnull]
            # The given certificate counts, and not those that the signature brings.
            trust = ("-certfile", self._certificate, "-nointern", "-noverify")
            done = self._runner.run(
                [self._openssl, *command, *trust],
                data=signature,
                pass_fds=(content.fileno(),),
                check=False,
                log_output=False,
            )
        return done.rc == 0

    def _with_key(self, arguments: t.Sequence[str], option: str, data: bytes) -> bytes:
        """Let OpenSSL sign; the PIN is its input."""
        with memory_file(data) as content:
            engine = ("-engine", "pkcs11", "-keyform", "engine", "-passin", "stdin", option, self._key)
            source = ("-in", _path_of(content)) if arguments[0] == "cms" else (_path_of(content),)
            done = self._runner.run(
                [self._openssl, *arguments, *engine, *source],
                data=self._pin.encode("utf-8") + b"\n",
                pass_fds=(content.fileno(),),
                check=False,
                log_output=False,
            )
        # After an error some versions end by a signal.
        if done.rc == 0 and done.stdout:
            return done.stdout
        raise self._error(done.error_text)

    def _stranger(self) -> SigningError:
        return SigningError(
            f"The certificate {self._certificate} of {FIELD} does not belong to the key {self._key}.",
            remedy="Name the certificate that was made for this key.",
        )

    def _error(self, said: str) -> SigningError:
        if "key values mismatch" in said or "does not match certificate" in said:
            return self._stranger()
        if "PIN incorrect" in said and self._pin:
            return SigningError(
                f"The PIN does not open the token of the key {self._key} of {FIELD}. Tokens lock themselves after a "
                "few wrong ones.",
                remedy="Correct the option signing_passphrase.",
            )
        if "PIN" in said and not self._pin:
            return SigningError(f"The token of the key {self._key} of {FIELD} wants its PIN.", remedy=_GIVE_PIN)
        if "not found" in said or "No matching" in said or "module" in said.lower():
            return SigningError(
                f"The key {self._key} of {FIELD} was not found on any token.",
                remedy="Look for it by p11tool --list-all, or name the token's library by ?module-path=.",
            )
        words = " ".join(said.split()) or "it does not say why"
        return SigningError(f"OpenSSL does not sign with the key {self._key} of {FIELD}: {words[-500:]}.")

    def _certificate_der(self) -> bytes:
        try:
            with open(self._certificate, encoding="ascii") as stream:
                return ssl.PEM_cert_to_DER_cert(stream.read().strip())
        except (OSError, ValueError) as exc:
            raise SigningError(
                f"The file {self._certificate} of {FIELD}.certificate is not a certificate (PEM).",
                remedy="Correct the path; the file has the certificate alone.",
            ) from exc

    def _openssl_says(self, *arguments: str) -> bytes:
        done = self._runner.run([self._openssl, *arguments, "-in", self._certificate], check=False, log_output=False)
        if done.rc:
            raise SigningError(
                f"The file {self._certificate} of {FIELD}.certificate is not a certificate (PEM).",
                remedy="Correct the path; the file has the certificate alone.",
            )
        return done.stdout


def _path_of(stream: t.BinaryIO) -> str:
    """Return the path by which a program that has inherited a file opens it."""
    return f"/proc/self/fd/{stream.fileno()}"


__all__ = ("TokenSigner",)
