# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Publication: all files or none."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import stat
import subprocess
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._artifact import publish as publish_module
from ansible_collections.os_image.composer.plugins.module_utils._artifact.access import Access
from ansible_collections.os_image.composer.plugins.module_utils._artifact.publish import PublishedFile, publish, staging
from ansible_collections.os_image.composer.plugins.module_utils._errors import (
    ArtifactError,
    LockedError,
    OwnershipError,
)
from ansible_collections.os_image.composer.plugins.module_utils._filelock import file_lock


class Notary:
    """Stands for a signer."""

    def __init__(self, fingerprint: str, suffix: str = ".asc") -> None:
        self.fingerprint = fingerprint
        self.suffix = suffix

    def sign(self, data: bytes) -> bytes:
        return f"{self.fingerprint} {hashlib.sha256(data).hexdigest()}".encode()

    def has_signed(self, data: bytes, signature: bytes) -> bool:
        return signature == self.sign(data)


def _publish(output: pathlib.Path, files: dict[str, str], base_name: str = "a-1", signer: Notary | None = None) -> None:
    names = [name for name in files if name != f"{base_name}.manifest.json"]
    manifest = json.dumps({"artifacts": [{"path": name} for name in names]})
    with staging(str(output), base_name) as stage:
        staged = [stage.write(name, content.encode()) for name, content in files.items()]
        staged.append(stage.write(f"{base_name}.manifest.json", manifest.encode()))
        publish(stage, base_name, staged, who="test", lock_timeout=0.1, signer=signer)


def _content(output: pathlib.Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in output.iterdir() if path.name not in (".lock", "SHA256SUMS")}


