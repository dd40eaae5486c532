# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An image that is signed for Secure Boot, with a protected root, and firmware that enforces it.

It is a template that is shipped, with the disk of the default template.
"""

from __future__ import annotations

import base64
import functools
import json
import os
import pathlib
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._boot_test.boot import booted_machine
from ansible_collections.os_image.composer.plugins.module_utils._boot_test.console import LOGIN_PROMPT
from ansible_collections.os_image.composer.plugins.module_utils._boot_test.machine import MachineSpec
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.tests.e2e.support.image import (
    BuiltImage,
    Workspace,
    boot,
    call,
    run_playbook,
)
from ansible_collections.os_image.composer.tests.e2e.support.secure_boot import (
    EMPTY_VARIABLES,
    Esp,
    enrolled_variables,
)
from ansible_collections.os_image.composer.tests.e2e.support.template import ShippedTemplate, overrides_for_boots
from ansible_collections.os_image.composer.tests.support.signing_keys import KeyRing, SigningKey

pytestmark = pytest.mark.case("secure-boot")

_REFUSAL_SECONDS = 180.0
_BOOT_SECONDS = 600.0
# Of the partition with the signature of the root hash, all that is not zero.
_SIGNATURE_BYTES = 16384


@pytest.fixture(scope="module")
def checksums_key() -> t.Iterator[SigningKey]:
    """The key that signs the checksums."""
    with KeyRing() as keyring:
        yield keyring.make_key("Fleet checksums")


@pytest.fixture(scope="module")
def image(workspace: Workspace, checksums_key: SigningKey, tmp_path_factory: pytest.TempPathFactory) -> BuiltImage:
    """An image with generated keys, which systemd-boot enrols, and everything signed that can be."""
    secret = checksums_key.export_secret(tmp_path_factory.mktemp("keys") / "checksums.asc")
    overrides = overrides_for_boots(
        kernel={"uki": True},
        immutability={"enabled": True, "rootHashSignature": "demanded"},
        signing={"secureBoot": {"generate": True, "enrol": "force"}, "checksums": {"key": secret}},
    )
    template = ShippedTemplate.of("debian13-x86_64-minimal-raw.yml")
    return workspace.build(template, image_build_overrides=overrides)


@pytest.fixture(scope="module")
def variables(image: BuiltImage, workspace: Workspace) -> str:
    """The variables of firmware in which the published certificates are enrolled."""
    return enrolled_variables(image, workspace.path("secure-boot-vars.fd"))


@pytest.fixture(scope="module")
def esp(image: BuiltImage, tmp_path_factory: pytest.TempPathFactory) -> Esp:
    return Esp(image, tmp_path_factory.mktemp("esp"))


@pytest.mark.cells("Debian 13, signed UKI with a protected root", steps=("built", "checked"))
def test_every_program_is_signed_with_what_is_published(image: BuiltImage, esp: Esp, tmp_path: pathlib.Path) -> None:
    certificate = str(tmp_path / "db.crt")
    call("openssl", "x509", "-inform", "DER", "-in", image.path(".db.cer"), "-out", certificate)
    programs = esp.programs()
    assert esp.uki in programs
    assert sorted(image.manifest["signed"]) == sorted(programs)
    for path in programs:
        assert "Signature verification OK" in call("sbverify", "--cert", certificate, esp.read(path)), path
    facts = image.manifest["secure_boot"]
    assert facts["test_keys"]
    assert ["TEST KEY db" in entry["subject"] for entry in facts["certificates"]] == [True, False, False]
    published = {name for name in os.listdir(image.output_dir) if name.endswith((".cer", ".esl", ".auth"))}
    assert published == {*facts["files"]}
    assert len(published) == 9
    assert any("generated keys, which are for tests" in warning for warning in image.manifest["warnings"])
    assert "generated keys, which are for tests" in image.play.output.replace("\n", " ")


def test_private_keys_are_in_their_directory_alone(image: BuiltImage, workspace: Workspace) -> None:
    for name in ("PK", "KEK", "db"):
        key = pathlib.Path(workspace.work_dir, "keys", "secure-boot", f"{name}.key")
        assert key.stat().st_mode & 0o777 == 0o600
        # Of the first prime. What comes before it is in the certificate, too.
        secret = key.read_text(encoding="ascii").splitlines()[14]
        # What layers hold is in the raw image, too. Other builds make and remove files meanwhile.
        quick = ("--exclude-dir=chrootenv", "--exclude-dir=matrix-*", "--no-messages")
        found = call("grep", "-rlF", *quick, secret, image.output_dir, workspace.work_dir, check=False)
        assert found.split() == [str(key)]


def test_nothing_changes_when_it_is_built_again(image: BuiltImage) -> None:
    names = {name: os.stat(image.path(name)).st_mtime_ns for name in (".raw", ".manifest.json.asc", ".db.auth")}
    play = run_playbook("build-image.yml", image.variables)
    assert (play.recap["changed"], play.recap["failed"]) == (0, 0), play.output
    assert {name: os.stat(image.path(name)).st_mtime_ns for name in names} == names


@pytest.mark.cells("Debian 13, signed UKI with a protected root", steps=("booted",))
def test_firmware_enrols_the_keys_and_boots(image: BuiltImage, workspace: Workspace) -> None:
    options = {"secure_boot_variables": EMPTY_VARIABLES}
    with boot(image, workspace.path("boot-test"), **options) as guest:
        # The first four bytes are attributes.
        for name, value in (("SecureBoot", "1"), ("SetupMode", "0")):
            assert guest.say(f"od -An -t u1 -j 4 /sys/firmware/efi/efivars/{name}-*") == value
        assert "Secure boot enabled" in guest.say("dmesg | grep -i 'secure.*boot'")
        enrolled = guest.say("cat /sys/firmware/efi/efivars/db-* | tail -c +5 | sha256sum").split()[0]
        assert enrolled == call("sha256sum", image.path(".db.esl")).split()[0]
        assert guest.say("systemctl --failed --no-legend --plain") == ""
        # The kernel has opened the root file system by a signature of a certificate that the firmware has.
        assert guest.say("findmnt --noheadings --output SOURCE /") == "/dev/mapper/root"
        assert "root_hash_sig_key_desc" in guest.say("dmsetup table root")


# That the kernel runs, or that the firmware has refused a program.
_STARTED = (r"Linux version \S+", r"(?:failed to load|Error loading) .*: (?i:Access Denied|Security Violation)")


def _console(disk: str, variables: str, log: pathlib.Path, *patterns: str, timeout: float = _REFUSAL_SECONDS) -> str:
    """Return what was to be seen first, of some patterns: without any, that the kernel runs, or was refused."""
    spec = MachineSpec(disk, secure_boot_variables=variables)
    seen = patterns or _STARTED
    with (
        log.open("w", encoding="utf-8") as stream,
        booted_machine(spec, *seen, timeout=timeout, runner=CommandRunner(), log=stream) as booted,
    ):
        assert booted.found, f"{disk} said nothing of either:\n{booted.machine.console.tail()}"
        return booted.found[1].group()


def test_firmware_with_the_published_certificates_boots(
    image: BuiltImage, variables: str, tmp_path: pathlib.Path
) -> None:
    assert _console(image.raw, variables, tmp_path / "console.log").startswith("Linux version")


def _without_signature(path: str) -> None:
    call("sbattach", "--remove", path)


def _pair_of_somebody(path: str) -> tuple[str, str]:
    """Make a key and its certificate beside a path."""
    key, certificate = f"{path}.key", f"{path}.crt"
    call(
        *("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-new", "-x509", "-sha256", "-days", "2"),
        *("-subj", "/CN=somebody/", "-keyout", key, "-out", certificate),
    )
    return key, certificate


def _with_the_signature_of_somebody(path: str) -> None:
    _without_signature(path)
    key, certificate = _pair_of_somebody(path)
    call("sbsign", "--key", key, "--cert", certificate, "--output", path, path)


def _with_a_change_in(section: str, path: str, *, behind: bytes) -> None:
    """Change a byte of a section that follows some others."""
    listed = call("objdump", "-h", path).splitlines()
    size, offset = next(
        (int(words[2], 16), int(words[5], 16)) for words in map(str.split, listed) if words[1:2] == [section]
    )
    content = bytearray(pathlib.Path(path).read_bytes())
    place = content.index(behind, offset, offset + size) + len(behind)
    content[place] ^= 1
    pathlib.Path(path).write_bytes(content)


def test_the_kernel_refuses_the_signature_of_somebody(
    image: BuiltImage, esp: Esp, variables: str, tmp_path: pathlib.Path
) -> None:
    """Nothing of what the firmware verifies has changed, nor anything of the root file system or its hashes."""
    place = image.partitions["roothashsig"]
    with open(esp.disk, "r+b") as disk:
        disk.seek(place["start"] * 512)
        kept = disk.read(_SIGNATURE_BYTES)
        document = json.loads(kept.rstrip(b"\0"))
        key, certificate = _pair_of_somebody(str(tmp_path / "somebody"))
        command = ("openssl", "cms", "-sign", "-binary", "-noattr", "-md", "sha256", "-outform", "DER")
        signed = tmp_path / "p7s"
        call(
            *(*command, "-signer", certificate, "-inkey", key, "-out", str(signed)),
            data=document["rootHash"].encode("ascii"),
        )
        document["signature"] = base64.b64encode(signed.read_bytes()).decode("ascii")
        disk.seek(place["start"] * 512)
        disk.write((json.dumps(document, separators=(",", ":")) + "\n").encode("ascii").ljust(_SIGNATURE_BYTES, b"\0"))
    try:
        seen = (LOGIN_PROMPT, "or that is not signed by a certificate that the kernel knows")
        said = _console(esp.disk, variables, tmp_path / "console.log", *seen, timeout=_BOOT_SECONDS)
    finally:
        with open(esp.disk, "r+b") as disk:
            disk.seek(place["start"] * 512)
            disk.write(kept)
    assert said == seen[1]


_TAMPERED: t.Mapping[str, t.Callable[[str], None]] = {
    "unsigned": _without_signature,
    "signed by somebody else": _with_the_signature_of_somebody,
    "another initrd": functools.partial(_with_a_change_in, ".initrd", behind=b""),
    "another command line": functools.partial(_with_a_change_in, ".cmdline", behind=b"console="),
}


@pytest.mark.parametrize("how", _TAMPERED)
def test_firmware_refuses_another_kernel(esp: Esp, variables: str, tmp_path: pathlib.Path, how: str) -> None:
    program = esp.read(esp.uki)
    kept = str(tmp_path / "kept.efi")
    call("cp", program, kept)
    _TAMPERED[how](program)
    esp.write(program, esp.uki)
    try:
        said = _console(esp.disk, variables, tmp_path / "console.log")
    finally:
        esp.write(kept, esp.uki)
    assert said.startswith("Error loading \\EFI\\Linux\\"), said


def test_firmware_refuses_an_unsigned_bootloader(esp: Esp, variables: str, tmp_path: pathlib.Path) -> None:
    path = "/EFI/BOOT/BOOTX64.EFI"
    program = esp.read(path)
    kept = str(tmp_path / "kept.efi")
    call("cp", program, kept)
    _without_signature(program)
    esp.write(program, path)
    try:
        said = _console(esp.disk, variables, tmp_path / "console.log")
    finally:
        esp.write(kept, path)
    assert said.startswith("failed to load"), said
