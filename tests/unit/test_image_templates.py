# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Image templates that are shipped: what they promise is so, and the catalogue names them."""

from __future__ import annotations

import collections
import pathlib
import typing as t

import pytest
import yaml
from ansible_collections.os_image.composer.plugins.module_utils._resolver.families import RESOLVERS
from ansible_collections.os_image.composer.tests.support import template_docs
from ansible_collections.os_image.composer.tests.support.template_catalogue import (
    CATALOGUE_FILE,
    CONFIG,
    PACKAGE_COUNTS,
    RELEASES,
    ROOT,
    TEMPLATES,
    assembled,
    catalogue_text,
    of_release,
    purpose,
    status,
)

REMEDY = f"run: python -m {template_docs.__name__}"
SCHEMA_LINE = "# yaml-language-server: $schema=../docs/schema/os-image-template.schema.json"
RELEASE_DIRECTORIES = sorted(path.parent for path in (CONFIG / "osv").glob("*/*/config.yml"))
each_template = pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)


def written(path: pathlib.Path) -> dict[str, t.Any]:
    """Return what a template says itself."""
    return t.cast("dict[str, t.Any]", yaml.safe_load(path.read_text(encoding="utf-8")))


@each_template
def test_it_is_valid_and_lets_in_whom_it_names(path: pathlib.Path) -> None:
    # The minimal ones let nobody in: what is published must not have a password that everybody knows.
    expected = ["nobody can log in to the image"] if purpose(path) == "minimal" else []
    assembly = assembled(path)
    warnings = assembly.warnings
    if not assembly.provider.data["repositories"]:
        # It says so itself, and how to add one.
        assert "packageRepositories" in path.read_text(encoding="utf-8")
        warnings = [warning for warning in warnings if "brings no package repository" not in warning]
    assert len(warnings) == len(expected), warnings
    assert all(words in warning for words, warning in zip(expected, warnings))
    assert not any("password" in user for user in written(path).get("systemConfig", {}).get("users", []))


@each_template
def test_its_name_says_what_it_is(path: pathlib.Path) -> None:
    said = written(path)
    target, name = said["target"], said["image"]["name"]
    assert name == f"{target['dist']}-{purpose(path)}"
    assert path.name == f"{target['dist']}-{target['arch']}-{purpose(path)}-{target['imageType']}.yml"
    suffix = "" if target["imageType"] == "raw" else f"-{target['imageType']}"
    assert assembled(path).template["systemConfig"]["name"] == name + suffix


@each_template
def test_it_can_be_found_and_edited(path: pathlib.Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert SCHEMA_LINE in lines[:5]
    metadata = written(path)["metadata"]
    assert metadata["description"] and metadata["use_cases"]
    keywords = metadata["keywords"]
    assert len(keywords) == len(set(keywords))
    assert {purpose(path), written(path)["target"]["imageType"]} <= set(keywords)


@each_template
def test_it_does_not_repeat_the_default_template(path: pathlib.Path) -> None:
    default, said = assembled(path).default["systemConfig"], written(path)["systemConfig"]
    repeated = set(said.get("packages", ())) & set(default["packages"])
    assert not repeated
    assert [key for key, value in said.items() if isinstance(value, str) and default.get(key) == value] == []


@pytest.mark.parametrize("directory", RELEASE_DIRECTORIES, ids=lambda path: path.name)
def test_every_release_has_its_templates(directory: pathlib.Path) -> None:
    names = {path.stem for path in of_release(directory.name)}
    wanted = ("minimal-raw", "minimal-iso", "minimal-initrd", "edge-raw")
    assert {f"{directory.name}-x86_64-{name}" for name in wanted} <= names
    assert directory.name in RELEASES
    for path in of_release(directory.name):
        assert written(path)["target"]["os"] == directory.parent.name


def test_builds_do_not_share_a_directory() -> None:
    builds = collections.Counter(
        (assembled(path).provider.target.provider_id, assembled(path).template["systemConfig"]["name"])
        for path in TEMPLATES
    )
    assert [build for build, count in builds.items() if count > 1] == []


def test_every_file_beside_the_templates_is_used() -> None:
    directory = ROOT / "image-templates"
    used = {
        directory / item["local"]
        for path in TEMPLATES
        for item in written(path)["systemConfig"].get("additionalFiles", ())
    }
    assert {path for path in (directory / "files").rglob("*") if path.is_file()} == used


def test_the_catalogue_has_all_templates_as_they_are() -> None:
    assert CATALOGUE_FILE.read_text(encoding="utf-8") == catalogue_text(), REMEDY
    assert {path.stem for dist in RELEASES for path in of_release(dist)} == {path.stem for path in TEMPLATES}


def test_packages_are_counted_where_a_mirror_is_at_hand() -> None:
    countable = {path.stem for path in TEMPLATES if written(path)["target"]["os"] == "debian"}
    assert set(PACKAGE_COUNTS) == countable


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("debian12-x86_64-server-raw", "buildable"),
        ("debian13-aarch64-minimal-raw", "buildable"),
        ("debian13-x86_64-immutable-raw", "buildable"),
        ("ubuntu24-x86_64-edge-raw", "untried"),
        ("elxr12-x86_64-edge-raw", "validated: add `packageRepositories`"),
    ],
)
def test_the_status_is_what_the_stages_do(name: str, expected: str) -> None:
    assert status(assembled(ROOT / "image-templates" / f"{name}.yml")) == expected


def test_the_status_depends_on_the_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    assembly = assembled(ROOT / "image-templates" / "debian12-x86_64-server-raw.yml")
    monkeypatch.delitem(RESOLVERS, assembly.provider.data["family"])  # type: ignore[arg-type]
    assert status(assembly) == "validated"
