# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The boot of an image: kernel, initramfs and bootloader."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._boot.cmdline import words_of
from ansible_collections.os_image.composer.plugins.module_utils._bootloader import (
    BOOT_TYPES,
    BOOTLOADERS,
    EFI,
    HYBRID,
    LEGACY,
    SHIM_GRUB,
    SYSTEMD_BOOT,
    BootloaderTraits,
    bootloaders_of,
    bootloaders_that,
    is_shim_grub,
)
from ansible_collections.os_image.composer.plugins.module_utils._checks.disk import (
    image_traits,
    is_bios_boot,
    is_mbr,
    partitions,
    planned_layout,
)
from ansible_collections.os_image.composer.plugins.module_utils._checks.packages import has_package
from ansible_collections.os_image.composer.plugins.module_utils._checks.partitions import is_esp
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.kinds import file_system
from ansible_collections.os_image.composer.plugins.module_utils._template.located import LocatedMapping, Path
from ansible_collections.os_image.composer.plugins.module_utils._template.rule import Finding, Subject, doubles

SUBJECT = Subject("Kernel, initramfs and bootloader")

_CMDLINE: Path = ("systemConfig", "kernel", "cmdline")

# Set by the build.
_BUILD_WORDS = ("root", "rootfstype", "roothash", "usrhash", "initrd", "BOOT_IMAGE")
_BUILD_PREFIXES = ("systemd.verity",)

# Of these the kernel, or systemd, takes one value.
_SINGLE_WORDS = (
    "apparmor",
    "enforcing",
    "init",
    "loglevel",
    "mitigations",
    "net.ifnames",
    "panic",
    "selinux",
    "systemd.unit",
)
_OPPOSITES = (("quiet", "debug"), ("ro", "rw"))

# A serial line and its speed, parity, bits and flow control: admin-guide/kernel-parameters, "console=".
_SERIAL = re.compile(r"tty(S|AMA|USB|LP|PS|mxc|O)[0-9]+(,[0-9]+([noe]([5-8]r?)?)?)?\Z")


def kernel_words(template: LocatedMapping) -> t.List[str]:
    """Return the words of the kernel command line."""
    return words_of(template["systemConfig"]["kernel"]["cmdline"])


def bootloader_traits(template: LocatedMapping) -> BootloaderTraits:
    """Return what the template's bootloader can do and needs."""
    return all_bootloaders(template)[0]


def starts_by_shim_grub(template: LocatedMapping) -> bool:
    """Tell whether the bootloader is GRUB behind a shim, which the build signs."""
    system = template["systemConfig"]
    loader = system["bootloader"]
    return is_shim_grub(
        loader["bootType"],
        loader["provider"],
        use_uki=system["kernel"]["uki"],
        use_signed=loader["signed"],
        is_signed="secureBoot" in system["signing"],
    )


def all_bootloaders(template: LocatedMapping) -> t.List[BootloaderTraits]:
    """Return what is known of the bootloaders of the image, the template's own first."""
    if starts_by_shim_grub(template):
        return [SHIM_GRUB]
    loader = template["systemConfig"]["bootloader"]
    return [BOOTLOADERS[name] for name in bootloaders_of(loader["bootType"], loader["provider"])]


def puts_core(template: LocatedMapping) -> bool:
    """Tell whether a bootloader has a program for a BIOS, which lies outside of the file systems."""
    needs_bios = BOOT_TYPES[template["systemConfig"]["bootloader"]["bootType"]].needs_bios
    return needs_bios and any(traits.has_bios_core for traits in all_bootloaders(template))


@SUBJECT.rule(
    "systemConfig.kernel",
    "target",
    example="""
    remove:
      packages: ["linux-image-*"]
    """,
)
def kernel_is_named(template: LocatedMapping) -> t.Iterator[Finding]:
    """What boots by itself has a kernel."""
    # An initrd may be made for a kernel that comes from elsewhere.
    if not template["systemConfig"]["kernel"]["packages"] and image_traits(template).starts_by_itself:
        yield (
            ("systemConfig", "kernel"),
            "No kernel package is named. Add one to systemConfig.kernel.packages, for example linux-image-amd64.",
        )


