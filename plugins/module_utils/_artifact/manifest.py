# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The manifest: what an image is made of and what was made of it. It holds nothing that changes from run to run."""

from __future__ import annotations

import dataclasses
import json
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._template.model import Disk, SystemConfig
from ansible_collections.os_image.composer.plugins.module_utils._template.provider_model import Repository

# Of Debian and of Ubuntu: what may not be changed, or not be passed on by everybody.
_UNFREE_COMPONENTS = frozenset({"non-free", "non-free-firmware", "restricted", "multiverse"})

#: Version of the form of the manifest.
MANIFEST_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Artifact:
    """A finished artifact.

    :ivar name: Its file name.
    :ivar format: A key of C(FORMATS), or C(iso), C(initrd), C(kernel).
    :ivar compression: A key of C(COMPRESSIONS), or V(None).
    :ivar level: The level of the compression, or V(None).
    :ivar subformat: The variant of the format; V(None) where it has none.
    """

    name: str
    format: str
    compression: t.Optional[str]
    size: int
    sha256: str
    level: t.Optional[int] = None
    subformat: t.Optional[str] = None

    def as_facts(self, path: str) -> t.Dict[str, t.Any]:
        """Return the form of manifests and results."""
        return {
            "path": path,
            "format": self.format,
            "subformat": self.subformat,
            "compression": self.compression,
            "level": self.level,
            "size": self.size,
            "sha256": self.sha256,
        }


def repository_facts(
    locked: t.Sequence[t.Mapping[str, t.Any]], configured: t.Sequence[Repository]
) -> t.Tuple[t.List[t.Dict[str, t.Any]], t.List[str]]:
    """Return the repositories as the manifest lists them, and warnings.

    The URL is told when the template or the provider names it; where they name a mirror, only the mirror's name is.

    :param locked: C(repositories) of the lock.
    :param configured: The repositories of the provider.
    """
    by_name = {repository.name: repository for repository in configured}
    facts, warnings = [], []
    for repository in locked:
        entry = {"name": repository["name"]}
        source = by_name.get(repository["name"])
        if source is not None and source.mirror:
            entry["mirror"] = source.mirror
        for key in ("url", "metalink", "mirrorlist"):
            if source is not None and getattr(source, key):
                entry[key] = getattr(source, key)
        if repository.get("suite"):
            entry["suite"] = repository["suite"]
        if source is not None and source.components:
            entry["components"] = list(source.components)
        entry["metadata_digest"] = repository.get("metadata_digest")
        entry["signed_by"] = list(repository.get("signed_by", ()))
        entry["gpgcheck"] = repository.get("gpgcheck", True)
        facts.append(entry)
        if not entry["gpgcheck"]:
            warnings.append(
                f"The repository {repository['name']} is not verified: the template says gpgcheck: false for it."
            )
        elif not entry["signed_by"]:
            warnings.append(
                f"The metadata of the repository {repository['name']} is not signed (repoGpgcheck: false); only its "
                "packages were verified."
            )
    return facts, warnings


def unfree_packages(packages: t.Sequence[t.Mapping[str, t.Any]]) -> t.List[str]:
    """Return a warning for each component of the lock's packages that a distribution keeps apart as not free."""
    names: t.Dict[str, t.List[str]] = {}
    for package in packages:
        component = package.get("component", "")
        if component.rpartition("/")[2] in _UNFREE_COMPONENTS:
            names.setdefault(component, []).append(package["name"])
    return [
        f"The image has packages of the component {component}, which is not free software; look at their licences "
        f"before you pass it on: {', '.join(sorted(found))}."
        for component, found in sorted(names.items())
    ]


def described(metadata: t.Mapping[str, t.Any], system: SystemConfig, disk: Disk) -> t.Dict[str, t.Any]:
    """Return what a template says for people: C(metadata), and names and descriptions; without what it leaves empty."""
    said: t.Dict[str, t.Mapping[str, t.Any]] = {
        "metadata": metadata,
        "system": {"name": system.name, "description": system.description},
        "disk": {"name": disk.name},
        "kernel": {"name": system.kernel.name},
    }
    facts = {section: {key: value for key, value in values.items() if value} for section, values in said.items()}
    return {section: values for section, values in facts.items() if values}


def build_manifest(
    *,
    image: t.Mapping[str, str],
    description: t.Mapping[str, t.Any],
    target: t.Mapping[str, str],
    provider_id: str,
    template_digest: str,
    lock_digest: str,
    build_digest: str,
    epoch: int,
    collection_version: str,
    tools: t.Mapping[str, str],
    repositories: t.Sequence[t.Mapping[str, t.Any]],
    packages: t.Sequence[t.Mapping[str, t.Any]],
    partitions: t.Sequence[t.Mapping[str, t.Any]],
    boot: t.Mapping[str, t.Any],
    signed: t.Sequence[str],
    signature: t.Mapping[str, str] | None,
    artifacts: t.Sequence[Artifact],
    warnings: t.Sequence[str],
    iso: t.Mapping[str, t.Any] | None = None,
    secure_boot: t.Mapping[str, t.Any] | None = None,
) -> bytes:
    """Return the manifest as a JSON document.

    :param description: See :func:`described`.
    :param signed: The EFI programs that are signed for Secure Boot.
    :param signature: The signatures of the checksums and of this document: their files and the fingerprint of the key.
    :param tools: The programs and libraries of the build host that shaped the outputs, with their versions.
    :param iso: What disk_compose tells about an ISO.
    :param secure_boot: The certificates that machines have to trust, whether their keys are for tests, and the files
        that enrol them; V(None) when nothing is signed.
    """
    document = {
        "schema_version": MANIFEST_VERSION,
        "image": dict(image),
        **description,
        "target": dict(target),
        "provider_id": provider_id,
        "template_digest": template_digest,
        "lock_digest": lock_digest,
        "build_digest": build_digest,
        "source_date_epoch": epoch,
        "collection_version": collection_version,
        "tools": {name: tools[name] for name in sorted(tools)},
        "repositories": list(repositories),
        "packages": [
            {key: package.get(key) for key in ("name", "version", "arch", "sha256", "reason")}
            for package in sorted(packages, key=lambda package: (package["name"], package["arch"]))
        ],
        "partitions": list(partitions),
        "boot": dict(boot),
        **({"iso": dict(iso)} if iso else {}),
        "signed": list(signed),
        **({"secure_boot": dict(secure_boot)} if secure_boot else {}),
        "signature": None if signature is None else dict(signature),
        "artifacts": [artifact.as_facts(artifact.name) for artifact in artifacts],
        "warnings": list(warnings),
    }
    return json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8") + b"\n"


__all__ = ("MANIFEST_VERSION", "Artifact", "build_manifest", "described", "repository_facts", "unfree_packages")
