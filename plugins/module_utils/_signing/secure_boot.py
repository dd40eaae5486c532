# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Secure Boot: the keys of a template, and signing EFI programs with them."""

from __future__ import annotations

import abc
import dataclasses
import os
import stat
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._boot.esp import is_program
from ansible_collections.os_image.composer.plugins.module_utils._boot.fat_volume import FatVolume
from ansible_collections.os_image.composer.plugins.module_utils._bootloader import (
    BOOTLOADERS,
    bootloaders_that,
)
from ansible_collections.os_image.composer.plugins.module_utils._command import (
    CommandRunner,
    find_tool,
    has_tool,
    tool_version,
)
from ansible_collections.os_image.composer.plugins.module_utils._errors import CommandError, SigningError
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_bytes, sha256_file
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Bootloader, Kernel, Signing

_LIBFAKETIME = ("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib64/faketime/libfaketime.so.1")


@dataclasses.dataclass(frozen=True)
class SecureBootKeys:
    """A key pair for the firmware's signature database (db).

    :ivar key: Path of the private key (PEM).
    :ivar certificate: Path of its certificate (PEM).
    :ivar enrolment: Path of the same certificate as DER, which firmware enrols; V(None) when the template has none.
    """

    key: str
    certificate: str
    enrolment: str | None = None

    @classmethod
    def of(cls, signing: Signing) -> SecureBootKeys | None:
        """Take the keys out of a template; V(None) when none are configured."""
        keys = signing.secure_boot
        return None if keys is None else cls(keys.key, keys.certificate, keys.certificate_der)

    def warnings(self) -> t.List[str]:
        """Tell in words what is unwise about the keys."""
        mode = stat.S_IMODE(os.stat(self.key).st_mode)
        if mode & 0o077:
            return [f"The private key {self.key} can be read by others than its owner (mode {mode:04o}); use 0600"]
        return []

    def check(self, runner: CommandRunner) -> Certificate:
        """Check that the keys can be used and belong together.

        :raises SigningError: They cannot, or do not.
        """
        for path in (self.key, self.certificate, *([self.enrolment] if self.enrolment else [])):
            if not os.path.isfile(path):
                raise SigningError(
                    f"The Secure Boot key file {path} does not exist.",
                    remedy="Correct the paths in systemConfig.signing.secureBoot (or immutability).",
                )
        with open(self.key, "rb") as stream:
            if b"ENCRYPTED" in stream.read():
                raise SigningError(
                    f"The private key {self.key} is protected by a passphrase, which is not supported.",
                    remedy="Store it without one, readable by root only: openssl pkey -in KEY -out NEW.",
                )
        openssl = find_tool("openssl")
        public = _ask(runner, [openssl, "pkey", "-in", self.key, "-pubout"], f"{self.key} is not a private key (PEM).")
        certified = _ask(
            runner,
            [openssl, "x509", "-in", self.certificate, "-noout", "-pubkey"],
            f"{self.certificate} is not a certificate (PEM).",
        )
        if public != certified:
            raise SigningError(
                f"The private key {self.key} does not belong to the certificate {self.certificate}.",
                remedy="Correct one of the two in systemConfig.signing.secureBoot (or immutability).",
            )
        der = runner.run([openssl, "x509", "-in", self.certificate, "-outform", "DER"], log_output=False).stdout
        if self.enrolment is not None:
            with open(self.enrolment, "rb") as stream:
                if stream.read() != der:
                    raise SigningError(
                        f"{self.enrolment} is not the DER form of the certificate {self.certificate}.",
                        remedy="Make it anew: openssl x509 -in CRT -outform DER -out CER.",
                    )
        subject = runner.run([openssl, "x509", "-in", self.certificate, "-noout", "-subject", "-nameopt", "RFC2253"])
        return Certificate(subject.text.strip().partition("=")[2], der)


@dataclasses.dataclass(frozen=True)
class Certificate:
    """A certificate.

    :ivar subject: As RFC 2253 writes names.
    :ivar der: Its DER form.
    """

    subject: str
    der: bytes

    @property
    def sha256(self) -> str:
        """Its fingerprint: 64 hexadecimal digits."""
        return sha256_bytes(self.der)


def _ask(runner: CommandRunner, command: t.Sequence[str], problem: str) -> bytes:
    try:
        return runner.run(command, log_output=False).stdout
    except CommandError as exc:
        raise SigningError(
            problem, remedy="Correct the paths in systemConfig.signing.secureBoot (or immutability)."
        ) from exc


def template_problem(signing: Signing, bootloader: Bootloader, kernel: Kernel) -> str | None:
    """Tell in words why the configured keys would not protect what the template describes; V(None) when they would.

    Only a unified kernel image is signed as a whole: of an entry of systemd-boot neither the initrd nor the command
    line is, and GRUB refuses to start a kernel without shim.
    """
    if signing.secure_boot is None:
        return None
    provider = bootloader.provider
    if not BOOTLOADERS[provider].starts_uki:
        return (
            f"Secure Boot keys are configured, but the bootloader {provider} cannot start what is signed with them. "
            f"Set bootloader.provider: {bootloaders_that(lambda other: other.starts_uki)} and kernel.uki: true."
        )
    if not kernel.uki:
        return (
            "Secure Boot keys are configured, but without a unified kernel image neither the initrd nor the kernel "
            "command line would be protected. Set kernel.uki: true."
        )
    return None


