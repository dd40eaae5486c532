# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys that are generated for tests."""

from __future__ import annotations

import os
import pathlib
import subprocess

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._errors import SigningError
from ansible_collections.os_image.composer.plugins.module_utils._signing.generated_keys import (
    generate_keys,
    generated_keys_dir,
    key_pair,
)


def generate(work_dir: pathlib.Path) -> bool:
    return generate_keys(generated_keys_dir(str(work_dir)), CommandRunner(), who="image_sign", lock_timeout=1)


def test_keys_are_generated_once(tmp_path: pathlib.Path) -> None:
    assert generate(tmp_path)
    directory = pathlib.Path(generated_keys_dir(str(tmp_path)))
    assert directory.stat().st_mode & 0o777 == 0o700
    assert sorted(os.listdir(directory)) == ["KEK.crt", "KEK.key", "PK.crt", "PK.key", "db.crt", "db.key"]
    before = {}
    for variable in ("PK", "KEK", "db"):
        key, certificate = key_pair(str(directory), variable)
        before[key] = pathlib.Path(key).read_bytes()
        assert os.stat(key).st_mode & 0o777 == 0o600
        told = subprocess.run(
            ["openssl", "x509", "-in", certificate, "-noout", "-subject", "-text"], capture_output=True, check=True
        ).stdout.decode()
        assert f"TEST KEY {variable} " in told
        assert "not for production" in told
        assert "Public-Key: (2048 bit)" in told
    assert len({*before.values()}) == 3
    assert not generate(tmp_path)
    assert {key: pathlib.Path(key).read_bytes() for key in before} == before
    assert sorted(os.listdir(directory.parent)) == [".lock", "secure-boot"]


@pytest.mark.parametrize("name", ["", "db.key"])
def test_keys_that_others_can_reach_are_refused(tmp_path: pathlib.Path, name: str) -> None:
    generate(tmp_path)
    os.chmod(os.path.join(generated_keys_dir(str(tmp_path)), name), 0o755)
    with pytest.raises(SigningError, match=r"can be reached by others than the user of the build .*mode 0755\)"):
        generate(tmp_path)


def test_a_link_in_place_of_the_keys_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "keys").mkdir(mode=0o700)
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "keys" / "secure-boot").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SigningError, match=r"secure-boot can be reached by others"):
        generate(tmp_path)


def test_a_key_that_is_missing_is_named(tmp_path: pathlib.Path) -> None:
    generate(tmp_path)
    os.unlink(key_pair(generated_keys_dir(str(tmp_path)), "KEK")[0])
    with pytest.raises(SigningError, match=r"KEK\.key is missing among the generated keys\. Remove .*secure-boot;"):
        generate(tmp_path)
