# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""OpenPGP public keys: read from files, told apart by their fingerprints, and which of them may still sign."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import functools
import os
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import SignatureError
from ansible_collections.os_image.composer.plugins.module_utils._repository.gnupg import private_gpg

# NIST SP 800-57, part 1: what has fewer bits protects nothing since 2014.
_LEAST_BITS = 2048
_MEASURED_BY_BITS: t.Mapping[str, str] = {
    "1": "an RSA",
    "2": "an RSA",
    "3": "an RSA",
    "16": "an Elgamal",
    "17": "a DSA",
    "20": "an Elgamal",
}
# Armor as GnuPG and apt read it, and as people leave it after a round through an editor or a mail: with empty headers,
# blank lines anywhere or nowhere, the checksum in a line of its own, behind the last one, or missing, and no last line.
_ARMOR = re.compile(
    rb"^-----BEGIN PGP PUBLIC KEY BLOCK-----[ \t]*\r?\n(?P<lines>.*?)(?=^-----|\Z)",
    re.MULTILINE | re.DOTALL,
)
_ARMOR_HEADER = re.compile(rb"[A-Za-z][A-Za-z0-9-]*:(?:[ \t].*)?\Z", re.DOTALL)
_ARMOR_BODY = re.compile(rb"(?P<data>[A-Za-z0-9+/]+)(?P<padding>={0,2}?)(?:=[A-Za-z0-9+/]{4})?")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclasses.dataclass(frozen=True)
class PublicKey:
    """A public key with its subkeys.

    :ivar fingerprint: That of the primary key.
    :ivar problem: Why nothing may be signed with it, in words that follow its name; empty for a good key.
    :ivar subkeys: What is wrong with each key of it, the primary one included, by fingerprint.
    :ivar armored: The key alone, as an armored block.
    """

    fingerprint: str
    problem: str
    subkeys: t.Mapping[str, str]
    armored: bytes

    @property
    def fingerprints(self) -> frozenset[str]:
        """All fingerprints."""
        return frozenset(self.subkeys)


def normalised(fingerprints: t.Iterable[str]) -> t.FrozenSet[str]:
    """Return fingerprints as GnuPG writes them, from the form in which people read them."""
    return frozenset(fingerprint.replace(" ", "").upper() for fingerprint in fingerprints)


def read_keyring(paths: t.Sequence[str], *, what: str) -> bytes:
    """Return the public keys of some files, armored or not, as one binary keyring.

    :param what: The repository, as messages name it.
    :raises SignatureError: A file cannot be read, or holds no key.
    """
    keyring = []
    for path in paths:
        try:
            with open(path, "rb") as stream:
                data = stream.read()
        except OSError as exc:
            raise SignatureError(
                f"The key file {path} of {what} cannot be read: {exc.strerror}.",
                remedy="Check the path in the template or the provider's configuration. A key that is named by URL is "
                "fetched by os_image.composer.pkg_resolve: run it once without lock_file.",
            ) from exc
        keyring.append(dearmor(data, path=path, what=what))
    return b"".join(keyring)


def dearmor(data: bytes, *, path: str, what: str) -> bytes:
    """Return the public keys of a key export, armored or not, in the binary form.

    :param path: Where it comes from, as messages name it.
    :raises SignatureError: It holds no key.
    """
    # Some editors put one before the text.
    data = data[len(_BYTE_ORDER_MARK) :] if data.startswith(_BYTE_ORDER_MARK) else data
    # The first byte of a binary OpenPGP packet has its highest bit set (RFC 9580, 4.2).
    if data[:1] >= b"\x80":
        return data
    try:
        keys = b"".join(_armored_data(match["lines"]) for match in _ARMOR.finditer(data))
    except ValueError:
        keys = b""
    if not keys:
        raise SignatureError(
            f"The key file {path} of {what} holds no OpenPGP public key.",
            remedy="It must be a key export, armored (gpg --armor --export) or binary.",
        )
    return keys


def _armored_data(lines: bytes) -> bytes:
    """Return what stands between the first and the last line of an armored block.

    The checksum is not looked at, as RFC 9580, 6.1, demands: whether the key is the one that it should be is told by
    its fingerprint and by what it signs.

    :raises ValueError: It is not armor.
    """
    rows = [line.strip() for line in lines.split(b"\n")]
    while rows and (not rows[0] or _ARMOR_HEADER.match(rows[0])):
        del rows[0]
    body = _ARMOR_BODY.fullmatch(b"".join(rows))
    if body is None:
        raise ValueError("it is not base64")
    data = body["data"]
    return base64.b64decode(data + b"=" * (-len(data) % 4), validate=True)


@dataclasses.dataclass(frozen=True)
class SelectedKeys:
    """The keys of a keyring that have certain fingerprints.

    :ivar armored: These keys; empty when there are none.
    :ivar usable: Those of the fingerprints whose keys have neither expired nor been revoked.
    :ivar found: Fingerprints of all primary keys of the keyring.
    """

    armored: bytes
    usable: frozenset[str]
    found: tuple[str, ...]


