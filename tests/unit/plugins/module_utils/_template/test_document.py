# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The document template.json: the same mappings for digests, and typed parts for whoever acts on them."""

from __future__ import annotations

import copy
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import DocumentError
from ansible_collections.os_image.composer.plugins.module_utils._template.document import TemplateDocument
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Disk, Iso
from ansible_collections.os_image.composer.tests.support.template_data import whole_part, whole_provider, whole_template

DATA: t.Mapping[str, t.Any] = {
    "schema_version": 1,
    "provider_id": "debian-debian12-x86_64",
    "provider": whole_provider(repositories=[{"name": "stable", "mirror": "debian", "suite": "bookworm"}]),
    "template": whole_template(
        image={"name": "kiosk", "version": "1.0"},
        systemConfig={"name": "kiosk", "signing": {"checksums": {"key": "/keys/secret.asc"}}},
    ),
    "files": {"/keys/secret.asc": "ab" * 32},
    "directories": {"cache_dir": "/cache", "work_dir": "/work", "config_dir": "/config"},
    "sources": [],
    "warnings": [],
}
LOCK = {"packages": [{"name": "bash", "version": "5", "arch": "amd64", "sha256": "cd" * 32}]}


def document(**more: t.Any) -> TemplateDocument:
    return TemplateDocument.from_data(copy.deepcopy({**DATA, **more}))


def test_parts_are_typed_and_have_the_defaults_of_the_schema() -> None:
    made = document()
    assert made.image.name == "kiosk"
    assert made.target.provider_id == made.provider_id
    assert made.provider.repositories[0].gpgcheck
    assert made.system.bootloader.provider == "systemd-boot"
    assert made.system.signing.checksums is not None
    # Sections that are left out altogether.
    assert (made.disk, made.iso) == (whole_part(Disk, {}), whole_part(Iso, {}))
    assert made.system is made.system


def test_reading_parts_changes_no_digest() -> None:
    made = document()
    before = made.build_digest(LOCK)
    assert all((made.image, made.target, made.disk, made.iso, made.system, made.provider))
    assert made.build_digest(LOCK) == before
    assert made.as_data(schema_version=1) == DATA


def test_a_provider_of_which_something_is_missing_is_refused() -> None:
    with pytest.raises(DocumentError, match="lacks 'family'"):
        assert document(
            provider={"os": "debian", "dist": "debian12", "arch": "x86_64", "package_arch": "amd64"}
        ).provider


def test_what_is_only_published_is_no_part_of_the_image() -> None:
    template = copy.deepcopy(DATA["template"])
    template["metadata"] = {"description": "A kiosk."}
    template["disk"] = {"name": "d", "artifacts": [{"type": "qcow2"}]}
    plain = copy.deepcopy(DATA["template"])
    plain["disk"] = {}
    assert document(template=template).build_digest(LOCK) == document(template=plain).build_digest(LOCK)
    plain["disk"] = {"size": "4GiB"}
    assert document(template=template).build_digest(LOCK) != document(template=plain).build_digest(LOCK)
