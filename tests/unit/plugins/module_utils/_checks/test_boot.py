# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.os_image.composer.tests.unit.plugins.module_utils._checks.conftest import (
    ESP,
    ROOT,
    Approve,
    Judge,
    Part,
    Right,
    cmdline,
    config,
    disk,
    neighbours,
    target,
)

HYBRID = {"bootType": "hybrid", "provider": "grub"}
HYBRID_UKI = config(kernel={"uki": True}, bootloader={"bootType": "hybrid"})
LEGACY = {"bootType": "legacy", "provider": "grub"}
BIOS = {"id": "bios", "type": "bios", "size": "1MiB"}
ANY_ROOT = {"id": "root", "fsType": "ext4", "end": "0", "mountPoint": "/"}
NO_KERNEL: Part = {"remove": {"packages": ["linux-*"]}}

SIGNED_GRUB = config(
    bootloader={"provider": "grub"},
    kernel={"uki": True},
    signing={"secureBoot": {"key": "db.key", "certificate": "db.crt"}},
)

WRONG: list[tuple[Part, str]] = [
    (NO_KERNEL, "systemConfig.kernel: No kernel package is named."),
    (NO_KERNEL | target(imageType="iso"), "No kernel package is named."),
    (cmdline("a\nb"), "printable ASCII characters, in one line."),
    (cmdline('a="b'), "A quotation mark of the kernel command line is not closed."),
    (cmdline('"root=/dev/sda1"'), "root= is set by the build itself."),
    (cmdline("quiet root=/dev/sda1"), "root= is set by the build itself. Remove 'root=/dev/sda1'."),
    (cmdline("systemd.verity_root_hash=/dev/sda3"), "systemd.verity_root_hash= is set by the build itself."),
    (cmdline("console="), "The kernel does not know a console such as 'console='."),
    (cmdline("console=ttyS0,115200bps"), "such as 'console=ttyS0,115200bps'"),
    (cmdline("quiet splash quiet"), "The kernel command line says quiet twice."),
    (cmdline("init=/a init=/b"), "says init=/a and init=/b; the last one counts."),
    (cmdline("rw ro"), "ro and rw on the kernel command line contradict each other."),
    (
        config(kernel={"uki": True}, bootloader={"provider": "grub"}),
        "unified kernel image is started by systemd-boot, or by GRUB with signing.secureBoot. Use",
    ),
    (
        config(**{**SIGNED_GRUB["systemConfig"], "bootloader": {"provider": "grub", "timeout": 5}}),
        "systemConfig.bootloader.timeout: GRUB that the build signs for Secure Boot has no menu that could be shown.",
    ),
    (
        target(arch="aarch64") | SIGNED_GRUB,
        "systemConfig.bootloader.provider: GRUB that the build signs for Secure Boot stands behind a shim, and for "
        "debian/debian12 on aarch64 no package with an unsigned one is known. Use provider: systemd-boot.",
    ),
    (config(bootloader={"bootType": "legacy"}), "bootloader.provider: systemd-boot is a program for UEFI"),
    (target(arch="aarch64") | config(bootloader=LEGACY), "Machines of the architecture aarch64 have no BIOS"),
    (config(bootloader={"signed": True}), "systemConfig.bootloader.signed: Only GRUB for UEFI comes signed"),
    (disk(BIOS, ANY_ROOT) | config(bootloader={**LEGACY, "signed": True}), "Only GRUB for UEFI comes signed"),
    (
        disk(ESP, {**ROOT, "fsType": "squashfs"}) | config(bootloader={"provider": "grub"}),
        "disk.partitions[1].fsType: GRUB cannot read squashfs",
    ),
    (disk(ESP, ROOT) | config(bootloader=LEGACY), "GRUB has no place for its core on a gpt disk"),
    (
        disk(BIOS, {**BIOS, "id": "two"}, ANY_ROOT) | config(bootloader=LEGACY),
        "The partition 'two' is a second BIOS boot partition.",
    ),
    (
        disk(BIOS, {**ESP, "start": "2MiB"}, ROOT),
        "disk.partitions[0]: The BIOS boot partition 'bios' would stay empty, as by bootType: efi no BIOS starts the "
        "image. Use bootType: hybrid for machines of both kinds, or remove the partition.",
    ),
    (
        disk({"id": "x", "flags": ["bios_grub"], "size": "1MiB"}, {**ESP, "start": "2MiB"}, ROOT)
        | config(bootloader={"provider": "grub"}),
        "The BIOS boot partition 'x' would stay empty",
    ),
    (
        disk(BIOS, {**ESP, "start": "2MiB"}, ROOT) | config(bootloader=LEGACY),
        "disk.partitions[1]: The EFI system partition 'boot' would stay empty, as by bootType: legacy no UEFI starts",
    ),
    (
        disk(ESP, ROOT, partitionTableType="mbr") | config(bootloader=LEGACY),
        "The EFI system partition 'boot' would stay empty",
    ),
    (disk(ESP, ROOT) | HYBRID_UKI, "GRUB has no place for its core on a gpt disk"),
    (disk(BIOS, ANY_ROOT) | config(bootloader=HYBRID), "There is no EFI system partition, but bootloader.bootType is"),
    (
        disk(BIOS, {**ESP, "start": "2MiB"}, {**ROOT, "fsType": "erofs"}) | HYBRID_UKI,
        "disk.partitions[2].fsType: GRUB cannot read erofs",
    ),
    (
        target(arch="aarch64") | config(bootloader={"bootType": "hybrid"}),
        "Machines of the architecture aarch64 have no BIOS that could boot by bootType: hybrid. Use bootType: efi.",
    ),
    (config(initramfs={"generator": "dracut"}), "The generator dracut needs the package dracut."),
    (
        config(initramfs={"generator": "initramfs-tools"}, packages=["dracut"]),
        "The package dracut, which systemConfig.packages names, cannot be installed beside initramfs-tools.",
    ),
    (config(initramfs={"template": "x.yml"}), "An image of the type raw has no installer"),
]

