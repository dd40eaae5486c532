# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stage image_sign."""

from __future__ import annotations

import base64
import copy
import json
import os
import pathlib
import re
import shutil
import subprocess
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._errors import DocumentError, SigningError
from ansible_collections.os_image.composer.plugins.module_utils._image.inspection import inspect_image
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_file
from ansible_collections.os_image.composer.plugins.module_utils._signing.secure_boot import SecureBootKeys, sign_program
from ansible_collections.os_image.composer.plugins.module_utils._stage import StageOptions, run_stage
from ansible_collections.os_image.composer.plugins.module_utils._stages.again import compose_again
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
        self.work_dir = directory / "work"
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
        files = [path for path in named if isinstance(path, str) and os.path.exists(path)]
        leave_template(
            self.build, self.template, files={path: sha256_file(path) for path in files}, work_dir=str(self.work_dir)
        )

    def compose(self) -> None:
        """Run disk_compose."""
        run_stage(DiskCompose(self.build, StageOptions()))

    def sign(self, passphrase: str | None = None, **options: t.Any) -> t.Dict[str, t.Any]:
        """Run image_sign."""
        return run_stage(ImageSign(self.build, StageOptions(**options), compose=compose_again, passphrase=passphrase))

    def verify(self, result: t.Mapping[str, t.Any], certificate: str) -> None:
        """Check what is in the image with sbverify."""
        out = str(self.pki / "out.efi")
        for path in result["signed"]:
            subprocess.run(["mcopy", "-n", "-o", "-i", f"{result['image']}@@1M", f"::{path}", out], check=True)
            subprocess.run(["sbverify", "--cert", certificate, out], check=True, capture_output=True)


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


def _cut_out(image: str, place: t.Mapping[str, t.Any], path: pathlib.Path) -> pathlib.Path:
    with open(image, "rb") as stream:
        stream.seek(place["start"])
        path.write_bytes(stream.read(place["size"]))
    return path


def test_the_root_hash_is_signed_by_itself(signing: Signing, tmp_path: pathlib.Path) -> None:
    esp, root = ({**part, "size": "content"} for part in signing.template["disk"]["partitions"][:2])
    for part in (esp, root):
        for key in ("start", "end"):
            part.pop(key, None)
    more = [{"id": "roothashmap", "size": "content"}, {"id": "roothashsig", "size": "content"}]
    signing.template["disk"] = {"size": "content", "partitionTableType": "gpt", "partitions": [esp, *more, root]}
    signing.template["systemConfig"]["immutability"] = {"enabled": True, "rootHashSignature": "kept"}
    signing.use_keys()
    signing.compose()
    composed = signing.build.require("disk_compose").result
    result = signing.sign()
    place = next(part for part in composed["partitions"] if part["id"] == "roothashsig")
    written = _cut_out(result["image"], place, tmp_path / "partition").read_bytes()
    text, _newline, rest = written.partition(b"\n")
    assert rest.strip(b"\0") == b""
    document = json.loads(text)
    # The Discoverable Partitions Specification has these three.
    assert document.keys() == {"rootHash", "signature", "certificateFingerprint"}
    assert document["rootHash"] == composed["root_hash"]
    assert document["certificateFingerprint"] == sha256_file(str(tmp_path / "db.cer"))
    (tmp_path / "p7s").write_bytes(base64.b64decode(document["signature"]))

    def verify(root_hash: str) -> int:
        (tmp_path / "root-hash").write_text(root_hash)
        command = ["openssl", "smime", "-verify", "-binary", "-inform", "DER", "-in", str(tmp_path / "p7s")]
        command += ["-content", str(tmp_path / "root-hash"), "-certfile", str(tmp_path / "db.crt"), "-noverify"]
        return subprocess.run([*command, "-out", os.devnull], check=False, capture_output=True).returncode

    assert verify(composed["root_hash"]) == 0
    assert verify("0" * 64) != 0
    # The same each time, and nothing else on the disk has changed beside the ESP.
    first = sha256_file(result["image"])
    assert not signing.sign()["changed"]
    signing.sign(rebuild="always")
    assert sha256_file(result["image"]) == first

    with inspect_image(result["image"], temp_dir=str(tmp_path)) as inspection:
        facts = inspection.verity
        assert facts is not None
        (shown,) = facts["signatures"]
        assert (shown["root_hash"], shown["valid"], shown["demanded"]) == (composed["root_hash"], True, True)
        assert (shown["partition"], shown["certificate"]) == (place["number"], document["certificateFingerprint"])
        assert "Fleet db" in shown["subject"]
    _put(result["image"], place, {**document, "rootHash": "ab" * 32})
    with inspect_image(result["image"], temp_dir=str(tmp_path)) as inspection:
        facts = inspection.verity
        assert facts is not None
        (shown,) = facts["signatures"]
        assert (shown["valid"], shown["demanded"]) == (False, False)
    _put(result["image"], place, [])
    with inspect_image(result["image"], temp_dir=str(tmp_path)) as inspection:
        facts = inspection.verity
        assert facts is not None
        assert facts["signatures"] == []
        note = f"The partition {place['number']} is for the signature of a root hash, and holds none that can be read."
        assert note in inspection.as_facts()["notes"]


