# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Signatures of repository metadata (OpenPGP), checked with a repository's own keys and nothing else.

GnuPG's exit status is not looked at: it is 0 for an expired key too. Only the status lines tell (GnuPG's doc/DETAILS).
"""

from __future__ import annotations

import dataclasses
import io
import os
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import SignatureError
from ansible_collections.os_image.composer.plugins.module_utils._repository.gnupg import private_gpg
from ansible_collections.os_image.composer.plugins.module_utils._repository.key_bindings import (
    WEAK_DIGESTS,
    weak_bindings,
)
from ansible_collections.os_image.composer.plugins.module_utils._repository.public_keys import (
    normalised,
    on_day,
    weak_keys,
)

_CLEARSIGNED_BEGIN = b"-----BEGIN PGP SIGNED MESSAGE-----"
_CLEARSIGNED_END = b"-----END PGP SIGNATURE-----"
_NO_PUBLIC_KEY = "9"


@dataclasses.dataclass(frozen=True)
class SignedContent:
    """What a signature vouches for.

    :ivar content: The signed bytes, and nothing that stood around them.
    :ivar signed_by: Fingerprints of the primary keys of the accepted signatures, in their order.
    :ivar signed_at: When the latest of them was made, in seconds since 1970; 0 without any.
    """

    content: bytes
    signed_by: tuple[str, ...]
    signed_at: int = 0


@dataclasses.dataclass
class _Signature:
    """One signature, as the status lines describe it."""

    verdict: str = ""
    key_id: str = ""
    code: str = ""
    fingerprint: str = ""
    primary: str = ""
    digest: str = ""
    made: int = 0
    key_expired: int | None = None

    @property
    def shown(self) -> str:
        return self.primary or self.fingerprint or self.key_id


def verify_clearsigned(
    data: bytes,
    *,
    keyring: bytes,
    fingerprints: t.Sequence[str],
    what: str,
    now: int | None = None,
) -> SignedContent:
    """Check a clearsigned document (C(InRelease)) and return the signed text only.

    :param keyring: The keys that may have signed, see :func:`read_keyring`.
    :param fingerprints: Fingerprints of the only keys that may have signed; empty allows all of C(keyring).
    :param what: The document, as messages name it.
    :param now: Seconds since 1970 to check expiry dates against, instead of the clock.
    :raises SignatureError: The document must not be believed.
    """
    text = data.rstrip()
    if (
        not text.startswith(_CLEARSIGNED_BEGIN)
        or not text.endswith(_CLEARSIGNED_END)
        or len(re.findall(rb"^-----BEGIN PGP SIGNED MESSAGE", text, re.MULTILINE)) != 1
        or len(re.findall(rb"^-----BEGIN PGP SIGNATURE", text, re.MULTILINE)) != 1
    ):
        raise SignatureError(
            f"{what} is not one clearsigned document from its first to its last line.",
            remedy="Something on the way may have changed it, a captive portal or a proxy for example: try again, or "
            "use another mirror.",
        )
    content, signatures = _run_gpg(data, None, keyring=keyring, now=now)
    return SignedContent(content, *_judge(signatures, keyring, fingerprints, what=what))


def verify_detached(
    data: bytes,
    signature: bytes,
    *,
    keyring: bytes,
    fingerprints: t.Sequence[str],
    what: str,
    now: int | None = None,
) -> SignedContent:
    """Check a document against its detached signature (C(Release.gpg)); otherwise like :func:`verify_clearsigned`."""
    _content, signatures = _run_gpg(data, signature, keyring=keyring, now=now)
    return SignedContent(data, *_judge(signatures, keyring, fingerprints, what=what))


def _run_gpg(
    data: bytes, signature: bytes | None, *, keyring: bytes, now: int | None
) -> tuple[bytes, list[_Signature]]:
    """Let GnuPG check a document; return the signed text (clearsigned only) and its word on each signature."""
    with private_gpg(now=now) as gpg:
        ring = os.path.join(gpg.gnupghome, "keys.gpg")
        with open(ring, "wb") as stream:
            stream.write(keyring)
        gpg.keyring = [ring]
        if signature is None:
            result = gpg.verify_file(io.BytesIO(data), extra_args=["--output", "-"])
            content = result.data
        else:
            signature_file = os.path.join(gpg.gnupghome, "signature")
            with open(signature_file, "wb") as stream:
                stream.write(signature)
            result = gpg.verify_data(signature_file, data)
            content = b""
    return content, _parse_status(result.stderr)


def _parse_status(text: str) -> list[_Signature]:
    """Read the status lines; several signatures are told apart by their NEWSIG lines."""
    signatures: list[_Signature] = []
    # Names of keys are among them, and may have what Python takes for line breaks, too.
    for line in text.split("\n"):
        if not line.startswith("[GNUPG:] "):
            continue
        word, *values = line[len("[GNUPG:] ") :].split()
        if word == "NEWSIG":
            signatures.append(_Signature())
        elif not signatures:
            continue
        current = signatures[-1] if signatures else _Signature()
        if word in ("GOODSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG", "BADSIG", "ERRSIG"):
            current.verdict = word
            current.key_id = values[0]
            if word == "ERRSIG":
                current.code = values[5] if len(values) > 5 else ""
                current.fingerprint = values[6] if len(values) > 6 and values[6] != "-" else ""
        elif word == "VALIDSIG":
            current.fingerprint, current.primary, current.digest = values[0], values[-1], values[7]
            current.made = int(values[2]) if values[2].isdigit() else 0
        elif word == "KEYEXPIRED" and values and values[0].isdigit():
            current.key_expired = int(values[0])
    return signatures


def _judge(
    signatures: t.Sequence[_Signature], keyring: bytes, fingerprints: t.Sequence[str], *, what: str
) -> tuple[tuple[str, ...], int]:
    """Return the fingerprints of the accepted signatures, and when the latest of them was made.

    One good signature of an allowed key suffices: archives are signed with the keys of several releases. A signature
    that does not fit the content condemns the document.

    :raises SignatureError: There is no acceptable signature.
    """
    pinned = normalised(fingerprints)
    for signature in signatures:
        if signature.verdict == "BADSIG":
            raise SignatureError(
                f"{what} does not match its signature by the key {signature.shown}: it was changed after it was "
                "signed.",
                remedy="Do not trust this copy. Try again, or use another mirror.",
            )
    good = [item for item in signatures if item.verdict == "GOODSIG" and item.primary]
    strong = [item for item in good if item.digest not in WEAK_DIGESTS and not _weakness(item, pinned, keyring)]
    accepted = [item for item in strong if not pinned or pinned & {item.primary, item.fingerprint}]
    if accepted:
        return tuple(dict.fromkeys(item.primary for item in accepted)), max(item.made for item in accepted)
    if not signatures:
        raise SignatureError(f"{what} has no signature that GnuPG understands.", remedy=_REMEDY_UNSIGNED)
    problems = list(dict.fromkeys(_describe(item, pinned, keyring) for item in signatures))
    order = ("REVKEYSIG", "EXPKEYSIG", "EXPSIG", "GOODSIG", "ERRSIG", "")
    first = min(signatures, key=lambda item: order.index(item.verdict))
    remedy = _REMEDIES.get(first.verdict, _REMEDY_KEYS)
    raise SignatureError(
        f"{what} has no valid signature: {'; '.join(problems)}.",
        remedy=remedy,
        details={"signed_by": [item.shown for item in signatures]},
    )


def _weakness(signature: _Signature, pinned: t.Collection[str], keyring: bytes) -> str:
    """Say why the key of a good signature is not believed; nothing when it is."""
    own = dict.fromkeys((signature.primary, signature.fingerprint))
    broken = weak_keys(keyring)
    found = next((fingerprint for fingerprint in own if fingerprint in broken), None)
    # A key that is named by its fingerprint needs nobody who vouches for it.
    if found is None and signature.fingerprint not in pinned:
        broken = weak_bindings(keyring)
        found = next((fingerprint for fingerprint in own if fingerprint in broken and fingerprint not in pinned), None)
    return "" if found is None else f"the key {found} {broken[found]}"


def _describe(signature: _Signature, pinned: t.Collection[str], keyring: bytes) -> str:
    """Say in words why one signature is not accepted."""
    key = f"the key {signature.shown}"
    if signature.verdict == "EXPKEYSIG":
        return f"{key} has expired{on_day(signature.key_expired)}"
    if signature.verdict == "REVKEYSIG":
        return f"{key} was revoked"
    if signature.verdict == "EXPSIG":
        return f"the signature by {key} has expired"
    if signature.verdict == "ERRSIG":
        if signature.code == _NO_PUBLIC_KEY:
            return f"it is signed with {key}, which is not one of the repository's keys"
        return f"the signature by {key} cannot be checked (GnuPG's error {signature.code or 'unknown'})"
    if signature.verdict == "GOODSIG" and signature.digest in WEAK_DIGESTS:
        return f"the signature by {key} uses {WEAK_DIGESTS[signature.digest]}, which is broken"
    weakness = _weakness(signature, pinned, keyring) if signature.verdict == "GOODSIG" else ""
    if weakness:
        return weakness
    if signature.verdict == "GOODSIG" and pinned:
        return f"it is signed with {key}, but the only fingerprints allowed are {', '.join(sorted(pinned))}"
    return f"GnuPG says nothing clear about the signature by {key}"


_REMEDY_KEYS = (
    "If the repository has changed its keys, get the new key from its owner over a trusted way, and name its file and "
    "fingerprint in the template or the provider's configuration."
)
_REMEDY_UNSIGNED = "Check the URL; a repository without signatures needs gpgcheck: false in the template."
_REMEDIES: t.Mapping[str, str] = {
    "EXPKEYSIG": "Get the renewed key from the repository's owner, and check the clock of the build host.",
    "REVKEYSIG": "Do not trust this copy. Get the new key from the repository's owner over a trusted way.",
    "EXPSIG": "Use another mirror, and check the clock of the build host.",
    "GOODSIG": _REMEDY_KEYS,
    "ERRSIG": _REMEDY_KEYS,
}


__all__ = ("SignedContent", "verify_clearsigned", "verify_detached")
