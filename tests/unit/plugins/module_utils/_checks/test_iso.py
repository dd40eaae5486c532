# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules about ISOs and installers."""

from __future__ import annotations

import pytest
from ansible_collections.os_image.composer.tests.unit.plugins.module_utils._checks.conftest import (
    ESP,
    ROOT,
    SMALL_ROOT,
    Approve,
    Judge,
    Part,
    Right,
    config,
    disk,
    neighbours,
    target,
)

ISO = target(imageType="iso")
NO_PARTITIONS: Part = {"remove": {"partitions": ["boot", "root"]}}
SWAP = {"id": "s", "fsType": "swap", "start": "1GiB", "end": "0"}
UNSIZED: Part = {"disk": {"partitions": [ESP, SMALL_ROOT, SWAP]}}
TEMPLATE = config(initramfs={"template": "default-initrd-x86_64.yml"})

WRONG: list[tuple[Part, str]] = [
    ({"iso": {"volumeId": "X"}}, "iso.volumeId: iso.volumeId has an effect on ISO images only. Remove it"),
    (ISO | {"iso": {"type": "live"}, "disk": {"path": "/dev/sda"}}, "disk.path: A live ISO writes to no disk."),
    (ISO | {"iso": {"type": "installer"}} | NO_PARTITIONS, "An installer needs to know the disk's layout."),
    (ISO | TEMPLATE | NO_PARTITIONS, "An installer needs to know the disk's layout."),
    (ISO | UNSIZED, "Nothing tells how large the disk must be: its last partition has no end, and cannot grow."),
    (
        target(imageType="initrd")
        | config(signing={"secureBoot": {"key": "keys/db.key", "certificate": "keys/db.crt"}}),
        "Secure Boot keys are configured, but an initrd is started by a boot loader that is not part of it.",
    ),
]

RIGHT: Right = {
    "iso_settings_have_an_effect": [ISO | {"iso": {"type": "live", "volumeId": "KIOSK_1"}}, {}],
    "live_iso_writes_to_no_disk": [
        ISO | {"disk": {"path": "/dev/sda"}},
        ISO | {"iso": {"type": "live"}},
    ],
    "installer_knows_its_disk": [
        ISO,
        ISO | NO_PARTITIONS,
        ISO | disk(ESP, SMALL_ROOT, SWAP),
        ISO | {"disk": {"partitions": [ESP, ROOT]}, "iso": {"unattended": False, "afterInstall": "reboot"}},
        ISO | {"disk": {"partitions": [ESP, SMALL_ROOT]}},
        ISO | UNSIZED | {"iso": {"type": "live"}},
    ],
    "only_disks_are_signed": [ISO, target(imageType="initrd")],
    "installer_is_built_from_the_image": [ISO, ISO | {"iso": {"type": "installer"}}],
}


@pytest.mark.parametrize(("part", "expected"), WRONG, ids=[text[:60] for _part, text in WRONG])
def test_wrong(part: Part, expected: str, judge: Judge) -> None:
    found = judge(part)
    assert any(expected in line for line in found), found


@pytest.mark.parametrize(("name", "part"), neighbours(RIGHT))
def test_right(name: str, part: Part, approve: Approve) -> None:
    approve(name, part)
