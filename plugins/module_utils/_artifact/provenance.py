# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The provenance: from what, by what and how the artifacts were made, for programs that decide whether to trust them.

It is a statement of in-toto (U(https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md)) with a predicate
of SLSA (U(https://slsa.dev/spec/v1.0/provenance)), and lies in a DSSE envelope
(U(https://github.com/secure-systems-lab/dsse/blob/master/protocol.md)) where somebody signs it. It holds nothing that
changes from run to run: no times, no build host, no mirror; and nothing that may be secret.
"""

from __future__ import annotations

import base64
import json
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._artifact.manifest import Artifact
from ansible_collections.os_image.composer.plugins.module_utils._artifact.spdx import (
    ImageIdentity,
    package_url,
    public_url,
)

#: Who has built where nobody says: any host with this collection.
BUILDER_ID = "https://github.com/os-image/os_image.composer"
#: What the parameters mean.
BUILD_TYPE = "https://github.com/os-image/os_image.composer/blob/main/docs/security.md#provenance"

STATEMENT = ".provenance.json"
ENVELOPE = ".provenance.dsse.json"

_PAYLOAD_TYPE = "application/vnd.in-toto+json"


class EnvelopeSigner(t.Protocol):
    """Who signs an envelope."""

    @property
    def key_id(self) -> str:
        """What the envelope calls the key."""

    def sign_bare(self, data: bytes) -> bytes:
        """Return a signature without armor."""


def build_provenance(
    image: ImageIdentity,
    *,
    builder_id: str,
    template: t.Mapping[str, t.Any],
    template_digest: str,
    provider_id: str,
    lock: t.Mapping[str, t.Any],
    lock_digest: str,
    repositories: t.Sequence[t.Mapping[str, t.Any]],
    artifacts: t.Sequence[Artifact],
) -> bytes:
    """Return the statement as a JSON document.

    :param template: The merged template without anything secret.
    :param repositories: As the manifest lists them, without mirrors of the build host.
    """
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": artifact.name, "digest": {"sha256": artifact.sha256}} for artifact in artifacts],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"template": dict(template)},
                "internalParameters": {"provider_id": provider_id, "source_date_epoch": lock["source_date_epoch"]},
                "resolvedDependencies": [
                    {"name": "template", "digest": {"sha256": template_digest}},
                    {"name": "packages.lock.json", "digest": {"sha256": lock_digest}},
                    *(_repository(repository) for repository in repositories),
                    *(_package(image, package) for package in _sorted(lock["packages"])),
                ],
            },
            "runDetails": {
                "builder": {"id": builder_id, "version": {"os_image.composer": image.collection_version}},
                "metadata": {"invocationId": image.build_digest},
            },
        },
    }
    return json.dumps(statement, indent=2, ensure_ascii=False).encode("utf-8") + b"\n"


def _sorted(packages: t.Sequence[t.Mapping[str, t.Any]]) -> t.List[t.Mapping[str, t.Any]]:
    return sorted(packages, key=lambda package: (package["name"], package["arch"], package["version"]))


def _repository(repository: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    entry: t.Dict[str, t.Any] = {"name": f"repository {repository['name']}"}
    url = public_url(repository.get("url") or "")
    if url:
        entry["uri"] = url
    # Of loose packages, and of a repository without metadata of its own, there is none.
    if repository.get("metadata_digest"):
        entry["digest"] = {"sha256": repository["metadata_digest"]}
    told = {key: repository[key] for key in ("mirror", "suite", "signed_by", "gpgcheck") if key in repository}
    return {**entry, "annotations": told}


def _package(image: ImageIdentity, package: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    return {
        "name": package["name"],
        "uri": package_url(image, package),
        "digest": {"sha256": package["sha256"]},
        "annotations": {"repository": package["repository"]},
    }


def pre_authentication(payload: bytes) -> bytes:
    """Return what is signed of a statement: the pre-authentication encoding of DSSE."""
    kind = _PAYLOAD_TYPE.encode("ascii")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def build_envelope(statement: bytes, signer: EnvelopeSigner) -> bytes:
    """Return a signed envelope around a statement as a JSON document."""
    signature = signer.sign_bare(pre_authentication(statement))
    envelope = {
        "payloadType": _PAYLOAD_TYPE,
        "payload": base64.b64encode(statement).decode("ascii"),
        "signatures": [{"keyid": signer.key_id, "sig": base64.b64encode(signature).decode("ascii")}],
    }
    return json.dumps(envelope).encode("ascii") + b"\n"


__all__ = (
    "BUILDER_ID",
    "BUILD_TYPE",
    "ENVELOPE",
    "STATEMENT",
    "build_envelope",
    "build_provenance",
    "pre_authentication",
)
