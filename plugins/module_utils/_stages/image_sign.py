# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The stage image_sign: the boot chain signed for Secure Boot, when the template names keys."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._boot.fat_volume import FatVolume
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory, Facts
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._errors import SigningError
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_bytes, sha256_file, write_file
from ansible_collections.os_image.composer.plugins.module_utils._partition_type import ESP, MBR_ESP
from ansible_collections.os_image.composer.plugins.module_utils._signing.boot_chain import template_problem
from ansible_collections.os_image.composer.plugins.module_utils._signing.enrolment import (
    VARIABLES,
    EnrolledCertificate,
    enrolment_files,
)
from ansible_collections.os_image.composer.plugins.module_utils._signing.exchange import SigningExchange
from ansible_collections.os_image.composer.plugins.module_utils._signing.generated_keys import (
    generate_keys,
    generated_keys_dir,
)
from ansible_collections.os_image.composer.plugins.module_utils._signing.private_key import PrivateKey
from ansible_collections.os_image.composer.plugins.module_utils._signing.root_hash import (
    sign_root_hash,
    write_root_hash_signature,
)
from ansible_collections.os_image.composer.plugins.module_utils._signing.secure_boot import (
    Certificate,
    KeySet,
    programs_to_sign,
    replace_programs,
    signer_class,
    signer_version,
)
from ansible_collections.os_image.composer.plugins.module_utils._sparse import clone_file, copy_sparse
from ansible_collections.os_image.composer.plugins.module_utils._stage import (
    Decision,
    Outcome,
    Stage,
    StageOptions,
    restore_outputs,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.document import TemplateDocument
from ansible_collections.os_image.composer.plugins.module_utils._template.model import SecureBootSigning

_NO_KEYS = "no Secure Boot keys are configured"
_TEST_KEYS = (
    "The image is signed with generated keys, which are for tests: whoever can read the work directory can sign, too"
)
# Where systemd-boot finds the keys that it enrols without being asked.
_ENROLMENT = "loader/keys/auto"
_LOADER_CONF = "loader/loader.conf"


@dataclasses.dataclass(frozen=True)
class _Chain:
    """The boot chain that is signed.

    :ivar certificates: For each variable of the firmware.
    :ivar signed: The signed programs, by their paths on the EFI system partition.
    :ivar unsigned: What another host has to sign first; nothing is signed then.
    :ivar enrolment: What enrols the keys, by name.
    :ivar epoch: The time in signatures, in seconds since 1970.
    """

    certificates: t.Mapping[str, Certificate]
    signed: t.Sequence[str]
    enrolment: t.Mapping[str, bytes]
    epoch: int
    unsigned: t.Sequence[t.Mapping[str, str]] = ()


class ImageSign(Stage):
    """Signs the EFI programs of the image.

    :param compose: Makes the stage that composes an image again which was removed to save space.
    :param passphrase: What protects the private key; of a token, its PIN.
    """

    name = "image_sign"
    topic = "Signing"
    version = 2

    def __init__(
        self,
        build: BuildDirectory,
        options: StageOptions,
        *,
        compose: t.Callable[[BuildDirectory, StageOptions], Stage],
        passphrase: str | None = None,
    ) -> None:
        super().__init__(build, options)
        self._compose = compose
        self._passphrase = passphrase

    @property
    def _exchange(self) -> SigningExchange:
        return SigningExchange(self.build.join("signing"))

    @staticmethod
    def _keys(document: TemplateDocument) -> KeySet | None:
        return KeySet.of(document.system.signing, work_dir=document.work_dir)

    def inputs(self) -> Facts:
        document = TemplateDocument.read(self.build)
        keys = self._keys(document)
        facts: Facts = {
            "disk image": self.build.require("disk_compose").fingerprint,
            "signing": document.fingerprint(document.section("systemConfig", "signing").get("secureBoot")),
        }
        if keys is None:
            return facts
        if keys.are_for_tests:
            facts["generated keys"] = self._generated(document, keys)
        if keys.db.key is None:
            facts["signatures"] = self._exchange.signatures()
        else:
            signer = signer_class()
            facts["host tools"] = {signer.tool: signer_version(signer)}
        return facts

    def _generated(self, document: TemplateDocument, keys: KeySet) -> t.Dict[str, str]:
        """Return the digests of the generated certificates, which are made when there are none."""
        if not self.options.check_mode:
            directory = generated_keys_dir(document.work_dir)
            timeout = self.options.lock_timeout
            if generate_keys(directory, CommandRunner(), who=self.name, lock_timeout=timeout):
                self.progress.milestone("Signing", f"Generated keys for Secure Boot in {directory}")
        paths = {variable: pair.certificate for variable, pair in keys.pairs.items()}
        return {variable: sha256_file(path) for variable, path in paths.items() if os.path.isfile(path)}

    def plan(self) -> Facts | None:
        return None if self._keys(TemplateDocument.read(self.build)) else {"signed": []}

    def idle_reason(self) -> str:
        # What an earlier run has signed would be removed.
        keys = self._keys(TemplateDocument.read(self.build))
        return "" if keys or os.path.isdir(self.build.join("signed")) else _NO_KEYS

    def execute(self, decision: Decision) -> Outcome:
        document = TemplateDocument.read(self.build)
        directory = self.build.join("signed")
        keys = self._keys(document)
        composed = self.build.require("disk_compose").result
        if keys is None:
            idle = self.idle_reason()
            for path in (directory, self.build.join("signing")):
                shutil.rmtree(path, ignore_errors=True)
            self.progress.milestone("Signing", f"Nothing is signed: {_NO_KEYS}")
            result = {"signed": [], "unsigned": [], "certificates": [], "enrolment": [], "image": composed["image"]}
            return Outcome(result=result, facts={"signed": []}, idle=idle)
        system = document.system
        problem = template_problem(system.signing, system.bootloader, system.kernel)
        if problem:
            raise SigningError(problem)
        if not keys.are_for_tests:
            for path in keys.db.files:
                document.require_unchanged_key(path)
        return self._sign(document, keys, composed, directory)

    def _sign(
        self, document: TemplateDocument, keys: KeySet, composed: t.Mapping[str, t.Any], directory: str
    ) -> Outcome:
        for warning in keys.db.warnings():
            self.progress.milestone("Signing", warning, level="warn")
        if not _efi_partitions(composed):
            raise SigningError("The disk has no EFI system partition, so that there is nothing to be signed.")
        source = str(composed["image"])
        if not os.path.exists(source):
            # A later stage has released it to save space.
            stage = self._compose(self.build, self.options)
            stage.progress = self.progress
            restore_outputs(stage)

        scratch = os.path.join(directory, "work")
        shutil.rmtree(scratch, ignore_errors=True)
        os.makedirs(scratch, mode=0o700)
        image = os.path.join(directory, "image.raw")
        try:
            temporary = os.path.join(scratch, "image")
            if not clone_file(source, temporary):
                copy_sparse(source, temporary)
            chain = self._sign_chain(document, keys, composed, temporary, scratch)
            for name, data in chain.enrolment.items():
                write_file(os.path.join(directory, name), data)
            kept = {*chain.enrolment, os.path.basename(scratch)}
            if not chain.unsigned:
                os.rename(temporary, image)
                kept.add(os.path.basename(image))
            for name in {*os.listdir(directory)} - kept:
                os.unlink(os.path.join(directory, name))
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return self._outcome(keys, chain, directory, source if chain.unsigned else image)

    def _sign_chain(
        self,
        document: TemplateDocument,
        keys: KeySet,
        composed: t.Mapping[str, t.Any],
        image: str,
        scratch: str,
    ) -> _Chain:
        """Sign what is on the EFI system partition of an image.

        :param scratch: A directory for temporary files.
        """
        runner = CommandRunner(log=self.progress)
        epoch = self.build.read_document("packages.lock.json")["source_date_epoch"]
        volume = FatVolume(image, _efi_partitions(composed)[0]["start"], runner, epoch=epoch)
        wanted = document.system.signing.secure_boot
        certificates = {variable: pair.certified(runner) for variable, pair in keys.pairs.items()}
        enrolled = {
            variable: EnrolledCertificate(pair.certificate, certificates[variable].der)
            for variable, pair in keys.pairs.items()
        }
        made = {program["path"]: program["sha256"] for program in composed["efi_programs"]}
        _require_no_keys(volume, wanted)
        programs = programs_to_sign(volume, scratch, made=made, named=(wanted and wanted.programs) or ())
        self.progress.milestone("Signing", f"Signing the boot chain as {certificates['db'].subject}")
        certificate = keys.db.certificate
        if keys.db.key is None:
            waiting = self._exchange.hand_out(programs)
            enrolment = enrolment_files(enrolled, {}, epoch=epoch)
            if waiting:
                return _Chain(certificates, (), enrolment, epoch, waiting)
            sign = self._exchange.take
            signed = replace_programs(volume, programs, sign, scratch, certificate=certificate, runner=runner)
            return _Chain(certificates, signed, enrolment, epoch)
        with contextlib.ExitStack() as stack:
            opened = self._opened(keys, runner, stack)
            signer = signer_class()(opened["db"], certificate, epoch=epoch)
            if not signer.is_reproducible:
                self.progress.milestone(
                    "Signing",
                    "sbsign puts the present time into signatures, so that the image is not reproducible; install "
                    "osslsigncode or libfaketime on the build host",
                    level="warn",
                )
            signed = replace_programs(volume, programs, signer.sign, scratch, certificate=certificate, runner=runner)
            if document.system.immutability.root_hash_signature is not None:
                self.progress.milestone("Signing", "Signing the root hash")
                fingerprint = certificates["db"].sha256
                data = sign_root_hash(composed["root_hash"], opened["db"], certificate, fingerprint)
                write_root_hash_signature(image, composed["partitions"], data)
            enrolment = enrolment_files(enrolled, opened, epoch=epoch)
        if wanted is not None and wanted.enrol is not None:
            _add_enrolment(volume, wanted, enrolment, scratch)
        return _Chain(certificates, signed, enrolment, epoch)

    def _opened(self, keys: KeySet, runner: CommandRunner, stack: contextlib.ExitStack) -> t.Dict[str, PrivateKey]:
        """Open the key for each variable, and one that several share once: a token counts wrong PINs."""
        opened: t.Dict[str, PrivateKey] = {}
        for variable in VARIABLES:
            pair = keys.pairs[variable]
            same = next((other for other in opened if keys.pairs[other] == pair), None)
            opened[variable] = (
                opened[same] if same else stack.enter_context(pair.opened(runner, passphrase=self._passphrase))
            )
        return opened

    def _outcome(self, keys: KeySet, chain: _Chain, directory: str, image: str) -> Outcome:
        warnings = [_TEST_KEYS] if keys.are_for_tests else []
        for warning in warnings:
            self.progress.milestone("Signing", warning, level="warn")
        if chain.unsigned:
            self.progress.milestone("Signing", f"{len(chain.unsigned)} EFI programs wait for their signatures")
        else:
            self.progress.milestone("Signing", f"Signed {len(chain.signed)} EFI programs")
        files = {
            name: {"name": name, "path": os.path.join(directory, name), "sha256": sha256_bytes(data)}
            for name, data in chain.enrolment.items()
        }
        certificates = [
            {
                "variable": variable,
                "subject": chain.certificates[variable].subject,
                "sha256": chain.certificates[variable].sha256,
                "path": files[f"{variable}.cer"]["path"],
            }
            for variable in VARIABLES
        ]
        outputs: t.Dict[str, t.Optional[str]] = {file["path"]: file["sha256"] for file in files.values()}
        if chain.unsigned:
            outputs.update({program["unsigned"]: program["sha256"] for program in chain.unsigned})
        else:
            outputs[image] = None
        return Outcome(
            result={
                "signed": [*chain.signed],
                "unsigned": [dict(program) for program in chain.unsigned],
                "certificates": certificates,
                "test_keys": keys.are_for_tests,
                "enrolment": [*files.values()],
                "image": image,
                "source_date_epoch": chain.epoch,
                "warnings": warnings,
            },
            outputs=outputs,
            facts={"signed": [*chain.signed], "certificate": chain.certificates["db"].subject},
        )


def _efi_partitions(composed: t.Mapping[str, t.Any]) -> t.List[t.Mapping[str, t.Any]]:
    return [part for part in composed["partitions"] if part["type"] in (ESP, f"0x{MBR_ESP:02x}")]


def _require_no_keys(volume: FatVolume, wanted: SecureBootSigning | None) -> None:
    """Check that systemd-boot finds no keys to enrol; see C(secure-boot-enroll) in loader.conf(5).

    Without being asked, it enrols those for all machines in virtual ones.

    :raises SigningError: Somebody else's keys are there.
    """
    enrols = wanted is not None and wanted.enrol is not None
    place = os.path.dirname(_ENROLMENT) if enrols else _ENROLMENT
    for path in volume.files():
        if path.lower().startswith(f"{place}/"):
            at_once = path.lower().startswith(f"{_ENROLMENT}/")
            raise SigningError(
                f"On the EFI system partition is {path}, which the build did not make, and machines would enrol it.",
                remedy="Remove it from the image"
                + ("." if at_once else ", or leave out systemConfig.signing.secureBoot.enrol."),
            )


def _add_enrolment(
    volume: FatVolume, wanted: SecureBootSigning, enrolment: t.Mapping[str, bytes], scratch: str
) -> None:
    """Have systemd-boot enrol the keys; see C(secure-boot-enroll) in loader.conf(5)."""
    temporary = os.path.join(scratch, "enrolment")
    volume.make_directories(os.path.dirname(_ENROLMENT), _ENROLMENT)
    for variable in VARIABLES:
        write_file(temporary, enrolment[f"{variable}.auth"])
        volume.write(temporary, f"{_ENROLMENT}/{variable}.auth")
    os.unlink(temporary)
    volume.read(_LOADER_CONF, temporary)
    with open(temporary, "a", encoding="utf-8", newline="") as stream:
        stream.write(f"secure-boot-enroll {wanted.enrol}\n")
    volume.write(temporary, _LOADER_CONF)


__all__ = ("ImageSign",)
