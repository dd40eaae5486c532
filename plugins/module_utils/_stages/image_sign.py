# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The stage image_sign: the boot chain, signed for Secure Boot."""

from __future__ import annotations

import os
import shutil
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._boot.fat_volume import FatVolume
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import Facts
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._errors import DocumentError, SigningError
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_file, write_file
from ansible_collections.os_image.composer.plugins.module_utils._partition_type import ESP, MBR_ESP
from ansible_collections.os_image.composer.plugins.module_utils._signing.secure_boot import (
    SecureBootKeys,
    sign_esp,
    signer_class,
    signer_version,
    template_problem,
)
from ansible_collections.os_image.composer.plugins.module_utils._sparse import clone_file, copy_sparse
from ansible_collections.os_image.composer.plugins.module_utils._stage import Decision, Outcome, Stage, restore_outputs
from ansible_collections.os_image.composer.plugins.module_utils._stages.disk_compose import DiskCompose
from ansible_collections.os_image.composer.plugins.module_utils._template.document import TemplateDocument

_NO_KEYS = "no Secure Boot keys are configured"


class ImageSign(Stage):
    """Signs the EFI programs of the image."""

    name = "image_sign"
    topic = "Signing"
    version = 1

    def inputs(self) -> Facts:
        document = TemplateDocument.read(self.build)
        keys = SecureBootKeys.of(document.system.signing)
        facts: Facts = {
            "disk image": self.build.require("disk_compose").fingerprint,
            "signing": document.fingerprint(document.section("systemConfig", "signing").get("secureBoot")),
        }
        if keys is not None:
            signer = signer_class()
            facts["host tools"] = {signer.tool: signer_version(signer)}
        return facts

    def plan(self) -> Facts | None:
        keys = SecureBootKeys.of(TemplateDocument.read(self.build).system.signing)
        return None if keys else {"signed": []}

    def idle_reason(self) -> str:
        keys = SecureBootKeys.of(TemplateDocument.read(self.build).system.signing)
        # What an earlier run has signed would be removed.
        return "" if keys or os.path.isdir(self.build.join("signed")) else _NO_KEYS

    def execute(self, decision: Decision) -> Outcome:
        document = TemplateDocument.read(self.build)
        directory = self.build.join("signed")
        keys = SecureBootKeys.of(document.system.signing)
        composed = self.build.require("disk_compose").result
        if keys is None:
            idle = self.idle_reason()
            shutil.rmtree(directory, ignore_errors=True)
            self.progress.milestone("Signing", f"Nothing is signed: {_NO_KEYS}")
            result = {"signed": [], "certificates": [], "image": composed["image"]}
            return Outcome(result=result, facts={"signed": []}, idle=idle)
        system = document.system
        problem = template_problem(system.signing, system.bootloader, system.kernel)
        if problem:
            raise SigningError(problem)
        for path in (keys.key, keys.certificate, keys.enrolment):
            self._check_unchanged(document, path)
        return self._sign(document, keys, composed, directory)

    def _check_unchanged(self, document: TemplateDocument, path: str | None) -> None:
        if path is not None and os.path.isfile(path) and sha256_file(path) != document.files.get(path):
            raise DocumentError(
                f"The key file {path} has changed since the template was validated.",
                remedy="Run the module os_image.composer.image_template_validate again.",
            )

    def _sign(
        self, document: TemplateDocument, keys: SecureBootKeys, composed: t.Mapping[str, t.Any], directory: str
    ) -> Outcome:
        runner = CommandRunner(log=self.progress)
        for warning in keys.warnings():
            self.progress.milestone("Signing", warning, level="warn")
        certificate = keys.check(runner)
        esp = next(
            (partition for partition in composed["partitions"] if partition["type"] in (ESP, f"0x{MBR_ESP:02x}")), None
        )
        if esp is None:
            raise SigningError("The disk has no EFI system partition, so that there is nothing to be signed.")
        source = str(composed["image"])
        if not os.path.exists(source):
            # A later stage has released it to save space.
            stage = DiskCompose(self.build, self.options)
            stage.progress = self.progress
            restore_outputs(stage)

        scratch = os.path.join(directory, "work")
        shutil.rmtree(scratch, ignore_errors=True)
        os.makedirs(scratch, mode=0o700)
        image, enrolment = os.path.join(directory, "image.raw"), os.path.join(directory, "db.cer")
        try:
            self.progress.milestone("Signing", f"Signing the boot chain as {certificate.subject}")
            temporary = os.path.join(scratch, "image")
            if not clone_file(source, temporary):
                copy_sparse(source, temporary)
            epoch = self.build.read_document("packages.lock.json")["source_date_epoch"]
            signer = signer_class()(keys, runner, epoch=epoch)
            if not signer.is_reproducible:
                self.progress.milestone(
                    "Signing",
                    "sbsign puts the present time into signatures, so that the image is not reproducible; install "
                    "osslsigncode or libfaketime on the build host",
                    level="warn",
                )
            signed = sign_esp(
                FatVolume(temporary, esp["start"], runner, epoch=epoch),
                signer,
                scratch,
                made={program["path"]: program["sha256"] for program in composed["efi_programs"]},
                named=_named_programs(document),
            )
            write_file(enrolment, certificate.der)
            os.rename(temporary, image)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        self.progress.milestone("Signing", f"Signed {len(signed)} EFI programs")
        known = {"subject": certificate.subject, "sha256": certificate.sha256, "path": enrolment}
        return Outcome(
            result={"signed": signed, "certificates": [known], "image": image},
            outputs={image: None, enrolment: certificate.sha256},
            facts={"signed": signed, "certificate": certificate.subject},
        )


def _named_programs(document: TemplateDocument) -> t.Sequence[str]:
    secure_boot = document.system.signing.secure_boot
    return (secure_boot.programs if secure_boot else None) or ()


__all__ = ("ImageSign",)