class Signer(abc.ABC):
    """A program that signs EFI programs."""

    tool: t.ClassVar[str]
    #: Whether the same input gives the same signature.
    is_reproducible: t.ClassVar[bool] = True

    def __init__(self, keys: SecureBootKeys, runner: CommandRunner, *, epoch: int) -> None:
        self.keys = keys
        self.runner = runner
        self.epoch = epoch

    @classmethod
    def is_available(cls) -> bool:
        """Whether the build host has it."""
        return has_tool(cls.tool)

    @abc.abstractmethod
    def sign(self, source: str, destination: str) -> None:
        """Write a signed copy of an EFI program.

        :raises CommandError: The program failed.
        """


class Osslsigncode(Signer):
    """osslsigncode, which can be told the time."""

    tool = "osslsigncode"

    def sign(self, source: str, destination: str) -> None:
        command = [find_tool(self.tool), "sign", "-certs", self.keys.certificate]
        command += ["-key", self.keys.key, "-h", "sha256", "-time", str(self.epoch), "-in", source, "-out", destination]
        self.runner.run(command, what=f"Signing {os.path.basename(source)}")


class FaketimeSbsign(Signer):
    """sbsign, which is made to believe the time."""

    tool = "sbsign"

    @classmethod
    def is_available(cls) -> bool:
        return super().is_available() and cls._library() is not None

    @staticmethod
    def _library() -> str | None:
        return next((path for path in _LIBFAKETIME if os.path.exists(path)), None)

    def sign(self, source: str, destination: str) -> None:
        library = self._library()
        faked = {"LD_PRELOAD": library, "FAKETIME": f"@{self.epoch}", "FAKETIME_FMT": "%s"} if library else {}
        command = [find_tool(self.tool), "--key", self.keys.key, "--cert", self.keys.certificate]
        runner = self.runner.with_environment(faked)
        runner.run([*command, "--output", destination, source], what=f"Signing {os.path.basename(source)}")


class Sbsign(FaketimeSbsign):
    """sbsign with the present time in each signature."""

    is_reproducible = False

    @classmethod
    def is_available(cls) -> bool:
        return True

    @staticmethod
    def _library() -> str | None:
        return None


def signer_class() -> t.Type[Signer]:
    """Return the best signer that the build host has."""
    candidates: t.Sequence[t.Type[Signer]] = (Osslsigncode, FaketimeSbsign, Sbsign)
    return next(candidate for candidate in candidates if candidate.is_available())


def signer_version(signer: t.Type[Signer]) -> str:
    """Return the version of a signer's program, for fingerprints."""
    return tool_version(signer.tool)


def sign_esp(
    volume: FatVolume,
    signer: Signer,
    scratch: str,
    *,
    made: t.Mapping[str, str],
    named: t.Collection[str] = (),
) -> t.List[str]:
    """Sign the EFI programs on an EFI system partition in place, and verify each signature.

    Only what is known is signed, and nothing when something else is there: whoever trusts the key would run that, too.

    :param scratch: An empty directory.
    :param made: Path -> SHA-256 of each program that the build put there.
    :param named: Digests of the other ones that the template wants to be signed.
    :returns: Their paths, with a leading slash.
    :raises SigningError: There are none, or others, or a signature does not verify.
    """
    programs = [f"/{path}" for path in volume.files() if is_program(path)]
    if not programs:
        raise SigningError("There is no EFI program on the EFI system partition to be signed.")
    unsigned = {path: os.path.join(scratch, f"{number}.unsigned.efi") for number, path in enumerate(programs)}
    for path, copy in unsigned.items():
        volume.read(path[1:], copy)
    _check_known({path: sha256_file(copy) for path, copy in unsigned.items()}, made, named)
    sbverify = find_tool("sbverify")
    for path, copy in unsigned.items():
        signed = os.path.join(scratch, "signed.efi")
        signer.sign(copy, signed)
        done = signer.runner.run([sbverify, "--cert", signer.keys.certificate, signed], check=False)
        if done.rc != 0:
            raise SigningError(f"The signature of {path} does not verify: {(done.error_text or done.text).strip()}")
        volume.write(signed, path[1:])
        os.unlink(copy)
        os.unlink(signed)
    return programs


def _check_known(present: t.Mapping[str, str], made: t.Mapping[str, str], named: t.Collection[str]) -> None:
    """Check where all programs on the EFI system partition come from.

    :param present: Path -> SHA-256.
    :raises SigningError: One of them is unknown, or one that was made is not there as it was.
    """
    # FAT does not tell letters by their case.
    expected = {path.upper(): digest for path, digest in made.items()}
    changed = [path for path, digest in present.items() if expected.get(path.upper(), digest) != digest]
    missing = [path for path in made if path.upper() not in {there.upper() for there in present}]
    if changed or missing:
        raise SigningError(
            f"On the EFI system partition {' and '.join([*changed, *missing])} is not what the build put there.",
            remedy="Compose the disk again: run os_image.composer.disk_compose with rebuild: always.",
        )
    unknown = {path: digest for path, digest in present.items() if path.upper() not in expected and digest not in named}
    if unknown:
        listed = ", ".join(f"{path} (SHA-256 {digest})" for path, digest in unknown.items())
        raise SigningError(
            f"On the EFI system partition are EFI programs that the build did not make: {listed}. A package, an "
            "additional file or a script has put them there. Signed, they would run on every machine that trusts your "
            "key.",
            remedy="Remove them from the image, or name their digests in systemConfig.signing.secureBoot.programs.",
        )


__all__ = (
    "Certificate",
    "Osslsigncode",
    "Sbsign",
    "SecureBootKeys",
    "Signer",
    "sign_esp",
    "signer_class",
    "signer_version",
    "template_problem",
)
