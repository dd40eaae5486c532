# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The SPDX document, judged by spdx-tools, and the CycloneDX document, judged by its schema."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
import time
import typing as t

import jsonschema
import pytest
from ansible_collections.os_image.composer.plugins.module_utils._artifact.checksums import FileChecksums
from ansible_collections.os_image.composer.plugins.module_utils._artifact.cyclonedx import build_cyclonedx
from ansible_collections.os_image.composer.plugins.module_utils._artifact.license import declared_license
from ansible_collections.os_image.composer.plugins.module_utils._artifact.manifest import Artifact
from ansible_collections.os_image.composer.plugins.module_utils._artifact.rpm_license import tagged_license
from ansible_collections.os_image.composer.plugins.module_utils._artifact.spdx import (
    ImageIdentity,
    PackageDescription,
    build_sbom,
    maintainer_name,
    package_url,
)

IMAGE = ImageIdentity(
    name="appliance",
    version="1.0",
    os="debian",
    release_version="12",
    package_type="deb",
    build_digest="ab" * 32,
    collection_version="0.1.0",
    epoch=1700000000,
)
ODD_LICENSE = declared_license(
    "x", b"Format: .../copyright-format/1.0/\n\nFiles: *\nLicense: Odd, one & all\n Text\n\nFiles: b\nLicense: GPL-2+\n"
)


def _package(name: str, version: str = "1.0-1", **more: t.Any) -> dict[str, t.Any]:
    return {
        "name": name,
        "version": version,
        "arch": "amd64",
        "sha256": "0" * 64,
        "url": f"http://user:pw@mirror.example/{name}",
        "repository": "stable",
        "depends": [],
        **more,
    }


def _validate(path: pathlib.Path) -> list[str]:
    parse = pytest.importorskip("spdx_tools.spdx.parser.parse_anything")
    validator = pytest.importorskip("spdx_tools.spdx.validation.document_validator")
    return [str(message) for message in validator.validate_full_spdx_document(parse.parse_file(str(path)))]


def test_valid(tmp_path: pathlib.Path) -> None:
    packages = [
        _package("libstdc++6", "12.2.0-14", source="gcc-12", depends=["libc6"]),
        _package("libstdc--6"),
        _package("libc6", "2.36-9+deb12u10", depends=["gone"]),
        _package("a.b+c", "1:2.0~rc1-1", arch="all", repository="vendor", url="https://pkgs.vendor.example/a.deb"),
    ]
    descriptions = {
        "libstdc++6": PackageDescription(
            "Debian GCC Maintainers <gcc@lists.example.org>", "http://gcc.gnu.org/", "C++"
        ),
        "libc6": PackageDescription("Ann (Bee) <ann@example.org>", "not a url", "", ODD_LICENSE),
        "a.b+c": PackageDescription("nobody", "https://user:secret@example.org/", "\u00e4"),
    }
    data = build_sbom(IMAGE, packages, descriptions, public_repositories=["vendor"])
    assert data == build_sbom(IMAGE, list(reversed(packages)), descriptions, public_repositories=["vendor"])
    path = tmp_path / "image.spdx.json"
    path.write_bytes(data)
    assert _validate(path) == []
    document = json.loads(data)
    by_name = {package["name"]: package for package in document["packages"]}
    assert by_name["appliance"]["primaryPackagePurpose"] == "OPERATING-SYSTEM"
    assert by_name["libstdc++6"]["supplier"] == "Organization: Debian GCC Maintainers (gcc@lists.example.org)"
    assert by_name["libc6"]["supplier"] == "Person: Ann Bee (ann@example.org)"
    assert by_name["a.b+c"]["supplier"] == "NOASSERTION"
    assert by_name["a.b+c"]["downloadLocation"] == "https://pkgs.vendor.example/a.deb"
    assert by_name["libc6"]["downloadLocation"] == "NOASSERTION"
    assert "homepage" not in by_name["libc6"]
    text = data.decode()
    assert "mirror.example" not in text
    assert "secret" not in text
    assert document["creationInfo"]["created"] == "2023-11-14T22:13:20Z"
    kinds = [
        (relation["relationshipType"], relation["spdxElementId"], relation["relatedSpdxElement"])
        for relation in document["relationships"]
    ]
    assert ("DESCRIBES", "SPDXRef-DOCUMENT", "SPDXRef-Image") in kinds
    assert len([kind for kind in kinds if kind[:2] == ("CONTAINS", "SPDXRef-Image")]) == 4
    assert ("DEPENDS_ON", by_name["libstdc++6"]["SPDXID"], by_name["libc6"]["SPDXID"]) in kinds
    assert len({package["SPDXID"] for package in document["packages"]}) == 5


