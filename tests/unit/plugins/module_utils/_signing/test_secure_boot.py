# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secure Boot with throw-away keys, judged by sbverify."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._boot.fat_volume import FatVolume
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._errors import SigningError
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_file
from ansible_collections.os_image.composer.plugins.module_utils._signing.private_key import PrivateKey
from ansible_collections.os_image.composer.plugins.module_utils._signing.secure_boot import (
    Certificate,
    KeySet,
    Osslsigncode,
    Sbsign,
    SecureBootKeys,
    Signer,
    is_signed,
    sign_esp,
    sign_program,
    signer_class,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Signing, SystemConfig
from ansible_collections.os_image.composer.tests.support.template_data import whole_part

EPOCH = 1_700_000_000
LOADER = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi"


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Two key pairs, C(db) and C(other), and C(db) as DER and with a passphrase."""
    directory = tmp_path_factory.mktemp("pki")
    for name in ("db", "other"):
        key, certificate = str(directory / f"{name}.key"), str(directory / f"{name}.crt")
        command = ["req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-new", "-x509", "-sha256", "-days", "2"]
        openssl(*command, "-subj", f"/CN=Test {name}/", "-out", certificate)
        openssl("x509", "-in", certificate, "-outform", "DER", "-out", str(directory / f"{name}.cer"))
    openssl(*("pkey", "-in", str(directory / "db.key"), "-aes256", "-passout", "pass:secret"),
            "-out", str(directory / "locked.key"))  # fmt: skip
    return directory


def keys_of(pki: pathlib.Path, key: str = "db.key", certificate: str = "db.crt", der: str = "db.cer") -> SecureBootKeys:
    return SecureBootKeys(str(pki / key), str(pki / certificate), str(pki / der))


def signer_of(pki: pathlib.Path, kind: t.Type[Signer]) -> Signer:
    key = str(pki / "db.key")
    return kind(PrivateKey(key, key, CommandRunner()), str(pki / "db.crt"), epoch=EPOCH)


def use(keys: SecureBootKeys, passphrase: str | None = None) -> Certificate:
    """Open the key, and read the certificate."""
    certificate = keys.certified(CommandRunner())
    with keys.opened(CommandRunner(), passphrase=passphrase):
        return certificate


def test_usable_keys_are_described(pki: pathlib.Path) -> None:
    certificate = use(keys_of(pki))
    assert certificate.subject == "CN=Test db"
    assert certificate.der == (pki / "db.cer").read_bytes()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("nothing.key", "db.crt", "db.cer"),
            r"nothing\.key does not exist\. Correct the paths in systemConfig\.signing",
        ),
        (
            ("locked.key", "db.crt", "db.cer"),
            r"locked\.key is protected by a passphrase\. Give it by the option secure_boot_passphrase",
        ),
        (
            ("db.key", "other.crt", "other.cer"),
            r"db\.key does not belong to the certificate .*other\.crt\. Correct one of the two",
        ),
        (
            ("db.key", "db.crt", "other.cer"),
            r"other\.cer is not the DER form of the certificate .*db\.crt\. Make it anew",
        ),
        (("db.crt", "db.crt", "db.cer"), r"db\.crt is not a private key \(PEM\)"),
        (("db.key", "db.key", "db.cer"), r"db\.key is not a certificate \(PEM\)"),
    ],
)
def test_unusable_keys_are_named(pki: pathlib.Path, names: t.Tuple[str, str, str], message: str) -> None:
    with pytest.raises(SigningError, match=message):
        use(keys_of(pki, *names))


@pytest.mark.parametrize("kind", ["rsa:1024", "ec"])
def test_keys_that_firmware_need_not_know_are_refused(tmp_path: pathlib.Path, kind: str) -> None:
    curve = ["-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "ec" else []
    openssl(*("req", "-newkey", kind, *curve, "-nodes", "-keyout", str(tmp_path / "k"), "-new", "-x509"),
            *("-subj", "/CN=weak/", "-out", str(tmp_path / "c")))  # fmt: skip
    with pytest.raises(SigningError, match=r"has no RSA key of 2048 bits or more, and firmware has to know no others"):
        use(SecureBootKeys(str(tmp_path / "k"), str(tmp_path / "c")))


def test_a_key_that_others_can_read_is_warned_about(pki: pathlib.Path, tmp_path: pathlib.Path) -> None:
    key = tmp_path / "db.key"
    shutil.copy(pki / "db.key", key)
    key.chmod(0o644)
    keys = SecureBootKeys(str(key), str(pki / "db.crt"))
    assert keys.warnings() == [f"The private key {key} can be read by others than its owner (mode 0644); use 0600"]
    key.chmod(0o600)
    assert keys.warnings() == []


def signing(**words: t.Any) -> Signing:
    return whole_part(SystemConfig, {"signing": words}).signing


def test_keys_are_optional() -> None:
    assert KeySet.of(signing(), work_dir="/srv") is None
    keys = KeySet.of(signing(secureBoot={"key": "/k", "certificate": "/c"}), work_dir="/srv")
    assert keys is not None
    assert set(keys.pairs) == {"PK", "KEK", "db"}
    assert {*keys.pairs.values()} == {SecureBootKeys("/k", "/c", None)}
    assert not keys.are_for_tests


def test_generated_keys_are_those_of_the_work_directory() -> None:
    keys = KeySet.of(signing(secureBoot={"generate": True}), work_dir="/srv")
    assert keys is not None
    assert keys.are_for_tests
    assert keys.pairs["KEK"] == SecureBootKeys("/srv/keys/secure-boot/KEK.key", "/srv/keys/secure-boot/KEK.crt")


@pytest.fixture
def volume(tmp_path: pathlib.Path) -> t.Tuple[FatVolume, str]:
    """A FAT file system at 1 MiB of an image, with two EFI programs and a text."""
    fat, image = tmp_path / "fat", tmp_path / "image"
    with open(fat, "wb") as stream:
        stream.truncate(34 << 20)
    for command in (
        ["mkfs.vfat", "--invariant", "-F", "32", str(fat)],
        ["mmd", "-i", str(fat), "::/EFI", "::/EFI/BOOT", "::/EFI/Linux Images"],
        ["mcopy", "-i", str(fat), LOADER, "::/EFI/BOOT/BOOTX64.EFI"],
        ["mcopy", "-i", str(fat), LOADER, "::/EFI/Linux Images/a.efi"],
        ["mcopy", "-i", str(fat), "/etc/hostname", "::/EFI/readme.txt"],
    ):
        subprocess.run(command, check=True, capture_output=True)
    image.write_bytes(bytes(1 << 20) + fat.read_bytes())
    return FatVolume(str(image), 1 << 20, CommandRunner(), epoch=EPOCH), str(image)


def made_by_build() -> t.Dict[str, str]:
    """What disk_compose tells of the programs on the volume."""
    return dict.fromkeys(("/EFI/BOOT/BOOTX64.EFI", "/EFI/Linux Images/a.efi"), sha256_file(LOADER))


def verify(image: str, path: str, certificate: pathlib.Path, work: pathlib.Path) -> subprocess.CompletedProcess[str]:
    subprocess.run(["mcopy", "-n", "-o", "-i", f"{image}@@1M", f"::{path}", str(work)], check=True, capture_output=True)
    return subprocess.run(
        ["sbverify", "--cert", str(certificate), str(work)], capture_output=True, text=True, check=False
    )


def test_the_programs_on_the_esp_are_signed(
    pki: pathlib.Path, volume: t.Tuple[FatVolume, str], tmp_path: pathlib.Path
) -> None:
    (tmp_path / "scratch").mkdir()
    signer = signer_of(pki, signer_class())
    signed = sign_esp(volume[0], signer, str(tmp_path / "scratch"), made=made_by_build())
    assert signed == ["/EFI/BOOT/BOOTX64.EFI", "/EFI/Linux Images/a.efi"]
    assert os.listdir(tmp_path / "scratch") == []
    for path in signed:
        assert verify(volume[1], path, pki / "db.crt", tmp_path / "out.efi").returncode == 0
        assert verify(volume[1], path, pki / "other.crt", tmp_path / "out.efi").returncode == 1
    assert volume[0].files() == ["EFI/BOOT/BOOTX64.EFI", "EFI/Linux Images/a.efi", "EFI/readme.txt"]
    with open(tmp_path / "fat", "wb") as stream, open(volume[1], "rb") as image:
        image.seek(1 << 20)
        shutil.copyfileobj(image, stream)
    checked = subprocess.run(["fsck.fat", "-n", str(tmp_path / "fat")], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_signatures_are_reproducible(pki: pathlib.Path, tmp_path: pathlib.Path) -> None:
    if not Osslsigncode.is_available():
        pytest.skip("osslsigncode is not installed")
    signer = signer_of(pki, Osslsigncode)
    for name in ("a", "b"):
        signer.sign(LOADER, str(tmp_path / name))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_sbsign_can_stand_in(pki: pathlib.Path, tmp_path: pathlib.Path) -> None:
    signer = signer_of(pki, Sbsign)
    signer.sign(LOADER, str(tmp_path / "signed"))
    command = ["sbverify", "--cert", str(pki / "db.crt"), str(tmp_path / "signed")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert not signer.is_reproducible


class CarelessSigner(Signer):
    """Signs with a key that is not the one that was asked for."""

    tool = "sbsign"
    package = "sbsigntool"

    def sign(self, source: str, destination: str) -> None:
        other = self.key.reference.replace("db.key", "other.key")
        command = ["sbsign", "--key", other, "--cert", other.replace(".key", ".crt"), "--output", destination, source]
        subprocess.run(command, check=True, capture_output=True)


def test_a_signature_that_does_not_verify_is_an_error(
    pki: pathlib.Path, volume: t.Tuple[FatVolume, str], tmp_path: pathlib.Path
) -> None:
    with pytest.raises(SigningError, match=r"The signature of /EFI/BOOT/BOOTX64\.EFI does not verify: "):
        signer = signer_of(pki, CarelessSigner)
        sign_esp(volume[0], signer, str(tmp_path), made=made_by_build())


def put(image: str, content: bytes, path: str, work: pathlib.Path) -> str:
    """Write a file to the volume as a package would; returns its digest."""
    work.write_bytes(content)
    subprocess.run(["mcopy", "-o", "-i", f"{image}@@1M", str(work), f"::{path}"], check=True, capture_output=True)
    return sha256_file(str(work))


def test_a_program_that_nobody_knows_is_not_signed(
    pki: pathlib.Path, volume: t.Tuple[FatVolume, str], tmp_path: pathlib.Path
) -> None:
    loader = pathlib.Path(LOADER).read_bytes()
    digest = put(volume[1], loader + b"more", "/EFI/Shell.EFI", tmp_path / "shell.efi")
    before = sha256_file(volume[1])
    (tmp_path / "scratch").mkdir()
    signer = signer_of(pki, signer_class())
    with pytest.raises(
        SigningError,
        match=rf"EFI programs that the build did not make: /EFI/Shell\.EFI \(SHA-256 {digest}\)\. .*"
        r"name their digests in systemConfig\.signing\.secureBoot\.programs\.$",
    ):
        sign_esp(volume[0], signer, str(tmp_path / "scratch"), made=made_by_build())
    assert sha256_file(volume[1]) == before, "not even what is known is signed"


def test_a_program_that_the_template_names_is_signed(
    pki: pathlib.Path, volume: t.Tuple[FatVolume, str], tmp_path: pathlib.Path
) -> None:
    loader = pathlib.Path(LOADER).read_bytes()
    digest = put(volume[1], loader + bytes(512), "/EFI/Shell.EFI", tmp_path / "shell.efi")
    (tmp_path / "scratch").mkdir()
    signer = signer_of(pki, signer_class())
    signed = sign_esp(volume[0], signer, str(tmp_path / "scratch"), made=made_by_build(), named=[digest])
    assert "/EFI/Shell.EFI" in signed
    assert verify(volume[1], "/EFI/Shell.EFI", pki / "db.crt", tmp_path / "out.efi").returncode == 0


@pytest.mark.parametrize("named", [False, True])
def test_a_program_in_place_of_what_the_build_made_is_not_signed(
    pki: pathlib.Path, volume: t.Tuple[FatVolume, str], tmp_path: pathlib.Path, named: bool
) -> None:
    loader = pathlib.Path(LOADER).read_bytes()
    digest = put(volume[1], loader + b"more", "/EFI/BOOT/BOOTX64.EFI", tmp_path / "other.efi")
    signer = signer_of(pki, signer_class())
    (tmp_path / "scratch").mkdir()
    with pytest.raises(SigningError, match=r"/EFI/BOOT/BOOTX64\.EFI is not what the build put there\. Compose"):
        sign_esp(volume[0], signer, str(tmp_path / "scratch"), made=made_by_build(), named=[digest] if named else [])


def test_a_program_that_is_gone_is_noticed(
    pki: pathlib.Path, volume: t.Tuple[FatVolume, str], tmp_path: pathlib.Path
) -> None:
    signer = signer_of(pki, signer_class())
    made = {**made_by_build(), "/EFI/Linux/debian.efi": "00" * 32}
    with pytest.raises(SigningError, match=r"/EFI/Linux/debian\.efi is not what the build put there\."):
        sign_esp(volume[0], signer, str(tmp_path), made=made)


def test_a_program_is_signed_once(pki: pathlib.Path, tmp_path: pathlib.Path) -> None:
    keys, signed, runner = keys_of(pki), str(tmp_path / "signed.efi"), CommandRunner()
    assert not is_signed(LOADER, signed, keys, runner)
    sign_program(LOADER, signed, keys, runner, passphrase=None, epoch=EPOCH)
    assert is_signed(LOADER, signed, keys, runner)
    other = tmp_path / "other.efi"
    other.write_bytes(pathlib.Path(LOADER).read_bytes() + bytes(16))
    assert not is_signed(str(other), signed, keys, runner), "it is a signature of another program"
    assert not is_signed(LOADER, signed, keys_of(pki, "other.key", "other.crt", "other.cer"), runner)
    with pytest.raises(SigningError, match=r"nothing\.efi does not exist\."):
        is_signed(str(tmp_path / "nothing.efi"), signed, keys, runner)
    assert sorted(os.listdir(tmp_path)) == ["other.efi", "signed.efi"]
