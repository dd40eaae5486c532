# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The exchange with a host that signs: it is believed for nothing."""

from __future__ import annotations

import pathlib
import struct
import subprocess

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import SigningError
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_file
from ansible_collections.os_image.composer.plugins.module_utils._signing.efi_program import differs_by_signature_alone
from ansible_collections.os_image.composer.plugins.module_utils._signing.exchange import SigningExchange

LOADER = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi"


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The program with a signature of sbsign."""
    directory = tmp_path_factory.mktemp("pki")
    key, certificate = str(directory / "db.key"), str(directory / "db.crt")
    command = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-new", "-x509", "-out", certificate]
    subprocess.run([*command, "-subj", "/CN=db/"], check=True, capture_output=True)
    command = ["sbsign", "--key", key, "--cert", certificate, "--output", str(directory / "out"), LOADER]
    subprocess.run(command, check=True, capture_output=True)
    return (directory / "out").read_bytes()


def test_what_is_signed_is_the_program_with_a_signature(signed: bytes) -> None:
    unsigned = pathlib.Path(LOADER).read_bytes()
    assert differs_by_signature_alone(signed, unsigned)
    assert differs_by_signature_alone(unsigned, unsigned)


@pytest.mark.parametrize("position", [0x40, 0x400, 0x2000, 0x10000])
def test_no_other_byte_may_change(signed: bytes, position: int) -> None:
    changed = bytearray(signed)
    changed[position] ^= 1
    assert not differs_by_signature_alone(bytes(changed), pathlib.Path(LOADER).read_bytes())


def test_nothing_may_follow_the_signature(signed: bytes) -> None:
    with pytest.raises(SigningError, match=r"What was signed does not end with its signatures\."):
        differs_by_signature_alone(signed + b"more", pathlib.Path(LOADER).read_bytes())


@pytest.mark.parametrize("data", [b"", b"MZ" + bytes(0x3A) + struct.pack("<I", 1 << 30), b"#!/bin/sh" * 100])
def test_what_is_no_program_is_refused(data: bytes) -> None:
    with pytest.raises(SigningError, match=r"What was signed is not an EFI program\."):
        differs_by_signature_alone(data, pathlib.Path(LOADER).read_bytes())


def test_a_program_goes_out_and_comes_back(signed: bytes, tmp_path: pathlib.Path) -> None:
    exchange, digest = SigningExchange(str(tmp_path / "signing")), sha256_file(LOADER)
    assert exchange.signatures() == {}
    programs = {"/EFI/BOOT/BOOTX64.EFI": LOADER, "/EFI/systemd/systemd-bootx64.efi": LOADER}
    # The same program is signed once.
    (waiting,) = exchange.hand_out(programs)
    assert (waiting["path"], waiting["sha256"]) == ("/EFI/BOOT/BOOTX64.EFI", digest)
    assert sha256_file(waiting["unsigned"]) == digest
    pathlib.Path(waiting["signed"]).write_bytes(signed)
    assert exchange.hand_out(programs) == []
    assert [*exchange.signatures()] == [f"{digest}.efi"]
    exchange.take(LOADER, str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == signed
    pathlib.Path(waiting["signed"]).write_bytes(signed[:0x2000] + b"evil" + signed[0x2004:])
    with pytest.raises(SigningError, match=rf"{digest}\.efi is not the program that was handed out with a signature"):
        exchange.take(LOADER, str(tmp_path / "out"))


def test_signatures_of_earlier_programs_are_dropped(signed: bytes, tmp_path: pathlib.Path) -> None:
    exchange, other = SigningExchange(str(tmp_path / "signing")), tmp_path / "other.efi"
    (waiting,) = exchange.hand_out({"/EFI/Linux/a.efi": LOADER})
    pathlib.Path(waiting["signed"]).write_bytes(signed)
    other.write_bytes(pathlib.Path(LOADER).read_bytes() + bytes(8))
    (waiting,) = exchange.hand_out({"/EFI/BOOT/BOOTX64.EFI": LOADER, "/EFI/Linux/a.efi": str(other)})
    assert waiting["path"] == "/EFI/Linux/a.efi"
    assert [*exchange.signatures()] == [f"{sha256_file(LOADER)}.efi"]
    exchange.hand_out({"/EFI/Linux/a.efi": str(other)})
    assert exchange.signatures() == {}
