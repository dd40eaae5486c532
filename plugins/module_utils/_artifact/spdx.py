# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The bill of materials as an SPDX 2.3 document in JSON, which lists the image, its packages and its artifacts."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import re
import typing as t
import urllib.parse

from ansible_collections.os_image.composer.plugins.module_utils._artifact.checksums import FileChecksums
from ansible_collections.os_image.composer.plugins.module_utils._artifact.license import DeclaredLicense
from ansible_collections.os_image.composer.plugins.module_utils._artifact.manifest import Artifact
from ansible_collections.os_image.composer.plugins.module_utils._identity import derive_uuid
from ansible_collections.os_image.composer.plugins.module_utils._io import digest_of

_IMAGE_ID = "SPDXRef-Image"
_DOCUMENT_ID = "SPDXRef-DOCUMENT"

# What Debian calls a maintainer does not say whether it is a person; these words do.
_ORGANISATION = re.compile(r"\b(team|group|maintainers?|developers?|project|debian|list|packagers)\b", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class PackageDescription:
    """What an installed package says about itself.

    :ivar maintainer: C(Name <address>); may be empty.
    :ivar homepage: A URL; may be empty.
    :ivar summary: One line; may be empty.
    :ivar vendor: The organisation that made the package; may be empty.
    """

    maintainer: str = ""
    homepage: str = ""
    summary: str = ""
    license: DeclaredLicense = DeclaredLicense()
    vendor: str = ""


@dataclasses.dataclass(frozen=True)
class ImageIdentity:
    """What the document is about.

    :ivar os: The operating system, for example C(debian).
    :ivar release_version: Its release, for example C(12).
    :ivar package_type: The type of the packages in a package URL: C(deb) or C(rpm).
    :ivar epoch: C(SOURCE_DATE_EPOCH).
    :ivar description: What the image is for; may be empty.
    """

    name: str
    version: str
    os: str
    release_version: str
    package_type: str
    build_digest: str
    collection_version: str
    epoch: int
    description: str = ""


def package_url(image: ImageIdentity, package: t.Mapping[str, t.Any]) -> str:
    """Return the package URL (https://github.com/package-url/purl-spec) of a package of the lock."""

    def quote(text: str) -> str:
        return urllib.parse.quote(text, safe=":")

    version = package["version"]
    qualifiers = {"arch": package["arch"], "distro": f"{image.os}-{image.release_version}"}
    if image.package_type == "rpm" and ":" in version:
        qualifiers["epoch"], version = version.split(":", 1)
    source = str(package.get("source") or "").partition(" ")[0]
    if source and source != package["name"]:
        qualifiers["upstream"] = source
    joined = "&".join(f"{name}={quote(value)}" for name, value in sorted(qualifiers.items()))
    name = quote(package["name"].lower() if image.package_type == "deb" else package["name"])
    return f"pkg:{image.package_type}/{quote(image.os)}/{name}@{quote(version)}?{joined}"


def _supplier(description: PackageDescription) -> str:
    # Parentheses enclose an address in SPDX.
    vendor = " ".join(re.sub(r"[()]", " ", description.vendor).split())
    if vendor:
        return f"Organization: {vendor}"
    name, address = _name_and_address(description.maintainer)
    if not name:
        return "NOASSERTION"
    kind = "Organization" if _ORGANISATION.search(name) or "@lists." in address else "Person"
    name = re.sub(r"[()]", "", name).strip(' "')
    return f"{kind}: {name} ({address})"


def _name_and_address(maintainer: str) -> t.Tuple[str, str]:
    """Take C(Name <address>) apart; two empty texts when it has not that form."""
    name, mark, rest = maintainer.strip().rpartition("<")
    address = rest[:-1]
    local, _at, domain = address.rpartition("@")
    if not (mark and local and domain and rest.endswith(">")) or "\n" in name or re.search(r"[<>\s]", address):
        return "", ""
    return name.strip(), address


def maintainer_name(maintainer: str) -> str:
    """Return the name of C(Name <address>); empty when it has not that form."""
    return _name_and_address(maintainer)[0].strip(' "')


def public_url(url: str) -> str | None:
    """Return a URL that may stand in a public document, or V(None)."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return None
    if parts.scheme not in ("http", "https", "ftp") or not parts.hostname or "@" in parts.netloc:
        return None
    return url if re.fullmatch(r"[!-~]+", url) else None


class _Identifiers:
    """SPDX identifiers: letters, digits, full stop and hyphen, each used once."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def make(self, kind: str, *parts: str) -> str:
        base = f"SPDXRef-{kind}-" + re.sub(r"[^A-Za-z0-9.-]", "-", "-".join(parts))
        identifier, number = base, 1
        while identifier in self._used:
            number += 1
            identifier = f"{base}-{number}"
        self._used.add(identifier)
        return identifier


def _relationship(subject: str, kind: str, related: str) -> t.Dict[str, str]:
    return {"spdxElementId": subject, "relationshipType": kind, "relatedSpdxElement": related}


def _package(
    identifier: str,
    image: ImageIdentity,
    package: t.Mapping[str, t.Any],
    description: PackageDescription,
    public_repositories: t.Collection[str],
) -> t.Dict[str, t.Any]:
    # A mirror of this build host is nobody else's business: only repositories that name their URL are named.
    location = public_url(package.get("url") or "") if package.get("repository") in public_repositories else None
    entry: t.Dict[str, t.Any] = {
        "SPDXID": identifier,
        "name": package["name"],
        "versionInfo": package["version"],
        "supplier": _supplier(description),
        "downloadLocation": location or "NOASSERTION",
        "filesAnalyzed": False,
        "checksums": [{"algorithm": "SHA256", "checksumValue": package["sha256"]}],
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": description.license.expression,
        "copyrightText": "NOASSERTION",
    }
    homepage = public_url(description.homepage)
    if homepage:
        entry["homepage"] = homepage
    if package.get("source"):
        entry["sourceInfo"] = f"built from the source package {package['source']}"
    if description.summary:
        entry["summary"] = description.summary
    entry["externalRefs"] = [
        {
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": package_url(image, package),
        }
    ]
    return entry


def created(image: ImageIdentity) -> str:
    """Return the time at which a bill of materials was made: that of the image."""
    return datetime.datetime.fromtimestamp(image.epoch, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def document_uuid(image: ImageIdentity, kind: str, artifacts: t.Sequence[Artifact]) -> str:
    """Return the UUID of a bill of materials; those that tell something else have another one.

    :param kind: What document it is: C(spdx) or C(cyclonedx).
    """
    told = [image.description, [artifact.as_facts(artifact.name) for artifact in artifacts]]
    return derive_uuid(image.build_digest, f"artifact/{kind}/{digest_of(told)}")


def _artifact(identifier: str, image: ImageIdentity, artifact: Artifact) -> t.Dict[str, t.Any]:
    return {
        "SPDXID": identifier,
        "name": artifact.name,
        "versionInfo": image.version,
        "packageFileName": artifact.name,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "checksums": [{"algorithm": "SHA256", "checksumValue": artifact.sha256}],
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "primaryPackagePurpose": "ARCHIVE" if artifact.compression else "FILE",
    }


def _file(identifier: str, file: FileChecksums) -> t.Dict[str, t.Any]:
    return {
        "SPDXID": identifier,
        "fileName": f".{file.path}",
        "checksums": [
            {"algorithm": "SHA1", "checksumValue": file.sha1},
            {"algorithm": "SHA256", "checksumValue": file.sha256},
        ],
        "licenseConcluded": "NOASSERTION",
        "licenseInfoInFiles": ["NOASSERTION"],
        "copyrightText": "NOASSERTION",
    }


def verification_code(files: t.Sequence[FileChecksums]) -> str:
    """Return the package verification code of SPDX 2.3 (7.9)."""
    joined = "".join(sorted(file.sha1 for file in files))
    return hashlib.sha1(joined.encode("ascii"), usedforsecurity=False).hexdigest()


def _analysis(files: t.Sequence[FileChecksums] | None, excluded: t.Sequence[str]) -> t.Dict[str, t.Any]:
    """Return what the image's entry says about its files."""
    if files is None:
        return {"filesAnalyzed": False}
    return {
        "filesAnalyzed": True,
        "packageVerificationCode": {
            "packageVerificationCodeValue": verification_code(files),
            "packageVerificationCodeExcludedFiles": [f".{path}" for path in excluded],
        },
        "licenseInfoFromFiles": ["NOASSERTION"],
    }


def build_sbom(
    image: ImageIdentity,
    packages: t.Sequence[t.Mapping[str, t.Any]],
    descriptions: t.Mapping[str, PackageDescription],
    *,
    public_repositories: t.Collection[str] = (),
    artifacts: t.Sequence[Artifact] = (),
    files: t.Sequence[FileChecksums] | None = None,
    excluded: t.Sequence[str] = (),
) -> bytes:
    """Return the document.

    :param packages: The packages of the lock.
    :param descriptions: By the package's name; packages without one are listed with what the lock knows.
    :param public_repositories: The names of the repositories whose URLs may be told.
    :param artifacts: The files that have the image in them; none when the document lies in the image itself.
    :param files: The files of the image, but for C(excluded); V(None) when they are not to be listed.
    """
    identifiers = _Identifiers()
    ordered = sorted(packages, key=lambda package: (package["name"], package["arch"], package["version"]))
    by_name: t.Dict[str, str] = {}
    entries: t.List[t.Dict[str, t.Any]] = []
    extracted: t.Dict[str, t.Dict[str, t.Any]] = {}
    ids: t.List[str] = []
    for package in ordered:
        identifier = identifiers.make("Package", package["name"], package["arch"])
        ids.append(identifier)
        by_name.setdefault(package["name"], identifier)
        description = descriptions.get(package["name"], PackageDescription())
        entries.append(_package(identifier, image, package, description, public_repositories))
        for license_info in description.license.extracted:
            extracted[license_info.identifier] = {
                "licenseId": license_info.identifier,
                "name": license_info.name,
                "extractedText": license_info.text,
            }
    relationships = [_relationship(_DOCUMENT_ID, "DESCRIBES", _IMAGE_ID)]
    relationships += [_relationship(_IMAGE_ID, "CONTAINS", identifier) for identifier in ids]
    for package, identifier in zip(ordered, ids):
        needed = sorted({by_name[name] for name in package.get("depends", ()) if name in by_name} - {identifier})
        relationships += [_relationship(identifier, "DEPENDS_ON", other) for other in needed]
    for artifact in artifacts:
        identifier = identifiers.make("Artifact", artifact.name)
        entries.append(_artifact(identifier, image, artifact))
        relationships.append(_relationship(identifier, "GENERATED_FROM", _IMAGE_ID))
    file_entries: t.List[t.Dict[str, t.Any]] = []
    for file in files or ():
        identifier = identifiers.make("File", str(len(file_entries) + 1))
        file_entries.append(_file(identifier, file))
        relationships.append(_relationship(_IMAGE_ID, "CONTAINS", identifier))
    base_name = f"{image.name}-{image.version}"
    document = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": _DOCUMENT_ID,
        "name": base_name,
        "documentNamespace": (
            f"https://spdx.org/spdxdocs/{urllib.parse.quote(base_name, safe='')}-"
            f"{document_uuid(image, 'spdx', artifacts)}"
        ),
        "creationInfo": {
            "created": created(image),
            "creators": [f"Tool: os_image.composer-{image.collection_version}"],
        },
        "packages": [
            {
                "SPDXID": _IMAGE_ID,
                "name": image.name,
                "versionInfo": image.version,
                "downloadLocation": "NOASSERTION",
                **_analysis(files, excluded),
                "licenseConcluded": "NOASSERTION",
                "licenseDeclared": "NOASSERTION",
                "copyrightText": "NOASSERTION",
                "primaryPackagePurpose": "OPERATING-SYSTEM",
                **({"description": image.description} if image.description else {}),
            },
            *entries,
        ],
        "relationships": relationships,
    }
    if file_entries:
        document["files"] = file_entries
    if extracted:
        document["hasExtractedLicensingInfos"] = [extracted[key] for key in sorted(extracted)]
    # Python writes indented JSON ten times slower than compact JSON; one entry a line is readable, too.
    return lines(document)


def lines(document: t.Mapping[str, t.Any]) -> bytes:
    """Serialize a document with each entry of its lists on a line of its own."""

    def dump(value: t.Any) -> str:
        return json.dumps(value, ensure_ascii=False)

    members = []
    for key, value in document.items():
        if isinstance(value, list):
            text = "[\n" + ",\n".join(f"    {dump(item)}" for item in value) + "\n  ]"
        else:
            text = dump(value)
        members.append(f"  {dump(key)}: {text}")
    return ("{\n" + ",\n".join(members) + "\n}\n").encode("utf-8", errors="replace")


__all__ = (
    "ImageIdentity",
    "PackageDescription",
    "build_sbom",
    "created",
    "document_uuid",
    "lines",
    "maintainer_name",
    "package_url",
    "public_url",
    "verification_code",
)
