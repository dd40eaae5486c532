# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stage image_finalize on a small image."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import types
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._artifact import maker as maker_module
from ansible_collections.os_image.composer.plugins.module_utils._artifact.checksums import (
    CHECKSUMS_OF_FILES,
    FileChecksums,
    write_checksums,
)
from ansible_collections.os_image.composer.plugins.module_utils._artifact.manifest import Artifact
from ansible_collections.os_image.composer.plugins.module_utils._artifact.plan import ArtifactPlan
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._errors import (
    ArtifactError,
    CancelledError,
    DocumentError,
    HostError,
    SigningError,
)
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_file
from ansible_collections.os_image.composer.plugins.module_utils._size import MIB
from ansible_collections.os_image.composer.plugins.module_utils._stage import Stage, StageOptions, run_stage
from ansible_collections.os_image.composer.plugins.module_utils._stages import image_finalize
from ansible_collections.os_image.composer.plugins.module_utils._stages.image_finalize import ImageFinalize
from ansible_collections.os_image.composer.plugins.module_utils._version import COLLECTION_VERSION
from ansible_collections.os_image.composer.tests.support.finished_build import FinishedBuild
from ansible_collections.os_image.composer.tests.support.signing_keys import KeyRing, Keys, SigningKey
from ansible_collections.os_image.composer.tests.support.tiny_debian import needs_root
from ansible_collections.os_image.composer.tests.support.token_keys import Token
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

ALL = [
    {"type": "raw"},
    {"type": "raw", "compression": "zstd"},
    {"type": "raw", "compression": "gz"},
    {"type": "raw", "compression": "xz"},
    {"type": "qcow2"},
    {"type": "vmdk", "compression": "gz"},
]
DOCUMENTS = {
    "chrootpkgs.dot",
    "packages.lock.json",
    "appliance-1.0.spdx.json",
    "appliance-1.0.manifest.json",
    "SHA256SUMS",
}


def _run(
    build: FinishedBuild,
    *,
    keep_workspace: bool = True,
    image_stages: t.Sequence[t.Callable[[BuildDirectory, StageOptions], Stage]] = (),
    passphrase: str | None = None,
    builder_id: str | None = None,
    **options: t.Any,
) -> dict[str, t.Any]:
    stage = ImageFinalize(
        build.directory,
        StageOptions(**options),
        output_dir=str(build.output_dir),
        image_stages=image_stages,
        keep_workspace=keep_workspace,
        passphrase=passphrase,
        builder_id=builder_id,
    )
    return run_stage(stage)


def _published(build: FinishedBuild) -> dict[str, str]:
    return {path.name: sha256_file(str(path)) for path in build.output_dir.iterdir() if path.name != ".lock"}


def _check_sums(build: FinishedBuild) -> None:
    command = ["sha256sum", "--strict", "-c", "SHA256SUMS"]
    subprocess.run(command, cwd=build.output_dir, check=True, stdout=subprocess.DEVNULL)


def test_what_enrols_the_keys_is_published(finished_build: FinishedBuild) -> None:
    file = finished_build.root / "db.cer"
    file.write_bytes(b"certificate")
    digest = sha256_file(str(file))
    finished_build.signed = {
        "signed": ["/EFI/BOOT/BOOTX64.EFI"],
        "certificates": [{"variable": "db", "subject": "CN=db", "sha256": digest, "path": str(file)}],
        "test_keys": True,
        "enrolment": [{"name": "db.cer", "path": str(file), "sha256": digest}],
        "warnings": ["The keys are for tests"],
    }
    finished_build.write_documents()
    result = _run(finished_build)
    assert result["enrolment"] == [str(finished_build.output_dir / "appliance-1.0.db.cer")]
    assert _published(finished_build)["appliance-1.0.db.cer"] == digest
    _check_sums(finished_build)
    manifest = json.loads((finished_build.output_dir / "appliance-1.0.manifest.json").read_text())
    assert manifest["secure_boot"] == {
        "certificates": [{"variable": "db", "subject": "CN=db", "sha256": digest}],
        "test_keys": True,
        "files": ["appliance-1.0.db.cer"],
    }
    assert "The keys are for tests" in manifest["warnings"]
    assert not _run(finished_build)["changed"]
    # Without keys nothing of them is left.
    finished_build.signed = {}
    finished_build.write_documents()
    assert _run(finished_build, rebuild="always")["enrolment"] == []
    assert "appliance-1.0.db.cer" not in _published(finished_build)


def test_what_waits_for_signatures_is_not_published(finished_build: FinishedBuild) -> None:
    finished_build.signed = {"unsigned": [{"path": "/EFI/BOOT/BOOTX64.EFI", "sha256": "00"}]}
    finished_build.write_documents()
    with pytest.raises(DocumentError, match=r"still waits for its signatures, .* Set image_build_secure_boot_host"):
        _run(finished_build)
    assert not finished_build.output_dir.exists()