def _put(image: str, place: t.Mapping[str, t.Any], document: t.Any) -> None:
    with open(image, "r+b") as stream:
        stream.seek(place["start"])
        stream.write(json.dumps(document).encode("ascii") + bytes(4096))


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
    files = [f"{variable}.{form}" for variable in ("KEK", "PK", "db") for form in ("auth", "cer", "esl")]
    assert sorted(os.listdir(signing.build.join("signed"))) == [*files, "image.raw"]
    assert sorted(file["name"] for file in result["enrolment"]) == files
    assert [known["variable"] for known in result["certificates"]] == ["db", "KEK", "PK"]
    certificate = result["certificates"][0]
    assert certificate["subject"] == "CN=Fleet db"
    assert certificate["sha256"] == sha256_file(str(signing.pki / "db.cer")) == sha256_file(certificate["path"])
    assert sha256_file(composed) == before
    signing.verify(result, str(signing.pki / "db.crt"))
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
    (signing.pki / "db.crt").unlink()
    with pytest.raises(DocumentError, match=r"db\.crt is not there: .* Run the role image_build, or the module"):
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


def on_esp(image: str, path: str) -> bytes:
    """Return a file of the EFI system partition."""
    return subprocess.run(["mtype", "-i", f"{image}@@1M", f"::{path}"], check=True, capture_output=True).stdout


def test_generated_keys_sign_and_are_enrolled(signing: Signing) -> None:
    signing.template["systemConfig"]["signing"] = {"secureBoot": {"generate": True, "enrol": "force"}}
    signing.write()
    signing.compose()
    checked = signing.sign(check_mode=True)
    assert checked["changed"]
    assert not signing.work_dir.exists(), "check mode has generated keys"
    result = signing.sign()
    assert result["test_keys"]
    assert result["warnings"][0].startswith("The image is signed with generated keys, which are for tests")
    assert "TEST KEY db" in result["certificates"][0]["subject"]
    assert len({known["sha256"] for known in result["certificates"]}) == 3
    signing.verify(result, str(signing.work_dir / "keys" / "secure-boot" / "db.crt"))
    for variable in ("PK", "KEK", "db"):
        data = pathlib.Path(signing.build.join("signed", f"{variable}.auth")).read_bytes()
        assert on_esp(result["image"], f"/loader/keys/auto/{variable}.auth") == data
    assert on_esp(result["image"], "/loader/loader.conf").endswith(b"editor no\nsecure-boot-enroll force\n")
    first = sha256_file(result["image"])
    assert not signing.sign()["changed"]
    assert sha256_file(signing.sign(rebuild="always")["image"]) == first
    subprocess.run(["rm", "-r", str(signing.work_dir / "keys")], check=True)
    again = signing.sign()
    assert again["rebuild_reason"].startswith("generated keys changed: ")
    assert again["certificates"][0]["sha256"] != result["certificates"][0]["sha256"]


@pytest.mark.parametrize(
    ("enrol", "directory", "remedy"),
    [
        ({"enrol": "manual"}, "evil", "Remove it from the image, or leave out systemConfig.signing.secureBoot.enrol."),
        ({"enrol": "force"}, "AUTO", "Remove it from the image."),
        # systemd-boot enrols these in virtual machines without being asked.
        ({}, "Auto", "Remove it from the image."),
    ],
)
def test_what_machines_would_enrol_is_only_ours(
    signing: Signing, enrol: dict[str, str], directory: str, remedy: str
) -> None:
    signing.template["systemConfig"]["signing"] = {"secureBoot": {"generate": True, **enrol}}
    signing.write()
    signing.compose()
    volume = ["-i", f"{signing.build.join('disk', 'image.raw')}@@1M"]
    subprocess.run(["mmd", *volume, "::/LOADER/Keys", f"::/LOADER/Keys/{directory}"], check=True)
    subprocess.run(["mcopy", *volume, str(signing.pki / "db.cer"), f"::/LOADER/Keys/{directory}/db.auth"], check=True)
    with pytest.raises(SigningError) as caught:
        signing.sign()
    assert re.search(r"(evil|auto)/db\.auth, which the build did not make, and machines would", str(caught.value), re.I)
    assert str(caught.value).endswith(f"would enrol it. {remedy}")


