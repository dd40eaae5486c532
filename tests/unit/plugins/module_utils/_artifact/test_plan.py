# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Artifacts that templates ask for."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._artifact.plan import plan_artifacts, plan_image
from ansible_collections.os_image.composer.plugins.module_utils._errors import ArtifactError
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Artifact
from ansible_collections.os_image.composer.tests.support.template_data import whole_part


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"type": "ova"}, "The artifact type 'ova' is not supported. Use one of: raw, qcow2"),
        ({"type": "raw", "compression": "gz", "level": 0}, "The compression gz has no level 0. Use one from 1 to 9."),
        ({"type": "raw", "level": 3}, "none is asked for. Add compression, or remove level."),
        ({"type": "qcow2", "subformat": "fixed"}, "The format qcow2 has no subformat 'fixed'. Remove the key."),
        ({"type": "raw", "compression": "bz2"}, "The compression 'bz2' is not supported. Use one of: gz, xz, zstd."),
    ],
)
def test_unknown_kinds_are_refused_by_name(entry: dict[str, t.Any], message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        plan_artifacts("a-1", [whole_part(Artifact, entry)])


def test_names() -> None:
    wanted = [
        whole_part(Artifact, entry)
        for entry in ({"type": "raw", "compression": "gzip"}, {"type": "vhd"}, {"type": "raw", "compression": "gz"})
    ]
    assert [plan.name for plan in plan_artifacts("a-1", wanted)] == ["a-1.raw.gz", "a-1.vhd"]
    assert [plan.name for plan in plan_artifacts("a-1", [])] == ["a-1.raw"]
    with pytest.raises(ArtifactError, match="cannot be a file name"):
        plan_artifacts("../a-1", [])


@pytest.mark.parametrize(
    ("entry", "is_compact"),
    [
        ({"type": "raw"}, False),
        ({"type": "qcow2"}, True),
        # What is compressed as a whole is not compressed inside, unless the variant is that by itself.
        ({"type": "qcow2", "compression": "xz"}, False),
        ({"type": "vmdk"}, False),
        ({"type": "vmdk", "subformat": "streamOptimized"}, True),
        ({"type": "vmdk", "subformat": "streamOptimized", "compression": "gz"}, True),
        ({"type": "vhd", "subformat": "fixed"}, False),
    ],
)
def test_formats_that_compress_are_known(entry: dict[str, t.Any], is_compact: bool) -> None:
    assert [plan.is_compact for plan in plan_artifacts("a-1", [whole_part(Artifact, entry)])] == [is_compact]


def test_images_that_are_no_disks_have_artifacts_of_their_own() -> None:
    assert [plan.name for plan in plan_image("a-1", "iso", [])] == ["a-1.iso"]
    initrd = plan_image("a-1", "initrd", [whole_part(Artifact, {"type": "qcow2"})])
    assert [(plan.name, plan.source) for plan in initrd] == [("a-1.initrd.img", "image"), ("a-1.vmlinuz", "kernel")]
    assert [plan.name for plan in plan_image("a-1", "raw", [whole_part(Artifact, {"type": "vdi"})])] == ["a-1.vdi"]
    with pytest.raises(ArtifactError, match="cannot be a file name"):
        plan_image("../a-1", "iso", [])