RIGHT: Right = {
    "kernel_is_named": [NO_KERNEL | target(imageType="initrd"), config(kernel={"packages": ["kernel"]})],
    "kernel_command_line_can_be_read": [cmdline('a="b c" quiet')],
    "kernel_command_line_leaves_the_root_to_the_build": [cmdline("rootwait rootflags=noatime x.root=1")],
    "kernel_command_line_need_not_name_the_root": [cmdline("rootwait rootflags=noatime x.root=1")],
    "consoles_have_their_form": [
        cmdline(f"console={name}")
        for name in ("tty0", "ttyS0,115200n8", "ttyAMA0", "hvc0", "uart8250,io,0x3f8,9600n8", "null", "ttynull", "tty1")
    ]
    + [cmdline("netconsole=/dev/x")],
    "kernel_command_line_says_everything_once": [
        cmdline("quiet splash console=ttyS0,115200 console=tty0 loglevel=7"),
        cmdline("rw console=tty0 selinux=0 module_blacklist=a module_blacklist=b"),
    ],
    "unified_kernel_images_have_their_bootloader": [config(kernel={"uki": True}), SIGNED_GRUB],
    "signed_grub_has_no_menu": [
        config(**{**SIGNED_GRUB["systemConfig"], "bootloader": {"provider": "grub", "timeout": 0}}),
        config(bootloader={"provider": "grub", "timeout": 5}),
    ],
    "bootloader_fits_the_firmware": [
        target(arch="aarch64"),
        config(bootloader={"provider": "grub"}),
        disk(BIOS, ANY_ROOT) | config(bootloader=LEGACY),
    ],
    "signed_programs_exist": [
        config(bootloader={"provider": "grub", "signed": True, "timeout": 5, "default": "6.1"}),
        config(bootloader={"provider": "grub2", "signed": True}),
    ],
    "grub_can_read_its_partition": [
        disk(ESP, {**ROOT, "fsType": "erofs"}) | SIGNED_GRUB,
        disk(ESP, {**ROOT, "fsType": "squashfs"}),
        disk(ESP, {**ROOT, "fsType": "xfs"}) | config(bootloader={"provider": "grub"}),
        disk(
            {**ESP, "end": "120MiB"},
            {"id": "kernels", "fsType": "ext4", "start": "120MiB", "end": "257MiB", "mountPoint": "/boot"},
            {**ROOT, "fsType": "erofs"},
        )
        | config(bootloader={"provider": "grub"}),
    ],
    "legacy_boot_has_its_partition": [
        disk({**BIOS, "type": "linux", "typeUUID": "21686148-6449-6E6F-744E-656564454649"}, ANY_ROOT)
        | config(bootloader=LEGACY),
        disk({"id": "bios", "flags": ["bios_grub"], "size": "1MiB"}, ANY_ROOT) | config(bootloader=LEGACY),
        disk(ANY_ROOT, partitionTableType="mbr") | config(bootloader=LEGACY),
        target(imageType="initrd") | config(bootloader=LEGACY),
    ],
    "partitions_of_bootloaders_get_one": [
        disk(BIOS, {**ESP, "start": "2MiB"}, ROOT) | config(bootloader=HYBRID),
        disk(BIOS, {**ESP, "start": "2MiB"}, ROOT) | HYBRID_UKI,
        disk(ESP, {**ROOT, "flags": ["boot"]}, partitionTableType="mbr") | HYBRID_UKI,
        disk(BIOS, {**ESP, "start": "2MiB"}, ROOT) | config(bootloader={**HYBRID, "signed": True}),
    ],
    "initramfs_generator_is_installed": [
        config(initramfs={"generator": "dracut"}, packages=["dracut-core"]),
        config(initramfs={"generator": "initramfs-tools"}, packages=["initramfs-tools"]),
        config(packages=["dracut"]),
    ],
    "installer_belongs_to_an_iso": [target(imageType="iso") | config(initramfs={"template": "default-initrd.yml"})],
}


@pytest.mark.parametrize(("part", "expected"), WRONG, ids=[text[:60] for _part, text in WRONG])
def test_wrong(part: Part, expected: str, judge: Judge) -> None:
    found = judge(part)
    assert any(expected in line for line in found), found


@pytest.mark.parametrize(("name", "part"), neighbours(RIGHT))
def test_right(name: str, part: Part, approve: Approve) -> None:
    approve(name, part)
