# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""OpenPGP signatures, judged by gpgv."""

from __future__ import annotations

import contextlib
import glob
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._errors import SigningError
from ansible_collections.os_image.composer.plugins.module_utils._signing.openpgp import (
    AgentSigner,
    OpenPgpSigner,
)
from ansible_collections.os_image.composer.tests.support.signing_keys import KeyRing, Keys, SigningKey
from ansible_collections.os_image.composer.tests.support.tiny_debian import Log, needs_root

pytestmark = needs_root

DATA = b"0123  image.raw\n"
BORN = 1700000000
DAY = 86400


@pytest.fixture
def log() -> Log:
    return Log()


def signer(key: str, epoch: int = BORN + DAY, log: Log | None = None) -> OpenPgpSigner:
    return OpenPgpSigner(key, CommandRunner(log=log or Log()), epoch=epoch)


def gpgv(key: SigningKey, signature: bytes, data: bytes, directory: pathlib.Path) -> dict[str, list[str]]:
    """Let gpgv check a signature; return its status lines by their first word."""
    (directory / "signature").write_bytes(signature)
    (directory / "data").write_bytes(data)
    keyring = directory / "keyring.gpg"
    subprocess.run(["gpg", "--batch", "--yes", "--dearmor", "-o", str(keyring), key.public], check=True)
    command = ["gpgv", "--status-fd", "1", "--keyring", str(keyring), "signature", "data"]
    shown = subprocess.run(command, cwd=directory, check=False, capture_output=True, text=True).stdout
    return {words[1]: words[2:] for words in (line.split() for line in shown.splitlines())}


@pytest.mark.parametrize("algorithm", ["ed25519", "rsa2048", "nistp256"])
def test_a_signature_is_good_dated_like_the_image_and_always_the_same(algorithm: str, tmp_path: pathlib.Path) -> None:
    with KeyRing() as ring:
        key = ring.make_key("Images <images@example.org>", when=BORN, algorithm=algorithm)
        secret = key.export_secret(tmp_path / "secret.asc")
        one = signer(secret)
        signature = one.sign(DATA)
        assert one.fingerprint == key.fingerprint
        assert signature == signer(secret).sign(DATA)
        assert signature.startswith(b"-----BEGIN PGP SIGNATURE-----\n")
        verdict = gpgv(key, signature, DATA, tmp_path)
        assert verdict["VALIDSIG"][0] == key.fingerprint
        assert verdict["VALIDSIG"][2] == str(BORN + DAY)
        assert "BADSIG" in gpgv(key, signature, DATA + b"x", tmp_path)
        assert one.has_signed(DATA, signature)
        assert not one.has_signed(DATA + b"x", signature)
        assert not one.has_signed(DATA, b"no signature")
        other = ring.make_key("Other <other@example.org>", when=BORN)
        assert not one.has_signed(DATA, other.detach(DATA, when=BORN))


def test_a_key_that_is_younger_than_the_image_dates_the_signature(tmp_path: pathlib.Path) -> None:
    with KeyRing() as ring:
        key = ring.make_key("Young <young@example.org>", when=BORN)
        made = signer(key.export_secret(tmp_path / "secret.asc"), epoch=BORN - DAY)
        verdict = gpgv(key, made.sign(DATA), DATA, tmp_path)
    assert verdict["VALIDSIG"][2] == str(BORN)


def test_a_subkey_signs_for_its_primary_key(tmp_path: pathlib.Path) -> None:
    with KeyRing() as ring:
        key = ring.make_key("Primary <primary@example.org>", when=BORN - DAY, usage="cert")
        ring.gpg("--passphrase", "", "--quick-add-key", key.fingerprint, "ed25519", "sign", "never", when=BORN)
        pathlib.Path(key.public).write_bytes(ring.gpg("--armor", "--export", key.fingerprint))
        made = signer(key.export_secret(tmp_path / "secret.asc"), epoch=BORN - DAY)
        assert (made.fingerprint, made.moment) == (key.fingerprint, BORN)
        verdict = gpgv(key, made.sign(DATA), DATA, tmp_path)
    assert verdict["VALIDSIG"][-1] == key.fingerprint != verdict["VALIDSIG"][0]


def test_what_is_no_secret_key(keys: Keys, tmp_path: pathlib.Path) -> None:
    (tmp_path / "text").write_text("no key\n")
    for path in (keys.archive.public, str(tmp_path / "text")):
        with pytest.raises(
            SigningError, match=f"The file {path} of systemConfig.* holds no secret OpenPGP key. Export"
        ):
            signer(path)