def test_an_iso_is_published_as_it_is(finished_build: FinishedBuild) -> None:
    finished_build.image_type = "iso"
    finished_build.composed = {"partitions": [], "iso": {"type": "live", "volume_id": "X"}}
    finished_build.write_documents()
    result = _run(finished_build)
    assert [(artifact["format"], artifact["compression"]) for artifact in result["artifacts"]] == [("iso", None)]
    assert set(_published(finished_build)) == {*DOCUMENTS, "appliance-1.0.iso"}
    _check_sums(finished_build)
    assert sha256_file(str(finished_build.output_dir / "appliance-1.0.iso")) == sha256_file(str(finished_build.image))
    manifest = json.loads((finished_build.output_dir / "appliance-1.0.manifest.json").read_text())
    assert manifest["iso"] == {"type": "live", "volume_id": "X"}
    assert "qemu-img" not in manifest["tools"]
    assert not _run(finished_build)["changed"]


def test_an_initrd_is_published_with_its_kernel(finished_build: FinishedBuild, tmp_path: pathlib.Path) -> None:
    kernel = tmp_path / "vmlinuz"
    kernel.write_bytes(b"kernel")
    finished_build.image_type = "initrd"
    finished_build.composed = {"partitions": [], "kernel": str(kernel)}
    finished_build.write_documents()
    result = _run(finished_build)
    assert [(os.path.basename(item["path"]), item["format"]) for item in result["artifacts"]] == [
        ("appliance-1.0.initrd.img", "initrd"),
        ("appliance-1.0.vmlinuz", "kernel"),
    ]
    assert (finished_build.output_dir / "appliance-1.0.vmlinuz").read_bytes() == b"kernel"
    assert set(_published(finished_build)) == {*DOCUMENTS, "appliance-1.0.initrd.img", "appliance-1.0.vmlinuz"}
    _check_sums(finished_build)


def test_every_kind_of_artifact(finished_build: FinishedBuild, tmp_path: pathlib.Path) -> None:
    finished_build.artifacts = ALL
    finished_build.write_documents()
    result = _run(finished_build)
    output = finished_build.output_dir
    assert result["changed"] is True
    names = ["raw", "raw.zst", "raw.gz", "raw.xz", "qcow2", "vmdk.gz"]
    assert [os.path.basename(artifact["path"]) for artifact in result["artifacts"]] == [
        f"appliance-1.0.{name}" for name in names
    ]
    assert result["artifacts"][1]["compression"] == "zstd"
    assert result["artifacts"][0]["compression"] is None
    for artifact in result["artifacts"]:
        assert artifact["sha256"] == sha256_file(artifact["path"])
        assert artifact["size"] == os.path.getsize(artifact["path"])
    assert set(_published(finished_build)) == DOCUMENTS | {f"appliance-1.0.{name}" for name in names}
    _check_sums(finished_build)
    raw = finished_build.image.read_bytes()
    for program, name in (("zstd", "raw.zst"), ("gzip", "raw.gz"), ("xz", "raw.xz")):
        command = [program, "-d", "-c", str(output / f"appliance-1.0.{name}")]
        assert subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout == raw
    unpacked = tmp_path / "appliance-1.0.vmdk"
    with unpacked.open("wb") as stream:
        subprocess.run(["gzip", "-d", "-c", str(output / "appliance-1.0.vmdk.gz")], check=True, stdout=stream)
    for path in (unpacked, output / "appliance-1.0.qcow2"):
        subprocess.run(["qemu-img", "check", "-q", str(path)], check=True)
        subprocess.run(["qemu-img", "compare", str(finished_build.image), str(path)], check=True)
    # The raw image did not need a second copy of its data.
    assert os.path.samefile(output / "appliance-1.0.raw", finished_build.image) or shutil.which("xfs_info")


def test_levels_and_variants(finished_build: FinishedBuild) -> None:
    finished_build.artifacts = [
        {"type": "raw", "compression": "xz", "level": 0},
        {"type": "vmdk", "subformat": "streamOptimized"},
        {"type": "vhd"},
    ]
    finished_build.write_documents()
    result = _run(finished_build)
    facts = [(item["format"], item["subformat"], item["compression"], item["level"]) for item in result["artifacts"]]
    assert facts == [
        ("raw", None, "xz", 0),
        ("vmdk", "streamOptimized", None, None),
        ("vhd", "dynamic", None, None),
    ]
    assert [
        (item["subformat"], item["level"])
        for item in json.loads(pathlib.Path(result["manifest"]).read_text())["artifacts"]
    ] == [(None, 0), ("streamOptimized", None), ("dynamic", None)]
    before = {path.name: path.stat().st_ino for path in finished_build.output_dir.iterdir()}
    # What is written out and is so by default is not made again.
    finished_build.artifacts[2]["subformat"] = "dynamic"
    finished_build.artifacts[0]["level"] = 6
    finished_build.write_documents()
    again = _run(finished_build)
    assert [item["level"] for item in again["artifacts"]] == [6, None, None]
    assert again["artifacts"][0]["size"] < result["artifacts"][0]["size"]
    made = [
        item for item in again["artifacts"] if os.stat(item["path"]).st_ino != before[os.path.basename(item["path"])]
    ]
    assert [item["format"] for item in made] == ["raw"]
    _check_sums(finished_build)


