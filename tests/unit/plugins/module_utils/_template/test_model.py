# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The classes of the model against the schema, and templates that are read into them."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
import yaml
from ansible_collections.os_image.composer.plugins.module_utils._checks.assembly import assemble
from ansible_collections.os_image.composer.plugins.module_utils._errors import DocumentError
from ansible_collections.os_image.composer.plugins.module_utils._template import model, provider_model, schema
from ansible_collections.os_image.composer.plugins.module_utils._template.located import from_data
from ansible_collections.os_image.composer.plugins.module_utils._template.part import Part, field_kinds, field_name
from ansible_collections.os_image.composer.plugins.module_utils._template.provider import load_provider
from ansible_collections.os_image.composer.tests.support.template_data import form_of, whole_part

ROOT = pathlib.Path(__file__).resolve().parents[5]
PARTS: t.Sequence[t.Type[Part]] = [getattr(model, name) for name in model.__all__]
SECTIONS: t.Mapping[str, t.Type[Part]] = {
    "image": model.Image,
    "target": model.Target,
    "disk": model.Disk,
    "iso": model.Iso,
    "systemConfig": model.SystemConfig,
    "packageRepositories": model.PackageRepository,
}
SCALARS = {"string": str, "boolean": bool, "integer": int}


def kind_of(form: t.Mapping[str, t.Any]) -> t.Any:
    """The type that values of a schema are read into."""
    if form["type"] == "array":
        return t.Tuple[kind_of(form["items"]), ...]
    if form["type"] == "object":
        (part,) = (part for part in PARTS if form_of(part)["properties"] is form["properties"])
        return part
    return SCALARS[form["type"]]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_a_class_has_the_fields_of_its_schema(part: t.Type[Part]) -> None:
    whole = form_of(part)
    expected = {}
    for key, form in whole["properties"].items():
        always = "default" in form or key in whole.get("required", ())
        expected[field_name(key)] = kind_of(form) if always else t.Optional[kind_of(form)]
    kinds = field_kinds(part)
    assert dict(kinds) == expected
    assert list(kinds) == list(expected)
    assert not [name for name in kinds if hasattr(part, name)], "defaults are the schema's"


def test_every_section_has_a_class() -> None:
    # Nothing acts on what a template says for people.
    assert {*SECTIONS, "metadata"} == set(schema.SECTIONS)
    for name, part in SECTIONS.items():
        section = schema.SECTIONS[name]
        assert section.get("items", section)["properties"] is form_of(part)["properties"]


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("typeUUID", "type_uuid"),
        ("mbrType", "mbr_type"),
        ("secureBootDBKey", "secure_boot_db_key"),
        ("hash_algo", "hash_algo"),
        ("dhcp4", "dhcp4"),
    ],
)
def test_fields_have_the_words_of_their_keys(key: str, name: str) -> None:
    assert field_name(key) == name


def test_what_is_left_out_has_the_defaults_of_the_schema() -> None:
    system = whole_part(model.SystemConfig, {"users": [{"name": "admin"}], "bootloader": {"timeout": 0}})
    assert system.documentation is True
    assert system.weak_dependencies is False
    assert system.kernel.packages == ()
    assert (system.bootloader.boot_type, system.bootloader.provider) == ("efi", "systemd-boot")
    assert system.bootloader.timeout == 0
    assert (system.users[0].sudo, system.users[0].groups, system.users[0].home) == (False, (), None)
    assert system.initramfs.generator == "auto"
    assert system.signing.secure_boot is None


def test_mappings_in_lists_are_read_too() -> None:
    network = whole_part(
        model.Network, {"interfaces": [{"match": "en*", "routes": [{"to": "default", "via": "192.0.2.1"}]}]}
    )
    assert network.interfaces[0].routes == (model.Route(to="default", via="192.0.2.1"),)
    assert network.interfaces[0].name is None


def test_a_repository_is_checked_unless_it_says_otherwise() -> None:
    repository = whole_part(model.PackageRepository, {"codename": "own", "url": "https://packages.example.com/"})
    assert (repository.gpgcheck, repository.repo_gpgcheck, repository.priority) == (True, True, 500)
    assert (repository.component, repository.allow_packages, repository.mirror) == ("main", (), None)


def test_a_mapping_without_a_key_that_it_must_have_is_refused() -> None:
    with pytest.raises(
        DocumentError, match="The Partition '' of the template lacks 'id'.*image_template_validate again"
    ):
        model.Partition.from_data({"size": "1GiB"})


def test_a_mapping_without_the_defaults_that_were_to_be_filled_in_is_refused() -> None:
    with pytest.raises(DocumentError, match="The Sbom '' of the template lacks 'files'"):
        model.Sbom.from_data({"cyclonedx": True})


@pytest.mark.parametrize("name", ["debian12-x86_64-minimal-raw", "azl3-x86_64-minimal-raw"])
def test_nothing_of_a_template_is_lost(name: str) -> None:
    template = assemble(
        str(ROOT / "image-templates" / f"{name}.yml"), config_dir=str(ROOT / "config"), overrides=None
    ).template
    for section, part in SECTIONS.items():
        data = template[section]
        items = data if isinstance(data, list) else [data]
        for item in items:
            assert in_words_of_the_schema(part.from_data(item)) == json.loads(json.dumps(item))


@pytest.mark.parametrize(
    "path", sorted((ROOT / "config" / "osv").glob("*/*/config.yml")), ids=lambda path: path.parent.name
)
def test_every_provider_is_whole(path: pathlib.Path) -> None:
    for arch in yaml.safe_load(path.read_text()):
        data = {"os": path.parents[1].name, "dist": path.parent.name, "arch": arch, "imageType": "raw"}
        template = from_data({"target": data}, file="template.yml")
        provider = load_provider(str(ROOT / "config"), template, model.Target.from_data(data))
        whole = {**provider.data, "bootloader_packages": []}
        read = provider_model.Provider.from_data(whole)
        assert [repository.name for repository in read.repositories] == [
            entry["name"] for entry in whole["repositories"]
        ]
        assert {name for name in vars(read) if getattr(read, name) is None} == set()


def in_words_of_the_schema(value: t.Any) -> t.Any:
    """Write a part as the mapping that it was read from."""
    if isinstance(value, tuple):
        return [in_words_of_the_schema(item) for item in value]
    if not isinstance(value, Part):
        return value
    written = {
        key: in_words_of_the_schema(getattr(value, field_name(key))) for key in form_of(type(value))["properties"]
    }
    return {key: item for key, item in written.items() if item is not None}
