# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""OpenPGP keys for tests, made by GnuPG itself."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import tempfile
import typing as t

# GnuPG would bind no subkey by SHA-1 otherwise.
_WEAK = ("--allow-weak-key-signatures",)


@dataclasses.dataclass(frozen=True)
class SigningKey:
    """A key pair.

    :ivar fingerprint: 40 hexadecimal digits.
    :ivar public: Path of the armored public key.
    """

    keyring: KeyRing
    fingerprint: str
    public: str

    def export_secret(self, path: str | os.PathLike[str], *, passphrase: str = "") -> str:
        """Write the armored secret key to a file; return its path."""
        words = ("--pinentry-mode", "loopback", "--passphrase", passphrase)
        data = self.keyring.gpg(*words, "--armor", "--export-secret-keys", self.fingerprint)
        with open(path, "wb") as stream:
            stream.write(data)
        return os.fspath(path)

    def clearsign(self, data: bytes, *, when: int | None = None, expires: str | None = None) -> bytes:
        """Return C(data) as a clearsigned document.

        :param when: Seconds since 1970 to be taken for the present time.
        :param expires: When the signature itself expires, in GnuPG's words, for example C(1d).
        """
        return self.keyring.sign([self], data, "--clearsign", when=when, expires=expires)

    def detach(self, data: bytes, *, when: int | None = None) -> bytes:
        """Return a detached, armored signature of C(data)."""
        return self.keyring.sign([self], data, "--detach-sign", when=when)


class KeyRing:
    """A private GnuPG home with key pairs; a context manager that ends the agent and removes it."""

    def __init__(self) -> None:
        # Short: the path of a socket may have 107 bytes only.
        self.home = tempfile.mkdtemp(prefix="keys-")

    def __enter__(self) -> KeyRing:
        return self

    def __exit__(self, *exc_info: object) -> None:
        subprocess.run(["gpgconf", "--homedir", self.home, "--kill", "all"], check=False, capture_output=True)
        shutil.rmtree(self.home, ignore_errors=True)

    def gpg(self, *arguments: str, data: bytes | None = None, when: int | None = None) -> bytes:
        """Run gpg in this home and return its standard output."""
        faked = ["--faked-system-time", f"{when}!"] if when is not None else []
        return subprocess.run(
            ["gpg", "--homedir", self.home, "--batch", "--no-tty", "--quiet", "--yes", *faked, *arguments],
            input=data,
            capture_output=True,
            check=True,
        ).stdout

    def make_key(
        self,
        name: str,
        *,
        expires: str = "never",
        when: int | None = None,
        algorithm: str = "ed25519",
        passphrase: str = "",
        usage: str = "sign",
        digest: str = "SHA512",
    ) -> SigningKey:
        """Make a key pair.

        :param name: Its user id.
        :param expires: In GnuPG's words, for example C(1y).
        :param when: Seconds since 1970 of its creation.
        :param passphrase: What protects the secret key; by default nothing.
        :param usage: In GnuPG's words: C(sign), C(cert).
        :param digest: That of the signature by which it vouches for itself.
        """
        loopback = ("--pinentry-mode", "loopback", "--passphrase", passphrase)
        self.gpg(
            "--cert-digest-algo", digest, *loopback, "--quick-generate-key", name, algorithm, usage, expires, when=when
        )
        listing = self.gpg("--with-colons", "--list-keys", f"={name}", when=when).decode()
        fingerprint = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:"))
        return self._export(fingerprint, f"{fingerprint}.asc")

    def add_subkey(self, key: SigningKey, *, digest: str = "SHA512", algorithm: str = "ed25519") -> str:
        """Add a subkey for signatures, bound by a digest, and return its fingerprint."""
        loopback = ("--pinentry-mode", "loopback", "--passphrase", "")
        self.gpg(*_WEAK, "--cert-digest-algo", digest, *loopback, "--quick-add-key", key.fingerprint, algorithm, "sign")
        return self.renew(key)[-1]

    def adopt(self, key: SigningKey, other: SigningKey, *, when: int) -> SigningKey:
        """Make a key of somebody else a subkey of a key, with the fingerprint that it has; export the key again.

        :param when: Seconds since 1970 of the creation of both.
        """
        listing = self.gpg("--with-colons", "--with-keygrip", "--list-keys", other.fingerprint).decode()
        behind = listing.partition(f":{other.fingerprint}:")[2]
        grip = next(line.split(":")[9] for line in behind.splitlines() if line.startswith("grp:"))
        loopback = (
            "--pinentry-mode",
            "loopback",
            "--passphrase",
            "",
            "--expert",
            "--command-fd",
            "0",
            "--status-fd",
            "2",
        )
        # An existing key, with the usage that it has, which does not expire.
        answers = f"13\n{grip}\nQ\n0\n".encode()
        self.gpg(*loopback, "--edit-key", key.fingerprint, "addkey", "save", data=answers, when=when)
        return self._export(key.fingerprint, os.path.basename(key.public))

    def renew(self, key: SigningKey, *, digest: str | None = None) -> list[str]:
        """Export a key again; return the fingerprints of it and its subkeys.

        :param digest: That of a further signature by which it vouches for itself.
        """
        if digest is not None:
            loopback = ("--pinentry-mode", "loopback", "--passphrase", "")
            self.gpg("--cert-digest-algo", digest, *loopback, "--quick-set-expire", key.fingerprint, "5y")
        self._export(key.fingerprint, os.path.basename(key.public))
        listing = self.gpg("--with-colons", "--list-keys", key.fingerprint).decode()
        return [line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:")]

    def revoke(self, key: SigningKey) -> SigningKey:
        """Revoke a key, and return it with the public key that says so."""
        with open(os.path.join(self.home, "openpgp-revocs.d", f"{key.fingerprint}.rev"), "rb") as stream:
            # GnuPG protects the certificate from being imported by mistake with a colon.
            certificate = stream.read().replace(b":-----BEGIN", b"-----BEGIN")
        self.gpg("--import", data=certificate)
        return self._export(key.fingerprint, f"{key.fingerprint}-revoked.asc")

    def sign(
        self,
        keys: list[SigningKey],
        data: bytes,
        form: str,
        *,
        when: int | None = None,
        expires: str | None = None,
        digest: str = "SHA256",
    ) -> bytes:
        """Sign C(data) with several keys at once."""
        users = [word for key in keys for word in ("--local-user", key.fingerprint)]
        ends = ["--default-sig-expire", expires] if expires else []
        return self.gpg("--armor", "--digest-algo", digest, *ends, *users, form, data=data, when=when)

    def _export(self, fingerprint: str, name: str) -> SigningKey:
        path = os.path.join(self.home, name)
        with open(path, "wb") as stream:
            stream.write(self.gpg("--armor", "--export", fingerprint))
        return SigningKey(self, fingerprint, path)


@dataclasses.dataclass(frozen=True)
class Keys:
    """The key pairs of the tests.

    :ivar archive: The key of the test repositories.
    :ivar stranger: A key that nobody trusts.
    :ivar expired: A key that expired in 2021.
    """

    ring: KeyRing
    archive: SigningKey
    stranger: SigningKey
    expired: SigningKey

    #: A moment when C(expired) was valid (2020-06-01).
    before_expiry: t.ClassVar[int] = 1590969600


__all__ = ("KeyRing", "Keys", "SigningKey")
