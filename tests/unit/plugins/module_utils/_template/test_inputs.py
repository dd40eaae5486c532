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


def keyed(store: InputStore, path: pathlib.Path) -> tuple[str, pathlib.Path]:
    """Add an input with two private keys."""
    digest = archive(path, member("template/t.yml"), member("template/db.key", mode=0o400), member("config/k/sign.asc"))
    store.add(str(path), digest, ["template/db.key", "config/k/sign.asc"])
    return digest, pathlib.Path(store.path(digest))


def test_private_keys_are_removed_and_nothing_else(tmp_path: pathlib.Path) -> None:
    store = InputStore(str(tmp_path / "work"))
    digest, base = keyed(store, tmp_path / "a.tar")
    other = archive(tmp_path / "b.tar", member("template/db.key"))
    store.add(str(tmp_path / "b.tar"), other)
    assert store.missing_keys(digest) == []
    assert store.present_keys(digest) == ["config/k/sign.asc", "template/db.key"]
    assert store.remove_keys(digest) == ["config/k/sign.asc", "template/db.key"]
    assert store.remove_keys(digest) == store.present_keys(digest) == []
    assert store.missing_keys(digest) == ["config/k/sign.asc", "template/db.key"]
    assert sorted(str(path.relative_to(base)) for path in base.rglob("*") if path.is_file()) == [
        "private-keys.json",
        "template/t.yml",
    ]
    assert store.remove_keys(other) == []
    assert (pathlib.Path(store.path(other)) / "template/db.key").exists()
    assert store.remove_keys("0" * 64) == []
    with pytest.raises(TemplateError, match="is not a SHA-256 digest"):
        store.remove_keys("../../etc")


def test_removed_keys_are_known_by_their_digests(tmp_path: pathlib.Path) -> None:
    store = InputStore(str(tmp_path / "work"))
    digest, base = keyed(store, tmp_path / "a.tar")
    assert store.removed_keys(str(base / "template/t.yml")) == {}
    (base / "template/db.key").unlink()
    sha256 = hashlib.sha256(b"xxx").hexdigest()
    assert store.removed_keys(str(base / "template/t.yml")) == {str(base / "template/db.key"): sha256}
    for elsewhere in (tmp_path / "t.yml", tmp_path / "work/t.yml", tmp_path / "work/inputs"):
        assert store.removed_keys(str(elsewhere)) == {}


def test_removed_keys_come_back(tmp_path: pathlib.Path) -> None:
    store = InputStore(str(tmp_path / "work"))
    digest, base = keyed(store, tmp_path / "a.tar")
    store.remove_keys(digest)
    (base / "template/t.yml").write_text("used")
    store.restore_keys(str(tmp_path / "a.tar"), digest)
    assert store.missing_keys(digest) == []
    assert (base / "template/db.key").read_bytes() == b"xxx"
    assert (base / "template/db.key").stat().st_mode & 0o7777 == 0o400
    assert (base / "template/t.yml").read_text() == "used"
    assert os.listdir(store.directory) == [digest]
    store.remove_keys(digest)
    (tmp_path / "a.tar").write_bytes(b"something else")
    with pytest.raises(TemplateError, match="was damaged on its way to the build host"):
        store.restore_keys(str(tmp_path / "a.tar"), digest)
    assert os.listdir(store.directory) == [digest]


def test_an_input_without_a_note_gets_one(tmp_path: pathlib.Path) -> None:
    store = InputStore(str(tmp_path / "work"))
    digest = archive(tmp_path / "a.tar", member("template/t.yml"), member("template/db.key"))
    store.add(str(tmp_path / "a.tar"), digest)
    store.note_keys(digest, [])
    assert os.listdir(store.path(digest)) == ["template"]
    store.note_keys(digest, ["template/db.key"])
    assert store.remove_keys(digest) == ["template/db.key"]
    store.note_keys(digest, ["template/db.key"])
    assert store.missing_keys(digest) == ["template/db.key"]


@pytest.mark.parametrize("name", ["../x", "/etc/hosts", "template/../template/t.yml", "template", "missing"])
def test_only_files_of_the_input_are_noted_as_keys(name: str, tmp_path: pathlib.Path) -> None:
    store = InputStore(str(tmp_path / "work"))
    digest = archive(tmp_path / "a.tar", member("template/t.yml"))
    with pytest.raises(TemplateError, match="which should be a private key"):
        store.add(str(tmp_path / "a.tar"), digest, [name])
    assert os.listdir(store.directory) == []
