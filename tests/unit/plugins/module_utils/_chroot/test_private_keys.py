# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private keys, made by the programs that make them, are found; what only looks like one is not."""

from __future__ import annotations

import os
import pathlib
import subprocess

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._chroot.private_keys import private_key, private_key_in


def _openssl(*argv: str) -> bytes:
    return subprocess.run(["openssl", *argv], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout


def _kind(directory: pathlib.Path, path: str, data: bytes) -> str:
    file = directory / os.path.basename(path)
    file.write_bytes(data)
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        return private_key_in(descriptor, file.name, path, len(data))
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    "options",
    [
        ("RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
        ("EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
        ("EC", "-pkeyopt", "ec_paramgen_curve:secp384r1"),
        ("ED25519",),
        ("X25519",),
    ],
    ids=lambda options: "-".join(options[:1] + options[2:]),
)
@pytest.mark.parametrize("form", ["PEM", "DER", "encrypted", "traditional"])
def test_keys_of_openssl(tmp_path: pathlib.Path, options: tuple[str, ...], form: str) -> None:
    pem = _openssl("genpkey", "-algorithm", *options)
    (tmp_path / "key").write_bytes(pem)
    data = pem
    if form == "DER":
        data = _openssl("pkey", "-in", str(tmp_path / "key"), "-outform", "DER")
    elif form == "encrypted":
        data = _openssl("pkcs8", "-topk8", "-in", str(tmp_path / "key"), "-passout", "pass:secret")
    elif form == "traditional" and options[0] in ("RSA", "EC"):
        data = _openssl("pkey", "-in", str(tmp_path / "key"), "-traditional")
    expected = "a private key (DER)" if form == "DER" else "a private key (PEM)"
    # Whatever it is called, and wherever it is.
    for path in ("/etc/own/thing", "/usr/share/own/thing.dat", "/var/lib/own/x.conf"):
        assert _kind(tmp_path, path, data) == expected
    public = _openssl("pkey", "-in", str(tmp_path / "key"), "-pubout")
    assert _kind(tmp_path, "/etc/own/public.pem", public) == ""
    der = _openssl("pkey", "-in", str(tmp_path / "key"), "-pubout", "-outform", "DER")
    assert _kind(tmp_path, "/etc/own/public.der", der) == ""


def test_a_key_behind_a_certificate(tmp_path: pathlib.Path) -> None:
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-keyout", key, "-out", certificate)
    both = pathlib.Path(certificate).read_bytes() + pathlib.Path(key).read_bytes()
    assert _kind(tmp_path, "/usr/share/own/server.pem", both) == "a private key (PEM)"
    assert _kind(tmp_path, "/etc/own/server", both.replace(b"\n", b"\r\n")) == "a private key (PEM)"
    assert _kind(tmp_path, "/etc/own/certificate.pem", pathlib.Path(certificate).read_bytes()) == ""
    der = _openssl("x509", "-in", certificate, "-outform", "DER")
    assert _kind(tmp_path, "/etc/own/certificate.der", der) == ""


@pytest.mark.parametrize("passphrase", ["", "secret"])
def test_keys_of_openssh(tmp_path: pathlib.Path, passphrase: str) -> None:
    path = tmp_path / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(path)], check=True)
    assert _kind(tmp_path, "/root/.ssh/key", path.read_bytes()) == "an OpenSSH private key"
    assert _kind(tmp_path, "/root/.ssh/key.pub", (tmp_path / "id_ed25519.pub").read_bytes()) == ""


def test_keys_of_gnupg(tmp_path: pathlib.Path) -> None:
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
    try:
        subprocess.run([*gpg, "--quick-generate-key", "x", "rsa2048"], check=True, capture_output=True)
        secret = subprocess.run([*gpg, "--export-secret-keys"], check=True, stdout=subprocess.PIPE).stdout
        armored = subprocess.run([*gpg, "--armor", "--export-secret-keys"], check=True, stdout=subprocess.PIPE).stdout
        public = subprocess.run([*gpg, "--export"], check=True, stdout=subprocess.PIPE).stdout
        (stored,) = (home / "private-keys-v1.d").iterdir()
        content = stored.read_bytes()
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True)
    assert _kind(tmp_path, "/var/lib/x/private-keys-v1.d/0", content) == "a private key of GnuPG"
    assert _kind(tmp_path, "/etc/x/secring.gpg", secret) == "an OpenPGP private key"
    assert _kind(tmp_path, "/etc/x/key.asc", armored) == "an OpenPGP private key"
    assert _kind(tmp_path, "/etc/x/pubring.gpg", public) == ""


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\0\0\0\x0bssh-ed25519\0\0\0\x40" + bytes(64), "a private key of Dropbear"),
        (b"[Interface]\nPrivateKey = " + b"A" * 43 + b"=\n", "a private key of WireGuard"),
        (b"A" * 43 + b"=\n", "a private key of WireGuard"),
        (b"PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n", "a private key of PuTTY"),
        (b"Private-key-format: v1.3\nAlgorithm: 13 (ECDSAP256SHA256)\n", "a DNSSEC private key"),
    ],
)
def test_keys_of_others(tmp_path: pathlib.Path, data: bytes, kind: str) -> None:
    assert _kind(tmp_path, "/etc/own/x", data) == kind


@pytest.mark.parametrize(
    "data",
    [
        b"Your key begins with -----BEGIN PRIVATE KEY-----\nand must not be shown to anybody.\n" * 3,
        b"grep -q -e '-----BEGIN RSA PRIVATE KEY-----' \"$file\" || exit 1\n" * 3,
        b"0" * 4096,
        b"\x30\x82" + bytes(200),
        b"da39a3ee5e6b4b0d3255bfef95601890afd80709  x\n",
    ],
)
def test_what_only_looks_like_one(data: bytes) -> None:
    assert private_key(data) == ""


def test_a_program_that_has_a_key_in_its_text_is_no_key(tmp_path: pathlib.Path) -> None:
    text = b"KEY = '''\n" + _openssl("genpkey", "-algorithm", "ED25519") + b"'''\n"
    assert _kind(tmp_path, "/usr/lib/python3/dist-packages/x/test.py", text) == ""
    assert _kind(tmp_path, "/usr/local/bin/x", text) == "a private key (PEM)"


def test_links_are_not_followed(tmp_path: pathlib.Path) -> None:
    (tmp_path / "target").write_bytes(_openssl("genpkey", "-algorithm", "ED25519"))
    (tmp_path / "link").symlink_to("target")
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="symbolic links"):
            private_key_in(descriptor, "link", "/etc/link", 119)
    finally:
        os.close(descriptor)
