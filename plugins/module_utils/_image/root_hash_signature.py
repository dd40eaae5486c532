# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The signature of a root hash of dm-verity: what a partition for one holds, and whether it is one."""

from __future__ import annotations

import base64
import dataclasses
import os
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._command import find_tool
from ansible_collections.os_image.composer.plugins.module_utils._image.sandbox import ParserSandbox
from ansible_collections.os_image.composer.plugins.module_utils._image.table import TablePartition
from ansible_collections.os_image.composer.plugins.module_utils._io import parse_json, sha256_bytes
from ansible_collections.os_image.composer.plugins.module_utils._partition_type import PARTITION_TYPES

# Of whatever is signed: root and usr, for every architecture.
_SIGNATURE_TYPES = {guid for name, guid in PARTITION_TYPES.items() if name.endswith("-verity-sig")}
_MOST_SIGNATURE = 64 << 10

# What openssl prints of each certificate.
_CERTIFICATE = re.compile(
    r"^subject=(.*)$(?s:.*?)(-----BEGIN CERTIFICATE-----(?s:.*?)-----END CERTIFICATE-----)", re.MULTILINE
)


@dataclasses.dataclass(frozen=True)
class RootHashSignature:
    """What a partition for the signature of a root hash holds.

    :ivar partition: Its number.
    :ivar root_hash: In lower case.
    :ivar certificate: The SHA-256 of the certificate that it is by, in lower case; empty when it is not told.
    :ivar pkcs7: The signature (DER).
    """

    partition: int
    root_hash: str
    certificate: str
    pkcs7: bytes


def holds_signature(partition: TablePartition) -> bool:
    """Tell whether a partition is for the signature of a root hash."""
    return partition.type.lower() in _SIGNATURE_TYPES


def read_signature(raw: str, partition: TablePartition) -> RootHashSignature | None:
    """Return the signature of a root hash on a partition; V(None) when there is none that can be read.

    See the Discoverable Partitions Specification: a JSON object, and zeros behind it.
    """
    with open(raw, "rb") as stream:
        if partition.start >= stream.seek(0, os.SEEK_END):
            return None
        stream.seek(partition.start)
        text = stream.read(min(partition.size, _MOST_SIGNATURE)).partition(b"\0")[0]
    try:
        document = parse_json(text)
        root_hash, certificate = str(document["rootHash"]), str(document.get("certificateFingerprint", ""))
        pkcs7 = base64.b64decode(document["signature"], validate=True)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return RootHashSignature(partition.number, root_hash.lower(), certificate.lower(), pkcs7)


def signature_facts(
    signature: RootHashSignature, demanded: t.Collection[str], directory: str, runner: ParserSandbox
) -> t.Dict[str, t.Any]:
    """Return what is known of a signature, for results.

    :param demanded: The root hashes that kernel command lines demand.
    :param directory: For temporary files; the caller removes it.
    """
    listed = runner.run(
        [find_tool("openssl"), "pkcs7", "-inform", "DER", "-print_certs"], data=signature.pkcs7, check=False
    )
    subject, valid = "", False
    for name, pem in _CERTIFICATE.findall(listed.text if listed.rc == 0 else ""):
        encoded = re.sub(r"-----.*?-----|\s", "", pem)
        if signature.certificate in ("", sha256_bytes(base64.b64decode(encoded))):
            subject, valid = name, _verifies(signature, pem, directory, runner)
            break
    return {
        "partition": signature.partition,
        "root_hash": signature.root_hash,
        "certificate": signature.certificate,
        "subject": subject.strip(),
        "valid": valid,
        "demanded": signature.root_hash in demanded,
    }


def _verifies(signature: RootHashSignature, certificate: str, directory: str, runner: ParserSandbox) -> bool:
    """Tell whether a signature is of its root hash, by the key of a certificate (PEM)."""
    content, signer = (os.path.join(directory, name) for name in ("root-hash", "signer.pem"))
    for path, text in ((content, signature.root_hash), (signer, certificate)):
        with open(path, "w", encoding="ascii", errors="replace") as stream:
            stream.write(text)
            # It is read by somebody who may do nothing else.
            os.fchmod(stream.fileno(), 0o644)
    # Whether anybody trusts the certificate is not asked.
    command = [find_tool("openssl"), "cms", "-verify", "-binary", "-inform", "DER", "-content", content]
    command += ["-certfile", signer, "-nointern", "-noverify", "-out", os.devnull]
    done = runner.reading(content, signer).run(command, data=signature.pkcs7, check=False)
    for path in (content, signer):
        os.unlink(path)
    return done.rc == 0


__all__ = ("RootHashSignature", "holds_signature", "read_signature", "signature_facts")