@SUBJECT.rule(
    "systemConfig.kernel",
    example="""
    systemConfig:
      kernel:
        cmdline: 'quiet dyndbg="file drivers/usb/* +p'
    """,
)
def kernel_command_line_can_be_read(template: LocatedMapping) -> t.Iterator[Finding]:
    """The kernel command line has characters that every bootloader passes on, and closed quotation marks."""
    cmdline = template["systemConfig"]["kernel"]["cmdline"]
    if not re.match(r"[ -~]*\Z", cmdline):
        yield _CMDLINE, "The kernel command line may only have printable ASCII characters, in one line."
    elif cmdline.count('"') % 2:
        yield _CMDLINE, "A quotation mark of the kernel command line is not closed. Add the second one."


def names_own_root(template: LocatedMapping, word: str) -> bool:
    """Tell whether a word of the kernel command line names the root partition of the template, or its file system."""
    name, _equals, value = word.replace('"', "").partition("=")
    for _path, partition in partitions(template):
        if partition["mountPoint"] != "/":
            continue
        label, part_label = partition["fsLabel"], partition["name"] or partition["id"]
        labels = (f"LABEL={label}", f"/dev/disk/by-label/{label}") if label else ()
        part_labels = (f"PARTLABEL={part_label}", f"/dev/disk/by-partlabel/{part_label}")
        if name == "root":
            # A table of the kind MBR has no names.
            return value in labels or (value in part_labels and not is_mbr(template))
        return name == "rootfstype" and value == partition["fsType"]
    return False


def command_line_without_root(template: LocatedMapping) -> str:
    """Return the kernel command line of a valid template without words that only say where the root is anyway."""
    cmdline: str = template["systemConfig"]["kernel"]["cmdline"]
    words = words_of(cmdline)
    kept = [word for word in words if not names_own_root(template, word)]
    return cmdline if len(kept) == len(words) else " ".join(kept)


@SUBJECT.advice(
    "systemConfig.kernel",
    "disk",
    example="""
    disk:
      size: 3GiB
      partitions:
        - {id: esp, type: esp, fsType: fat32, end: 513MiB, mountPoint: /boot/efi}
        - {id: rootfs, fsType: ext4, fsLabel: system, end: "0", mountPoint: /}
    systemConfig:
      kernel:
        cmdline: root=LABEL=system ro
    """,
)
def kernel_command_line_need_not_name_the_root(template: LocatedMapping) -> t.Iterator[Finding]:
    """The kernel command line says nothing of the root partition, which the build knows better."""
    for word in kernel_words(template):
        if names_own_root(template, word):
            yield (
                _CMDLINE,
                f"{word} says what the build says itself, by the PARTUUID of the root partition. The word is left out.",
            )


@SUBJECT.rule(
    "systemConfig.kernel",
    "disk",
    example="""
    systemConfig:
      kernel:
        cmdline: quiet root=/dev/sda2
    """,
)
def kernel_command_line_leaves_the_root_to_the_build(template: LocatedMapping) -> t.Iterator[Finding]:
    """The kernel command line says nothing that the build has to say."""
    for word in kernel_words(template):
        # The kernel takes the quotation marks away.
        name = word.partition("=")[0].strip('"')
        if names_own_root(template, word):
            continue
        if name in _BUILD_WORDS or name.startswith(_BUILD_PREFIXES):
            yield _CMDLINE, f"{name}= is set by the build itself. Remove {word!r}."


