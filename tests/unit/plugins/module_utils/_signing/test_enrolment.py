# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is enrolled in firmware, judged by sbsiglist and OpenSSL; the firmware itself does in the end-to-end tests."""

from __future__ import annotations

import pathlib
import struct
import subprocess
import uuid

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._signing.enrolment import (
    EnrolledCertificate,
    enrolment_files,
    owner_of,
    signature_list,
    signed_update,
)
from ansible_collections.os_image.composer.plugins.module_utils._signing.private_key import PrivateKey

EPOCH = 1_700_000_000


class Pair:
    """A key and its certificate."""

    def __init__(self, directory: pathlib.Path, name: str) -> None:
        key, path = str(directory / f"{name}.key"), str(directory / f"{name}.crt")
        command = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-new", "-x509", "-out", path]
        subprocess.run([*command, "-subj", f"/CN={name}/"], check=True, capture_output=True)
        der = subprocess.run(["openssl", "x509", "-in", path, "-outform", "DER"], check=True, capture_output=True)
        self.key = PrivateKey(key, key, CommandRunner())
        self.certificate = EnrolledCertificate(path, der.stdout)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    directory = tmp_path_factory.mktemp("pki")
    return {name: Pair(directory, name) for name in ("PK", "KEK", "db")}


def test_a_signature_list_is_that_of_sbsiglist(pairs: dict[str, Pair], tmp_path: pathlib.Path) -> None:
    der, owner = pairs["db"].certificate.der, uuid.UUID("12345678-9abc-def0-1234-56789abcdef0")
    (tmp_path / "db.cer").write_bytes(der)
    command = ["sbsiglist", "--owner", str(owner), "--type", "x509", "--output", tmp_path / "db.esl"]
    subprocess.run([*command, tmp_path / "db.cer"], check=True, capture_output=True)
    assert signature_list(der, owner) == (tmp_path / "db.esl").read_bytes()


@pytest.mark.parametrize(
    ("variable", "vendor"),
    [
        ("PK", "8be4df61-93ca-11d2-aa0d-00e098032b8c"),
        ("KEK", "8be4df61-93ca-11d2-aa0d-00e098032b8c"),
        ("db", "d719b2cb-3d3a-4596-a3bc-dad00e67656f"),
    ],
)
def test_an_update_is_signed_for_its_variable_and_its_time(
    pairs: dict[str, Pair], tmp_path: pathlib.Path, variable: str, vendor: str
) -> None:
    pair = pairs["KEK"]
    update = signed_update(variable, b"content", key=pair.key, certificate=pair.certificate, epoch=EPOCH)
    date, (length, revision, kind), form = update[:16], struct.unpack_from("<IHH", update, 16), update[24:40]
    assert struct.unpack("<HBBBBBBIhBB", date) == (2023, 11, 14, 22, 13, 20, 0, 0, 0, 0, 0)
    assert (revision, kind) == (0x0200, 0x0EF1)
    assert uuid.UUID(bytes_le=form) == uuid.UUID("4aafd29d-68df-49ee-8aa9-347d375665a7")
    signature, content = update[40 : 16 + length], update[16 + length :]
    assert content == b"content"
    assert signature[4:7] == b"\x02\x01\x01", "firmware wants the bare SignedData"
    # OpenSSL wants the envelope: its type, and the data with a tag and a length of their own.
    inner = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0\x82" + struct.pack(">H", len(signature)) + signature
    (tmp_path / "signature").write_bytes(b"\x30\x82" + struct.pack(">H", len(inner)) + inner)
    signed = variable.encode("utf-16-le") + uuid.UUID(vendor).bytes_le + struct.pack("<I", 0x27) + date + content
    (tmp_path / "signed").write_bytes(signed)
    command = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", tmp_path / "signature", "-content"]
    command += [tmp_path / "signed", "-purpose", "any", "-CAfile", pair.certificate.path, "-out", "/dev/null"]
    done = subprocess.run(command, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_what_enrols_the_keys(pairs: dict[str, Pair]) -> None:
    certificates = {name: pair.certificate for name, pair in pairs.items()}
    keys = {name: pair.key for name, pair in pairs.items()}
    files = enrolment_files(certificates, keys, epoch=EPOCH)
    assert sorted(files) == sorted(f"{name}.{form}" for name in pairs for form in ("cer", "esl", "auth"))
    assert files == enrolment_files(certificates, keys, epoch=EPOCH)
    for name, pair in pairs.items():
        assert files[f"{name}.cer"] == pair.certificate.der
        assert files[f"{name}.esl"] == signature_list(pair.certificate.der, owner_of(certificates["db"].der))
        assert files[f"{name}.auth"].endswith(files[f"{name}.esl"])
    # What another host's key has to sign is left out.
    assert sorted(enrolment_files(certificates, {"PK": keys["PK"]}, epoch=EPOCH).keys() - files.keys()) == []
    assert "db.auth" not in enrolment_files(certificates, {"PK": keys["PK"]}, epoch=EPOCH)