def test_two_keys_leave_a_doubt(keys: Keys, tmp_path: pathlib.Path) -> None:
    paths = [key.export_secret(tmp_path / key.fingerprint) for key in (keys.archive, keys.stranger)]
    both = tmp_path / "both.asc"
    both.write_bytes(b"".join(pathlib.Path(path).read_bytes() for path in paths))
    with pytest.raises(SigningError, match=f"holds 2 secret keys: {keys.archive.fingerprint}, "):
        signer(str(both))


def test_a_key_that_has_expired_by_then(keys: Keys, tmp_path: pathlib.Path) -> None:
    secret = keys.expired.export_secret(tmp_path / "secret.asc")
    with pytest.raises(SigningError, match=r"expired on 2021-05-31, and the image is of 2023-11-15\. Name a key"):
        signer(secret)
    # It was good when the image was made.
    made = signer(secret, epoch=Keys.before_expiry)
    assert "EXPKEYSIG" in gpgv(keys.expired, made.sign(DATA), DATA, tmp_path)


def test_revoked_and_certifying_keys_do_not_sign(tmp_path: pathlib.Path) -> None:
    with KeyRing() as ring:
        certifying = ring.make_key("Certifies <c@example.org>", when=BORN, usage="cert")
        with pytest.raises(SigningError, match="cannot sign on 2023-11-15, the date of the image"):
            signer(certifying.export_secret(tmp_path / "certifying.asc"))
        revoked = ring.revoke(ring.make_key("Revoked <r@example.org>", when=BORN))
        with pytest.raises(SigningError, match=f"The key {revoked.fingerprint} of .* was revoked"):
            signer(revoked.export_secret(tmp_path / "revoked.asc"), epoch=int(time.time()) + DAY)


PASSPHRASE = "open $HOME 'sesame' `x` \\ ä"