def test_a_passphrase_is_in_no_document(signing: Signing) -> None:
    key = str(signing.pki / "db.key")
    subprocess.run(
        ["openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:open sesame", "-out", f"{key}.new"], check=True
    )
    os.rename(f"{key}.new", key)
    signing.use_keys()
    signing.compose()
    with pytest.raises(SigningError, match=r"protected by a passphrase\. Give it by the option secure_boot_passphrase"):
        signing.sign()
    result = signing.sign(passphrase="open sesame")
    signing.verify(result, str(signing.pki / "db.crt"))
    assert not signing.sign()["changed"], "what is signed needs no passphrase"
    for parent, _directories, names in os.walk(signing.build.path):
        for name in names:
            assert b"open sesame" not in pathlib.Path(parent, name).read_bytes()


def test_another_host_signs(signing: Signing) -> None:
    certificate = str(signing.pki / "db.crt")
    signing.template["systemConfig"]["signing"] = {"secureBoot": {"certificate": certificate}}
    signing.write()
    signing.compose()
    result = signing.sign()
    assert result["signed"] == []
    assert result["image"] == signing.build.join("disk", "image.raw")
    # The bootloader lies in two places.
    assert [program["path"] for program in result["unsigned"]] == [
        "/EFI/BOOT/BOOTX64.EFI",
        f"/EFI/Linux/debian-{KERNEL}.efi",
    ]
    assert not signing.sign()["changed"], "nothing has come back"
    for program in result["unsigned"]:
        sign_program(
            program["unsigned"],
            program["signed"],
            SecureBootKeys(str(signing.pki / "db.key"), certificate),
            CommandRunner(),
            passphrase=None,
            epoch=result["source_date_epoch"],
        )
    finished = signing.sign()
    assert finished["rebuild_reason"].startswith("signatures changed: ")
    assert finished["unsigned"] == []
    assert len(finished["signed"]) == 3
    signing.verify(finished, certificate)
    assert sorted({file["name"].rpartition(".")[2] for file in finished["enrolment"]}) == ["cer", "esl"]
    second = signing.sign()
    assert not second["changed"]
    assert second["unsigned"] == []
    # The very bytes that a build with the key makes.
    first = sha256_file(finished["image"])
    signing.use_keys()
    assert sha256_file(signing.sign()["image"]) == first


def test_a_signature_of_another_key_is_not_taken(signing: Signing) -> None:
    certificate = str(signing.pki / "db.crt")
    signing.template["systemConfig"]["signing"] = {"secureBoot": {"certificate": certificate}}
    signing.write()
    signing.compose()
    key, other = str(signing.pki / "other.key"), str(signing.pki / "other.crt")
    request = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-new", "-x509", "-out", other]
    subprocess.run([*request, "-subj", "/CN=other/"], check=True, capture_output=True)
    keys = SecureBootKeys(key, other)
    for program in signing.sign()["unsigned"]:
        sign_program(program["unsigned"], program["signed"], keys, CommandRunner(), passphrase=None, epoch=EPOCH)
    with pytest.raises(SigningError, match=r"The signature of /EFI/BOOT/BOOTX64\.EFI does not verify: "):
        signing.sign()
    assert not os.path.exists(signing.build.join("signed", "image.raw"))


def test_a_protected_root_is_that_of_the_signed_image(signing: Signing, tmp_path: pathlib.Path) -> None:
    signing.template["disk"]["partitions"] = [*DISK["partitions"], {"id": "roothashmap", "size": "content"}]
    signing.template["systemConfig"]["immutability"] = {"enabled": True}
    signing.use_keys()
    signing.compose()
    result = signing.sign()
    signing.verify(result, str(signing.pki / "db.crt"))
    with inspect_image(result["image"], temp_dir=str(tmp_path)) as inspection:
        facts = inspection.verity
    assert facts is not None
    ((found,), root_hash) = facts["root_hashes"], signing.build.require("disk_compose").result["root_hash"]
    assert (found["root_hash"], found["found_by_uuid"], found["intact"]) == (root_hash, True, True)
