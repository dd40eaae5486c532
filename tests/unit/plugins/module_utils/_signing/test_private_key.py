# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private keys with a passphrase and on a token of SoftHSM."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._errors import SigningError
from ansible_collections.os_image.composer.plugins.module_utils._signing.enrolment import (
    EnrolledCertificate,
    signed_update,
)
from ansible_collections.os_image.composer.plugins.module_utils._signing.private_key import opened_key
from ansible_collections.os_image.composer.plugins.module_utils._signing.secure_boot import (
    Osslsigncode,
    Sbsign,
    SecureBootKeys,
    Signer,
)

EPOCH = 1_700_000_000
LOADER = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi"
SECRET = "correct horse"
MODULE = "/usr/lib/softhsm/libsofthsm2.so"


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class Log:
    """Keeps what commands leave in a log."""

    path = None

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A key with and without a passphrase, and its certificate."""
    directory = tmp_path_factory.mktemp("pki")
    key, locked, certificate = (str(directory / name) for name in ("db.key", "locked.key", "db.crt"))
    openssl(*("req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-new", "-x509", "-sha256", "-days", "2"),
            *("-subj", "/CN=Test db/", "-out", certificate))  # fmt: skip
    openssl("pkey", "-in", key, "-aes256", "-passout", f"pass:{SECRET}", "-out", locked)
    return directory


@pytest.fixture(scope="module")
def token(pki: pathlib.Path) -> t.Dict[str, str]:
    """The same key on a token; the environment that leads to it."""
    if shutil.which("softhsm2-util") is None:
        pytest.skip("softhsm2 is not installed")
    (pki / "tokens").mkdir()
    (pki / "softhsm2.conf").write_text(f"directories.tokendir = {pki}/tokens\n")
    environment = {"SOFTHSM2_CONF": str(pki / "softhsm2.conf")}
    for command in (
        ["--init-token", "--free", "--label", "fleet", "--pin", SECRET, "--so-pin", SECRET],
        ["--import", str(pki / "db.key"), "--token", "fleet", "--label", "db", "--id", "01", "--pin", SECRET],
    ):
        subprocess.run(["softhsm2-util", *command], env={**os.environ, **environment}, check=True, capture_output=True)
    return environment


def signature(name: str, certificate: str, runner: CommandRunner, kind: t.Type[Signer], work: pathlib.Path) -> bytes:
    """Sign with a key as it is named."""
    (work / "signed.efi").unlink(missing_ok=True)
    with SecureBootKeys(name, certificate).opened(runner, passphrase=SECRET) as key:
        kind(key, certificate, epoch=EPOCH).sign(LOADER, str(work / "signed.efi"))
    return (work / "signed.efi").read_bytes()


def test_a_passphrase_opens_the_key_for_programs_alone(pki: pathlib.Path, tmp_path: pathlib.Path) -> None:
    log, certificate = Log(), str(pki / "db.crt")
    expected = signature(str(pki / "db.key"), certificate, CommandRunner(), Osslsigncode, tmp_path)
    locked = signature(str(pki / "locked.key"), certificate, CommandRunner(log=log), Osslsigncode, tmp_path)
    assert locked == expected
    assert "osslsigncode" in log.text
    for secret in (SECRET, (pki / "db.key").read_text().splitlines()[3]):
        assert secret not in log.text


def test_sbsign_takes_a_key_with_a_passphrase(pki: pathlib.Path, tmp_path: pathlib.Path) -> None:
    certificate = str(pki / "db.crt")
    signature(str(pki / "locked.key"), certificate, CommandRunner(), Sbsign, tmp_path)
    subprocess.run(["sbverify", "--cert", certificate, tmp_path / "signed.efi"], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("passphrase", "message"),
    [
        (None, r"locked\.key is protected by a passphrase\. Give it by the option secure_boot_passphrase"),
        ("wrong", r"The passphrase does not open the private key .*locked\.key\. Correct the passphrase"),
    ],
)
def test_a_passphrase_that_does_not_fit(pki: pathlib.Path, passphrase: str | None, message: str) -> None:
    with (
        pytest.raises(SigningError, match=message),
        opened_key(str(pki / "locked.key"), CommandRunner(), passphrase=passphrase),
    ):
        pass


@pytest.mark.parametrize("kind", [Osslsigncode, Sbsign])
def test_a_token_signs_as_the_file_would(
    pki: pathlib.Path, token: t.Dict[str, str], tmp_path: pathlib.Path, kind: t.Type[Signer]
) -> None:
    log, certificate = Log(), str(pki / "db.crt")
    runner = CommandRunner(log=log, environment=token)
    uri = f"pkcs11:token=fleet;object=db?module-path={MODULE}"
    signed = signature(uri, certificate, runner, kind, tmp_path)
    subprocess.run(["sbverify", "--cert", certificate, tmp_path / "signed.efi"], check=True, capture_output=True)
    if kind is Osslsigncode:
        assert signed == signature(str(pki / "db.key"), certificate, CommandRunner(), kind, tmp_path)
    assert SECRET not in log.text


def test_a_token_signs_updates_of_variables(pki: pathlib.Path, token: t.Dict[str, str]) -> None:
    certificate = EnrolledCertificate(str(pki / "db.crt"), b"certificate")
    made = []
    for name in (f"pkcs11:token=fleet;object=db?module-path={MODULE}", str(pki / "db.key")):
        with opened_key(name, CommandRunner(environment=token), passphrase=SECRET) as key:
            made.append(signed_update("db", b"content", key=key, certificate=certificate, epoch=EPOCH))
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("uri", "pin", "message"),
    [
        (
            f"pkcs11:token=fleet;object=db?module-path={MODULE}",
            "1111",
            r"The PIN does not open the token of the key pkcs11:token=fleet.* Correct the PIN before you try again\.",
        ),
        (
            f"pkcs11:token=fleet;object=db?module-path={MODULE}",
            None,
            r"The token of the key pkcs11:token=fleet;object=db.* wants its PIN\. Give it by the option",
        ),
        (
            f"pkcs11:token=other;object=db?module-path={MODULE}",
            SECRET,
            r"pkcs11:token=other;object=db.* was not found on any token\. Look for it by p11tool",
        ),
        (
            "pkcs11:token=fleet;object=db?module-path=/nowhere.so",
            SECRET,
            r"The PKCS#11 library /nowhere\.so does not exist\. Correct module-path",
        ),
    ],
)
def test_a_token_that_does_not_give_its_key(
    pki: pathlib.Path, token: t.Dict[str, str], uri: str, pin: str | None, message: str
) -> None:
    keys = SecureBootKeys(uri, str(pki / "db.crt"))
    with pytest.raises(SigningError, match=message), keys.opened(CommandRunner(environment=token), passphrase=pin):
        pass