@pytest.mark.parametrize(
    ("package", "url"),
    [
        (_package("bash", "5.2.15-2+b7"), "pkg:deb/debian/bash@5.2.15-2%2Bb7?arch=amd64&distro=debian-12"),
        (
            _package("libssl3", "1:3.0~x", source="openssl"),
            "pkg:deb/debian/libssl3@1:3.0~x?arch=amd64&distro=debian-12&upstream=openssl",
        ),
        (_package("libstdc++6"), "pkg:deb/debian/libstdc%2B%2B6@1.0-1?arch=amd64&distro=debian-12"),
    ],
)
def test_package_urls(package: dict[str, t.Any], url: str) -> None:
    assert package_url(IMAGE, package) == url


ARTIFACTS = [
    Artifact("appliance-1.0.raw.zst", "raw", "zstd", 10, "ab" * 32, 3),
    Artifact("appliance-1.0.vhd", "vhd", None, 20, "cd" * 32, None, "fixed"),
]
FILES = [
    FileChecksums("/usr/bin/true", "b" * 40, "1" * 64),
    FileChecksums("/usr/share/sp ace", "a" * 40, "2" * 64),
]


def test_artifacts_and_files_are_valid(tmp_path: pathlib.Path) -> None:
    excluded = ["/usr/share/sbom/appliance-1.0.spdx.json"]
    data = build_sbom(IMAGE, [_package("bash")], {}, artifacts=ARTIFACTS, files=FILES, excluded=excluded)
    path = tmp_path / "image.spdx.json"
    path.write_bytes(data)
    assert _validate(path) == []
    document = json.loads(data)
    image = document["packages"][0]
    assert image["filesAnalyzed"] is True
    assert image["packageVerificationCode"] == {
        # Of the checksums in their own order, see SPDX 2.3, 7.9.
        "packageVerificationCodeValue": hashlib.sha1(b"a" * 40 + b"b" * 40).hexdigest(),
        "packageVerificationCodeExcludedFiles": ["./usr/share/sbom/appliance-1.0.spdx.json"],
    }
    assert [file["fileName"] for file in document["files"]] == ["./usr/bin/true", "./usr/share/sp ace"]
    kinds = {(item["spdxElementId"], item["relationshipType"]) for item in document["relationships"]}
    assert ("SPDXRef-Artifact-appliance-1.0.vhd", "GENERATED_FROM") in kinds
    # What tells something else is another document.
    assert document["documentNamespace"] != json.loads(build_sbom(IMAGE, [], {}))["documentNamespace"]


def _schema_problems(document: dict[str, t.Any]) -> list[str]:
    """Judge a CycloneDX document by the schema that its authors publish."""
    resources = pathlib.Path(pytest.importorskip("cyclonedx.schema").__file__).parent / "_res"
    names = {
        "bom-1.6.schema.json": "bom-1.6",
        "spdx.schema.json": "spdx",
        "jsf-0.82.schema.json": "jsf-0.82",
    }
    schemas = {
        f"http://cyclonedx.org/schema/{name}": json.loads((resources / f"{file}.SNAPSHOT.schema.json").read_text())
        for name, file in names.items()
    }
    schema = schemas["http://cyclonedx.org/schema/bom-1.6.schema.json"]
    resolver = jsonschema.RefResolver(schema["$id"], schema, store=schemas)
    validator = jsonschema.Draft7Validator(schema, resolver=resolver, format_checker=jsonschema.FormatChecker())
    return [f"{list(error.absolute_path)}: {error.message}" for error in validator.iter_errors(document)]