@SUBJECT.rule(
    "systemConfig.kernel",
    example="""
    systemConfig:
      kernel:
        cmdline: console=tty0 console=/dev/ttyS0,115200 console=ttyS1:9600
    """,
)
def consoles_have_their_form(template: LocatedMapping) -> t.Iterator[Finding]:
    """A console of the kernel is a device without /dev/, a serial one with its speed behind a comma."""
    for word in kernel_words(template):
        name, _equals, value = word.partition("=")
        wrong = value.startswith("/dev/") or (re.match(r"tty[A-Za-z]+[0-9]", value) and not _SERIAL.match(value))
        if name == "console" and (wrong or not value):
            yield (
                _CMDLINE,
                f"The kernel does not know a console such as {word!r}. Write console=tty0, or console=ttyS0,115200.",
            )


@SUBJECT.advice(
    "systemConfig.kernel",
    example="""
    systemConfig:
      kernel:
        cmdline: quiet loglevel=3 panic=10 loglevel=7 quiet
    """,
)
def kernel_command_line_says_everything_once(template: LocatedMapping) -> t.Iterator[Finding]:
    """No word of the kernel command line is repeated, or says the opposite of another one."""
    words = kernel_words(template)
    for _place, word in doubles(((*_CMDLINE, index), word) for index, word in enumerate(words)):
        yield _CMDLINE, f"The kernel command line says {word} twice. Remove one."
    for name in _SINGLE_WORDS:
        values = list(dict.fromkeys(word for word in words if word.partition("=")[0] == name))
        if len(values) > 1:
            yield _CMDLINE, f"The kernel command line says {' and '.join(values)}; the last one counts. Keep one."
    for one, other in _OPPOSITES:
        if one in words and other in words:
            yield _CMDLINE, f"{one} and {other} on the kernel command line contradict each other. Keep one."


@SUBJECT.rule(
    "systemConfig.kernel",
    "systemConfig.bootloader",
    "systemConfig.signing",
    "systemConfig.immutability",
    example="""
    systemConfig:
      bootloader:
        provider: grub
      kernel:
        uki: true
    """,
)
def unified_kernel_images_have_their_bootloader(template: LocatedMapping) -> t.Iterator[Finding]:
    """A unified kernel image is started by systemd-boot, or by GRUB where the build signs both."""
    system = template["systemConfig"]
    # With keys there is more to be said, by the rules about these.
    if system["kernel"]["uki"] and not bootloader_traits(template).starts_uki and "secureBoot" not in system["signing"]:
        starters = bootloaders_that(lambda other: other.starts_uki)
        yield (
            ("systemConfig", "kernel", "uki"),
            f"A unified kernel image is started by {starters}, or by GRUB with signing.secureBoot. Use "
            f"bootloader.provider: {starters}, or uki: false.",
        )


@SUBJECT.rule(
    "systemConfig.bootloader",
    "systemConfig.kernel",
    "systemConfig.signing",
    "systemConfig.immutability",
    example="""
    systemConfig:
      bootloader:
        provider: grub
        timeout: 5
      kernel:
        uki: true
      signing:
        secureBoot: {key: keys/db.key, certificate: keys/db.crt}
    """,
)
def signed_grub_has_no_menu(template: LocatedMapping) -> t.Iterator[Finding]:
    """GRUB that the build signs starts the default kernel, and shows no menu, which could be changed."""
    if starts_by_shim_grub(template) and template["systemConfig"]["bootloader"].get("timeout"):
        yield (
            ("systemConfig", "bootloader", "timeout"),
            "GRUB that the build signs for Secure Boot has no menu that could be shown. Remove timeout, or use "
            f"provider: {SYSTEMD_BOOT}.",
        )


