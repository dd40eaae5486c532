# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Public keys in files."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import SignatureError
from ansible_collections.os_image.composer.plugins.module_utils._repository.public_keys import read_keyring


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
