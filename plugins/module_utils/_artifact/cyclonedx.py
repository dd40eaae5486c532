# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The software bill of materials as a CycloneDX 1.6 document in JSON, with the same content as the SPDX one."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._artifact.manifest import Artifact
from ansible_collections.os_image.composer.plugins.module_utils._artifact.spdx import (
    ImageIdentity,
    PackageDescription,
    created,
    document_uuid,
    lines,
    maintainer_name,
    package_url,
    public_url,
)

_IMAGE_REF = "image"
_NO_LICENSE = ("NOASSERTION", "NONE", "")


def _hashes(sha256: str) -> t.List[t.Dict[str, str]]:
    return [{"alg": "SHA-256", "content": sha256}]


def _component(
    image: ImageIdentity, package: t.Mapping[str, t.Any], description: PackageDescription
) -> t.Dict[str, t.Any]:
    url = package_url(image, package)
    entry: t.Dict[str, t.Any] = {
        "type": "library",
        "bom-ref": url,
        "name": package["name"],
        "version": package["version"],
    }
    supplier = description.vendor or maintainer_name(description.maintainer)
    if supplier:
        entry["supplier"] = {"name": supplier}
    if description.summary:
        entry["description"] = description.summary
    entry["hashes"] = _hashes(package["sha256"])
    if description.license.expression not in _NO_LICENSE:
        entry["licenses"] = [{"expression": description.license.expression}]
    entry["purl"] = url
    homepage = public_url(description.homepage)
    if homepage:
        entry["externalReferences"] = [{"type": "website", "url": homepage}]
    return entry


def build_cyclonedx(
    image: ImageIdentity,
    packages: t.Sequence[t.Mapping[str, t.Any]],
    descriptions: t.Mapping[str, PackageDescription],
    *,
    artifacts: t.Sequence[Artifact] = (),
) -> bytes:
    """Return the document, see U(https://cyclonedx.org/docs/1.6/json/).

    :param packages: The packages of the lock.
    :param descriptions: By the package's name; packages without one are listed with what the lock knows.
    :param artifacts: The files that have the image in them; none when the document lies in the image itself.
    """
    ordered = sorted(packages, key=lambda package: (package["name"], package["arch"], package["version"]))
    refs: t.Dict[str, str] = {}
    for package in ordered:
        refs.setdefault(package["name"], package_url(image, package))
    components = [
        _component(image, package, descriptions.get(package["name"], PackageDescription())) for package in ordered
    ]
    dependencies = [{"ref": _IMAGE_REF, "dependsOn": sorted({component["bom-ref"] for component in components})}]
    for package, component in zip(ordered, components):
        needed = {refs[name] for name in package.get("depends", ()) if name in refs} - {component["bom-ref"]}
        dependencies.append({"ref": component["bom-ref"], "dependsOn": sorted(needed)})
    components += [
        {
            "type": "file",
            "bom-ref": f"artifact/{artifact.name}",
            "name": artifact.name,
            "version": image.version,
            "hashes": _hashes(artifact.sha256),
        }
        for artifact in artifacts
    ]
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{document_uuid(image, 'cyclonedx', artifacts)}",
        "version": 1,
        "metadata": {
            "timestamp": created(image),
            "tools": {
                "components": [
                    {"type": "application", "name": "os_image.composer", "version": image.collection_version}
                ]
            },
            "component": {
                "type": "operating-system",
                "bom-ref": _IMAGE_REF,
                "name": image.name,
                "version": image.version,
                **({"description": image.description} if image.description else {}),
            },
        },
        "components": components,
        "dependencies": dependencies,
    }
    return lines(document)


__all__ = ("build_cyclonedx",)
