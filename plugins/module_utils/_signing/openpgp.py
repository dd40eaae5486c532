# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""OpenPGP signatures that the build makes.

The secret key is only ever unpacked in the memory of a GnuPG home that no other process sees: a tmpfs in a mount
namespace. GnuPG's agent lives in a PID namespace whose first process is one run of gpg. All of it ends with that
process, and that one with the module, even when the module is killed.

The signature is dated like the image, and the algorithms of GnuPG (EdDSA, ECDSA after RFC 6979, RSA) draw no random
numbers for it, so that the same content and key give the same bytes.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import tempfile
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool, tool_version
from ansible_collections.os_image.composer.plugins.module_utils._errors import SignatureError, SigningError
from ansible_collections.os_image.composer.plugins.module_utils._repository.signature import verify_detached

#: Where a template names the key.
FIELD = "systemConfig.signing.checksums.key"

_OPTIONS = ("--no-options", "--batch", "--no-tty", "--quiet", "--disable-dirmngr", "--no-permission-warning")

# $1: the key file; then gpg with its options, and --, and what gpg shall do. /run is covered for these processes alone;
# its path is short, as those of the agent's sockets have to be. The key may lie in it, and is opened before.
_PRIVATE = """\
exec 4<"$1"
shift
mount -t tmpfs -o mode=0700,size=16m gnupg /run
export GNUPGHOME=/run
gpg="$1"
shift
options=
while [ "$1" != -- ]; do options="$options $1"; shift; done
shift
"$gpg" $options --import <&4
exec "$gpg" $options --pinentry-mode loopback --passphrase-fd 3 "$@" 3</dev/null 4<&-
"""


@dataclasses.dataclass(frozen=True)
class _Listing:
    """What GnuPG says of a key file.

    :ivar secret: Fingerprints of the primary keys whose secret half the file has.
    :ivar verdict: GnuPG's letter for the validity of the first of them: V(e) is expired, V(r) revoked.
    :ivar abilities: What the whole key can be used for now, as capital letters.
    :ivar signing_since: When the oldest key that can sign was made, in seconds since 1970.
    :ivar expires: When the primary key expires, or V(None).
    """

    secret: t.Tuple[str, ...]
    verdict: str
    abilities: str
    signing_since: int
    expires: int | None


class OpenPgpSigner:
    """Signs with the secret key of a file.

    :param key: Absolute path of the file: one secret key, armored or not, without a passphrase.
    :param epoch: The date of the image, in seconds since 1970. Where the key is younger, its signatures have the date
        of the key: one that is older than its key is not valid.
    :raises SigningError: The file does not hold what is needed, or the key may not be used at that date.
    """

    def __init__(self, key: str, runner: CommandRunner, *, epoch: int) -> None:
        self._key = key
        self._runner = runner
        self._gpg = find_tool("gpg")
        self._unshare = find_tool("unshare")
        listing = self._list(epoch)
        if not listing.secret:
            raise SigningError(
                f"The file {key} of {FIELD} holds no secret OpenPGP key.",
                remedy="Export it by gpg --armor --export-secret-keys.",
            )
        if len(listing.secret) > 1:
            raise SigningError(
                f"The file {key} of {FIELD} holds {len(listing.secret)} secret keys: {', '.join(listing.secret)}.",
                remedy="Leave one in it, so that there is no doubt about which one signs.",
            )
        #: The fingerprint of the primary key.
        self.fingerprint = listing.secret[0]
        #: The date of the signatures.
        self.moment = max(epoch, listing.signing_since)
        listing = self._list(self.moment)
        if "S" not in listing.abilities:
            raise SigningError(
                f"The key {self.fingerprint} of {FIELD} {self._why_not(listing)}.",
                remedy="Name a key that can sign, or prolong this one and export it again.",
            )
        # Only signing tells whether the key has a passphrase: now, and not when all else is done.
        self.sign(b"")

    @staticmethod
    def version() -> str:
        """Return GnuPG's version, which shapes a signature."""
        return tool_version("gpg")

    def sign(self, data: bytes) -> bytes:
        """Return a detached, armored signature.

        :raises SigningError: GnuPG does not sign; the message says why.
        """
        arguments = ("--local-user", self.fingerprint, "--digest-algo", "SHA512", "--armor", "--detach-sign")
        return self._run_private([*arguments, "--output", "-"], data)

    def has_signed(self, data: bytes, signature: bytes) -> bool:
        """Tell whether a detached signature is a good one by this key."""
        try:
            verify_detached(
                data,
                signature,
                keyring=self._run_private(["--export", self.fingerprint], b""),
                fingerprints=[self.fingerprint],
                what="The document",
                now=self.moment,
            )
        except SignatureError:
            return False
        return True

    def _why_not(self, listing: _Listing) -> str:
        date = _day(self.moment)
        if listing.verdict == "r":
            return "was revoked"
        if listing.verdict == "e" and listing.expires is not None:
            return f"expired on {_day(listing.expires)}, and the image is of {date}"
        return f"cannot sign on {date}, the date of the image"

    def _faked(self, moment: int) -> t.Tuple[str, ...]:
        return ("--faked-system-time", f"{moment}!")

    def _list(self, moment: int) -> _Listing:
        with tempfile.TemporaryDirectory(prefix="os-image-composer-gnupg-") as home:
            done = self._runner.run(
                [self._gpg, "--homedir", home, *_OPTIONS, "--no-autostart", "--with-colons", *self._faked(moment)]
                + ["--show-keys", "--", self._key],
                check=False,
                log_output=False,
            )
        secret: t.List[str] = []
        verdict = abilities = kind = ""
        expires: int | None = None
        signing: t.List[int] = []
        for fields in (line.split(":") for line in done.text.splitlines()):
            if fields[0] in ("pub", "sec", "sub", "ssb"):
                kind = fields[0]
                if kind in ("sec", "ssb") and "s" in fields[11] and fields[5].isdigit():
                    signing.append(int(fields[5]))
                if kind == "sec" and not secret:
                    verdict, abilities = fields[1], fields[11]
                    expires = int(fields[6]) if fields[6].isdigit() else None
            elif fields[0] == "fpr" and kind == "sec":
                secret.append(fields[9])
        return _Listing(tuple(secret), verdict, abilities, min(signing, default=0), expires)

    def _run_private(self, arguments: t.Sequence[str], data: bytes) -> bytes:
        """Import the key into a home of its own, and let gpg do something there."""
        done = self._runner.run(
            [self._unshare, "--mount", "--pid", "--fork", "--kill-child", "--", "/bin/sh", "-eu", "-c", _PRIVATE]
            + ["sh", self._key, self._gpg, *_OPTIONS, "--status-fd", "2", *self._faked(self.moment), "--", *arguments],
            data=data,
            check=False,
            log_output=False,
        )
        if done.rc == 0:
            return done.stdout
        if "No passphrase given" in done.error_text or "Bad passphrase" in done.error_text:
            raise SigningError(
                f"The key {self.fingerprint} of {FIELD} is protected by a passphrase, which nobody is there to type.",
                remedy="Export it without one, and let only those read the file who may sign.",
            )
        said = [line for line in done.error_text.splitlines() if not line.startswith(("[GNUPG:]", "gpg: WARNING"))]
        raise SigningError(
            f"GnuPG does not use the key {self.fingerprint} of {FIELD}: {' '.join(said) or f'status {done.rc}'}.",
            remedy=f"Check the file {os.path.basename(self._key)} by gpg --show-keys.",
        )


def _day(seconds: int) -> str:
    return f"{datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc):%Y-%m-%d}"


__all__ = ("FIELD", "OpenPgpSigner")