@SUBJECT.rule(
    "systemConfig.bootloader",
    "target",
    "systemConfig.kernel",
    "systemConfig.signing",
    "systemConfig.immutability",
    example="""
    systemConfig:
      bootloader:
        bootType: legacy
        provider: systemd-boot
    """,
)
def bootloader_fits_the_firmware(template: LocatedMapping) -> t.Iterator[Finding]:
    """systemd-boot needs UEFI; only x86_64 machines have a BIOS."""
    loader, arch = template["systemConfig"]["bootloader"], template["target"]["arch"]
    boot_type, traits = loader["bootType"], bootloader_traits(template)
    firmware = BOOT_TYPES[boot_type].firmware
    if arch not in BOOT_TYPES[boot_type].architectures:
        yield (
            ("systemConfig", "bootloader", "bootType"),
            f"Machines of the architecture {arch} have no {BOOT_TYPES[LEGACY].firmware} that could boot by bootType: "
            f"{boot_type}. "
            f"Use bootType: {EFI}.",
        )
    elif boot_type not in traits.boot_types:
        yield (
            ("systemConfig", "bootloader", "provider"),
            f"{loader['provider']} is a program for {BOOT_TYPES[traits.boot_types[0]].firmware}, which a {firmware} "
            f"(bootType: {boot_type}) cannot start. Use provider: "
            f"{bootloaders_that(lambda other: boot_type in other.boot_types)}, or bootType: {traits.boot_types[0]}.",
        )


@SUBJECT.rule(
    "systemConfig.bootloader",
    "systemConfig.kernel",
    "systemConfig.signing",
    "systemConfig.immutability",
    example="""
    systemConfig:
      bootloader:
        provider: systemd-boot
        signed: true
    """,
)
def signed_programs_exist(template: LocatedMapping) -> t.Iterator[Finding]:
    """Distributions sign GRUB for UEFI, with the shim before it, and no other bootloader."""
    loader = template["systemConfig"]["bootloader"]
    if loader["signed"] and loader["bootType"] not in bootloader_traits(template).signed_for:
        signed = [(name, traits, traits.signed_for[0]) for name, traits in BOOTLOADERS.items() if traits.signed_for]
        which = " and ".join(f"{traits.title} for {BOOT_TYPES[kind].firmware}" for _name, traits, kind in signed)
        instead = " or ".join(f"provider: {name} and bootType: {kind}" for name, _traits, kind in signed)
        yield (
            ("systemConfig", "bootloader", "signed"),
            f"Only {which} comes signed from the distributions. Use {instead}, or signed: false.",
        )


@SUBJECT.rule(
    "disk",
    "target",
    "systemConfig.bootloader",
    "systemConfig.kernel",
    "systemConfig.signing",
    "systemConfig.immutability",
    example="""
    disk:
      size: 2GiB
      partitions:
        - {id: boot, type: esp, fsType: fat32, size: 256MiB, mountPoint: /boot/efi}
        - {id: root, fsType: erofs, end: "0", mountPoint: /}
    systemConfig:
      bootloader:
        provider: grub
    """,
)
def grub_can_read_its_partition(template: LocatedMapping) -> t.Iterator[Finding]:
    """GRUB finds its configuration and the kernel on a file system that it can read."""
    reads_it_there = all(traits.is_whole_on_esp for traits in all_bootloaders(template))
    layout = None if reads_it_there else planned_layout(template)
    holder = layout.holding("/boot/grub") if layout else None
    if layout and holder and holder.fs_type and not file_system(holder.fs_type).grub_modules:
        yield (
            ("disk", "partitions", layout.partitions.index(holder), "fsType"),
            f"GRUB cannot read {holder.fs_type}, which has the kernel here. Add a partition with fsType: ext4 and "
            f"mountPoint: /boot, or use provider: {bootloaders_that(lambda other: other.is_whole_on_esp)}.",
        )


