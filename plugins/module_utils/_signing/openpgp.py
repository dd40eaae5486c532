# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""OpenPGP signatures that the build makes, with the secret key of a file or by an agent of the build host.

The secret key of a file is only ever unpacked in the memory of a GnuPG home that no other process sees: a tmpfs in a
mount namespace. GnuPG's agent lives in a PID namespace whose first process is one run of gpg. All of it ends with that
process, and that one with the module, even when the module is killed.

An agent that the build host has, with keys of its own, of smart cards, or forwarded, is asked and left alone.

A passphrase is handed on in a file without a name, and in nothing that others could see.

The signature is dated like the image, and the algorithms of GnuPG (EdDSA, ECDSA after RFC 6979, RSA) draw no random
numbers for it, so that the same content and key give the same bytes. Smart cards may draw some.
"""

from __future__ import annotations

import abc
import dataclasses
import datetime
import os
import tempfile
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._command import (
    CommandRunner,
    CompletedCommand,
    find_tool,
    tool_version,
)
from ansible_collections.os_image.composer.plugins.module_utils._errors import SignatureError, SigningError
from ansible_collections.os_image.composer.plugins.module_utils._io import memory_file
from ansible_collections.os_image.composer.plugins.module_utils._repository.signature import verify_detached

#: Where a template says which key signs.
FIELD = "systemConfig.signing.checksums"

_OPTIONS = ("--no-options", "--batch", "--no-tty", "--quiet", "--disable-dirmngr", "--no-permission-warning")
# Nothing is written into a home that is somebody's.
_READ_ONLY = ("--no-autostart", "--no-auto-check-trustdb", "--trust-model", "always", "--lock-never")

# $1: the key file; then gpg with its options, and --, and what gpg shall do. /run is covered for these processes alone;
# its path is short, as those of the agent's sockets have to be. The key may lie in it, and is opened before, as a
# descriptor that nothing else has.
_PRIVATE = """\
exec {key}<"$1"
shift
mount -t tmpfs -o mode=0700,size=16m gnupg /run
export GNUPGHOME=/run
gpg="$1"
shift
options=
while [ "$1" != -- ]; do options="$options $1"; shift; done
shift
"$gpg" $options --import <&{key}
exec "$gpg" $options "$@" {key}<&-
"""
# Shells know descriptors of one digit.
_DESCRIPTORS = range(3, 10)

_GIVE_PASSPHRASE = "Give it by the option signing_passphrase (of the role: image_build_signing_passphrase)."


@dataclasses.dataclass(frozen=True)
class _Listing:
    """What GnuPG says of keys.

    :ivar fingerprints: Of the primary keys; in a file, of those whose secret half it has.
    :ivar verdict: GnuPG's letter for the validity of the first of them: V(e) is expired, V(r) revoked.
    :ivar abilities: What the whole key can be used for now, as capital letters.
    :ivar signing_since: When the oldest key that can sign was made, in seconds since 1970.
    :ivar expires: When the primary key expires, or V(None).
    """

    fingerprints: t.Tuple[str, ...]
    verdict: str
    abilities: str
    signing_since: int
    expires: int | None


class _GpgSigner(abc.ABC):
    """What both ways of signing by GnuPG have in common.

    :ivar fingerprint: The fingerprint of the primary key.
    :ivar moment: The date of the signatures.
    """

    #: What is behind the name of a file in that of its signature.
    suffix = ".asc"

    fingerprint: str
    moment: int

    def __init__(self, runner: CommandRunner, *, passphrase: str | None) -> None:
        if passphrase is not None and "\n" in passphrase:
            raise SigningError("The passphrase of the signing key has more than one line.", remedy=_GIVE_PASSPHRASE)
        self._runner = runner
        self._passphrase = passphrase or ""
        self._gpg = find_tool("gpg")

    @staticmethod
    def tool() -> t.Tuple[str, str]:
        """Return the program that shapes a signature, and its version."""
        return "gpg", tool_version("gpg")

    @property
    def key_id(self) -> str:
        """What envelopes call the key."""
        return self.fingerprint

    def sign(self, data: bytes) -> bytes:
        """Return a detached, armored signature.

        :raises SigningError: GnuPG does not sign; the message says why.
        """
        return self._sign(data, "--armor")

    def sign_bare(self, data: bytes) -> bytes:
        """Return the same signature without armor, for an envelope."""
        return self._sign(data)

    def _sign(self, data: bytes, *form: str) -> bytes:
        user = ("--local-user", self.fingerprint, "--digest-algo", "SHA512")
        with memory_file(self._passphrase.encode("utf-8") + b"\n") as passphrase:
            told = ("--pinentry-mode", self._pinentry(), "--passphrase-fd", str(passphrase.fileno()))
            return self._run([*told, *user, *form, "--output", "-", "--detach-sign"], data, passphrase.fileno())

    def _pinentry(self) -> str:
        """Return who is asked for the passphrase: the module, or nobody."""
        return "loopback"

    def has_signed(self, data: bytes, signature: bytes) -> bool:
        """Tell whether a detached signature is a good one by this key."""
        try:
            verify_detached(
                data,
                signature,
                keyring=self._public_key(),
                fingerprints=[self.fingerprint],
                what="The document",
                now=self.moment,
            )
        except SignatureError:
            return False
        return True

    @abc.abstractmethod
    def _run(self, arguments: t.Sequence[str], data: bytes, *descriptors: int) -> bytes:
        """Let gpg do something with the secret key.

        :param descriptors: What it inherits.
        """

    @abc.abstractmethod
    def _public_key(self) -> bytes:
        """Return the public half of the key."""

    @abc.abstractmethod
    def _list(self, moment: int) -> _Listing:
        """Return what gpg says of the key at a moment."""

    def _settle(self, epoch: int, since: int) -> None:
        """Set the date of the signatures, and see that the key can make them.

        :param epoch: The date of the image. Where the key is younger, its signatures have the date of the key: one that
            is older than its key is not valid.
        """
        self.moment = max(epoch, since)
        listing = self._list(self.moment)
        if "S" not in listing.abilities:
            raise SigningError(
                f"The key {self.fingerprint} of {FIELD} {self._why_not(listing)}.",
                remedy="Name a key that can sign, or prolong this one and export it again.",
            )
        # Only signing tells whether the passphrase is right: now, and not when all else is done.
        self.sign(b"")

    def _why_not(self, listing: _Listing) -> str:
        date = day(self.moment)
        if listing.verdict == "r":
            return "was revoked"
        if listing.verdict == "e" and listing.expires is not None:
            return f"expired on {day(listing.expires)}, and the image is of {date}"
        return f"cannot sign on {date}, the date of the image"

    def _faked(self, moment: int) -> t.Tuple[str, ...]:
        return ("--faked-system-time", f"{moment}!")

    def _judged(self, done: CompletedCommand, remedy: str) -> bytes:
        """Return what gpg wrote.

        :param remedy: What helps where nothing is known of the reason.
        """
        if done.rc == 0:
            return done.stdout
        subject = f"The key {self.fingerprint} of {FIELD}"
        if any(text in done.error_text for text in ("No passphrase given", "Bad passphrase", "No pinentry")):
            if self._passphrase:
                raise SigningError(
                    f"The passphrase does not open the key {self.fingerprint} of {FIELD}.",
                    remedy="Correct the option signing_passphrase.",
                )
            raise SigningError(f"{subject} is protected by a passphrase, which was not given.", remedy=_GIVE_PASSPHRASE)
        said = [line for line in done.error_text.splitlines() if not line.startswith(("[GNUPG:]", "gpg: WARNING"))]
        raise SigningError(
            f"GnuPG does not use the key {self.fingerprint} of {FIELD}: {' '.join(said) or f'status {done.rc}'}.",
            remedy=remedy,
        )


class OpenPgpSigner(_GpgSigner):
    """Signs with the secret key of a file.

    :param key: Absolute path of the file: one secret key, armored or not.
    :param epoch: The date of the image, in seconds since 1970.
    :param passphrase: What protects the key.
    :raises SigningError: The file does not hold what is needed, or the key may not be used at that date.
    """

    def __init__(self, key: str, runner: CommandRunner, *, epoch: int, passphrase: str | None = None) -> None:
        super().__init__(runner, passphrase=passphrase)
        self._key = key
        self._unshare = find_tool("unshare")
        listing = self._list(epoch)
        if not listing.fingerprints:
            raise SigningError(
                f"The file {key} of {FIELD}.key holds no secret OpenPGP key.",
                remedy="Export it by gpg --armor --export-secret-keys.",
            )
        if len(listing.fingerprints) > 1:
            shown = ", ".join(listing.fingerprints)
            raise SigningError(
                f"The file {key} of {FIELD}.key holds {len(listing.fingerprints)} secret keys: {shown}.",
                remedy="Leave one in it, so that there is no doubt about which one signs.",
            )
        self.fingerprint = listing.fingerprints[0]
        self._settle(epoch, listing.signing_since)

    def _list(self, moment: int) -> _Listing:
        with tempfile.TemporaryDirectory(prefix="os-image-composer-gnupg-") as home:
            done = self._runner.run(
                [self._gpg, "--homedir", home, *_OPTIONS, "--no-autostart", "--with-colons", *self._faked(moment)]
                + ["--show-keys", "--", self._key],
                check=False,
                log_output=False,
            )
        return _listing(done.text, primary="sec", subkey="ssb")

    def _public_key(self) -> bytes:
        return self._run(["--export", self.fingerprint], b"")

    def _run(self, arguments: t.Sequence[str], data: bytes, *descriptors: int) -> bytes:
        """Import the key into a home of its own, and let gpg do something there."""
        script = _PRIVATE.format(key=next(number for number in _DESCRIPTORS if number not in descriptors))
        done = self._runner.run(
            [self._unshare, "--mount", "--pid", "--fork", "--kill-child", "--", "/bin/sh", "-eu", "-c", script]
            + ["sh", self._key, self._gpg, *_OPTIONS, "--status-fd", "2", *self._faked(self.moment), "--", *arguments],
            data=data,
            check=False,
            log_output=False,
            pass_fds=descriptors,
        )
        return self._judged(done, f"Check the file {os.path.basename(self._key)} by gpg --show-keys.")


class AgentSigner(_GpgSigner):
    """Signs by the agent that runs for a GnuPG home of the build host.

    :param fingerprint: That of the primary key, as the template has it.
    :param home: The home, with the public key in it; its agent has the secret one.
    :param epoch: The date of the image, in seconds since 1970.
    :param passphrase: What protects the key, where the agent does not know it yet.
    :raises SigningError: There is no such key, no agent, or it may not be used at that date.
    """

    def __init__(
        self, fingerprint: str, runner: CommandRunner, *, home: str, epoch: int, passphrase: str | None = None
    ) -> None:
        super().__init__(runner, passphrase=passphrase)
        self.fingerprint = fingerprint.replace(" ", "").upper()
        self._home = home
        listing = self._list(epoch)
        if self.fingerprint not in listing.fingerprints:
            raise SigningError(
                f"The GnuPG home {home} of the build host has no key {self.fingerprint} ({FIELD}.fingerprint).",
                remedy=f"Import the public key by gpg --homedir {home} --import, or give the right home by the option "
                "gnupg_home (of the role: image_build_gnupg_home).",
            )
        self._settle(epoch, listing.signing_since)

    def _gpg_command(self, moment: int, *arguments: str) -> t.List[str]:
        return [self._gpg, "--homedir", self._home, *_OPTIONS, *_READ_ONLY, *self._faked(moment), *arguments]

    def _list(self, moment: int) -> _Listing:
        command = self._gpg_command(moment, "--with-colons", "--list-keys", "--", f"0x{self.fingerprint}")
        done = self._runner.run(command, check=False, log_output=False)
        return _listing(done.text, primary="pub", subkey="sub")

    def _public_key(self) -> bytes:
        command = self._gpg_command(self.moment, "--export", f"0x{self.fingerprint}")
        return self._runner.run(command, log_output=False).stdout

    def _pinentry(self) -> str:
        # An agent that knows the passphrase needs none, and shall not ask for it at a display.
        return "loopback" if self._passphrase else "error"

    def _run(self, arguments: t.Sequence[str], data: bytes, *descriptors: int) -> bytes:
        command = self._gpg_command(self.moment, "--status-fd", "2", *arguments)
        done = self._runner.run(command, data=data, check=False, log_output=False, pass_fds=descriptors)
        return self._judged(
            done,
            f"Start the agent by gpgconf --homedir {self._home} --launch gpg-agent, and see that gpg --homedir "
            f"{self._home} --list-secret-keys shows the key.",
        )


def _listing(text: str, *, primary: str, subkey: str) -> _Listing:
    """Read what gpg shows with colons (its doc/DETAILS)."""
    found: t.List[str] = []
    verdict = abilities = kind = ""
    expires: int | None = None
    signing: t.List[int] = []
    for fields in (line.split(":") for line in text.splitlines()):
        if fields[0] in ("pub", "sec", "sub", "ssb"):
            kind = fields[0]
            if kind in (primary, subkey) and "s" in fields[11] and fields[5].isdigit():
                signing.append(int(fields[5]))
            if kind == primary and not found:
                verdict, abilities = fields[1], fields[11]
                expires = int(fields[6]) if fields[6].isdigit() else None
        elif fields[0] == "fpr" and kind == primary:
            found.append(fields[9])
    return _Listing(tuple(found), verdict, abilities, min(signing, default=0), expires)


def day(seconds: int) -> str:
    """Return the date of a moment."""
    return f"{datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc):%Y-%m-%d}"


__all__ = ("FIELD", "AgentSigner", "OpenPgpSigner", "day")
