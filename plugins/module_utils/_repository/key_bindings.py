# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Bindings of OpenPGP keys: by which signatures a key vouches for itself and for its subkeys.

Whoever can forge such a signature can give a key another subkey, or another time of expiry. apt refuses, since Debian
13 and by way of sqv, keys that have none but with SHA-1; GnuPG takes them, and rpm, too. Packets are read as RFC 9580
has them, for keys of version 4, which have a fingerprint of 40 digits.
"""

from __future__ import annotations

import functools
import hashlib
import subprocess
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._repository.gnupg import private_gpg

#: RFC 9580, 9.5: what does not protect against collisions any more.
WEAK_DIGESTS: t.Mapping[str, str] = {"1": "MD5", "2": "SHA-1", "3": "RIPEMD-160"}

_SIGNATURE, _KEY, _SUBKEY = 2, 6, 14
_USER = (13, 17)
_CERTIFICATIONS = (0x10, 0x11, 0x12, 0x13)
_DIRECT = 0x1F
_SUBKEY_BINDING = 0x18
_ISSUER, _ISSUER_FINGERPRINT = 16, 33
_SECONDS = 60

# The digests of the signatures that bind each key, by fingerprints.
_Bindings = t.Dict[str, t.Set[str]]


@functools.lru_cache(maxsize=32)
def weak_bindings(keyring: bytes) -> t.Mapping[str, str]:
    """Return what is wrong with keys and subkeys that are bound by broken digests alone, by their fingerprints.

    :param keyring: Public keys in the binary form, see :func:`read_keyring`.
    """
    found = _written(keyring)
    if any(digests & WEAK_DIGESTS.keys() and digests - WEAK_DIGESTS.keys() for digests in found.values()):
        # A signature that nobody has checked does not make up for one that can be forged.
        found = _checked(keyring)
    problems = {}
    for fingerprint, digests in found.items():
        if digests and digests <= WEAK_DIGESTS.keys():
            names = " and ".join(WEAK_DIGESTS[digest] for digest in sorted(digests, reverse=True))
            problems[fingerprint] = f"is bound by signatures with {names} alone, which can be forged"
    return problems


def _written(keyring: bytes) -> _Bindings:
    """Return the bindings as they are written; nobody has checked them."""
    found: _Bindings = {}
    primary = current = ""
    is_user = False
    for tag, body in _packets(keyring):
        if tag in (_KEY, _SUBKEY):
            current = _fingerprint(body)
            found.setdefault(current, set())
            if tag == _KEY:
                primary = current
            is_user = False
        elif tag in _USER:
            is_user = True
        elif tag == _SIGNATURE and current:
            kind, digest, issuers = _signature(body)
            # Signatures on user IDs come before the subkeys.
            subject = primary if is_user or kind == _DIRECT else current
            wanted = _CERTIFICATIONS if is_user else (_DIRECT, _SUBKEY_BINDING)
            if kind in wanted and (not issuers or primary[-16:] in issuers):
                found[subject].add(digest)
    return found


def _packets(data: bytes) -> t.Iterator[t.Tuple[int, bytes]]:
    """Yield the packets (RFC 9580, 4.2), as far as they can be told apart."""
    position = 0
    while position + 2 <= len(data):
        head = data[position]
        position += 1
        if not head & 0x80:
            return
        if head & 0x40:
            tag = head & 0x3F
            # Keys have no partial lengths.
            if 224 <= data[position] < 255:
                return
            width, size = _length(data[position : position + 5])
        else:
            tag = head >> 2 & 0x0F
            width = (1, 2, 4, 0)[head & 3]
            size = int.from_bytes(data[position : position + width], "big") if width else len(data)
        position += width
        yield tag, data[position : position + size]
        position += size


def _length(field: bytes) -> t.Tuple[int, int]:
    """Read a length of the new form (RFC 9580, 4.2.1 and 5.2.3.7); return how long it is itself, and its value."""
    field = field.ljust(5, b"\0")
    if field[0] < 192:
        return 1, field[0]
    if field[0] < 255:
        return 2, (field[0] - 192 << 8) + field[1] + 192
    return 5, int.from_bytes(field[1:5], "big")


def _fingerprint(body: bytes) -> str:
    if body[:1] != b"\4" or len(body) >= 1 << 16:
        return ""
    return hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body).hexdigest().upper()  # noqa: S324


def _signature(body: bytes) -> t.Tuple[int, str, t.Set[str]]:
    """Return type, digest algorithm, and the key IDs of who may have made a signature."""
    if body[:1] == b"\3" and len(body) >= 17:
        return body[2], str(body[16]), {body[7:15].hex().upper()}
    if body[:1] != b"\4" or len(body) < 6:
        return -1, "", set()
    issuers = set()
    position = 4
    for _area in range(2):
        size = int.from_bytes(body[position : position + 2], "big")
        for kind, value in _subpackets(body[position + 2 : position + 2 + size]):
            if kind == _ISSUER:
                issuers.add(value.hex().upper())
            elif kind == _ISSUER_FINGERPRINT:
                issuers.add(value[1:].hex().upper()[-16:])
        position += 2 + size
    return body[1], str(body[3]), issuers


def _subpackets(area: bytes) -> t.Iterator[t.Tuple[int, bytes]]:
    position = 0
    while position < len(area):
        width, size = _length(area[position : position + 5])
        position += width
        if not size:
            return
        yield area[position] & 0x7F if position < len(area) else 0, area[position + 1 : position + size]
        position += size


def _checked(keyring: bytes) -> _Bindings:
    """Return the bindings that GnuPG has checked (doc/DETAILS: a listing in colons)."""
    found: _Bindings = {}
    with private_gpg(now=None) as gpg:
        gpg.import_keys(keyring)
        command = [gpg.gpgbinary, "--homedir", gpg.gnupghome, *gpg.options, "--batch", "--with-colons", "--check-sigs"]
        done = subprocess.run(  # noqa: S603
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
        )
    primary = current = ""
    for line in done.stdout.decode("utf-8", errors="replace").split("\n"):
        fields = line.split(":")
        if fields[0] in ("pub", "sub"):
            current = ""
            if fields[0] == "pub":
                primary = ""
        elif fields[0] == "fpr" and not current:
            current = fields[9]
            primary = primary or current
            found.setdefault(current, set())
        elif fields[0] == "sig" and len(fields) > 15 and fields[1] == "!" and primary.endswith(fields[4]):
            kind = int(fields[10][:2], 16)
            if kind in _CERTIFICATIONS or kind == _DIRECT:
                found[primary].add(fields[15])
            elif kind == _SUBKEY_BINDING and current:
                found[current].add(fields[15])
    return found


__all__ = ("WEAK_DIGESTS", "weak_bindings")
