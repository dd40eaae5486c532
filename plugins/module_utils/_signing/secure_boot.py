# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Secure Boot: the keys of a template, and signing EFI programs with them."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import os
import stat
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._boot.esp import is_program
from ansible_collections.os_image.composer.plugins.module_utils._boot.fat_volume import FatVolume
from ansible_collections.os_image.composer.plugins.module_utils._command import (
    CommandRunner,
    find_tool,
    has_tool,
    tool_version,
)
from ansible_collections.os_image.composer.plugins.module_utils._errors import CommandError, SigningError
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_bytes, sha256_file
from ansible_collections.os_image.composer.plugins.module_utils._signing.efi_program import differs_by_signature_alone
from ansible_collections.os_image.composer.plugins.module_utils._signing.enrolment import VARIABLES
from ansible_collections.os_image.composer.plugins.module_utils._signing.generated_keys import (
    generated_keys_dir,
    key_pair,
)
from ansible_collections.os_image.composer.plugins.module_utils._signing.private_key import PrivateKey, opened_key
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Signing
from ansible_collections.os_image.composer.plugins.module_utils._template.references import is_token_key

_PLACE = "systemConfig.signing.secureBoot (or immutability)"

# What the UEFI specification wants firmware to verify.
_LEAST_BITS = 2048

_LIBFAKETIME = ("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib64/faketime/libfaketime.so.1")


@dataclasses.dataclass(frozen=True)
class SecureBootKeys:
    """A key pair for a variable of firmware: the signature database (db), or what guards it.

    :ivar key: Path of the private key (PEM), or its PKCS#11 URI; V(None) when another host has it.
    :ivar certificate: Path of its certificate (PEM).
    :ivar enrolment: Path of the same certificate as DER, which firmware enrols; V(None) when the template has none.
    """

    key: str | None
    certificate: str
    enrolment: str | None = None

    @property
    def files(self) -> t.List[str]:
        """The paths of the files."""
        key = None if self.key is None or is_token_key(self.key) else self.key
        return [path for path in (key, self.certificate, self.enrolment) if path is not None]

    def warnings(self) -> t.List[str]:
        """Tell in words what is unwise about the keys."""
        if self.key is None or is_token_key(self.key):
            return []
        mode = stat.S_IMODE(os.stat(self.key).st_mode)
        if mode & 0o077:
            return [f"The private key {self.key} can be read by others than its owner (mode {mode:04o}); use 0600"]
        return []

    @contextlib.contextmanager
    def opened(self, runner: CommandRunner, *, passphrase: str | None = None) -> t.Iterator[PrivateKey]:
        """Let programs use the private key, which is on this host, while the block runs.

        :raises SigningError: It cannot be used, or does not belong to the certificate.
        """
        self._check_files()
        with contextlib.ExitStack() as stack:
            key = stack.enter_context(opened_key(t.cast(str, self.key), runner, passphrase=passphrase))
            if key.public() != self._certified(runner):
                raise SigningError(
                    f"The private key {self.key} does not belong to the certificate {self.certificate}.",
                    remedy=f"Correct one of the two in {_PLACE}.",
                )
            yield key

    def certified(self, runner: CommandRunner) -> Certificate:
        """Read the certificate.

        :raises SigningError: It cannot be used.
        """
        self._check_files()
        self._certified(runner)
        openssl = find_tool("openssl")
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

    def _check_files(self) -> None:
        for path in self.files:
            if not os.path.isfile(path):
                raise SigningError(
                    f"The Secure Boot key file {path} does not exist.", remedy=f"Correct the paths in {_PLACE}."
                )

    def _certified(self, runner: CommandRunner) -> bytes:
        """Return the public key of the certificate, which firmware has to be able to use."""
        openssl = find_tool("openssl")
        public = _ask(
            runner,
            [openssl, "x509", "-in", self.certificate, "-noout", "-pubkey"],
            f"{self.certificate} is not a certificate (PEM).",
        )
        try:
            modulus = runner.run([openssl, "rsa", "-pubin", "-noout", "-modulus"], data=public, log_output=False).text
        except CommandError:
            modulus = ""
        bits = int(modulus.strip().partition("=")[2] or "0", 16).bit_length()
        if bits < _LEAST_BITS:
            raise SigningError(
                f"The certificate {self.certificate} has no RSA key of {_LEAST_BITS} bits or more, and firmware has to "
                "know no others.",
                remedy="Make one: openssl req -newkey rsa:2048 -new -x509 -sha256 -keyout KEY -out CRT.",
            )
        return public