def test_unchanged_run(finished_build: FinishedBuild) -> None:
    _run(finished_build)
    before = {path.name: path.stat().st_mtime_ns for path in finished_build.output_dir.iterdir()}
    started = time.process_time()
    result = _run(finished_build)
    assert time.process_time() - started < 0.2
    assert (result["changed"], result["rebuild_reason"]) == (False, "")
    assert result["artifacts"][0]["path"] == str(finished_build.output_dir / "appliance-1.0.raw")
    assert {path.name: path.stat().st_mtime_ns for path in finished_build.output_dir.iterdir()} == before


def test_second_build_is_identical(finished_build: FinishedBuild) -> None:
    finished_build.artifacts = ALL
    finished_build.write_documents()
    _run(finished_build)
    first = _published(finished_build)
    # Another place, another time, another layout of the holes.
    shutil.rmtree(finished_build.output_dir)
    data = finished_build.image.read_bytes()
    finished_build.image.unlink()
    finished_build.image.write_bytes(data)
    finished_build.compose()
    result = _run(finished_build, rebuild="always", workers=1)
    assert _published(finished_build) == first
    assert result["changed"] is False


def test_manifest(finished_build: FinishedBuild) -> None:
    finished_build.repositories.append(
        {"name": "vendor", "url": "https://pkgs.vendor.example", "suite": "stable", "gpgcheck": False}
    )
    finished_build.write_documents()
    result = _run(finished_build)
    text = pathlib.Path(result["manifest"]).read_text()
    manifest = json.loads(text)
    assert manifest["image"] == {"name": "appliance", "version": "1.0"}
    assert manifest["target"]["dist"] == "debian12"
    assert manifest["source_date_epoch"] == 1700000000
    assert manifest["collection_version"] == COLLECTION_VERSION
    assert manifest["tools"]["mke2fs"] == "1.47.0"
    assert manifest["lock_digest"] == sha256_file(str(finished_build.output_dir / "packages.lock.json"))
    assert [package["name"] for package in manifest["packages"]] == ["base-files", "libstdc++6", "openssl"]
    assert manifest["packages"][2]["reason"] == "system"
    assert manifest["partitions"][0]["mount_point"] == "/"
    assert manifest["boot"]["loader"] == "systemd-boot"
    assert manifest["artifacts"][0]["path"] == "appliance-1.0.raw"
    assert manifest["artifacts"][0]["sha256"] == result["artifacts"][0]["sha256"]
    assert [repository["gpgcheck"] for repository in manifest["repositories"]] == [True, False]
    (warning,) = manifest["warnings"]
    assert "vendor is not verified" in warning
    assert "vendor is not verified" in pathlib.Path(finished_build.directory.build_log).read_text()
    # Nothing of the build host.
    for word in ("mirror.internal", str(finished_build.root), os.uname().nodename):
        assert word not in text


def test_what_machines_would_share_is_told(finished_build: FinishedBuild) -> None:
    problem = "All machines that are made from the image share /etc/own/key, a private key (PEM)."
    _run(finished_build)
    finished_build.configured = {"shared_secrets": [problem]}
    finished_build.write_documents()
    # The image is the same, and what is known of it is not.
    result = _run(finished_build)
    assert result["rebuild_reason"] == "shared secrets changed"
    assert problem in json.loads(pathlib.Path(result["manifest"]).read_text())["warnings"]


def test_packages_that_are_not_free_are_told(finished_build: FinishedBuild) -> None:
    for package, component in zip(finished_build.packages, ("non-free-firmware", "universe", "non-free-firmware")):
        package["component"] = component
    finished_build.write_documents()
    result = _run(finished_build)
    manifest = json.loads(pathlib.Path(result["manifest"]).read_text())
    first, _universe, last = [package["name"] for package in finished_build.packages]
    (warning,) = manifest["warnings"]
    assert warning == (
        "The image has packages of the component non-free-firmware, which is not free software; look at their licences "
        f"before you pass it on: {', '.join(sorted((first, last)))}."
    )
    assert warning in pathlib.Path(finished_build.directory.build_log).read_text()


def test_bills_of_materials(finished_build: FinishedBuild) -> None:
    finished_build.artifacts = [{"type": "raw", "compression": "gz"}, {"type": "qcow2"}]
    finished_build.config = {"sbom": {"cyclonedx": True, "files": True}}
    files = [FileChecksums("/usr/bin/true", "1" * 40, "2" * 64)]
    pathlib.Path(finished_build.directory.join(*CHECKSUMS_OF_FILES)).write_bytes(write_checksums(files))
    finished_build.write_documents()
    result = _run(finished_build)
    assert os.path.basename(result["cyclonedx"]) == "appliance-1.0.cdx.json"
    assert set(_published(finished_build)) == DOCUMENTS | {
        "appliance-1.0.raw.gz",
        "appliance-1.0.qcow2",
        "appliance-1.0.cdx.json",
    }
    spdx = json.loads(pathlib.Path(result["sbom"]).read_text())
    cyclonedx = json.loads(pathlib.Path(result["cyclonedx"]).read_text())
    told = {item["packageFileName"]: item["checksums"] for item in spdx["packages"] if "packageFileName" in item}
    told_again = {item["name"]: item["hashes"] for item in cyclonedx["components"] if item["type"] == "file"}
    for artifact in result["artifacts"]:
        name = os.path.basename(artifact["path"])
        assert told.pop(name) == [{"algorithm": "SHA256", "checksumValue": artifact["sha256"]}]
        assert told_again.pop(name) == [{"alg": "SHA-256", "content": artifact["sha256"]}]
    assert (told, told_again) == ({}, {})
    assert [item["fileName"] for item in spdx["files"]] == ["./usr/bin/true"]
    _check_sums(finished_build)


