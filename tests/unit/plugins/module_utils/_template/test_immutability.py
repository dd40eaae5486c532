# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a template says that asks for a protected root file system and nothing else, and what it means."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import disk_layout
from ansible_collections.os_image.composer.plugins.module_utils._disk.verity import hash_partition
from ansible_collections.os_image.composer.plugins.module_utils._template.immutability import Protection
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Disk, Immutability
from ansible_collections.os_image.composer.tests.support.template_data import whole_part
from ansible_collections.os_image.composer.tests.unit.plugins.module_utils.conftest import Build, basic

ESP: t.Mapping[str, t.Any] = {"id": "esp", "type": "esp", "fsType": "fat32", "size": "64MiB", "mountPoint": "/boot/efi"}
VAR: t.Mapping[str, t.Any] = {
    "id": "state",
    "type": "linux-var",
    "fsType": "ext4",
    "size": "1GiB",
    "mountPoint": "/var/",
}
SAFE: t.Mapping[str, t.Any] = {"immutability": {"enabled": True}, "kernel": {"uki": True}}


@pytest.mark.parametrize(
    ("said", "partitions", "expected"),
    [
        ({"enabled": False}, [VAR], None),
        ({"enabled": True}, [], ("volatile", "volatile", True)),
        ({"enabled": True}, [VAR], ("volatile", "persistent", True)),
        ({"enabled": True, "etc": "persistent"}, [VAR], ("persistent", "persistent", True)),
        ({"enabled": True, "etc": "readonly"}, [], ("readonly", "volatile", True)),
        ({"enabled": True, "etc": "readonly"}, [VAR], ("readonly", "persistent", False)),
    ],
)
def test_what_becomes_of_changes(
    said: t.Mapping[str, t.Any], partitions: t.List[t.Any], expected: t.Tuple[str, str, bool] | None
) -> None:
    protection = Protection.of(whole_part(Immutability, said), whole_part(Disk, {"partitions": partitions}))
    assert (protection and (protection.etc, protection.var, protection.has_overlays)) == expected


@pytest.mark.parametrize("image_type", ["raw", "iso"])
def test_the_default_disk_gets_what_it_needs(build: Build, image_type: str) -> None:
    target = {**basic()["target"], "imageType": image_type}
    system = {**SAFE, "bootloader": {"provider": "systemd-boot"}}
    assembly = build(target=target, systemConfig=system)
    disk = Disk.from_data(assembly.template["disk"])
    assert [item.id for item in disk.partitions] == ["boot", "roothashmap", "rootfs"]
    assert disk.partitions[2].mount_options == "ro"
    # The default template itself stays what it is, for showing what has changed.
    assert [item["id"] for item in assembly.default["disk"]["partitions"]] == ["boot", "rootfs"]
    if image_type == "raw":
        hashes = hash_partition(disk_layout(disk))
        assert hashes is not None
        assert hashes.fits_content
    else:
        assert disk.partitions[2].size == "content"


def test_the_default_disk_gets_a_place_for_the_signature(build: Build) -> None:
    immutability = {"enabled": True, "rootHashSignature": "kept"}
    system = {"kernel": {"uki": True}, "immutability": immutability, "signing": {"secureBoot": {"generate": True}}}
    partitions = build(systemConfig=system).template["disk"]["partitions"]
    assert [item["id"] for item in partitions] == ["boot", "roothashmap", "roothashsig", "rootfs"]
    assert partitions[2]["size"] == "content"


def test_fingerprints_know_a_signature_where_there_is_one() -> None:
    # So that those of systems without one stay what they were.
    assert Protection("volatile", "persistent").as_facts() == {"etc": "volatile", "var": "persistent"}
    assert Protection("volatile", "persistent", "kept").as_facts()["signature"] == "kept"


def test_a_disk_of_ones_own_stays_as_it_is(build: Build) -> None:
    root = {"id": "root", "fsType": "squashfs", "size": "content", "mountPoint": "/", "mountOptions": "noatime"}
    partitions = [ESP, root, {"id": "roothashmap", "size": "content"}]
    template = build(disk={"size": "content", "partitions": partitions}, systemConfig=SAFE).template
    assert [item["id"] for item in template["disk"]["partitions"]] == ["esp", "root", "roothashmap"]
    assert template["disk"]["partitions"][1]["mountOptions"] == "ro,noatime"


def test_an_unprotected_disk_stays_as_it_is(build: Build) -> None:
    template = build().template
    assert [item["id"] for item in template["disk"]["partitions"]] == ["boot", "rootfs"]
    assert template["disk"]["partitions"][1]["mountOptions"] == "defaults"
    assert template["systemConfig"]["immutability"] == {"enabled": False}
