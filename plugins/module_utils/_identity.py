# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Identifiers of an image: UUIDs and serial numbers that follow from what is in it.

Where other tools roll dice, this collection derives: the same build digest gives the same identifiers on any host, and
another build gives others.
"""

from __future__ import annotations

import hashlib
import hmac
import uuid


def _derive(build_digest: str, purpose: str) -> bytes:
    return hmac.new(bytes.fromhex(build_digest), purpose.encode("utf-8"), hashlib.sha256).digest()


def derive_uuid(build_digest: str, purpose: str) -> str:
    """Return a UUID (lower case, with dashes) that has the form of a random one (version 4, RFC 9562).

    :param build_digest: 64 hexadecimal digits, see C(TemplateDocument.build_digest).
    :param purpose: What the UUID is for, for example C(partition/rootfs). Each purpose has its own UUID.
    """
    return str(uuid.UUID(bytes=_derive(build_digest, purpose)[:16], version=4))


def derive_hex(build_digest: str, purpose: str, digits: int) -> str:
    """Return C(digits) hexadecimal digits (at most 64, lower case), for serial numbers, salts and seeds."""
    if not 1 <= digits <= 64:
        raise ValueError(f"digits is {digits}, but must be between 1 and 64")
    return _derive(build_digest, purpose).hex()[:digits]


__all__ = ("derive_hex", "derive_uuid")