def test_what_the_template_says_for_people(finished_build: FinishedBuild) -> None:
    plain = json.loads(pathlib.Path(_run(finished_build)["manifest"]).read_text())
    assert (plain["system"], plain["disk"], plain["signature"]) == ({"name": "minimal"}, {"name": "d"}, None)
    assert not {"metadata", "kernel"} & plain.keys()
    finished_build.metadata = {"description": "For kiosks.", "use_cases": ["kiosk"], "keywords": []}
    finished_build.config = {"description": "A kiosk's system.", "kernel": {"name": "edge kernel"}}
    finished_build.write_documents()
    result = _run(finished_build)
    manifest = json.loads(pathlib.Path(result["manifest"]).read_text())
    assert manifest["metadata"] == {"description": "For kiosks.", "use_cases": ["kiosk"]}
    assert manifest["system"] == {"name": "minimal", "description": "A kiosk's system."}
    assert manifest["kernel"] == {"name": "edge kernel"}
    image = json.loads(pathlib.Path(result["sbom"]).read_text())["packages"][0]
    assert (image["name"], image["description"]) == ("appliance", "A kiosk's system.")
    # The image is the same, and was not made again.
    assert manifest["build_digest"] == plain["build_digest"]
    assert manifest["artifacts"] == plain["artifacts"]


def _sign_with(build: FinishedBuild, key: SigningKey) -> str:
    """Have the checksums signed; return the path of the secret key."""
    path = key.export_secret(build.root / "signing.asc")
    build.config = {"signing": {"checksums": {"key": path}}}
    build.files = {path: sha256_file(path)}
    build.write_documents()
    return path


@needs_root
def test_checksums_are_signed(finished_build: FinishedBuild, tmp_path: pathlib.Path) -> None:
    with KeyRing() as ring:
        key = ring.make_key("Images <images@example.org>", when=1600000000)
        secret = _sign_with(finished_build, key)
        result = _run(finished_build)
        first = _published(finished_build)
        output = finished_build.output_dir
        assert first.keys() == DOCUMENTS | {"appliance-1.0.raw", "SHA256SUMS.asc", "appliance-1.0.manifest.json.asc"}
        assert result["manifest_signature"] == str(output / "appliance-1.0.manifest.json.asc")
        assert result["signature"] == str(output / "SHA256SUMS.asc")
        assert result["signed_by"] == key.fingerprint
        manifest = json.loads(pathlib.Path(result["manifest"]).read_text())
        assert manifest["signature"] == {
            "path": "SHA256SUMS.asc",
            "manifest": "appliance-1.0.manifest.json.asc",
            "signed_by": key.fingerprint,
        }
        assert manifest["tools"]["gpg"].startswith("gpg ")
        keyring = tmp_path / "keyring.gpg"
        subprocess.run(["gpg", "--batch", "--dearmor", "-o", str(keyring), key.public], check=True)
        for name in ("SHA256SUMS", "appliance-1.0.manifest.json"):
            command = ["gpgv", "--status-fd", "1", "--keyring", str(keyring), f"{name}.asc", name]
            status = subprocess.run(command, cwd=output, check=True, capture_output=True, text=True).stdout
            # The date is that of the image.
            assert f"VALIDSIG {key.fingerprint} 2023-11-14 1700000000 " in status
        _check_sums(finished_build)

        assert _run(finished_build)["changed"] is False
        shutil.rmtree(output)
        _run(finished_build)
        assert _published(finished_build) == first

        # Nothing of the key is told.
        body = [line for line in pathlib.Path(secret).read_text().splitlines() if len(line) > 40]
        texts = [path.read_text() for path in pathlib.Path(finished_build.directory.path).rglob("*.log")]
        texts += [path.read_text() for path in pathlib.Path(finished_build.directory.path).rglob("*.json")]
        assert not [line for line in body for text in [*texts, json.dumps(result)] if line in text]

        (output / "SHA256SUMS.asc").unlink()
        assert "SHA256SUMS.asc" in _run(finished_build)["rebuild_reason"]
        _sign_with(finished_build, ring.make_key("New <new@example.org>", when=1600000000))
        again = _run(finished_build)
        assert again["rebuild_reason"].startswith("signing key changed")
        assert again["signed_by"] != key.fingerprint


def _envelope(path: str) -> tuple[Envelope, str, bytes]:
    """Read a DSSE envelope as its own library does; return it with the name of its key and its signature."""
    envelope = Envelope.from_dict(json.loads(pathlib.Path(path).read_text()))
    (signature,) = envelope.signatures
    return envelope, signature.keyid, bytes.fromhex(signature.signature)


