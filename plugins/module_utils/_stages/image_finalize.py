# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The stage image_finalize: from the image to published artifacts."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._artifact.access import Access
from ansible_collections.os_image.composer.plugins.module_utils._artifact.checksums import (
    CHECKSUMS_OF_FILES,
    read_checksums,
)
from ansible_collections.os_image.composer.plugins.module_utils._artifact.compression import CODECS
from ansible_collections.os_image.composer.plugins.module_utils._artifact.maker import ArtifactMaker, write_error
from ansible_collections.os_image.composer.plugins.module_utils._artifact.manifest import (
    Artifact,
    build_manifest,
    described,
    repository_facts,
    unfree_packages,
)
from ansible_collections.os_image.composer.plugins.module_utils._artifact.plan import ArtifactPlan, plan_image
from ansible_collections.os_image.composer.plugins.module_utils._artifact.provenance import (
    BUILDER_ID,
    ENVELOPE,
    STATEMENT,
    build_envelope,
    build_provenance,
)
from ansible_collections.os_image.composer.plugins.module_utils._artifact.publish import (
    CHECKSUMS,
    SIGNATURE_SUFFIXES,
    PublishedFile,
    Staging,
    manifest_name,
    others_in,
    publish,
    staging,
)
from ansible_collections.os_image.composer.plugins.module_utils._artifact.sbom_documents import CYCLONEDX, SPDX
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory, Facts, Stamp
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, tool_version
from ansible_collections.os_image.composer.plugins.module_utils._errors import DocumentError
from ansible_collections.os_image.composer.plugins.module_utils._io import digest_of
from ansible_collections.os_image.composer.plugins.module_utils._signing.openpgp import (
    AgentSigner,
    OpenPgpSigner,
)
from ansible_collections.os_image.composer.plugins.module_utils._signing.token_signer import TokenSigner
from ansible_collections.os_image.composer.plugins.module_utils._stage import (
    Decision,
    Outcome,
    Stage,
    StageOptions,
    restore_outputs,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.document import TemplateDocument
from ansible_collections.os_image.composer.plugins.module_utils._template.model import ChecksumsSigning
from ansible_collections.os_image.composer.plugins.module_utils._template.references import is_token_key
from ansible_collections.os_image.composer.plugins.module_utils._template.secrets import public
from ansible_collections.os_image.composer.plugins.module_utils._version import COLLECTION_VERSION

_LOCK = "packages.lock.json"
_GRAPH = "chrootpkgs.dot"
# Where GnuPG has its keys when nobody says otherwise; the module runs as root.
_GNUPG_HOME = "/root/.gnupg"

#: Who signs what is published.
AnySigner = t.Union[OpenPgpSigner, AgentSigner, TokenSigner]


@dataclasses.dataclass(frozen=True)
class _Build:
    """The documents of the earlier stages."""

    document: TemplateDocument
    lock: Facts
    lock_digest: str
    graph_digest: str
    chroot: Stamp
    disk: Stamp
    sign: Stamp

    @classmethod
    def read(cls, build: BuildDirectory) -> _Build:
        resolved = build.require("pkg_resolve")
        return cls(
            document=TemplateDocument.read(build),
            lock=build.read_document(_LOCK),
            lock_digest=resolved.sha256_of(_LOCK) or "",
            graph_digest=resolved.sha256_of(_GRAPH) or "",
            chroot=build.require("chroot_configure"),
            disk=build.require("disk_compose"),
            sign=build.require("image_sign"),
        )

    @property
    def base_name(self) -> str:
        return f"{self.document.image.name}-{self.document.image.version}"

    @property
    def plans(self) -> list[ArtifactPlan]:
        return plan_image(self.base_name, self.document.target.image_type, self.document.disk.artifacts)

    @property
    def signing(self) -> ChecksumsSigning | None:
        """Who signs the checksums."""
        return self.document.system.signing.checksums

    @property
    def signing_key(self) -> t.Any:
        """What is known of the key that signs the checksums, for the inputs of the stage."""
        if self.signing is None:
            return None
        told = {"certificate": self.signing.certificate, "fingerprint": self.signing.fingerprint}
        more = {key: value for key, value in told.items() if value is not None}
        return {"key": self.signing.key, **more} if more else self.signing.key

    @property
    def shared_secrets(self) -> t.List[str]:
        """What machines that are made from the image share, as sentences."""
        return [str(problem) for problem in self.chroot.result.get("shared_secrets") or []]

    @property
    def has_provenance(self) -> bool:
        """Whether the provenance is published."""
        return bool(self.document.system.signing.provenance)

    @property
    def optional(self) -> t.List[str]:
        """The names of documents that an image may have, beside its bills of materials."""
        manifest = manifest_name(self.base_name)
        return [
            *(manifest + suffix for suffix in SIGNATURE_SUFFIXES),
            *(self.base_name + suffix for suffix in (STATEMENT, ENVELOPE)),
        ]

    @property
    def template_digest(self) -> str:
        return digest_of(self.document.fingerprint(self.document.template))


class ImageFinalize(Stage):
    """Converts, compresses, describes and publishes the image.

    :param output_dir: The directory for the finished files.
    :param image_stages: The stages that make the image, in their order: they make it again when it was removed to save
        space, and is needed after all.
    :param keep_workspace: Keep the image in the build directory.
    :param passphrase: What protects the key that signs; of a key on a token, its PIN.
    :param gnupg_home: The GnuPG home of the build host whose agent signs where the template names a fingerprint.
    :param builder_id: Who builds, for the provenance.
    """

    name = "image_finalize"
    topic = "Artifacts"
    version = 1

    def __init__(
        self,
        build: BuildDirectory,
        options: StageOptions,
        *,
        output_dir: str,
        image_stages: t.Sequence[t.Callable[[BuildDirectory, StageOptions], Stage]],
        keep_workspace: bool = True,
        passphrase: str | None = None,
        gnupg_home: str | None = None,
        builder_id: str | None = None,
        access: Access | None = None,
    ) -> None:
        super().__init__(build, options)
        self.output_dir = os.path.abspath(output_dir)
        self.image_stages = image_stages
        self.keep_workspace = keep_workspace
        self._passphrase = passphrase
        self._gnupg_home = gnupg_home or _GNUPG_HOME
        self._builder_id = builder_id or BUILDER_ID
        self.access = access or Access()

    def inputs(self) -> Facts:
        earlier = _Build.read(self.build)
        plans = earlier.plans
        return {
            "package lock": {package["name"]: package["version"] for package in earlier.lock["packages"]},
            "signing key": earlier.document.fingerprint(earlier.signing_key),
            "template": earlier.template_digest,
            **({"provenance": {"builder_id": self._builder_id}} if earlier.has_provenance else {}),
            "build digest": earlier.document.build_digest(earlier.lock),
            **({"shared secrets": earlier.shared_secrets} if earlier.shared_secrets else {}),
            "image": {"disk_compose": earlier.disk.fingerprint, "image_sign": earlier.sign.fingerprint},
            "artifacts": {plan.name: plan.described for plan in plans},
            "lock document": earlier.lock_digest,
            "dependency graph": earlier.graph_digest,
            "output_dir": self.output_dir,
            "keep_workspace": self.keep_workspace,
            "access": {
                "mode": f"{self.access.mode:04o}",
                "owner": self.access.owner,
                "group": self.access.group,
            },
            "host tools": {**_tool_versions(plans), **_signing_tools(earlier)},
            "collection": {"version": COLLECTION_VERSION, "stage": self.version},
        }

    def plan(self) -> Facts | None:
        return self._facts(_Build.read(self.build))

    def _facts(self, earlier: _Build) -> Facts:
        return {
            "output_dir": self.output_dir,
            "artifacts": {plan.name: plan.described for plan in earlier.plans},
            "packages": {package["name"]: package["version"] for package in earlier.lock["packages"]},
        }

    def execute(self, decision: Decision) -> Outcome:
        earlier = _Build.read(self.build)
        if earlier.sign.result.get("unsigned"):
            raise DocumentError(
                "The boot chain still waits for its signatures, which another host makes.",
                remedy="Set image_build_secure_boot_host, or put them where os_image.composer.image_sign wants them.",
            )
        finished = self._finished_before(earlier, decision)
        plans = [plan for plan in earlier.plans if plan.name not in finished]
        signer = self._signer(earlier)
        if plans:
            earlier = self._with_image(earlier)
        try:
            with staging(self.output_dir, earlier.base_name, is_shared=self.access.is_shared) as stage:
                made = self._maker(earlier, stage).make_all(plans)
                artifacts = [finished.get(plan.name) or made[plan.name] for plan in earlier.plans]
                files = [
                    PublishedFile(artifact.name, artifact.size, artifact.sha256, staged=artifact.name in made)
                    for artifact in artifacts
                ]
                files += self._describe(earlier, stage, artifacts, signer)
                checksums = publish(
                    stage,
                    earlier.base_name,
                    files,
                    who=self.name,
                    lock_timeout=self.options.lock_timeout,
                    signer=signer,
                    optional=earlier.optional,
                    access=self.access,
                )
        except OSError as exc:
            raise write_error(exc, self.output_dir) from exc
        if not self.keep_workspace:
            for stamp in (earlier.sign, earlier.disk):
                self.build.release_outputs(stamp.stage, stamp.result["image"])
        self.progress.milestone("Artifacts", f"Published {len(artifacts)} artifacts in {self.output_dir}")
        return self._outcome(earlier, artifacts, [*files, *checksums], signer)

    def _maker(self, earlier: _Build, stage: Staging) -> ArtifactMaker:
        return ArtifactMaker(
            stage,
            {**earlier.disk.result, "image": earlier.sign.result["image"]},
            build_digest=earlier.document.build_digest(earlier.lock),
            epoch=earlier.lock["source_date_epoch"],
            workers=self.options.workers,
            progress=self.progress,
        )

    def _signer(self, earlier: _Build) -> AnySigner | None:
        """Return who signs what is published.

        :raises DocumentError: The key is not the one that was validated.
        :raises SigningError: The key cannot sign.
        """
        if earlier.signing is None:
            return None
        signer = self._make_signer(earlier, earlier.signing)
        self.progress.milestone("Artifacts", f"Signing the checksums with the key {signer.fingerprint}")
        return signer

    def _make_signer(self, earlier: _Build, signing: ChecksumsSigning) -> AnySigner:
        key, certificate = signing.key, signing.certificate
        runner = CommandRunner(log=self.progress)
        epoch = earlier.lock["source_date_epoch"]
        if key is None:
            return AgentSigner(
                signing.fingerprint or "", runner, home=self._gnupg_home, epoch=epoch, passphrase=self._passphrase
            )
        if is_token_key(key):
            earlier.document.require_unchanged_key(certificate or "")
            return TokenSigner(key, runner, certificate=certificate or "", epoch=epoch, pin=self._passphrase)
        earlier.document.require_unchanged_key(key)
        return OpenPgpSigner(key, runner, epoch=epoch, passphrase=self._passphrase)

    def _outcome(
        self,
        earlier: _Build,
        artifacts: t.Sequence[Artifact],
        files: t.Sequence[PublishedFile],
        signer: AnySigner | None,
    ) -> Outcome:
        shared: t.Set[str] = set()
        if others_in(self.output_dir, earlier.base_name):
            shared = {CHECKSUMS, *(CHECKSUMS + suffix for suffix in SIGNATURE_SUFFIXES), _LOCK, _GRAPH}
        manifest = manifest_name(earlier.base_name)
        has_provenance = earlier.has_provenance
        return Outcome(
            result={
                "artifacts": [artifact.as_facts(self._final(artifact.name)) for artifact in artifacts],
                "manifest": self._final(manifest),
                "manifest_signature": self._final(manifest + signer.suffix) if signer else "",
                "provenance": self._final(earlier.base_name + STATEMENT) if has_provenance else "",
                "provenance_envelope": self._final(earlier.base_name + ENVELOPE) if has_provenance and signer else "",
                "sbom": self._final(earlier.base_name + SPDX),
                "cyclonedx": self._final(earlier.base_name + CYCLONEDX)
                if earlier.document.system.sbom.cyclonedx
                else "",
                "enrolment": [
                    self._final(_enrolment_name(earlier, file)) for file in earlier.sign.result.get("enrolment") or []
                ],
                "signature": self._final(CHECKSUMS + signer.suffix) if signer else "",
                "signed_by": signer.fingerprint if signer else "",
                "build_id": earlier.document.build_digest(earlier.lock),
            },
            # Files that another image's publication replaces are not held against this one.
            outputs={self._final(file.name): file.sha256 for file in files if file.name not in shared},
            facts=self._facts(earlier),
        )

    def _final(self, name: str) -> str:
        return os.path.join(self.output_dir, name)

    def _finished_before(self, earlier: _Build, decision: Decision) -> t.Dict[str, Artifact]:
        """Return the artifacts of the last run that are as they should be now."""
        before, inputs = decision.before, decision.inputs
        if before is None or self.options.rebuild == "always":
            return {}
        if any(before.inputs.get(name) != inputs[name] for name in ("image", "output_dir", "collection")):
            return {}
        old_tools = before.inputs.get("host tools", {})
        outputs = {os.path.join(self.build.path, output.path): output for output in before.outputs}
        finished = {}
        for plan in earlier.plans:
            output = outputs.get(self._final(plan.name))
            if (
                output is not None
                and output.sha256 is not None
                and before.inputs["artifacts"].get(plan.name) == plan.described
                and all(old_tools.get(tool) == version for tool, version in _tool_versions([plan]).items())
                and output.problem(relative_to=self.build.path) is None
            ):
                finished[plan.name] = plan.finished(output.size, output.sha256)
        return finished

    def _with_image(self, earlier: _Build) -> _Build:
        """Return the stamps of stages whose image is there: what was removed to save space is composed again."""
        image = earlier.sign.result["image"]
        if os.path.exists(image):
            return earlier
        if not any(output.released for output in (*earlier.disk.outputs, *earlier.sign.outputs)):
            raise DocumentError(
                f"The image {image} is missing.", remedy="Run the module os_image.composer.disk_compose again."
            )
        self.progress.milestone("Artifacts", "Composing the image again, as keep_workspace was false")
        for make in self.image_stages:
            stage = make(self.build, self.options)
            stage.progress = self.progress
            restore_outputs(stage)
        return _Build.read(self.build)

    def _describe(
        self, earlier: _Build, stage: Staging, artifacts: t.Sequence[Artifact], signer: AnySigner | None
    ) -> list[PublishedFile]:
        """Make the documents that go with the artifacts, in the order of their publication."""
        # A run that has nothing to do starts sooner without it.
        from ansible_collections.os_image.composer.plugins.module_utils._artifact.sbom import Bill

        document, lock, base_name = earlier.document, earlier.lock, earlier.base_name
        files = []
        graph = self.build.join(_GRAPH)
        if os.path.exists(graph):
            with open(graph, "rb") as stream:
                files.append(stage.write(_GRAPH, stream.read()))
        with open(self.build.join(_LOCK), "rb") as stream:
            files.append(stage.write(_LOCK, stream.read()))
        build_digest = document.build_digest(lock)
        self.progress.milestone("Artifacts", "Writing the bill of materials")
        bill = Bill.of(document, lock, [layer["path"] for layer in earlier.chroot.result["layers"]])
        checksums = None
        if bill.lists_files:
            # As disk_compose found them, when the tree was complete.
            with open(self.build.join(*CHECKSUMS_OF_FILES), "rb") as stream:
                checksums = read_checksums(stream.read())
        files += [stage.write(name, data) for name, data in bill.published(artifacts, checksums).items()]
        for file in earlier.sign.result.get("enrolment") or []:
            with open(file["path"], "rb") as stream:
                files.append(stage.write(_enrolment_name(earlier, file), stream.read()))
        repositories, warnings = repository_facts(lock["repositories"], document.provider.repositories)
        warnings += unfree_packages(lock["packages"])
        for warning in warnings:
            self.progress.milestone("Artifacts", warning, level="warn")
        if earlier.has_provenance:
            statement = build_provenance(
                bill.identity,
                builder_id=self._builder_id,
                template=public(document.fingerprint(document.template)),
                template_digest=earlier.template_digest,
                provider_id=document.provider_id,
                lock=lock,
                lock_digest=earlier.lock_digest,
                repositories=repositories,
                artifacts=artifacts,
            )
            files.append(stage.write(base_name + STATEMENT, statement))
            if signer is not None:
                files.append(stage.write(base_name + ENVELOPE, build_envelope(statement, signer)))
        # They were displayed when the boot chain was signed.
        warnings = [*warnings, *earlier.shared_secrets, *earlier.sign.result.get("warnings", [])]
        manifest = build_manifest(
            image={"name": document.image.name, "version": document.image.version},
            description=described(document.section("metadata"), document.system, document.disk),
            target=document.section("target"),
            provider_id=document.provider_id,
            template_digest=earlier.template_digest,
            lock_digest=earlier.lock_digest,
            build_digest=build_digest,
            epoch=lock["source_date_epoch"],
            collection_version=COLLECTION_VERSION,
            tools=self._all_tools(earlier),
            repositories=repositories,
            packages=lock["packages"],
            partitions=earlier.disk.result["partitions"],
            boot=earlier.disk.result["boot"],
            iso=earlier.disk.result.get("iso"),
            signed=earlier.sign.result.get("signed") or [],
            secure_boot=_secure_boot_facts(earlier),
            signature=_signature_facts(base_name, signer),
            artifacts=artifacts,
            warnings=warnings,
        )
        files.append(stage.write(manifest_name(base_name), manifest))
        if signer is not None:
            files.append(stage.write(manifest_name(base_name) + signer.suffix, signer.sign(manifest)))
        return files

    @staticmethod
    def _all_tools(earlier: _Build) -> t.Dict[str, str]:
        """Return the tools of all stages that shaped the image."""
        tools: t.Dict[str, str] = {}
        for stamp in (earlier.chroot, earlier.disk, earlier.sign):
            versions = stamp.inputs.get("host tools")
            if isinstance(versions, dict):
                tools.update({name: version for name, version in versions.items() if isinstance(version, str)})
        tools.update(_tool_versions(earlier.plans))
        tools.update(_signing_tools(earlier))
        return tools


def _enrolment_name(earlier: _Build, file: t.Mapping[str, str]) -> str:
    """Return the name under which something that enrols the keys is published."""
    return f"{earlier.base_name}.{file['name']}"


def _secure_boot_facts(earlier: _Build) -> Facts | None:
    """Return what the manifest says about the keys for Secure Boot."""
    result = earlier.sign.result
    if not result.get("certificates"):
        return None
    return {
        "certificates": [
            {key: certificate[key] for key in ("variable", "subject", "sha256")}
            for certificate in result["certificates"]
        ],
        "test_keys": result["test_keys"],
        "files": [_enrolment_name(earlier, file) for file in result["enrolment"]],
    }


def _tool_versions(plans: t.Sequence[ArtifactPlan]) -> t.Dict[str, str]:
    """Return the programs and libraries that shape these artifacts."""
    tools = {}
    if any(plan.is_converted for plan in plans):
        tools["qemu-img"] = tool_version("qemu-img")
    for compression in sorted({plan.compression for plan in plans if plan.compression}):
        name, version = CODECS[compression].tool()
        tools[name] = version
    return tools


def _signing_tools(earlier: _Build) -> t.Dict[str, str]:
    """Return the program that shapes the signature of the checksums, if there is one."""
    if earlier.signing is None:
        return {}
    return dict([(TokenSigner if is_token_key(earlier.signing.key or "") else OpenPgpSigner).tool()])


def _signature_facts(base_name: str, signer: AnySigner | None) -> t.Dict[str, str] | None:
    """Return what the manifest tells of the signatures."""
    if signer is None:
        return None
    return {
        "path": CHECKSUMS + signer.suffix,
        "manifest": manifest_name(base_name) + signer.suffix,
        "signed_by": signer.fingerprint,
    }


__all__ = ("ImageFinalize",)
