# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stage image_sign."""

from __future__ import annotations

import copy
import os
import pathlib
import shutil
import subprocess
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory
from ansible_collections.os_image.composer.plugins.module_utils._errors import DocumentError, SigningError
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_file
from ansible_collections.os_image.composer.plugins.module_utils._stage import StageOptions, run_stage
from ansible_collections.os_image.composer.plugins.module_utils._stages.disk_compose import DiskCompose
from ansible_collections.os_image.composer.plugins.module_utils._stages.image_sign import ImageSign
from ansible_collections.os_image.composer.tests.support.build_state import leave_lock, leave_template, leave_tree
from ansible_collections.os_image.composer.tests.support.disk_tree import DISK, EPOCH, KERNEL, make_tree

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


class Signing:
    """A build whose disk is composed, and its template."""

    def __init__(self, directory: pathlib.Path, tree: pathlib.Path, pki: pathlib.Path) -> None:
        self.build = BuildDirectory(str(directory / "build"))
        self.pki = pki
        self.template: t.Dict[str, t.Any] = {
            "target": {"os": "debian", "dist": "debian12", "arch": "x86_64", "imageType": "raw"},
            "image": {"name": "minimal", "version": "1.0"},
            "disk": copy.deepcopy(dict(DISK)),
            "systemConfig": {
                "bootloader": {"bootType": "efi", "provider": "systemd-boot"},
                "kernel": {"cmdline": "", "version": "", "uki": True},
                "signing": {},
                "additionalFiles": [],
            },
        }
        self.write()
        leave_lock(self.build, epoch=EPOCH)
        leave_tree(self.build, str(tree))

    def use_keys(self) -> None:
        """Name the keys in the template."""
        paths = {"key": "db.key", "certificate": "db.crt", "certificateDer": "db.cer"}
        keys = {key: str(self.pki / name) for key, name in paths.items()}
        self.template["systemConfig"]["signing"] = {"secureBoot": keys}
        self.write()

    def write(self) -> None:
        """Validate the template again."""
        named = self.template["systemConfig"]["signing"].get("secureBoot", {}).values()
        files = [path for path in named if isinstance(path, str)]
        leave_template(self.build, self.template, files={path: sha256_file(path) for path in files})

    def compose(self) -> None:
        """Run disk_compose."""
        run_stage(DiskCompose(self.build, StageOptions()))

    def sign(self, **options: t.Any) -> t.Dict[str, t.Any]:
        """Run image_sign."""
        return run_stage(ImageSign(self.build, StageOptions(**options)))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return make_tree(tmp_path_factory.mktemp("signing") / "tree")


@pytest.fixture
def signing(tmp_path: pathlib.Path, tree: pathlib.Path) -> Signing:
    key, certificate, der = (str(tmp_path / f"db.{kind}") for kind in ("key", "crt", "cer"))
    request = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-new", "-x509", "-days", "2"]
    for command in (
        [*request, "-subj", "/CN=Fleet db/", "-out", certificate],
        ["openssl", "x509", "-in", certificate, "-outform", "DER", "-out", der],
    ):
        subprocess.run(command, check=True, capture_output=True)
    return Signing(tmp_path, tree, tmp_path)


def test_without_keys_nothing_is_changed(signing: Signing) -> None:
    # That the disk is not composed yet does not matter.
    assert not signing.sign(check_mode=True)["changed"]
    signing.compose()
    checked = signing.sign(check_mode=True)
    result = signing.sign()
    image = signing.build.join("disk", "image.raw")
    assert not result["changed"]
    assert not checked["changed"]
    assert checked["msg"] == result["msg"]
    assert result["msg"] == "image_sign: nothing to do: no Secure Boot keys are configured"
    assert {key: result[key] for key in ("signed", "certificates", "image")} == {
        "signed": [],
        "certificates": [],
        "image": image,
    }
    assert not os.path.exists(signing.build.join("signed"))
    assert "[Signing] Nothing is signed: no Secure Boot keys" in pathlib.Path(signing.build.build_log).read_text()
    assert not signing.sign()["changed"]


