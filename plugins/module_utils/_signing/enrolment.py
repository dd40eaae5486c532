# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""What is enrolled in firmware for Secure Boot: certificates, signature lists, and signed updates of the variables.

The forms are those of the UEFI specification, 2.10: EFI_SIGNATURE_LIST in 32.4.1, EFI_VARIABLE_AUTHENTICATION_2 in
8.2.2. The time in a signed update is that of the image, so that it is the same each time.
"""

from __future__ import annotations

import dataclasses
import datetime
import struct
import typing as t
import uuid

from ansible_collections.os_image.composer.plugins.module_utils._command import find_tool
from ansible_collections.os_image.composer.plugins.module_utils._errors import SigningError
from ansible_collections.os_image.composer.plugins.module_utils._signing.private_key import PrivateKey

#: The variables in the order in which firmware has to get them: with the platform key it leaves its setup mode.
VARIABLES = ("db", "KEK", "PK")

_GLOBAL = uuid.UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
_IMAGE_SECURITY = uuid.UUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f")
_VENDORS = {"db": _IMAGE_SECURITY, "KEK": _GLOBAL, "PK": _GLOBAL}
_X509 = uuid.UUID("a5c059a1-94e4-4aa7-87b5-ab155c2bf072")
_PKCS7 = uuid.UUID("4aafd29d-68df-49ee-8aa9-347d375665a7")
# Kept over reboots, seen by the firmware and the system, and changed by what is signed and younger.
_ATTRIBUTES = 0x1 | 0x2 | 0x4 | 0x20

#: Whose key signs the update of a variable.
SIGNED_BY: t.Mapping[str, str] = {"db": "KEK", "KEK": "PK", "PK": "PK"}


@dataclasses.dataclass(frozen=True)
class EnrolledCertificate:
    """A certificate for a variable.

    :ivar path: Path of its PEM form.
    :ivar der: Its DER form.
    """

    path: str
    der: bytes


def enrolment_files(
    certificates: t.Mapping[str, EnrolledCertificate], keys: t.Mapping[str, PrivateKey], *, epoch: int
) -> t.Dict[str, bytes]:
    """Return what enrols the certificates, by name: C(db.cer), C(db.esl), C(db.auth) and so on.

    :param certificates: For each of :data:`VARIABLES`.
    :param keys: Their keys, as far as they are at hand: what would be signed with another one is left out.
    :param epoch: See :func:`signed_update`.
    """
    owner = owner_of(certificates["db"].der)
    files = {}
    for variable in VARIABLES:
        listed = signature_list(certificates[variable].der, owner)
        files[f"{variable}.cer"] = certificates[variable].der
        files[f"{variable}.esl"] = listed
        signer = SIGNED_BY[variable]
        if signer in keys:
            files[f"{variable}.auth"] = signed_update(
                variable, listed, key=keys[signer], certificate=certificates[signer], epoch=epoch
            )
    return files


def owner_of(der: bytes) -> uuid.UUID:
    """Return the GUID of the owner of signature lists: the same for the same certificate of db (DER)."""
    return uuid.uuid5(_IMAGE_SECURITY, der.hex())


def signature_list(der: bytes, owner: uuid.UUID) -> bytes:
    """Return a certificate (DER) as a signature list."""
    entry = owner.bytes_le + der
    return _X509.bytes_le + struct.pack("<III", 28 + len(entry), 0, len(entry)) + entry


def signed_update(
    variable: str, content: bytes, *, key: PrivateKey, certificate: EnrolledCertificate, epoch: int
) -> bytes:
    """Return an update of a variable that firmware takes even out of setup mode.

    :param content: A signature list.
    :param key: The key of the certificate.
    :param epoch: The time of the update, in seconds since 1970.
    :raises CommandError: It could not be signed.
    """
    moment = datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc)
    date = struct.pack("<H5BxIhBx", *moment.timetuple()[:6], 0, 0, 0)
    head = variable.encode("utf-16-le") + _VENDORS[variable].bytes_le + struct.pack("<I", _ATTRIBUTES) + date
    command = [find_tool("openssl"), "cms", "-sign", "-binary", "-noattr", "-md", "sha256", "-outform", "DER"]
    command += ["-signer", certificate.path, "-inkey", key.reference]
    if key.engine is not None:
        command += ["-engine", "pkcs11", "-keyform", "engine"]
    done = key.run(command, data=head + content, what=f"Signing the variable {variable}", log_output=False)
    signature = _signed_data(done.stdout)
    return date + struct.pack("<IHH", 24 + len(signature), 0x0200, 0x0EF1) + _PKCS7.bytes_le + signature + content


def _signed_data(content_info: bytes) -> bytes:
    """Return what a PKCS#7 message holds: firmware wants it without the envelope that tells its type."""
    rest = _content(content_info)
    # The identifier of the type, and the data with a tag of its own.
    header, length = _header(rest)
    return _content(rest[header + length :])


def _content(der: bytes) -> bytes:
    header, length = _header(der)
    return der[header : header + length]


def _header(der: bytes) -> t.Tuple[int, int]:
    """Return how long the header and the content of a DER value are."""
    if len(der) < 2:
        raise SigningError("OpenSSL has not made a signature in the form that was asked for.")
    if der[1] < 0x80:
        return 2, der[1]
    count = der[1] & 0x7F
    return 2 + count, int.from_bytes(der[2 : 2 + count], "big")


__all__ = (
    "SIGNED_BY",
    "VARIABLES",
    "EnrolledCertificate",
    "enrolment_files",
    "owner_of",
    "signature_list",
    "signed_update",
)