def _check(output: pathlib.Path) -> None:
    subprocess.run(["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=output, check=True, stdout=subprocess.DEVNULL)


def test_published(tmp_path: pathlib.Path) -> None:
    output = tmp_path / "new" / "output"
    _publish(output, {"a-1.raw": "one", "a-1.raw.gz": "two"})
    _check(output)
    assert sorted(os.listdir(output)) == [".lock", "SHA256SUMS", "a-1.manifest.json", "a-1.raw", "a-1.raw.gz"]
    assert (output / "a-1.raw").stat().st_mode & 0o777 == 0o640


def test_stale_artifacts_go_and_other_files_stay(tmp_path: pathlib.Path) -> None:
    _publish(tmp_path, {"a-1.raw": "one", "a-1.vdi": "two"})
    _publish(tmp_path, {"b-1.raw": "other"}, base_name="b-1")
    (tmp_path / "a-1.notes").write_text("mine")
    _publish(tmp_path, {"a-1.raw": "three"})
    assert set(_content(tmp_path)) == {"a-1.manifest.json", "a-1.raw", "a-1.notes", "b-1.raw", "b-1.manifest.json"}
    _check(tmp_path)
    assert "b-1.raw" in (tmp_path / "SHA256SUMS").read_text()
    assert "a-1.vdi" not in (tmp_path / "SHA256SUMS").read_text()


def test_an_edited_manifest_removes_nothing_else(tmp_path: pathlib.Path) -> None:
    output = tmp_path / "output"
    _publish(output, {"a-1.raw": "one"})
    (tmp_path / "a-1.precious").write_text("x")
    (output / "b.raw").write_text("x")
    paths = [{"path": "../a-1.precious"}, {"path": "a-1.x/../../a-1.precious"}, {"path": "b.raw"}, {"path": 3}]
    paths += [{"path": f"a-1.{'x' * 300}"}, {"path": "a-1.\ud800"}, {"path": "a-1.\0"}]
    (output / "a-1.manifest.json").write_text(json.dumps({"artifacts": paths}))
    _publish(output, {"a-1.raw": "two"})
    assert (tmp_path / "a-1.precious").exists()
    assert (output / "b.raw").exists()


@pytest.mark.parametrize("failing", [1, 2, 3, 4])
@pytest.mark.parametrize("links", [True, False])
def test_a_failure_between_renames_is_undone(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, failing: int, links: bool
) -> None:
    _publish(tmp_path, {"a-1.raw": "old", "a-1.vdi": "old"})
    before = _content(tmp_path)
    calls = 0
    rename, unlinked = os.rename, os.link

    def failing_rename(source: str, destination: str) -> None:
        nonlocal calls
        if ".part-" not in destination and "/.old-" not in source:
            calls += 1
            if calls == failing:
                raise OSError(5, "Input/output error", destination)
        rename(source, destination)

    def failing_link(*args: t.Any, **kwargs: t.Any) -> None:
        if not os.path.exists(args[0]):
            raise FileNotFoundError(args[0])
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(publish_module.os, "rename", failing_rename)
    monkeypatch.setattr(publish_module.os, "link", unlinked if links else failing_link)
    with pytest.raises(ArtifactError, match=r"cannot be published .*Input/output error.* unchanged"):
        _publish(tmp_path, {"a-1.raw": "new", "a-1.raw.gz": "new"})
    assert _content(tmp_path) == before
    _check(tmp_path)


def test_a_directory_in_the_way(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a-1.raw").mkdir()
    with pytest.raises(ArtifactError, match=r"Is a directory: .*/a-1.raw"):
        _publish(tmp_path, {"a-1.gz": "x", "a-1.raw": "x"})
    assert not (tmp_path / "a-1.gz").exists()


def test_output_directory_that_cannot_be_made(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ArtifactError, match=r"output directory .*/file/output cannot be used: Not a directory"):
        _publish(tmp_path / "file" / "output", {"a-1.raw": "x"})


def test_two_publications_at_once(tmp_path: pathlib.Path) -> None:
    with (
        file_lock(str(tmp_path / ".lock"), what="x", who="somebody", timeout=0),
        pytest.raises(LockedError, match=f"output directory {tmp_path} is in use by process .*somebody"),
    ):
        _publish(tmp_path, {"a-1.raw": "x"})
    assert os.listdir(tmp_path) == [".lock"]


def test_what_a_killed_run_left_is_removed_and_a_living_one_keeps_its_own(tmp_path: pathlib.Path) -> None:
    abandoned = tmp_path / ".a-1.part-dead"
    abandoned.mkdir()
    (abandoned / "a-1.raw").write_text("half")
    with staging(str(tmp_path), "a-1") as living:
        living.write("a-1.raw", b"x")
        with staging(str(tmp_path), "a-1"):
            assert os.path.exists(living.join("a-1.raw"))
        assert not abandoned.exists()
    assert os.listdir(tmp_path) == []


def test_files_that_are_in_place_already_are_listed(tmp_path: pathlib.Path) -> None:
    _publish(tmp_path, {"a-1.raw": "one"})
    digest = (tmp_path / "SHA256SUMS").read_text().splitlines()[1].split()[0]
    with staging(str(tmp_path), "a-1") as stage:
        publish(stage, "a-1", [PublishedFile("a-1.raw", 3, digest, staged=False)], who="t", lock_timeout=1)
    _check(tmp_path)
    assert (tmp_path / "a-1.raw").read_text() == "one"


def _signed_by(output: pathlib.Path, signer: Notary) -> bool:
    return signer.has_signed((output / "SHA256SUMS").read_bytes(), (output / "SHA256SUMS.asc").read_bytes())


def test_images_of_one_key_share_a_directory(tmp_path: pathlib.Path) -> None:
    signer = Notary("ONE")
    _publish(tmp_path, {"a-1.raw": "one"}, signer=signer)
    assert _signed_by(tmp_path, signer)
    assert (tmp_path / "SHA256SUMS.asc").stat().st_mode & 0o777 == 0o640
    _publish(tmp_path, {"b-1.raw": "two"}, "b-1", signer=signer)
    assert _signed_by(tmp_path, signer)
    assert "a-1.raw" in (tmp_path / "SHA256SUMS").read_text()
    _check(tmp_path)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (None, "ONE", "is not signed with the key ONE; a signature would vouch for them too. Give another output_dir."),
        ("TWO", "ONE", "is not signed with the key ONE"),
        ("TWO", None, "whose SHA256SUMS is signed; this image has no key to sign it again."),
    ],
)
def test_nobody_vouches_for_what_others_have_published(
    tmp_path: pathlib.Path, first: str | None, second: str | None, message: str
) -> None:
    one, two = (name and Notary(name) for name in (first, second))
    _publish(tmp_path, {"a-1.raw": "one"}, signer=one or None)
    before = _content(tmp_path), (tmp_path / "SHA256SUMS").read_bytes()
    with pytest.raises(ArtifactError) as caught:
        _publish(tmp_path, {"b-1.raw": "two"}, "b-1", signer=two or None)
    assert message in str(caught.value)
    assert "holds files of other images (a-1.manifest.json, a-1.raw, ...)" in str(caught.value)
    assert (_content(tmp_path), (tmp_path / "SHA256SUMS").read_bytes()) == before


def test_somebody_has_changed_the_checksums_of_others(tmp_path: pathlib.Path) -> None:
    signer = Notary("ONE")
    _publish(tmp_path, {"a-1.raw": "one"}, signer=signer)
    (tmp_path / "evil").write_text("evil")
    with (tmp_path / "SHA256SUMS").open("a") as stream:
        stream.write(f"{hashlib.sha256(b'evil').hexdigest()}  evil\n")
    with pytest.raises(
        ArtifactError, match=r"other images \(evil, ...\) whose SHA256SUMS is not signed with the key ONE"
    ):
        _publish(tmp_path, {"a-1.raw": "new"}, signer=signer)


def test_one_image_gets_and_loses_its_signature(tmp_path: pathlib.Path) -> None:
    _publish(tmp_path, {"a-1.raw": "one"})
    _publish(tmp_path, {"a-1.raw": "one"}, signer=Notary("ONE"))
    assert _signed_by(tmp_path, Notary("ONE"))
    _publish(tmp_path, {"a-1.raw": "one"})
    assert not (tmp_path / "SHA256SUMS.asc").exists()
    _check(tmp_path)


def test_another_form_of_signature_takes_the_place_of_the_first(tmp_path: pathlib.Path) -> None:
    _publish(tmp_path, {"a-1.raw": "one"}, signer=Notary("ONE"))
    _publish(tmp_path, {"a-1.raw": "one"}, signer=Notary("ONE", ".p7s"))
    assert sorted(path.name for path in tmp_path.glob("SHA256SUMS*")) == ["SHA256SUMS", "SHA256SUMS.p7s"]
    # A signature of the other form is none that this signer may continue.
    with pytest.raises(ArtifactError, match="is not signed with the key ONE"):
        _publish(tmp_path, {"b-1.raw": "two"}, "b-1", signer=Notary("ONE"))
    with pytest.raises(ArtifactError, match="whose SHA256SUMS is signed; this image has no key"):
        _publish(tmp_path, {"b-1.raw": "two"}, "b-1")


def test_a_document_that_the_image_has_not_any_more_goes(tmp_path: pathlib.Path) -> None:
    for files in ({"a-1.raw": "one", "a-1.provenance.json": "x"}, {"a-1.raw": "one"}):
        with staging(str(tmp_path), "a-1") as stage:
            staged = [stage.write(name, content.encode()) for name, content in files.items()]
            publish(stage, "a-1", staged, who="test", lock_timeout=0.1, optional=["a-1.provenance.json"])
        assert (tmp_path / "a-1.provenance.json").exists() == ("a-1.provenance.json" in files)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("0640", "", ""), (0o640, 0, 4242)),
        (("0644", "daemon", "bin"), (0o644, 1, 2)),
        (("600", "4343", "4343"), (0o600, 4343, 4343)),
    ],
)
def test_who_may_read_is_told(
    tmp_path: pathlib.Path, options: t.Tuple[str, str, str], expected: t.Tuple[int, int, int]
) -> None:
    if os.geteuid() != 0:
        pytest.skip("giving files away needs root")
    # Whoever may look into the directory by its group can read the files.
    os.chown(tmp_path, 0, 4242)
    tmp_path.chmod(0o750)
    access = Access.of(*options, is_shared=False)
    for _run in range(2):
        with staging(str(tmp_path), "a-1") as stage:
            publish(stage, "a-1", [stage.write("a-1.raw", b"disk")], who="test", lock_timeout=1, access=access)
        for name in ("a-1.raw", "SHA256SUMS"):
            status = (tmp_path / name).stat()
            assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == expected