def test_with_keys_a_copy_is_signed(signing: Signing, tmp_path: pathlib.Path) -> None:
    signing.use_keys()
    signing.compose()
    composed = signing.build.join("disk", "image.raw")
    before = sha256_file(composed)
    result = signing.sign()
    assert result["changed"]
    assert result["signed"] == [
        "/EFI/BOOT/BOOTX64.EFI",
        f"/EFI/Linux/debian-{KERNEL}.efi",
        "/EFI/systemd/systemd-bootx64.efi",
    ]
    assert result["image"] == signing.build.join("signed", "image.raw")
    assert sorted(os.listdir(signing.build.join("signed"))) == ["db.cer", "image.raw"]
    certificate = result["certificates"][0]
    assert certificate["subject"] == "CN=Fleet db"
    assert certificate["sha256"] == sha256_file(str(signing.pki / "db.cer")) == sha256_file(certificate["path"])
    assert sha256_file(composed) == before
    out = tmp_path / "out.efi"
    for path in result["signed"]:
        subprocess.run(["mcopy", "-n", "-o", "-i", f"{result['image']}@@1M", f"::{path}", str(out)], check=True)
        subprocess.run(["sbverify", "--cert", str(signing.pki / "db.crt"), str(out)], check=True, capture_output=True)
    assert not signing.sign()["changed"]


def test_the_key_is_in_no_result_log_or_document(signing: Signing) -> None:
    signing.use_keys()
    signing.compose()
    assert "PRIVATE" not in str(signing.sign())
    secret = (signing.pki / "db.key").read_text().splitlines()[3]
    for parent, _directories, names in os.walk(signing.build.path):
        for name in names:
            if not name.endswith(".raw"):
                assert secret not in pathlib.Path(parent, name).read_bytes().decode("latin-1")


def test_type_1_entries_are_not_enough(signing: Signing) -> None:
    signing.template["systemConfig"]["kernel"]["uki"] = False
    signing.use_keys()
    signing.compose()
    with pytest.raises(SigningError, match=r"Secure Boot keys are configured, but .* Set kernel\.uki: true\."):
        signing.sign()


def test_a_program_from_the_tree_is_signed_by_name_only(signing: Signing, tree: pathlib.Path) -> None:
    program = tree / "boot/efi/EFI/vendor/tool.efi"
    program.parent.mkdir(parents=True)
    shutil.copy(tree / "usr/lib/systemd/boot/efi/systemd-bootx64.efi", program)
    with open(program, "ab") as stream:
        stream.write(bytes(512))
    try:
        signing.use_keys()
        signing.compose()
        with pytest.raises(
            SigningError, match=r"did not make: /EFI/vendor/tool\.efi \(SHA-256 [0-9a-f]{64}\)\. A pack"
        ):
            signing.sign()
        assert not os.path.exists(signing.build.join("signed", "image.raw"))
        signing.template["systemConfig"]["signing"]["secureBoot"]["programs"] = [sha256_file(str(program))]
        signing.write()
        assert "/EFI/vendor/tool.efi" in signing.sign()["signed"]
    finally:
        shutil.rmtree(tree / "boot/efi")


def test_a_key_that_was_exchanged_is_noticed(signing: Signing) -> None:
    signing.use_keys()
    signing.compose()
    (signing.pki / "db.crt").write_text("something else")
    with pytest.raises(DocumentError, match=r"db\.crt has changed since the template was validated\. Run the module"):
        signing.sign()


def test_an_image_that_was_released_is_made_again(signing: Signing) -> None:
    signing.use_keys()
    signing.compose()
    first = sha256_file(signing.sign()["image"])
    signing.build.release_outputs("disk_compose")
    signing.build.release_outputs("image_sign")
    assert not os.path.exists(signing.build.join("disk", "image.raw"))
    assert not signing.sign()["changed"]
    assert sha256_file(signing.sign(rebuild="always")["image"]) == first


def test_keys_that_are_taken_out_again_leave_nothing(signing: Signing) -> None:
    signing.use_keys()
    signing.compose()
    signing.sign()
    signing.template["systemConfig"]["signing"] = {}
    signing.write()
    signing.compose()
    checked = signing.sign(check_mode=True)
    assert checked["changed"]
    assert checked["msg"].startswith("image_sign: would build: ")
    result = signing.sign()
    assert result["changed"]
    assert result["signed"] == []
    assert not os.path.exists(signing.build.join("signed"))


def test_check_mode_writes_nothing(signing: Signing) -> None:
    signing.use_keys()
    signing.compose()
    checked = signing.sign(check_mode=True)
    assert checked["changed"]
    assert not os.path.exists(signing.build.join("signed"))