@dataclasses.dataclass(frozen=True)
class KeySet:
    """The keys for Secure Boot.

    :ivar pairs: A key pair for each variable of the firmware: C(db), whose key signs the boot chain, C(KEK) and C(PK).
        What a template names is one pair, which is all three.
    :ivar are_for_tests: Whether the build generates them.
    """

    pairs: t.Mapping[str, SecureBootKeys]
    are_for_tests: bool = False

    @classmethod
    def of(cls, signing: Signing, *, work_dir: str) -> KeySet | None:
        """Take the keys out of a template; V(None) when none are configured."""
        named = signing.secure_boot
        if named is None:
            return None
        if named.generate:
            directory = generated_keys_dir(work_dir)
            pairs = {variable: SecureBootKeys(*key_pair(directory, variable)) for variable in VARIABLES}
            return cls(pairs, are_for_tests=True)
        keys = SecureBootKeys(named.key, named.certificate or "", named.certificate_der)
        return cls({variable: keys for variable in VARIABLES})

    @property
    def db(self) -> SecureBootKeys:
        """The pair that signs the boot chain."""
        return self.pairs["db"]


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
        raise SigningError(problem, remedy=f"Correct the paths in {_PLACE}.") from exc


class Signer(abc.ABC):
    """A program that signs EFI programs."""

    tool: t.ClassVar[str]
    #: Whether the same input gives the same signature.
    is_reproducible: t.ClassVar[bool] = True

    def __init__(self, key: PrivateKey, certificate: str, *, epoch: int) -> None:
        self.key = key
        self.certificate = certificate
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
        command = [find_tool(self.tool), "sign", "-certs", self.certificate, "-key", self.key.reference]
        if self.key.engine is not None:
            command += ["-pkcs11engine", self.key.engine]
        command += ["-h", "sha256", "-time", str(self.epoch), "-in", source, "-out", destination]
        self.key.run(command, what=f"Signing {os.path.basename(source)}")


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
        command = [find_tool(self.tool), "--key", self.key.reference, "--cert", self.certificate]
        if self.key.engine is not None:
            command += ["--engine", "pkcs11"]
        command += ["--output", destination, source]
        self.key.run(command, what=f"Signing {os.path.basename(source)}", environment=faked)


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


def is_signed(source: str, destination: str, keys: SecureBootKeys, runner: CommandRunner) -> bool:
    """Tell whether a file is an EFI program with a signature that the certificate verifies.

    :param source: Path of the program without it.
    :raises SigningError: The program or the keys are not there, or cannot be used.
    """
    if not os.path.isfile(source):
        raise SigningError(f"The EFI program {source} does not exist.", remedy="Correct the path.")
    keys.certified(runner)
    if not os.path.exists(destination) or signature_problem(destination, keys.certificate, runner):
        return False
    with open(source, "rb") as unsigned, open(destination, "rb") as signed:
        return differs_by_signature_alone(signed.read(), unsigned.read())


