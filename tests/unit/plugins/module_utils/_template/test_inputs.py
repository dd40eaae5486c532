# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import io
import os
import pathlib
import tarfile
import time

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import TemplateError
from ansible_collections.os_image.composer.plugins.module_utils._template.inputs import InputStore


def archive(path: pathlib.Path, *members: tarfile.TarInfo) -> str:
    with tarfile.open(path, "w") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def member(name: str, **values: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = 3
    for key, value in values.items():
        setattr(info, key, value)
    return info


def test_an_archive_becomes_a_directory(tmp_path: pathlib.Path) -> None:
    store = InputStore(str(tmp_path / "work"))
    digest = archive(tmp_path / "a.tar", member("template/t.yml", mode=0o600), member("config/x/y", mode=0o4777))
    assert not store.has(digest)
    store.add(str(tmp_path / "a.tar"), digest)
    store.add(str(tmp_path / "a.tar"), digest)
    assert store.has(digest)
    base = pathlib.Path(store.path(digest))
    assert (base / "template/t.yml").read_bytes() == b"xxx"
    assert (base / "template/t.yml").stat().st_mode & 0o7777 == 0o600
    assert (base / "config/x/y").stat().st_mode & 0o7777 == 0o755
    assert os.listdir(store.directory) == [digest]
    assert os.stat(store.directory).st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "bad",
    [
        member("../x"),
        member("/x"),
        member("a/../../x"),
        member("a", type=tarfile.SYMTYPE, linkname="/etc", size=0),
        member("a", type=tarfile.LNKTYPE, linkname="b", size=0),
        member("a", type=tarfile.CHRTYPE, size=0),
        member("a", type=tarfile.DIRTYPE, size=0),
    ],
)
def test_only_plain_files_are_unpacked(bad: tarfile.TarInfo, tmp_path: pathlib.Path) -> None:
    store = InputStore(str(tmp_path / "work"))
    digest = archive(tmp_path / "a.tar", member("good"), bad)
    with pytest.raises(TemplateError, match="which is no plain file below its top"):
        store.add(str(tmp_path / "a.tar"), digest)
    assert os.listdir(store.directory) == []


def test_a_damaged_archive_is_refused(tmp_path: pathlib.Path) -> None:
    store = InputStore(str(tmp_path / "work"))
    digest = archive(tmp_path / "a.tar", member("good"))
    (tmp_path / "a.tar").write_bytes(b"something else")
    with pytest.raises(TemplateError, match="was damaged on its way to the build host. Run the task again."):
        store.add(str(tmp_path / "a.tar"), digest)
    with pytest.raises(TemplateError, match="is not a SHA-256 digest"):
        store.has("../../etc")


def test_old_inputs_are_pruned(tmp_path: pathlib.Path) -> None:
    store = InputStore(str(tmp_path / "work"))
    digests = []
    for age in range(6):
        digests.append(archive(tmp_path / "a.tar", member(f"f{age}")))
        store.add(str(tmp_path / "a.tar"), digests[-1])
        used = time.time() - age * 3 * 86400
        os.utime(store.path(digests[-1]), (used, used))
    assert store.prune(keep=4) == [digests[4], digests[5]]
    assert [digest for digest in digests if store.has(digest)] == digests[:4]
    assert store.prune(keep=1) == [digests[3]]