def select_keys(keyring: bytes, fingerprints: t.Collection[str], *, now: int | None = None) -> SelectedKeys:
    """Take the keys with certain fingerprints out of a keyring.

    :param keyring: Public keys in the binary form, see :func:`read_keyring`.
    :param fingerprints: In upper case, of primary keys or of subkeys; a subkey comes with its primary key.
    :param now: Seconds since 1970 to check expiry dates against, instead of the clock.
    """
    with private_gpg(now=now) as gpg:
        disputed = _disputed(gpg, keyring)
        gpg.import_keys(keyring)
        usable: set[str] = set()
        wanted = []
        found = []
        for key in gpg.list_keys():
            found.append(key["fingerprint"])
            every = _fingerprints(key)
            own = every.intersection(fingerprints)
            if own and every & disputed:
                continue
            if own:
                wanted.append(key["fingerprint"])
            if key["trust"] not in ("e", "r"):
                usable |= own
        armored = gpg.export_keys(wanted) if wanted else ""
    return SelectedKeys(armored.encode("ascii"), frozenset(usable), tuple(found))


def _fingerprints(entry: t.Mapping[str, t.Any]) -> set[str]:
    """Return those of a key and its subkeys."""
    return {entry["fingerprint"], *(subkey[2] for subkey in entry["subkeys"])}


def _disputed(gpg: t.Any, keyring: bytes) -> set[str]:
    """Return the fingerprints that more than one key of a keyring has.

    Everybody can take a key of somebody else for a subkey of his own, which has the same fingerprint then. GnuPG finds
    the one or the other, and exports both.
    """
    path = os.path.join(gpg.gnupghome, "keys.gpg")
    with open(path, "wb") as stream:
        stream.write(keyring)
    owners: dict[str, set[str]] = {}
    for entry in gpg.scan_keys(path):
        for fingerprint in _fingerprints(entry):
            owners.setdefault(fingerprint, set()).add(entry["fingerprint"])
    return {fingerprint for fingerprint, primaries in owners.items() if len(primaries) > 1}


def read_public_keys(keyring: bytes, *, now: int | None = None) -> list[PublicKey]:
    """Return the keys of a keyring one by one, and what GnuPG thinks of each.

    :param keyring: See :func:`read_keyring`.
    :param now: Seconds since 1970 to check expiry dates against, instead of the clock.
    """
    with private_gpg(now=now) as gpg:
        gpg.import_keys(keyring)
        keys = []
        for entry in gpg.list_keys():
            subkeys = {entry["fingerprint"]: _key_problem(entry)}
            for key_id, _use, fingerprint, *_rest in entry["subkeys"]:
                subkeys[fingerprint] = _key_problem(entry["subkey_info"][key_id])
            keys.append(
                PublicKey(
                    fingerprint=entry["fingerprint"],
                    problem=subkeys[entry["fingerprint"]],
                    subkeys=subkeys,
                    armored=gpg.export_keys(entry["fingerprint"]).encode("ascii"),
                )
            )
    return keys


@functools.lru_cache(maxsize=32)
def weak_keys(keyring: bytes) -> t.Mapping[str, str]:
    """Return what is wrong with the keys of a keyring that are too weak, by the fingerprints of keys and subkeys.

    With a primary key that is too weak, its subkeys are: who can forge it can bind others to it.
    """
    with private_gpg(now=None) as gpg:
        path = os.path.join(gpg.gnupghome, "keys.gpg")
        with open(path, "wb") as stream:
            stream.write(keyring)
        found = {}
        for entry in gpg.scan_keys(path):
            problem = _weakness(entry)
            found[entry["fingerprint"]] = problem
            for key_id, _use, fingerprint, *_rest in entry["subkeys"]:
                found[fingerprint] = problem or _weakness(entry["subkey_info"][key_id])
    return {fingerprint: problem for fingerprint, problem in found.items() if problem}


def _weakness(entry: t.Mapping[str, t.Any]) -> str:
    """Say why a key is too weak to be believed; the numbers of algorithms are those of RFC 9580, 9.1."""
    name = _MEASURED_BY_BITS.get(str(entry["algo"]))
    bits = int(entry["length"]) if str(entry["length"]).isdigit() else 0
    if name is not None and bits < _LEAST_BITS:
        return f"is {name} key of {bits} bits, and fewer than {_LEAST_BITS} can be broken"
    return ""


def _key_problem(entry: t.Mapping[str, t.Any]) -> str:
    """Say why a key may not sign; GnuPG's doc/DETAILS, "Field 2 - Validity"."""
    weakness = _weakness(entry)
    if weakness:
        return weakness
    if entry["trust"] == "e":
        return f"has expired{on_day(int(entry['expires']) if entry['expires'] else None)}"
    return {"r": "was revoked", "i": "is not valid", "d": "is disabled"}.get(entry["trust"], "")


def on_day(seconds: int | None) -> str:
    """Return when something has expired, as the end of a sentence; nothing when that is not known."""
    if seconds is None:
        return ""
    return f" on {datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc):%Y-%m-%d}"


__all__ = (
    "PublicKey",
    "SelectedKeys",
    "dearmor",
    "normalised",
    "on_day",
    "read_keyring",
    "read_public_keys",
    "select_keys",
    "weak_keys",
)
