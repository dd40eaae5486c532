# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The public keys of a repository as package managers want them: one armored block each, and no key that is not pinned.

The form of keys and of their armor: RFC 9580.
"""

from __future__ import annotations

import base64
import hashlib
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import SignatureError
from ansible_collections.os_image.composer.plugins.module_utils._repository.signature import read_keyring

_PUBLIC_KEY, _PUBLIC_SUBKEY = 6, 14
_CRC_INIT, _CRC_POLYNOMIAL = 0xB704CE, 0x1864CFB
_LINE = 64


def armored_keys(repository: t.Mapping[str, t.Any]) -> list[str]:
    """Return the keys that may sign for a repository, each as an armored block.

    :param repository: As in C(template.json), its keys by their paths.
    :raises SignatureError: A file cannot be read, or holds no key, or none of the pinned ones.
    """
    what = f"the repository {repository['name']}"
    pinned = {fingerprint.upper() for fingerprint in repository.get("fingerprints") or ()}
    keys = []
    for key, fingerprints in _split(read_keyring(repository.get("keys") or (), what=what), what=what):
        if not pinned or pinned & fingerprints:
            keys.append(_armor(key))
    if pinned and not keys:
        raise SignatureError(
            f"The key files of {what} hold none of the keys {', '.join(sorted(pinned))}.",
            remedy="Correct the key files or the fingerprints in the template or the provider's configuration.",
        )
    return list(dict.fromkeys(keys))


def _split(keyring: bytes, *, what: str) -> t.Iterator[tuple[bytes, set[str]]]:
    """Yield each key of a binary keyring with the fingerprints of it and its subkeys."""
    start, fingerprints = 0, set[str]()
    for position, tag, body in _packets(keyring, what=what):
        if tag == _PUBLIC_KEY and position > start:
            yield keyring[start:position], fingerprints
            start, fingerprints = position, set()
        if tag in (_PUBLIC_KEY, _PUBLIC_SUBKEY):
            fingerprints.add(_fingerprint(body))
    if keyring:
        yield keyring[start:], fingerprints


def _packets(data: bytes, *, what: str) -> t.Iterator[tuple[int, int, bytes]]:
    """Yield position, tag and body of each packet."""
    position = 0
    try:
        while position < len(data):
            first = data[position]
            if first & 0x40:
                tag, length, header = first & 0x3F, *_new_length(data, position + 1)
            else:
                size = (1, 2, 4)[first & 3]
                tag, header = first >> 2 & 0xF, 1 + size
                length = int.from_bytes(data[position + 1 : position + 1 + size], "big")
            body = data[position + header : position + header + length]
            if not first & 0x80 or len(body) != length:
                raise IndexError
            yield position, tag, body
            position += header + length
    except IndexError:
        raise SignatureError(f"The keys of {what} are damaged.", remedy="Export them again.") from None


def _new_length(data: bytes, position: int) -> tuple[int, int]:
    """Return the length of a packet's body and of its header."""
    first = data[position]
    if first < 192:
        return first, 2
    if first < 224:
        return (first - 192 << 8) + data[position + 1] + 192, 3
    if first == 255:
        return int.from_bytes(data[position + 1 : position + 5], "big"), 6
    # Only data may come in parts.
    raise IndexError


def _fingerprint(body: bytes) -> str:
    if body[:1] == b"\4":
        return hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body).hexdigest().upper()  # noqa: S324
    return hashlib.sha256(b"\x9b" + len(body).to_bytes(4, "big") + body).hexdigest().upper()


def _armor(key: bytes) -> str:
    text = base64.b64encode(key).decode("ascii")
    lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
    # rpm does not take a block without it.
    checksum = base64.b64encode(_crc24(key).to_bytes(3, "big")).decode("ascii")
    begin, end = (f"-----{word} PGP PUBLIC KEY BLOCK-----" for word in ("BEGIN", "END"))
    return "\n".join([begin, "", *lines, f"={checksum}", end, ""])


def _crc24(data: bytes) -> int:
    crc = _CRC_INIT
    for byte in data:
        crc ^= byte << 16
        for _bit in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= _CRC_POLYNOMIAL
    return crc


__all__ = ("armored_keys",)
