# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import ast
import json
import pathlib
import typing as t

import jsonschema
import pytest
import yaml
from ansible_collections.os_image.composer.plugins.module_utils._template import merge, references, schema
from ansible_collections.os_image.composer.plugins.module_utils._template.part import field_name
from ansible_collections.os_image.composer.tests.support import template_docs

ROOT = pathlib.Path(__file__).resolve().parents[5]
REMEDY = "run: python -m ansible_collections.os_image.composer.tests.support.template_docs"


def test_the_published_schema_is_the_one_source() -> None:
    assert template_docs.SCHEMA_FILE.read_text(encoding="utf-8") == template_docs.schema_text(), REMEDY


def test_the_reference_page_has_all_fields() -> None:
    assert template_docs.REFERENCE_FILE.read_text(encoding="utf-8") == template_docs.reference_text(), REMEDY


def test_the_page_of_checks_has_all_rules() -> None:
    assert template_docs.CHECKS_FILE.read_text(encoding="utf-8") == template_docs.checks_text(), REMEDY


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema.json_schema())


@pytest.mark.parametrize("path", sorted((ROOT / "image-templates").glob("*.yml")), ids=lambda path: path.stem)
def test_editors_accept_the_shipped_templates(path: pathlib.Path) -> None:
    published = json.loads(template_docs.SCHEMA_FILE.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(published).validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def test_no_object_takes_unknown_keys() -> None:
    def walk(part: schema.Schema, path: str) -> None:
        if part["type"] == "object":
            assert part["additionalProperties"] is False, path
            for name, field in part["properties"].items():
                assert field.get("description"), f"{path}.{name} has no description"
                walk(field, f"{path}.{name}")
        elif part["type"] == "array":
            walk(part["items"], f"{path}[]")

    for name, section in schema.SECTIONS.items():
        walk(section, name)


def test_every_key_of_the_system_is_read_by_what_builds_it() -> None:
    plugins = ROOT / "plugins/module_utils"
    # Checks and merges alone are no effect.
    sources = [path for path in plugins.rglob("*.py") if path.parent.name not in ("_template", "_checks")]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in sources]
    read = {node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)}

    def leaves(part: schema.Schema, path: tuple[str, ...]) -> t.Iterator[tuple[str, ...]]:
        part = part.get("items", part)
        for name, field in part.get("properties", {}).items():
            yield from leaves(field, (*path, name))
        if "properties" not in part:
            yield path

    without = {path for path in leaves(schema.SYSTEM_CONFIG, ()) if field_name(path[-1]) not in read}
    assert without == {
        # There is one backend.
        ("network", "backend"),
        # Done with when template.json is written: passwords are hashes, and these keys are those of signing.secureBoot.
        ("users", "hash_algo"),
        *(("immutability", f"secureBootDB{name}") for name in ("Key", "Crt", "Cer")),
    }


def test_every_section_has_a_merge_rule() -> None:
    assert set(merge.SECTION_RULES) == set(schema.SECTIONS)
    assert set(merge.SYSTEM_CONFIG_RULES) <= set(schema.SYSTEM_CONFIG["properties"])


def test_every_field_of_local_files_is_in_the_schema() -> None:
    for field in (*references.LOCAL_FILE_FIELDS, *references.SECRET_FILE_FIELDS):
        part: schema.Schema = {"type": "object", "properties": schema.USER_TEMPLATE["properties"]}
        for step in field:
            part = part["items"] if step == "*" else part["properties"][step]
        assert part["type"] == "string", field