@needs_root
def test_a_passphrase_is_told_to_nobody(finished_build: FinishedBuild) -> None:
    with KeyRing() as ring:
        key = ring.make_key("Images <images@example.org>", when=1600000000, passphrase="open sesame")
        path = key.export_secret(finished_build.root / "signing.asc", passphrase="open sesame")
        finished_build.config = {"signing": {"checksums": {"key": path}}}
        finished_build.files = {path: sha256_file(path)}
        finished_build.write_documents()
        with pytest.raises(SigningError, match="is protected by a passphrase, which was not given"):
            _run(finished_build)
        result = _run(finished_build, passphrase="open sesame")
    assert result["signed_by"] == key.fingerprint
    places = (finished_build.directory.path, finished_build.output_dir)
    texts = [file.read_bytes() for place in places for file in pathlib.Path(place).rglob("*") if file.is_file()]
    assert not [text for text in [*texts, json.dumps(result).encode()] if b"sesame" in text]


@needs_root
def test_a_provenance_tells_what_the_image_was_made_from(finished_build: FinishedBuild, tmp_path: pathlib.Path) -> None:
    plain = json.loads(pathlib.Path(_run(finished_build)["manifest"]).read_text())
    before = _published(finished_build)
    finished_build.config = {
        "users": [{"name": "admin", "password": "$6$salt$hash"}],
        "configurations": [{"cmd": "echo token-123"}],
        "scripts": {"postInstall": [{"inline": "curl https://me:token-456@example.org/"}]},
        "signing": {"provenance": True},
    }
    finished_build.write_documents()
    result = _run(finished_build, builder_id="https://builds.example.org/7")
    name = "appliance-1.0.provenance.json"
    assert _published(finished_build).keys() == before.keys() | {name}
    assert result["provenance"] == str(finished_build.output_dir / name)
    assert result["provenance_envelope"] == ""
    text = pathlib.Path(result["provenance"]).read_text()
    # The library of in-toto refuses what is no statement, and what SLSA's form of a provenance does not know.
    pb = json_format.Parse(text, statement_pb2.Statement())
    Statement.copy_from_pb(pb).validate()
    predicate = json_format.ParseDict(json_format.MessageToDict(pb.predicate), provenance_pb2.Provenance())
    for item in predicate.build_definition.resolved_dependencies:
        ResourceDescriptor.copy_from_pb(item).validate()
    assert pb.predicate_type == "https://slsa.dev/provenance/v1"
    assert [(subject.name, subject.digest["sha256"]) for subject in pb.subject] == [
        (artifact["path"], artifact["sha256"]) for artifact in plain["artifacts"]
    ]
    assert predicate.run_details.builder.id == "https://builds.example.org/7"
    materials = {item.name: item for item in predicate.build_definition.resolved_dependencies}
    assert materials["repository stable"].digest["sha256"] == "ab" * 32
    for package in finished_build.packages:
        assert materials[package["name"]].digest["sha256"] == package["sha256"]
    assert materials["openssl"].uri == "pkg:deb/debian/openssl@1:3.0.17-1~deb12u1?arch=amd64&distro=debian-12"
    lock = sha256_file(str(finished_build.output_dir / "packages.lock.json"))
    assert materials["packages.lock.json"].digest["sha256"] == lock
    # Neither secrets nor hosts; what is told by digest can be compared.
    for secret in ("token-123", "token-456", "$6$", "mirror.internal", socket.gethostname(), str(tmp_path)):
        assert secret not in text
    assert hashlib.sha256(b"echo token-123").hexdigest() in text

    shutil.rmtree(finished_build.output_dir)
    _run(finished_build, builder_id="https://builds.example.org/7")
    assert pathlib.Path(result["provenance"]).read_text() == text
    again = _run(finished_build, builder_id="https://builds.example.org/8")
    assert again["rebuild_reason"].startswith("provenance changed: builder_id ")
    finished_build.config = {}
    finished_build.write_documents()
    _run(finished_build)
    assert _published(finished_build).keys() == before.keys()


@needs_root
def test_a_provenance_is_signed_with_the_openpgp_key(finished_build: FinishedBuild, tmp_path: pathlib.Path) -> None:
    with KeyRing() as ring:
        key = ring.make_key("Images <images@example.org>", when=1600000000)
        _sign_with(finished_build, key)
        finished_build.config["signing"]["provenance"] = True
        finished_build.write_documents()
        result = _run(finished_build)
        envelope, key_id, signature = _envelope(result["provenance_envelope"])
        assert envelope.payload == pathlib.Path(result["provenance"]).read_bytes()
        assert key_id == key.fingerprint
        subprocess.run(["gpg", "--batch", "--dearmor", "-o", "keyring.gpg", key.public], cwd=tmp_path, check=True)
    (tmp_path / "signature").write_bytes(signature)
    for content, rc in ((envelope.pae(), 0), (envelope.pae() + b"x", 1)):
        (tmp_path / "content").write_bytes(content)
        command = ["gpgv", "--keyring", "./keyring.gpg", "signature", "content"]
        assert subprocess.run(command, cwd=tmp_path, check=False, capture_output=True).returncode == rc