def test_a_passphrase_opens_the_key_and_is_told_to_nobody(
    tmp_path: pathlib.Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    real = subprocess.Popen

    def spy(argv: list[str], **options: t.Any) -> subprocess.Popen[bytes]:
        seen.append(f"{argv} {options.get('env')}")
        return real(argv, **options)

    with KeyRing() as ring:
        key = ring.make_key("Protected <p@example.org>", when=BORN, passphrase=PASSPHRASE)
        secret = key.export_secret(tmp_path / "secret.asc", passphrase=PASSPHRASE)
        with monkeypatch.context() as patched:
            patched.setattr(subprocess, "Popen", spy)
            made = OpenPgpSigner(secret, CommandRunner(log=log), epoch=BORN + DAY, passphrase=PASSPHRASE)
            signature = made.sign(DATA)
        assert gpgv(key, signature, DATA, tmp_path)["VALIDSIG"][0] == key.fingerprint
        assert len(seen) > 2
        assert not [text for text in [*seen, log.text] if "sesame" in text]
        with pytest.raises(
            SigningError, match="is protected by a passphrase, which was not given. Give it by the option signing_pass"
        ):
            signer(secret)
        with pytest.raises(SigningError, match=f"The passphrase does not open the key {key.fingerprint} of") as caught:
            OpenPgpSigner(secret, CommandRunner(), epoch=BORN + DAY, passphrase="open sesam")
        assert "open sesam" not in str(caught.value)
        with pytest.raises(SigningError, match="has more than one line"):
            OpenPgpSigner(secret, CommandRunner(), epoch=BORN + DAY, passphrase="a\nb")


def by_agent(ring: KeyRing, fingerprint: str, passphrase: str | None = None, epoch: int = BORN + DAY) -> AgentSigner:
    return AgentSigner(fingerprint, CommandRunner(), home=ring.home, epoch=epoch, passphrase=passphrase)


_SIGN_AS_ALL_DESCRIPTORS = """
import os, sys
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._signing.openpgp import OpenPgpSigner
for _number in range(3):
    OpenPgpSigner(sys.argv[1], CommandRunner(), epoch=int(sys.argv[2]), passphrase="open sesame").sign(b"data")
    os.open("/dev/null", os.O_RDONLY)
"""


def test_the_passphrase_may_come_as_any_descriptor(tmp_path: pathlib.Path) -> None:
    # Which one is free depends on who has started the module.
    with KeyRing() as ring:
        key = ring.make_key("Images <images@example.org>", when=BORN, passphrase="open sesame")
        secret = key.export_secret(tmp_path / "secret.asc", passphrase="open sesame")
        done = subprocess.run(
            [sys.executable, "-c", _SIGN_AS_ALL_DESCRIPTORS, secret, str(BORN + DAY)],
            check=False,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr


def test_an_agent_of_the_build_host_signs(tmp_path: pathlib.Path) -> None:
    with KeyRing() as ring:
        key = ring.make_key("Agent <agent@example.org>", when=BORN)
        made = by_agent(ring, key.fingerprint.lower())
        signature = made.sign(DATA)
        verdict = gpgv(key, signature, DATA, tmp_path)
        assert (made.fingerprint, verdict["VALIDSIG"][0]) == (key.fingerprint, key.fingerprint)
        assert verdict["VALIDSIG"][2] == str(BORN + DAY)
        assert signature == by_agent(ring, key.fingerprint).sign(DATA)
        assert made.has_signed(DATA, signature)
        assert not made.has_signed(DATA + b"x", signature)
        with pytest.raises(SigningError, match=f"The GnuPG home {ring.home} of the build host has no key {'A' * 40}"):
            by_agent(ring, "A" * 40)
        # Without an agent none is started, which would outlive the module.
        subprocess.run(["gpgconf", "--homedir", ring.home, "--kill", "all"], check=True)
        with pytest.raises(SigningError, match=f"Start the agent by gpgconf --homedir {ring.home} --launch gpg-agent"):
            by_agent(ring, key.fingerprint)


def test_an_agent_that_wants_a_passphrase_gets_it_or_nobody_is_asked() -> None:
    with KeyRing() as ring:
        key = ring.make_key("Protected <p@example.org>", when=BORN, passphrase="open sesame")
        with pytest.raises(SigningError, match="is protected by a passphrase, which was not given"):
            by_agent(ring, key.fingerprint)
        with pytest.raises(SigningError, match="The passphrase does not open the key"):
            by_agent(ring, key.fingerprint, "open sesam")
        assert by_agent(ring, key.fingerprint, "open sesame").sign(DATA)


def test_nothing_of_the_key_gets_out(
    keys: Keys, tmp_path: pathlib.Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    secret = keys.archive.export_secret(tmp_path / "secret.asc")
    signer(secret, epoch=int(time.time()), log=log).sign(DATA)
    lines = pathlib.Path(secret).read_text().splitlines()
    body = [line for line in lines if re.fullmatch(r"[A-Za-z0-9+/=]{40,}", line)]
    assert body
    assert not [line for line in body if line in log.text]
    assert not list(tmp_path.glob("os-image-composer-gnupg-*"))
    assert not glob.glob("/run/private-keys-v1.d")


def test_a_long_path_of_temporary_files_does_no_harm(
    keys: Keys, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    assert signer(keys.archive.export_secret(long / "secret.asc"), epoch=int(time.time())).sign(DATA)


def in_namespace(number: int) -> list[int]:
    """Return the processes of a PID namespace."""
    found = []
    for path in glob.glob("/proc/[0-9]*/ns/pid"):
        with contextlib.suppress(OSError):
            if os.stat(path).st_ino == number:
                found.append(int(path.split("/")[2]))
    return found


def test_a_killed_run_leaves_neither_the_key_nor_an_agent(keys: Keys, tmp_path: pathlib.Path) -> None:
    secret = keys.archive.export_secret(tmp_path / "secret.asc")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    # gpg waits for what it shall sign, with the key unpacked and its agent running.
    script = (
        f"from {OpenPgpSigner.__module__} import OpenPgpSigner\n"
        f"from {CommandRunner.__module__} import CommandRunner\n"
        f"signer = OpenPgpSigner({secret!r}, CommandRunner(), epoch={int(time.time())})\n"
        f"signer._run(['--output', '-', '--detach-sign', {str(fifo)!r}], b'')\n"
    )
    module = subprocess.Popen(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    try:
        stream = open_when_read(fifo, while_runs=module)
        pid = int(
            subprocess.run(["pgrep", "-f", f"detach-sign {fifo}$"], capture_output=True, check=True).stdout.split()[-1]
        )
        namespace = os.stat(f"/proc/{pid}/ns/pid").st_ino
        assert namespace != os.stat("/proc/self/ns/pid").st_ino
        assert len(in_namespace(namespace)) >= 2
        module.kill()
        module.wait()
        deadline = time.monotonic() + 10
        while in_namespace(namespace):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.close(stream)
    finally:
        module.kill()
        module.wait()
    assert not glob.glob("/run/private-keys-v1.d")


def open_when_read(fifo: pathlib.Path, *, while_runs: subprocess.Popen[bytes]) -> int:
    """Open a FIFO for writing as soon as somebody reads it."""
    while True:
        assert while_runs.poll() is None
        with contextlib.suppress(OSError):
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.02)
