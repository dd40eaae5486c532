# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Public keys in files."""

from __future__ import annotations

import pathlib
import subprocess
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import SignatureError
from ansible_collections.os_image.composer.plugins.module_utils._repository.public_keys import (
    read_keyring,
    read_public_keys,
    select_keys,
)
from ansible_collections.os_image.composer.tests.support.signing_keys import KeyRing, Keys, SigningKey


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "cannot be read: No such file or directory. Check the path"),
        (b"hello", "holds no OpenPGP public key. It must be a key export"),
        (b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabcde\n-----END PGP PUBLIC KEY BLOCK-----\n", "holds no OpenPGP"),
    ],
)
def test_unusable_key_files(tmp_path: pathlib.Path, data: bytes | None, words: str) -> None:
    path = tmp_path / "key.asc"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(SignatureError) as caught:
        read_keyring([str(path)], what="the repository 'x'")
    assert str(caught.value).startswith(f"The key file {path} of the repository 'x' ")
    assert words in str(caught.value)


Lines = t.List[bytes]
Edit = t.Callable[[Lines, Lines, Lines, Lines], Lines]
# Of a block: its first line, the lines of the body, the checksum, the last line.
ARMORS: t.Mapping[str, Edit] = {
    "headers": lambda begin, body, crc, end: [*begin, b"Version: GnuPG v1", b"Comment: a: b", b"", *body, *crc, *end],
    "an empty header": lambda begin, body, crc, end: [*begin, b"Comment:", b"", *body, *crc, *end],
    "an empty header with a blank": lambda begin, body, crc, end: [*begin, b"Comment: ", b"", *body, *crc, *end],
    "a header in Latin-1": lambda begin, body, crc, end: [*begin, b"Comment: Caf\xe9", b"", *body, *crc, *end],
    "no blank line": lambda begin, body, crc, end: [*begin, *body, *crc, *end],
    "no blank line behind a header": lambda begin, body, crc, end: [*begin, b"Comment: x", *body, *crc, *end],
    "several blank lines": lambda begin, body, crc, end: [*begin, b"", b" \t", b"", *body, *crc, *end],
    "a blank line before the checksum": lambda begin, body, crc, end: [*begin, b"", *body, b"", *crc, *end],
    "a blank line before the end": lambda begin, body, crc, end: [*begin, b"", *body, *crc, b"", *end],
    "a blank line in the body": lambda begin, body, crc, end: [*begin, b"", body[0], b"", *body[1:], *crc, *end],
    "no checksum": lambda begin, body, crc, end: [*begin, b"", *body, *end],
    "the checksum behind the body": lambda begin, body, crc, end: [*begin, b"", *body[:-1], body[-1] + crc[0], *end],
    "no last line": lambda begin, body, crc, _end: [*begin, b"", *body, *crc],
    "one line": lambda begin, body, crc, end: [*begin, b"", b"".join(body), *crc, *end],
    "lines of Windows": lambda *parts: [line + b"\r" for part in (*parts[:1], [b""], *parts[1:]) for line in part],
    "blanks at the ends": lambda *parts: [line + b"  " for part in (*parts[:1], [b""], *parts[1:]) for line in part],
    "words around": lambda begin, body, crc, end: [b"A key:", b"", *begin, b"", *body, *crc, *end, b"", b"Bye: x"],
}
# What GnuPG refuses or grumbles about, though nothing is lost.
MORE_THAN_GNUPG = ("no blank line", "no blank line behind a header")


def _armors(keys: Keys, edit: Edit) -> bytes:
    """Return two keys, the armor of each edited."""
    found = []
    for key in (keys.archive, keys.stranger):
        lines = pathlib.Path(key.public).read_bytes().split(b"\n")[:-1]
        assert lines[1] == b"" and lines[-2][:1] == b"="
        found += edit(lines[:1], lines[2:-2], lines[-2:-1], lines[-1:])
    return b"\n".join(found) + b"\n"


@pytest.mark.parametrize("form", ARMORS)
def test_armor_as_people_leave_it(tmp_path: pathlib.Path, keys: Keys, form: str) -> None:
    path = tmp_path / "key.asc"
    path.write_bytes(_armors(keys, ARMORS[form]))
    if form not in MORE_THAN_GNUPG:
        show = ["gpg", "--homedir", str(tmp_path), "--batch", "--show-keys", "--with-colons", str(path)]
        listed = subprocess.run(show, capture_output=True, check=True).stdout.decode()
        assert keys.archive.fingerprint in listed
    keyring = read_keyring([str(path)], what="the repository 'x'")
    plain = [pathlib.Path(key.public).read_bytes() for key in (keys.archive, keys.stranger)]
    binary = [subprocess.run(["gpg", "--dearmor"], input=key, capture_output=True, check=True).stdout for key in plain]
    assert keyring == b"".join(binary)
    assert select_keys(keyring, [keys.archive.fingerprint]).usable == {keys.archive.fingerprint}


def test_who_takes_a_key_for_a_subkey_is_not_taken_for_it(tmp_path: pathlib.Path) -> None:
    """It has the same fingerprint then, and what is kept goes into the image."""
    when = 1_700_000_000
    with KeyRing() as ring:
        own, other = ring.make_key("own", when=when), ring.make_key("other", when=when)
        liar, second = (ring.adopt(ring.make_key(name, when=when), own, when=when) for name in ("liar", "second"))
        subkey = ring.add_subkey(other)

        def select(fingerprint: str, *keys: SigningKey) -> tuple[frozenset[str], list[str]]:
            keyring = read_keyring([key.public for key in keys], what="the repository")
            found = select_keys(keyring, [fingerprint])
            path = tmp_path / "selected.asc"
            path.write_bytes(found.armored)
            kept = read_public_keys(read_keyring([str(path)], what="x")) if found.armored else []
            return found.usable, [key.fingerprint for key in kept]

        assert select(own.fingerprint, own, other) == ({own.fingerprint}, [own.fingerprint])
        for keys in ((liar, own), (own, liar, second), (own, liar, other), (liar, second)):
            assert select(own.fingerprint, *keys) == (frozenset(), [])
        # Of others there is no doubt.
        assert select(subkey, liar, other, own) == ({subkey}, [other.fingerprint])


def test_a_byte_order_mark(tmp_path: pathlib.Path, keys: Keys) -> None:
    path = tmp_path / "key.asc"
    path.write_bytes(b"\xef\xbb\xbf" + pathlib.Path(keys.archive.public).read_bytes())
    assert read_keyring([str(path)], what="x") == read_keyring([keys.archive.public], what="x")