@needs_root
@pytest.mark.parametrize(("form", "scheme"), [("rsa", "rsa-pkcs1v15-sha256"), ("ec", "ecdsa-sha2-nistp256")])
def test_a_key_on_a_token_signs_everything(
    form: str, scheme: str, finished_build: FinishedBuild, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = Token(tmp_path)
    key = token.make_key("release", form=form)
    monkeypatch.setattr(
        image_finalize, "CommandRunner", lambda log: CommandRunner(log=log, environment=token.environment)
    )
    checksums = {"key": key.uri, "certificate": key.certificate}
    finished_build.config = {"signing": {"checksums": checksums, "provenance": True}}
    finished_build.files = {key.certificate: sha256_file(key.certificate)}
    finished_build.write_documents()
    result = _run(finished_build, passphrase=token.pin)
    assert result["signature"].endswith("/SHA256SUMS.p7s")
    assert result["manifest_signature"].endswith("/appliance-1.0.manifest.json.p7s")
    manifest = json.loads(pathlib.Path(result["manifest"]).read_text())
    assert manifest["signature"]["signed_by"] == result["signed_by"]
    assert manifest["tools"]["openssl"].startswith("OpenSSL ")
    for name in ("SHA256SUMS", "appliance-1.0.manifest.json"):
        command = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", f"{name}.p7s", "-content", name]
        trust = ["-CAfile", key.certificate, "-purpose", "any", "-out", "/dev/null"]
        subprocess.run([*command, *trust], cwd=finished_build.output_dir, check=True, capture_output=True)
    _check_sums(finished_build)
    envelope, key_id, _signature = _envelope(result["provenance_envelope"])
    public = SSlibKey(key_id, "rsa" if form == "rsa" else "ecdsa", scheme, {"public": key.public.decode()})
    assert envelope.verify([public], 1).keys() == {key_id}
    envelope.payload += b" "
    with pytest.raises(VerificationError):
        envelope.verify([public], 1)
    assert _run(finished_build, passphrase=token.pin)["changed"] is False


@needs_root
def test_a_key_that_cannot_sign_is_told_before_anything_is_made(finished_build: FinishedBuild, keys: Keys) -> None:
    path = _sign_with(finished_build, keys.expired)
    with pytest.raises(SigningError, match="expired on 2021-05-31, and the image is of 2023-11-14"):
        _run(finished_build)
    assert not finished_build.output_dir.exists()
    pathlib.Path(path).write_text("something else")
    with pytest.raises(DocumentError, match=f"The key file {path} has changed since the template was validated"):
        _run(finished_build)
    os.unlink(path)
    with pytest.raises(DocumentError, match=f"The key file {path} is not there: .*image_template_copy, again"):
        _run(finished_build)


def test_sbom_has_what_the_packages_state(finished_build: FinishedBuild) -> None:
    result = _run(finished_build)
    document = json.loads(pathlib.Path(result["sbom"]).read_text())
    package = next(package for package in document["packages"] if package["name"] == "openssl")
    assert package["licenseDeclared"].startswith("GPL-2.0-or-later AND (LicenseRef-openssl-terms-")
    assert package["licenseDeclared"].endswith(" OR MIT)")
    assert package["supplier"] == "Organization: openssl Team (team@example.org)"
    assert document["hasExtractedLicensingInfos"][0]["extractedText"] == "You may do what you like.\n\nReally."
    assert "mirror.internal" not in json.dumps(document)
    parse = pytest.importorskip("spdx_tools.spdx.parser.parse_anything")
    validator = pytest.importorskip("spdx_tools.spdx.validation.document_validator")
    assert validator.validate_full_spdx_document(parse.parse_file(result["sbom"])) == []


def test_only_the_new_artifact_is_made(finished_build: FinishedBuild, monkeypatch: pytest.MonkeyPatch) -> None:
    _run(finished_build)
    finished_build.artifacts = [{"type": "raw"}, {"type": "qcow2"}]
    finished_build.write_documents()
    made: list[str] = []
    original = maker_module.ArtifactMaker._make

    def noted(self: t.Any, plan: ArtifactPlan) -> Artifact:
        made.append(plan.name)
        return original(self, plan)

    monkeypatch.setattr(maker_module.ArtifactMaker, "_make", noted)
    result = _run(finished_build)
    assert made == ["appliance-1.0.qcow2"]
    assert len(result["artifacts"]) == 2
    _check_sums(finished_build)
    finished_build.artifacts = [{"type": "qcow2"}]
    finished_build.write_documents()
    _run(finished_build)
    assert made == ["appliance-1.0.qcow2"]
    assert not (finished_build.output_dir / "appliance-1.0.raw").exists()
    _check_sums(finished_build)


def test_reasons(finished_build: FinishedBuild) -> None:
    assert _run(finished_build)["rebuild_reason"] == "not built yet"
    finished_build.packages[2]["version"] = "1:3.0.18-1"
    finished_build.write_documents()
    assert _run(finished_build)["rebuild_reason"] == ("package lock changed: openssl 1:3.0.17-1~deb12u1 -> 1:3.0.18-1")
    os.unlink(finished_build.output_dir / "SHA256SUMS")
    assert _run(finished_build)["rebuild_reason"].endswith("SHA256SUMS is missing")


def test_whoever_boots_the_published_image_is_noticed(finished_build: FinishedBuild) -> None:
    result = _run(finished_build)
    with open(result["artifacts"][0]["path"], "r+b") as stream:
        stream.write(b"booted")
    assert "appliance-1.0.raw was written to" in _run(finished_build, check_mode=True)["rebuild_reason"]


def test_a_new_image_does_not_change_the_published_one(finished_build: FinishedBuild) -> None:
    path = _run(finished_build)["artifacts"][0]["path"]
    before = sha256_file(path)
    new = finished_build.image.with_name("new")
    new.write_bytes(b"x" * 4096)
    os.rename(new, finished_build.image)
    assert sha256_file(path) == before


def test_other_file_system(finished_build: FinishedBuild, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def refused(source: str, *args: t.Any, **kwargs: t.Any) -> None:
        if source == str(finished_build.image):
            raise OSError(18, "Invalid cross-device link")
        link(source, *args, **kwargs)

    monkeypatch.setattr(maker_module.os, "link", refused)
    monkeypatch.setattr(maker_module, "clone_file", lambda source, destination: False)
    path = _run(finished_build)["artifacts"][0]["path"]
    assert not os.path.samefile(path, finished_build.image)
    assert os.stat(path).st_blocks <= finished_build.image.stat().st_blocks + 16
    assert sha256_file(path) == sha256_file(str(finished_build.image))


def test_check_mode_writes_nothing(finished_build: FinishedBuild) -> None:
    result = _run(finished_build, check_mode=True)
    assert result["changed"] is True
    assert result["diff"]["after"]["artifacts"] == {"appliance-1.0.raw": "raw"}
    assert not finished_build.output_dir.exists()
    shutil.rmtree(finished_build.directory.path)
    assert "would build" in _run(finished_build, check_mode=True)["msg"]


@pytest.mark.parametrize("name", ["disk_compose", "image_sign", "pkg_resolve"])
def test_an_earlier_stage_is_missing(finished_build: FinishedBuild, name: str) -> None:
    os.unlink(finished_build.directory.join("stages", f"{name}.json"))
    with pytest.raises(DocumentError, match=f"stage {name} has not been completed"):
        _run(finished_build)


# --- nothing partial, nothing lost --------------------------------------------------------------------------------


def test_an_interrupted_run_leaves_the_last_good_output(
    finished_build: FinishedBuild, monkeypatch: pytest.MonkeyPatch
) -> None:
    _run(finished_build)
    before = _published(finished_build)
    finished_build.artifacts = ALL
    finished_build.packages[0]["version"] = "13"
    finished_build.write_documents()
    started = threading.Event()

    def slow(*args: t.Any, stop: threading.Event, **kwargs: t.Any) -> t.NoReturn:
        started.set()
        stop.wait(30)
        raise CancelledError("stopped")

    monkeypatch.setattr(maker_module, "compress_file", slow)

    def interrupt() -> None:
        started.wait(30)
        os.kill(os.getpid(), signal.SIGTERM)

    timer = threading.Thread(target=interrupt)
    timer.start()
    with pytest.raises(CancelledError, match="image_finalize was stopped"):
        _run(finished_build)
    timer.join()
    assert _published(finished_build) == before
    _check_sums(finished_build)


def test_killed_run(finished_build: FinishedBuild) -> None:
    finished_build.artifacts = [{"type": "raw", "compression": "xz"}]
    finished_build.write_documents()
    program = (
        "import os, sys\n"
        "from ansible_collections.os_image.composer.plugins.module_utils._artifact import maker\n"
        "from ansible_collections.os_image.composer.plugins.module_utils._stages.image_finalize import *\n"
        "from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory\n"
        "from ansible_collections.os_image.composer.plugins.module_utils._stage import *\n"
        "def killed(source, destination, *args, **kwargs):\n"
        "    open(destination, 'wb').write(b'half')\n"
        "    os.kill(os.getpid(), 9)\n"
        "maker.compress_file = killed\n"
        "build, options = BuildDirectory(sys.argv[1]), StageOptions()\n"
        "run_stage(ImageFinalize(build, options, output_dir=sys.argv[2], image_stages=()))\n"
    )
    arguments = [sys.executable, "-c", program, finished_build.directory.path, str(finished_build.output_dir)]
    killed = subprocess.run(arguments, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, check=False)
    assert killed.returncode == -9
    assert not [name for name in os.listdir(finished_build.output_dir) if not name.startswith(".")]
    _run(finished_build)
    assert not [name for name in os.listdir(finished_build.output_dir) if ".part-" in name]
    _check_sums(finished_build)


def test_too_little_space_is_told_before(finished_build: FinishedBuild, monkeypatch: pytest.MonkeyPatch) -> None:
    finished_build.artifacts = [{"type": "vdi"}]
    finished_build.write_documents()
    real = os.statvfs

    class Full:
        f_bavail, f_frsize = 256, 4096

    monkeypatch.setattr(maker_module.os, "statvfs", lambda path: Full if "output" in str(path) else real(path))
    with pytest.raises(ArtifactError, match=r"need at least \d+ MiB in .*/output, but only 1 MiB are free"):
        _run(finished_build)
    assert os.listdir(finished_build.output_dir) == []


def test_a_file_that_the_output_directory_cannot_hold_is_told_before(
    finished_build: FinishedBuild, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished_build.artifacts = [{"type": "raw"}, {"type": "vdi"}]
    finished_build.write_documents()
    real = os.lseek

    def lseek(descriptor: int, position: int, whence: int) -> int:
        if position > 100_000 and "/output/" in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(descriptor, position, whence)

    monkeypatch.setattr(os, "lseek", lseek)
    expected = (
        r"The artifact .*\.raw has .*, but the file system of .*/output on the build host holds no file of more than"
    )
    with pytest.raises(HostError, match=expected):
        _run(finished_build)
    assert os.listdir(finished_build.output_dir) == []


def test_a_name_that_the_output_directory_cannot_have_is_told_before(
    finished_build: FinishedBuild, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pathconf
    monkeypatch.setattr(os, "pathconf", lambda path, name: 30 if "output" in str(path) else real(path, name))
    with pytest.raises(
        ArtifactError, match=r"has names of no more than 30\. Let output_dir lie on another file system"
    ):
        _run(finished_build)
    assert os.listdir(finished_build.output_dir) == []


def test_a_variant_that_compresses_needs_less_space(
    finished_build: FinishedBuild, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maker_module, "allocated", lambda path: 100 * MIB)
    needed = {}
    for subformat in ("monolithicSparse", "streamOptimized"):
        finished_build.artifacts = [{"type": "vmdk", "subformat": subformat, "compression": "zstd"}]
        finished_build.write_documents()
        with monkeypatch.context() as context:
            context.setattr(maker_module.os, "statvfs", lambda path: types.SimpleNamespace(f_bavail=0, f_frsize=4096))
            with pytest.raises(ArtifactError) as caught:
                _run(finished_build)
        needed[subformat] = caught.value.details["needed_bytes"] // MIB
    assert needed == {"monolithicSparse": 120, "streamOptimized": 40}


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a tmpfs in a private namespace")
@pytest.mark.parametrize(
    "kind",
    [
        {"type": "raw"},
        {"type": "raw", "compression": "zstd"},
        {"type": "raw", "compression": "gz"},
        {"type": "raw", "compression": "xz"},
        {"type": "qcow2"},
        {"type": "vdi"},
        {"type": "vmdk", "compression": "xz"},
    ],
)
def test_full_disk(finished_build: FinishedBuild, kind: dict[str, str]) -> None:
    finished_build.artifacts = [kind]
    finished_build.write_documents()
    finished_build.output_dir.mkdir()
    program = (
        "import os, sys\n"
        "from ansible_collections.os_image.composer.plugins.module_utils._artifact import maker\n"
        "from ansible_collections.os_image.composer.plugins.module_utils._stages.image_finalize import *\n"
        "from ansible_collections.os_image.composer.plugins.module_utils._errors import *\n"
        "from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory\n"
        "from ansible_collections.os_image.composer.plugins.module_utils._stage import *\n"
        "maker.ArtifactMaker._check_space = lambda self, plans: None\n"
        "try:\n"
        "    build, options = BuildDirectory(sys.argv[1]), StageOptions()\n"
        "    run_stage(ImageFinalize(build, options, output_dir=sys.argv[2], image_stages=()))\n"
        "except ComposerError as exc:\n"
        "    print(exc)\n"
        "print(os.listdir(sys.argv[2]))\n"
    )
    script = 'mount -t tmpfs -o size=512k,mode=0755 none "$4" && exec "$@"'
    arguments = [sys.executable, "-c", program, finished_build.directory.path, str(finished_build.output_dir)]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script.replace("$4", "$5"), "sh", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    *message, listing = done.stdout.strip().splitlines()
    assert "No space left on device" in " ".join(message)
    assert listing == "[]"


# --- keep_workspace -----------------------------------------------------------------------------------------------


def test_the_workspace_is_removed_and_not_missed(finished_build: FinishedBuild) -> None:
    content = finished_build.image.read_bytes()
    result = _run(finished_build, keep_workspace=False)
    assert result["changed"] is True
    assert not finished_build.image.exists()
    assert pathlib.Path(result["artifacts"][0]["path"]).read_bytes() == content
    assert _run(finished_build, keep_workspace=False)["changed"] is False
    stamp = finished_build.directory.require("disk_compose")
    assert [output.problem(relative_to=finished_build.directory.path) for output in stamp.outputs] == [None]

    # When it is needed after all, it is composed again.
    writer = finished_build.stage_that_writes(content)
    os.unlink(result["artifacts"][0]["path"])
    again = _run(finished_build, keep_workspace=True, image_stages=(writer, writer))
    assert again["artifacts"] == result["artifacts"]
    assert finished_build.image.exists()
    assert _run(finished_build, keep_workspace=True)["changed"] is False
    assert not any(output.released for output in finished_build.directory.require("disk_compose").outputs)
    assert "Composing the image again" in pathlib.Path(finished_build.directory.build_log).read_text()


def test_a_missing_image_that_nobody_released(finished_build: FinishedBuild) -> None:
    finished_build.image.unlink()
    with pytest.raises(DocumentError, match=r"image .*image.raw is missing. Run the module .*disk_compose"):
        _run(finished_build)


def test_version_is_that_of_the_collection() -> None:
    galaxy = next(
        parent / "galaxy.yml" for parent in pathlib.Path(__file__).resolve().parents if (parent / "galaxy.yml").exists()
    )
    assert f"version: {COLLECTION_VERSION}\n" in galaxy.read_text()
