# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which boot chains keys for Secure Boot protect."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._signing.boot_chain import template_problem
from ansible_collections.os_image.composer.plugins.module_utils._template.model import SystemConfig
from ansible_collections.os_image.composer.tests.support.template_data import whole_part


def system(
    keys: bool = True, provider: str = "systemd-boot", uki: bool = True, boot_type: str = "efi", signed: bool = False
) -> SystemConfig:
    signing = {"secureBoot": {"key": "/k", "certificate": "/c"}} if keys else {}
    loader = {"provider": provider, "bootType": boot_type, "signed": signed}
    return whole_part(SystemConfig, {"signing": signing, "bootloader": loader, "kernel": {"uki": uki}})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, None),
        ({"keys": False, "provider": "grub", "uki": False}, None),
        (
            {"uki": False},
            "there are Type 1 entries, in which neither the initrd nor the kernel command line would be protected. "
            "Set kernel.uki: true.",
        ),
        ({"provider": "grub"}, None),
        (
            {"provider": "grub", "uki": False},
            "the bootloader grub reads the kernel command line and the initrd from files that nobody signs. Set "
            "kernel.uki: true, for GRUB without a menu, or use bootloader.provider: systemd-boot with kernel.uki: "
            "true.",
        ),
        ({"provider": "grub", "signed": True}, "Set bootloader.signed: false, for GRUB without a menu"),
        ({"provider": "grub", "boot_type": "hybrid"}, "Set bootloader.bootType: efi, for GRUB without a menu"),
        (
            {"provider": "grub", "boot_type": "legacy", "signed": True, "uki": False},
            "Set bootloader.bootType: efi and bootloader.signed: false and kernel.uki: true, for GRUB",
        ),
    ],
)
def test_keys_need_a_boot_chain_that_they_protect(arguments: t.Mapping[str, t.Any], message: str | None) -> None:
    config = system(**arguments)
    problem = template_problem(config.signing, config.bootloader, config.kernel)
    if message is None:
        assert problem is None
    else:
        assert problem is not None
        assert problem.startswith("Secure Boot keys are configured, but ")
        assert message in problem
