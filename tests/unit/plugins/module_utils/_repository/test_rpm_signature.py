# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signatures of real packages, good ones and bad ones."""

from __future__ import annotations

import os
import pathlib
import shutil
import struct
import subprocess
import time
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._errors import SignatureError
from ansible_collections.os_image.composer.plugins.module_utils._repository.rpm_signature import (
    SignedRepository,
    verify_packages,
)
from ansible_collections.os_image.composer.tests.support.rpm_repository import build_package, sign_package
from ansible_collections.os_image.composer.tests.support.signing_keys import KeyRing, Keys, SigningKey

_LEAD = 96
# RPMSIGTAG_DSA and RPMSIGTAG_RSA: whatever the algorithm, the signature over the header.
_SIGNATURE_TAGS = (267, 268)


@pytest.fixture(scope="module")
def unsigned(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Build a package once."""
    return build_package(str(tmp_path_factory.mktemp("unsigned")), "hello", files={"/usr/share/hello": "hello" * 999})


@pytest.fixture(scope="module")
def signed(unsigned: str, keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Sign it with the archive's key."""
    return signed_by(keys.archive, unsigned, tmp_path_factory.mktemp("signed"))


def signed_by(
    key: SigningKey, package: str, directory: pathlib.Path, *, when: int | None = None, name: str = "hello.rpm"
) -> str:
    """Return a copy of a package with a signature."""
    path = shutil.copyfile(package, directory / name)
    sign_package(str(path), key, when=when)
    return str(path)


def repository(*keys: SigningKey, fingerprints: t.Sequence[str] = (), name: str = "test") -> SignedRepository:
    return SignedRepository(name, tuple(key.public for key in keys), tuple(fingerprints))


def verify(path: str, *keys: SigningKey, now: int | None = None, fingerprints: t.Sequence[str] = ()) -> int:
    packages = {repository(*keys, fingerprints=fingerprints): {"hello 1.0-1": path}}
    return verify_packages(packages, runner=CommandRunner(), workers=2, now=now)


def refused(path: str, *keys: SigningKey, **options: t.Any) -> str:
    with pytest.raises(SignatureError) as caught:
        verify(path, *keys, **options)
    return str(caught.value)


def test_a_good_package(signed: str, keys: Keys) -> None:
    assert verify(signed, keys.archive) == 1
    assert verify(signed, keys.stranger, keys.archive, fingerprints=[keys.archive.fingerprint]) == 1


def test_an_unknown_signer(signed: str, keys: Keys) -> None:
    message = refused(signed, keys.stranger)
    short = keys.archive.fingerprint[-8:]
    assert "One package is not signed as the repository demands:\n- hello 1.0-1 (repository test): " in message
    assert f"{short}, which is not one of the repository's keys" in message


def test_a_key_that_is_not_pinned(signed: str, keys: Keys) -> None:
    pinned = [keys.stranger.fingerprint]
    message = refused(signed, keys.archive, keys.stranger, fingerprints=pinned)
    assert f"that it is signed with is not one of the fingerprints allowed ({pinned[0]})" in message
    assert f"{keys.archive.fingerprint} is not one of the" in refused(signed, keys.archive, fingerprints=pinned)


def test_an_unsigned_package(unsigned: str, keys: Keys) -> None:
    assert "hello 1.0-1 (repository test): it is not signed" in refused(unsigned, keys.archive)


def test_an_expired_key(unsigned: str, keys: Keys, tmp_path: pathlib.Path) -> None:
    path = signed_by(keys.expired, unsigned, tmp_path, when=Keys.before_expiry)
    assert f"the key {keys.expired.fingerprint} has expired on 2021-05-31" in refused(path, keys.expired)
    # Where another key of the repository is good, the package is named.
    message = refused(path, keys.expired, keys.archive)
    assert "hello 1.0-1 (repository test): the key " in message
    assert "that it is signed with has expired on 2021-05-31" in message
    assert verify(path, keys.expired, now=Keys.before_expiry) == 1


def test_a_revoked_key(unsigned: str, tmp_path: pathlib.Path) -> None:
    with KeyRing() as ring:
        key = ring.make_key("Revoked <revoked@example.org>", when=int(time.time()) - 86400)
        path = signed_by(key, unsigned, tmp_path)
        assert verify(path, key) == 1
        assert f"the key {key.fingerprint} was revoked" in refused(path, ring.revoke(key))


def test_a_key_that_is_bound_by_a_broken_digest(unsigned: str, keys: Keys, tmp_path: pathlib.Path) -> None:
    key = keys.ring.make_key("Bound <bound@example.org>", algorithm="rsa2048", digest="SHA1")
    path = signed_by(key, unsigned, tmp_path)
    problem = "is bound by signatures with SHA-1 alone"
    assert f"the key {key.fingerprint} {problem}" in refused(path, key)
    assert f"that it is signed with {problem}" in refused(path, key, keys.archive)
    # Who names it by its fingerprint knows which one it is.
    assert verify(path, key, fingerprints=[key.fingerprint]) == 1


def test_a_weak_key(unsigned: str, keys: Keys, tmp_path: pathlib.Path) -> None:
    key = keys.ring.make_key("Weak <weak@example.org>", algorithm="rsa1024")
    path = signed_by(key, unsigned, tmp_path)
    problem = "is an RSA key of 1024 bits, and fewer than 2048 can be broken"
    assert f"the key {key.fingerprint} {problem}" in refused(path, key)
    assert f"that it is signed with {problem}" in refused(path, key, keys.archive)


def test_an_expired_subkey(unsigned: str, tmp_path: pathlib.Path) -> None:
    with KeyRing() as ring:
        key = ring.make_key("Subkey <subkey@example.org>", when=Keys.before_expiry)
        ring.gpg(
            "--passphrase", "", "--quick-add-key", key.fingerprint, "ed25519", "sign", "1d", when=Keys.before_expiry
        )
        listing = ring.gpg("--with-colons", "--list-keys", when=Keys.before_expiry).decode()
        subkey = [line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:")][1]
        pathlib.Path(key.public).write_bytes(ring.gpg("--armor", "--export", key.fingerprint))
        path = signed_by(SigningKey(ring, f"{subkey}!", key.public), unsigned, tmp_path, when=Keys.before_expiry)
        assert verify(path, key, now=Keys.before_expiry) == 1
        assert "that it is signed with has expired on 2020-06-0" in refused(path, key)


def test_pinned_subkeys(unsigned: str, tmp_path: pathlib.Path) -> None:
    """As with metadata: a primary key stands for all its subkeys, a subkey for itself."""
    with KeyRing() as ring:
        key = ring.make_key("Subkeys <subkeys@example.org>")
        for usage in ("encr", "sign", "sign"):
            algorithm = "cv25519" if usage == "encr" else "ed25519"
            ring.gpg("--passphrase", "", "--quick-add-key", key.fingerprint, algorithm, usage)
        listing = ring.gpg("--with-colons", "--list-keys").decode()
        subkeys = [line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:")][2:]
        pathlib.Path(key.public).write_bytes(ring.gpg("--armor", "--export", key.fingerprint))
        for fingerprint, other in (subkeys, subkeys[::-1], (key.fingerprint, subkeys[0])):
            path = signed_by(SigningKey(ring, f"{fingerprint}!", key.public), unsigned, tmp_path)
            for pinned in ([], [key.fingerprint], [fingerprint]):
                assert verify(path, key, fingerprints=pinned) == 1
            message = refused(path, key, fingerprints=[other])
            assert f"that it is signed with is not one of the fingerprints allowed ({other})" in message


def test_a_broken_digest(unsigned: str, keys: Keys, tmp_path: pathlib.Path) -> None:
    path = shutil.copyfile(unsigned, tmp_path / "hello.rpm")
    sign_package(str(path), keys.archive, digest="sha1")
    assert "uses SHA1, which is broken" in refused(str(path), keys.archive)


def parts(data: bytes) -> dict[str, range]:
    """Return where the parts of a package lie (rpm's docs/manual/format)."""

    def end(start: int) -> int:
        assert data[start : start + 3] == b"\x8e\xad\xe8"
        entries, size = struct.unpack(">II", data[start + 8 : start + 16])
        return int(start + 16 + entries * 16 + size)

    def signature() -> range:
        """Find the OpenPGP signature over the header; what else lies about it is not signed, and means nothing."""
        (entries,) = struct.unpack(">I", data[_LEAD + 8 : _LEAD + 12])
        store = _LEAD + 16 + entries * 16
        for number in range(entries):
            place = _LEAD + 16 + number * 16
            tag, _type, offset, count = struct.unpack(">4I", data[place : place + 16])
            if tag in _SIGNATURE_TAGS:
                # The signature proper ends it.
                return range(store + offset + count - 32, store + offset + count)
        raise AssertionError("the package is not signed")

    header = end(_LEAD) + -end(_LEAD) % 8
    payload = end(header)
    return {
        # What follows the magic number in the lead nobody reads; see the digest of the whole file in the lock.
        "lead": range(4),
        "signature": signature(),
        "header": range(header, payload),
        "payload": range(payload, len(data)),
    }


@pytest.mark.parametrize("part", ["lead", "signature", "header", "payload"])
def test_a_flipped_bit(signed: str, keys: Keys, tmp_path: pathlib.Path, part: str) -> None:
    data = pathlib.Path(signed).read_bytes()
    where = parts(data)[part]
    path = tmp_path / "hello.rpm"
    for offset in (where[0], where[len(where) // 2], where[-1]):
        changed = bytearray(data)
        changed[offset] ^= 0x01
        path.write_bytes(bytes(changed))
        message = refused(str(path), keys.archive)
        assert "hello 1.0-1 (repository test): it " in message, offset
        if part == "payload":
            assert "it was changed after it was signed (payload SHA256 " in message
    if part == "header":
        assert "it was changed after it was signed" in message or "it is damaged" in message


def test_another_signature(signed: str, unsigned: str, keys: Keys, tmp_path: pathlib.Path) -> None:
    """A valid signature of another package makes none of this one."""
    other = signed_by(keys.archive, build_package(str(tmp_path), "other"), tmp_path)
    ours, theirs = pathlib.Path(signed).read_bytes(), pathlib.Path(other).read_bytes()
    path = tmp_path / "mixed.rpm"
    path.write_bytes(theirs[: parts(theirs)["header"][0]] + ours[parts(ours)["header"][0] :])
    assert "it was changed after it was signed" in refused(str(path), keys.archive)


@pytest.mark.parametrize("data", [b"", b"no package", None])
def test_no_package(signed: str, keys: Keys, tmp_path: pathlib.Path, data: bytes | None) -> None:
    path = tmp_path / "hello.rpm"
    path.write_bytes(pathlib.Path(signed).read_bytes()[:200] if data is None else data)
    assert "it is damaged, or no RPM package" in refused(str(path), keys.archive)


def test_a_missing_file(keys: Keys, tmp_path: pathlib.Path) -> None:
    assert "it is damaged, or no RPM package (" in refused(str(tmp_path / "hello.rpm"), keys.archive)


def test_no_keys(signed: str) -> None:
    assert "For the repository 'test' no key is named" in refused(signed)


def test_every_repository_has_its_own_keys(signed: str, unsigned: str, keys: Keys, tmp_path: pathlib.Path) -> None:
    foreign = signed_by(keys.stranger, unsigned, tmp_path)
    ours, theirs = repository(keys.archive), repository(keys.stranger, name="other")
    runner = CommandRunner()
    good = {ours: {"hello 1": signed}, theirs: {"hello 2": foreign}}
    assert verify_packages(good, runner=runner, workers=2) == 2
    with pytest.raises(SignatureError) as caught:
        verify_packages({ours: {"hello 2": foreign}, theirs: {"hello 1": signed}}, runner=runner, workers=2)
    assert "2 packages are not signed as the repository demands:\n- hello 1 (repository other): " in str(caught.value)
    assert len(caught.value.details["packages"]) == 2


def test_bad_ones_are_found_among_many(signed: str, unsigned: str, keys: Keys, tmp_path: pathlib.Path) -> None:
    packages = {}
    for number in range(50):
        packages[f"good-{number:02} 1"] = str(shutil.copyfile(signed, tmp_path / f"good-{number}.rpm"))
    assert verify_packages({repository(keys.archive): packages}, runner=CommandRunner(), workers=8) == 50
    packages["bad 1"] = unsigned
    packages["gone 1"] = str(tmp_path / "gone.rpm")
    with pytest.raises(SignatureError) as caught:
        verify_packages({repository(keys.archive): packages}, runner=CommandRunner(), workers=8)
    assert [text.partition(":")[0] for text in caught.value.details["packages"]] == [
        "bad 1 (repository test)",
        "gone 1 (repository test)",
    ]


def test_the_hosts_keys_and_macros_play_no_part(
    signed: str, keys: Keys, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    database = str(home / "db")
    (home / ".rpmmacros").write_text(f"%_dbpath {database}\n%_pkgverify_level none\n%_keyringpath {database}\n")
    subprocess.run(["rpmkeys", "--dbpath", database, "--import", keys.archive.public], check=True)
    before = {entry: os.stat(os.path.join(database, entry)).st_mtime_ns for entry in os.listdir(database)}
    assert "not one of the repository's keys" in refused(signed, keys.stranger)
    assert {entry: os.stat(os.path.join(database, entry)).st_mtime_ns for entry in os.listdir(database)} == before
