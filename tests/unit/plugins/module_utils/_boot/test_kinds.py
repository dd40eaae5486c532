# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kinds of bootloaders."""

from __future__ import annotations

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._boot.kinds import BOOTLOADER_CLASSES, bootloader
from ansible_collections.os_image.composer.plugins.module_utils._boot.shim_grub import ShimGrub
from ansible_collections.os_image.composer.plugins.module_utils._bootloader import BOOT_TYPES, BOOTLOADERS
from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError


def test_every_bootloader_has_a_class_for_each_of_its_boot_types() -> None:
    known = {(boot_type, name) for name, traits in BOOTLOADERS.items() for boot_type in traits.boot_types}
    assert set(BOOTLOADER_CLASSES) == known
    assert {boot_type for boot_type, _name in known} == set(BOOT_TYPES)


@pytest.mark.parametrize(
    ("boot_type", "options", "is_behind_shim"),
    [
        ("efi", {"use_uki": True, "is_signed": True}, True),
        ("efi", {"use_uki": True}, False),
        ("efi", {"is_signed": True}, False),
        ("efi", {"use_uki": True, "is_signed": True, "use_signed": True}, False),
        ("hybrid", {"use_uki": True, "is_signed": True}, False),
    ],
)
def test_grub_stands_behind_a_shim_where_the_build_signs_it(
    boot_type: str, options: dict[str, bool], is_behind_shim: bool
) -> None:
    assert isinstance(bootloader(boot_type, "grub", **options), ShimGrub) is is_behind_shim
    assert not isinstance(bootloader(boot_type, "systemd-boot", **options), ShimGrub)


def test_a_combination_that_is_none_is_named() -> None:
    with pytest.raises(
        BootError, match=r"'systemd-boot' for the boot type 'legacy' is not supported\. .* grub \(legacy\)"
    ):
        bootloader("legacy", "systemd-boot")