def sign_program(
    source: str, destination: str, keys: SecureBootKeys, runner: CommandRunner, *, passphrase: str | None, epoch: int
) -> None:
    """Write a signed copy of an EFI program.

    :param epoch: The time in the signature, in seconds since 1970.
    :raises SigningError: The keys cannot be used, or the signature does not verify.
    """
    temporary = f"{destination}.part"
    # osslsigncode overwrites nothing, not even what an earlier run has left that was killed.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    try:
        with keys.opened(runner, passphrase=passphrase) as key:
            signer_class()(key, keys.certificate, epoch=epoch).sign(source, temporary)
        problem = signature_problem(temporary, keys.certificate, runner)
        if problem:
            raise SigningError(f"The signature of {source} does not verify: {problem}")
        os.rename(temporary, destination)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def sign_esp(
    volume: FatVolume,
    signer: Signer,
    scratch: str,
    *,
    made: t.Mapping[str, str],
    named: t.Collection[str] = (),
) -> t.List[str]:
    """Sign the EFI programs on an EFI system partition in place, and verify each signature.

    :param scratch: An empty directory.
    :returns: Their paths, with a leading slash.
    :raises SigningError: See :func:`programs_to_sign` and :func:`replace_programs`.
    """
    programs = programs_to_sign(volume, scratch, made=made, named=named)
    return replace_programs(
        volume, programs, signer.sign, scratch, certificate=signer.certificate, runner=signer.key.runner
    )


def programs_to_sign(
    volume: FatVolume, scratch: str, *, made: t.Mapping[str, str], named: t.Collection[str] = ()
) -> t.Dict[str, str]:
    """Copy the EFI programs out of an EFI system partition.

    Only what is known is signed, and nothing when something else is there: whoever trusts the key would run that, too.

    :param scratch: An empty directory.
    :param made: Path -> SHA-256 of each program that the build put there.
    :param named: Digests of the other ones that the template wants to be signed.
    :returns: Path on the partition, with a leading slash -> path of the copy.
    :raises SigningError: There are none, or others.
    """
    programs = [f"/{path}" for path in volume.files() if is_program(path)]
    if not programs:
        raise SigningError("There is no EFI program on the EFI system partition to be signed.")
    copies = {path: os.path.join(scratch, f"{number}.unsigned.efi") for number, path in enumerate(programs)}
    for path, copy in copies.items():
        volume.read(path[1:], copy)
    _check_known({path: sha256_file(copy) for path, copy in copies.items()}, made, named)
    return copies


def replace_programs(
    volume: FatVolume,
    programs: t.Mapping[str, str],
    sign: t.Callable[[str, str], None],
    scratch: str,
    *,
    certificate: str,
    runner: CommandRunner,
) -> t.List[str]:
    """Put signed EFI programs in the place of unsigned ones, once each signature is verified.

    :param programs: See :func:`programs_to_sign`; the copies are removed.
    :param sign: Writes a signed copy of the first path at the second one.
    :param certificate: Path of the certificate (PEM) that verifies them.
    :returns: Their paths, with a leading slash.
    :raises SigningError: A signature does not verify.
    """
    for path, copy in programs.items():
        signed = os.path.join(scratch, "signed.efi")
        sign(copy, signed)
        problem = signature_problem(signed, certificate, runner)
        if problem:
            raise SigningError(f"The signature of {path} does not verify: {problem}")
        volume.write(signed, path[1:])
        os.unlink(copy)
        os.unlink(signed)
    return [*programs]


def signature_problem(program: str, certificate: str, runner: CommandRunner) -> str:
    """Tell what is wrong with the signature of an EFI program; nothing when a certificate (PEM) verifies it."""
    done = runner.run([find_tool("sbverify"), "--cert", certificate, program], check=False)
    return "" if done.rc == 0 else (done.error_text or done.text).strip()


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
    "KeySet",
    "Osslsigncode",
    "Sbsign",
    "SecureBootKeys",
    "Signer",
    "is_signed",
    "programs_to_sign",
    "replace_programs",
    "sign_esp",
    "sign_program",
    "signature_problem",
    "signer_class",
    "signer_version",
)