@SUBJECT.rule(
    "disk",
    "target",
    "systemConfig.bootloader",
    "systemConfig.kernel",
    "systemConfig.signing",
    "systemConfig.immutability",
    example="""
    disk:
      size: 2GiB
      partitions:
        - {id: root, fsType: ext4, end: "0", mountPoint: /}
    systemConfig:
      bootloader:
        bootType: legacy
        provider: grub
    """,
)
def legacy_boot_has_its_partition(template: LocatedMapping) -> t.Iterator[Finding]:
    """On a GPT disk, GRUB for BIOS needs one partition for its core."""
    boot_type, places = template["systemConfig"]["bootloader"]["bootType"], partitions(template)
    wanted = puts_core(template) and places and not is_mbr(template)
    if not wanted or template["target"]["arch"] not in BOOT_TYPES[boot_type].architectures:
        return
    cores = [(path, item) for path, item in places if is_bios_boot(item)]
    if not cores:
        yield (
            ("disk", "partitions"),
            "GRUB has no place for its core on a gpt disk without a BIOS boot partition. Add one with type: bios and "
            "size: 1MiB, or use partitionTableType: mbr.",
        )
    for path, item in cores[1:]:
        yield path, f"The partition {item['id']!r} is a second BIOS boot partition. Keep one."


@SUBJECT.rule(
    "disk",
    "target",
    "systemConfig.bootloader",
    "systemConfig.kernel",
    "systemConfig.signing",
    "systemConfig.immutability",
    example="""
    disk:
      size: 2GiB
      partitions:
        - {id: bios, size: 1MiB, flags: [bios_grub]}
        - {id: boot, type: esp, fsType: fat32, size: 256MiB, mountPoint: /boot/efi}
        - {id: root, fsType: ext4, end: "0", mountPoint: /}
    """,
)
def partitions_of_bootloaders_get_one(template: LocatedMapping) -> t.Iterator[Finding]:
    """A BIOS boot partition and an EFI system partition get the bootloader that they are for."""
    boot_type = template["systemConfig"]["bootloader"]["bootType"]
    if boot_type not in bootloader_traits(template).boot_types:
        return
    hybrid = f"Use bootType: {HYBRID} for machines of both kinds, or remove the partition."
    for path, item in partitions(template):
        if is_bios_boot(item) and not puts_core(template) and not is_mbr(template):
            yield (
                path,
                f"The BIOS boot partition {item['id']!r} would stay empty, as by bootType: {boot_type} no BIOS starts "
                f"the image. {hybrid}",
            )
        elif is_esp(item) and not BOOT_TYPES[boot_type].needs_esp:
            yield (
                path,
                f"The EFI system partition {item['id']!r} would stay empty, as by bootType: {boot_type} no UEFI starts "
                f"the image. {hybrid}",
            )


@SUBJECT.rule(
    "systemConfig.initramfs",
    "systemConfig.packages",
    example="""
    systemConfig:
      initramfs:
        generator: dracut
    """,
)
def initramfs_generator_is_installed(template: LocatedMapping) -> t.Iterator[Finding]:
    """A generator that is no default has its package in the image, and no other one that takes its place."""
    generator, path = template["systemConfig"]["initramfs"]["generator"], ("systemConfig", "initramfs", "generator")
    if generator == "dracut" and not has_package(template, "dracut", "dracut-*"):
        yield path, "The generator dracut needs the package dracut. Add it to systemConfig.packages."
    elif generator == "initramfs-tools" and has_package(template, "dracut"):
        yield (
            path,
            "The package dracut, which systemConfig.packages names, cannot be installed beside initramfs-tools. "
            "Remove it, or use generator: dracut.",
        )


@SUBJECT.rule(
    "systemConfig.initramfs",
    "target",
    example="""
    systemConfig:
      initramfs:
        template: installer.yml
    """,
)
def installer_belongs_to_an_iso(template: LocatedMapping) -> t.Iterator[Finding]:
    """Only an ISO image has an installer, with an initrd of its own."""
    if "template" in template["systemConfig"]["initramfs"] and not image_traits(template).is_medium:
        yield (
            ("systemConfig", "initramfs", "template"),
            f"An image of the type {template['target']['imageType']} has no installer, whose initrd "
            "initramfs.template describes. Remove the key.",
        )


__all__ = ("SUBJECT", "all_bootloaders", "bootloader_traits", "kernel_words", "starts_by_shim_grub")
