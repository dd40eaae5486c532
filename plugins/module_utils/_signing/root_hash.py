# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The signature of dm-verity's root hash, and the partition that it lies on.

The kernel, systemd and cryptsetup take a detached signature (PKCS #7, DER) of the root hash as hexadecimal digits. The
Discoverable Partitions Specification puts it into a JSON object, with zeros up to the end of the partition.
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool
from ansible_collections.os_image.composer.plugins.module_utils._errors import SigningError
from ansible_collections.os_image.composer.plugins.module_utils._partition_type import (
    PARTITION_TYPES,
    SIGNATURE_TYPES,
)
from ansible_collections.os_image.composer.plugins.module_utils._signing.private_key import PrivateKey

_BLOCK = 4096


def sign_root_hash(root_hash: str, key: PrivateKey, certificate: str, fingerprint: str) -> bytes:
    """Return what the partition for the signature of a root hash begins with: whole blocks, the same each time.

    :param root_hash: Hexadecimal digits.
    :param certificate: Path of the key's certificate (PEM).
    :param fingerprint: The SHA-256 of its DER form.
    :raises SigningError: The signature does not verify.
    """
    command = [find_tool("openssl"), "cms", "-sign", "-binary", "-noattr", "-md", "sha256", "-outform", "DER"]
    command += ["-signer", certificate, "-inkey", key.reference]
    if key.engine is not None:
        command += ["-engine", "pkcs11", "-keyform", "engine"]
    signed = key.run(command, what="Signing the root hash", data=root_hash.encode("ascii"), log_output=False).stdout
    problem = signature_problem(root_hash, signed, certificate, key.runner)
    if problem:
        raise SigningError(f"The signature of the root hash does not verify: {problem}")
    document = {
        "rootHash": root_hash,
        "signature": base64.b64encode(signed).decode("ascii"),
        "certificateFingerprint": fingerprint,
    }
    # One line: the initramfs reads it by a shell.
    data = json.dumps(document, separators=(",", ":")).encode("ascii") + b"\n"
    return data + bytes(-len(data) % _BLOCK)


def signature_problem(root_hash: str, signed: bytes, certificate: str, runner: CommandRunner) -> str:
    """Tell what is wrong with the signature of a root hash; nothing when a certificate (PEM) verifies it."""
    with tempfile.NamedTemporaryFile() as content:
        content.write(root_hash.encode("ascii"))
        content.flush()
        # By this certificate, and by none that the signature brings; whom to trust is up to firmware and kernel.
        command = [find_tool("openssl"), "cms", "-verify", "-binary", "-inform", "DER", "-content", content.name]
        command += ["-certfile", certificate, "-nointern", "-noverify", "-out", os.devnull]
        done = runner.run(command, data=signed, check=False, log_output=False)
    return "" if done.rc == 0 else done.error_text.strip()


def write_root_hash_signature(image: str, partitions: t.Sequence[t.Mapping[str, t.Any]], data: bytes) -> None:
    """Write a signature onto the partition for it.

    :param partitions: As the stage C(disk_compose) describes them.
    :param data: See :func:`sign_root_hash`.
    :raises SigningError: There is no such partition, or it is too small.
    """
    types = [PARTITION_TYPES[name] for name in SIGNATURE_TYPES.values()]
    place = next((partition for partition in partitions if partition["type"] in types), None)
    if place is None:
        raise SigningError(
            "The disk has no partition for the signature of the root hash.",
            remedy="Add one with id: roothashsig and size: content.",
        )
    if place["size"] < len(data):
        raise SigningError(
            f"The partition {place['id']!r} has {place['size']} bytes, but the signature of the root hash needs "
            f"{len(data)}.",
            remedy="Use size: content.",
        )
    with open(image, "r+b") as stream:
        stream.seek(place["start"])
        stream.write(data)


__all__ = ("sign_root_hash", "signature_problem", "write_root_hash_signature")