def test_cyclonedx_is_valid() -> None:
    packages = [
        _package("libc6", "2.36-9", depends=["gone"]),
        _package("bash", "5.2", depends=["libc6"], source="bash"),
        _package("odd", "1:2.0~rc1", arch="all"),
    ]
    descriptions = {
        "bash": PackageDescription("Bash Team <b@example.org>", "https://example.org/bash", "A shell", ODD_LICENSE),
        "libc6": PackageDescription("nobody", "not a url"),
        "odd": PackageDescription("A <not an address>", "https://user:secret@example.org/"),
    }
    data = build_cyclonedx(IMAGE, packages, descriptions, artifacts=ARTIFACTS)
    assert data == build_cyclonedx(IMAGE, list(reversed(packages)), descriptions, artifacts=ARTIFACTS)
    document = json.loads(data)
    assert _schema_problems(document) == []
    assert _schema_problems({**document, "components": [{"type": "none"}]}) != []
    by_name = {component["name"]: component for component in document["components"]}
    assert by_name["bash"]["supplier"] == {"name": "Bash Team"}
    assert by_name["bash"]["licenses"] == [{"expression": ODD_LICENSE.expression}]
    assert by_name["appliance-1.0.vhd"]["hashes"] == [{"alg": "SHA-256", "content": "cd" * 32}]
    assert not {"supplier", "licenses", "externalReferences"} & by_name["libc6"].keys()
    assert b"secret" not in data
    assert b"mirror.example" not in data
    needs = {item["ref"]: item["dependsOn"] for item in document["dependencies"]}
    assert needs[by_name["bash"]["purl"]] == [by_name["libc6"]["purl"]]
    # The library of CycloneDX reads it, and finds the same.
    bom = pytest.importorskip("cyclonedx.model.bom").Bom.from_json(document)
    assert {component.name for component in bom.components} == by_name.keys()
    assert bom.metadata.component.name == "appliance"


def test_rpm_packages_are_valid_too(tmp_path: pathlib.Path) -> None:
    image = dataclasses.replace(IMAGE, os="azure-linux", release_version="3.0", package_type="rpm")
    packages = [_package("zlib", "1:1.3.1-1.azl3", arch="x86_64"), _package("bash", "5.2-1.azl3", depends=["zlib"])]
    descriptions = {
        "zlib": PackageDescription(vendor="Microsoft (Corporation)", license=tagged_license("zlib and BSD")),
        "bash": PackageDescription(
            vendor="Microsoft",
            license=tagged_license("(GPLv3+ or LicenseRef-Fedora-UltraPermissive) and Public Domain"),
        ),
    }
    path = tmp_path / "rpm.spdx.json"
    path.write_bytes(build_sbom(image, packages, descriptions))
    assert _validate(path) == []
    entries = {entry["name"]: entry for entry in json.loads(path.read_bytes())["packages"]}
    assert entries["zlib"]["supplier"] == "Organization: Microsoft Corporation"
    assert entries["zlib"]["licenseDeclared"] == "Zlib AND LicenseRef-BSD"
    assert entries["zlib"]["externalRefs"][0]["referenceLocator"] == (
        "pkg:rpm/azure-linux/zlib@1.3.1-1.azl3?arch=x86_64&distro=azure-linux-3.0&epoch=1"
    )


def test_another_build_has_another_namespace() -> None:
    namespaces = set()
    for digest in ("ab" * 32, "cd" * 32):
        identity = ImageIdentity(**{**IMAGE.__dict__, "build_digest": digest})
        namespaces.add(json.loads(build_sbom(identity, [], {}))["documentNamespace"])
    assert len(namespaces) == 2


def test_two_hundred_packages_take_little_time() -> None:
    packages = [_package(f"p{number}", depends=[f"p{number - 1}", "p0"]) for number in range(1, 200)]
    started = time.process_time()
    build_sbom(IMAGE, packages, {})
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    ("maintainer", "name"),
    [
        ('"J. Doe" <j@example.org>', "J. Doe"),
        (" A <b> <a@example.org> ", "A <b>"),
        ("<a@example.org>", ""),
        ("A <a@example.org", ""),
        ("A <a b@example.org>", ""),
        ("A\nB <a@example.org>", ""),
        ("A" + " " * 500_000 + "x", ""),
        ("A <" + "@" * 500_000 + " >", ""),
    ],
)
def test_the_name_of_a_maintainer(maintainer: str, name: str) -> None:
    start = time.process_time()
    assert maintainer_name(maintainer) == name
    assert time.process_time() - start < 5