@pytest.mark.parametrize("mode", ["0755", "0666", "0200", "4640", "rw-r-----", "", "0o640"])
def test_a_mode_that_is_none_of_images_is_refused(mode: str) -> None:
    with pytest.raises(
        ArtifactError, match=rf"^output_mode '{mode}' is no mode of files that are only read\. Give octal"
    ):
        Access.of(mode, "", "", is_shared=False)


def test_a_user_who_is_not_there_is_told(tmp_path: pathlib.Path) -> None:
    access = Access(owner="nobody-has-this-name")
    with (
        pytest.raises(ArtifactError, match=r"no such user or group: .*nobody-has-this-name.*Correct output_owner"),
        staging(str(tmp_path), "a-1") as stage,
    ):
        publish(stage, "a-1", [stage.write("a-1.raw", b"disk")], who="test", lock_timeout=1, access=access)
    assert not (tmp_path / "a-1.raw").exists()


def test_a_directory_that_others_write_to_has_to_be_meant(tmp_path: pathlib.Path) -> None:
    tmp_path.chmod(0o777)
    message = r"^The output directory .* is not safe: .* \(mode 0777\), .* set output_shared: true\.$"
    with pytest.raises(OwnershipError, match=message), staging(str(tmp_path), "a-1"):
        pass
    assert list(tmp_path.iterdir()) == []
    with staging(str(tmp_path), "a-1", is_shared=True) as stage:
        publish(stage, "a-1", [stage.write("a-1.raw", b"disk")], who="test", lock_timeout=1)
    assert (tmp_path / "a-1.raw").read_bytes() == b"disk"
