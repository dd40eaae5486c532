# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The cells of the matrix: what is composed from the small tree, what is refused, and what is booted."""

from __future__ import annotations

import dataclasses
import itertools
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._bootloader import BOOT_TYPES, bootloaders_of

Section = t.Dict[str, t.Any]

TABLES = ("gpt", "mbr")
ROOTS = ("ext4", "ext3", "ext2", "xfs", "btrfs", "squashfs", "erofs")
#: Name -> bootType, provider, whether a UKI, whether signed.
LOADERS: t.Mapping[str, tuple[str, str, bool, bool]] = {
    "systemd-boot": ("efi", "systemd-boot", False, False),
    "uki": ("efi", "systemd-boot", True, False),
    "grub-efi": ("efi", "grub", False, False),
    "grub-signed": ("efi", "grub", False, True),
    "grub-bios": ("legacy", "grub", False, False),
    "grub-both": ("hybrid", "grub", False, False),
    "uki-both": ("hybrid", "systemd-boot", True, False),
}
FORMATS = ("raw", "qcow2", "vhd", "vhdx", "vmdk", "vdi")

ESP: Section = {
    "id": "boot",
    "type": "esp",
    "fsType": "fat32",
    "fsLabel": "ESP",
    "size": "content",
    "mountPoint": "/boot/efi",
    "mountOptions": "umask=0077",
}
BIOS: Section = {"id": "bios", "type": "bios-boot", "size": "1MiB"}
SWAP: Section = {"id": "swap", "fsType": "linux-swap", "size": "4MiB"}
DATA: Section = {"id": "data", "fsType": "fat16", "size": "8MiB", "mountPoint": "/srv/data"}
BOOT: Section = {"id": "bootfs", "fsType": "ext4", "size": "content", "mountPoint": "/boot"}
ROOT: Section = {"id": "rootfs", "fsType": "ext4", "size": "content", "mountPoint": "/"}


@dataclasses.dataclass(frozen=True)
class Cell:
    """A disk that is composed from the small tree, and converted."""

    table: str
    root: str
    loader: str
    format: str
    arch: str = "x86_64"

    @property
    def name(self) -> str:
        """What it is called in the matrix."""
        name = f"{self.table}/{self.root}/{self.loader}/{self.format}"
        return name if self.arch == "x86_64" else f"{self.arch}/{name}"

    @property
    def has_boot_partition(self) -> bool:
        """Whether /boot is a partition of its own: GRUB cannot read the root file system."""
        boot_type, provider, _uki, _signed = LOADERS[self.loader]
        return "grub" in bootloaders_of(boot_type, provider) and self.root in ("squashfs", "erofs")

    @property
    def disk(self) -> Section:
        """The template's disk section."""
        boot_type = LOADERS[self.loader][0]
        kind = BOOT_TYPES[boot_type]
        first = [BIOS] if kind.needs_bios and self.table == "gpt" else []
        first += [ESP] if kind.needs_esp else []
        boot = [BOOT] if self.has_boot_partition else []
        root = {**ROOT, "fsType": self.root, **({"flags": ["boot"]} if self.table == "mbr" else {})}
        return {
            "size": "content",
            "partitionTableType": self.table,
            "partitions": [*first, *boot, SWAP, DATA, root],
        }


def _cells() -> t.Iterator[Cell]:
    """Yield each table with each file system and each bootloader.

    The formats do not depend on these: each of them meets each table, file system and bootloader once at least.
    """
    choices = itertools.product(enumerate(TABLES), enumerate(ROOTS), enumerate(LOADERS))
    for (table_index, table), (root_index, root), (loader_index, loader) in choices:
        yield Cell(table, root, loader, FORMATS[(table_index + root_index + loader_index) % len(FORMATS)])


# What a disk for another machine has of its own is its bootloader.
_ARM_CELLS = (
    Cell("gpt", "ext4", "systemd-boot", "raw", "aarch64"),
    Cell("gpt", "btrfs", "uki", "qcow2", "aarch64"),
    Cell("gpt", "xfs", "grub-efi", "vhdx", "aarch64"),
    Cell("mbr", "ext4", "grub-efi", "vmdk", "aarch64"),
    Cell("gpt", "erofs", "grub-signed", "raw", "aarch64"),
)

CELLS: t.Sequence[Cell] = (*_cells(), *_ARM_CELLS)


@dataclasses.dataclass(frozen=True)
class Refused:
    """What is refused on purpose.

    :ivar options: What C(compose) of the small tree gets.
    :ivar message: A regular expression for what the user is told.
    """

    name: str
    disk: Section
    options: Section
    message: str


_GPT: Section = {"size": "content", "partitions": [ESP, ROOT]}

REFUSED: t.Sequence[Refused] = (
    Refused(
        "systemd-boot on a BIOS",
        _GPT,
        {"boot_type": "legacy"},
        r"The bootloader 'systemd-boot' for the boot type 'legacy' is not supported\.",
    ),
    Refused(
        "GRUB with a UKI", _GPT, {"provider": "grub", "use_uki": True}, r"GRUB does not start unified kernel images\."
    ),
    Refused("signed systemd-boot", _GPT, {"use_signed": True}, r"The distributions do not sign systemd-boot\."),
    Refused(
        "signed GRUB on a BIOS",
        {"size": "content", "partitions": [BIOS, ROOT]},
        {"boot_type": "legacy", "provider": "grub", "use_signed": True},
        r"A BIOS checks no signatures\.",
    ),
    Refused(
        "a BIOS on aarch64",
        {"size": "content", "partitions": [BIOS, ROOT]},
        {"boot_type": "legacy", "provider": "grub", "arch": "aarch64"},
        r"A machine of the architecture aarch64 has no BIOS\.",
    ),
    Refused(
        "a BIOS on GPT without a BIOS boot partition",
        {"size": "content", "partitions": [ROOT]},
        {"boot_type": "legacy", "provider": "grub"},
        r"GRUB for a BIOS needs a BIOS boot partition on a GPT disk",
    ),
    Refused(
        "GRUB with /boot on squashfs or erofs",
        {"size": "content", "partitions": [ESP, {**ROOT, "fsType": "erofs"}]},
        {"provider": "grub"},
        r"GRUB cannot read the file system erofs .*mountPoint: /boot\.",
    ),
    Refused(
        "growing at boot on MBR",
        {"size": "content", "partitionTableType": "mbr", "partitions": [ESP, {**ROOT, "growOnBoot": True}]},
        {},
        r"systemd-repart knows no MBR",
    ),
)


@dataclasses.dataclass(frozen=True)
class Boot:
    """An image that is built whole and booted to a login.

    :ivar turn: The turn of C(make test) in which it is booted.
    :ivar firmware: C(uefi) or C(bios), or both with a blank between them: it is booted by one after the other.
    :ivar system: What of systemConfig differs.
    :ivar commands: What is run in the booted system -> a regular expression for what it says.
    :ivar enlarged: How large the disk of the machine is; V(None) for as large as the image.
    :ivar of_rpm: Whether it is made of the packages of the tests' RPM distribution, instead of Debian 12's.
    """

    name: str
    turn: int
    firmware: str
    disk: Section
    system: Section
    commands: t.Mapping[str, str]
    enlarged: int | None = None
    arch: str = "x86_64"
    of_rpm: bool = False

    @property
    def loader(self) -> str:
        """The bootloader, as C(LOADERS) names it."""
        loader = self.system["bootloader"]
        uki = self.system.get("kernel", {}).get("uki", False)
        what = (loader["bootType"], loader["provider"], uki, loader.get("signed", False))
        return next(name for name, options in LOADERS.items() if options == what)


_GRUB_BIOS: Section = {"bootloader": {"bootType": "legacy", "provider": "grub"}}
_GRUB_EFI: Section = {"bootloader": {"bootType": "efi", "provider": "grub"}}
_SYSTEMD_BOOT: Section = {"bootloader": {"bootType": "efi", "provider": "systemd-boot"}}


def _gpt(*partitions: Section) -> Section:
    return {"size": "content", "partitionTableType": "gpt", "partitions": list(partitions)}


def _root(**more: t.Any) -> Section:
    return {**ROOT, "type": "linux-root-amd64", **more}


def _arm_root(**more: t.Any) -> Section:
    return _root(type="linux-root-arm64", **more)


_IS_ARM: t.Mapping[str, str] = {"uname -m": "^aarch64$"}


# The keys of sshd are made at first boot, and cannot be written here.
_READ_ONLY: Section = {"services": {"enable": [], "mask": ["ssh.service", "ssh.socket"]}}

_SELINUX: Section = {
    "packages": ["ca-certificates", "locales", "openssh-server", "policycoreutils", "selinux-policy-default", "sudo"],
    "security": {"selinux": "enforcing"},
}
_ENFORCING: t.Mapping[str, str] = {
    "getenforce": "^Enforcing$",
    "id -Z": ":unconfined_t:",
    "cat /proc/1/attr/current | tr -d '\\000'": ":init_t:",
    "stat --format=%C /etc/shadow /etc/machine-id /usr/sbin/sshd /lost+found": (
        r":shadow_t:s0\n.*:etc(_runtime)?_t:s0\n.*:sshd_exec_t:s0\n.*:lost_found_t:s0$"
    ),
    # What it would change; all of / would take minutes. The lock is made at a login, by the policy's own rules.
    "restorecon -n -R -v -F /boot /etc /home /root /srv | sed '/[.]pwd[.]lock /d'": "^$",
    # What has no label of its own shows this one.
    "find / -xdev -context '*:unlabeled_t:*' -o -xdev -context '*:file_t:*'": "^$",
}

_ROOT_TYPE = "findmnt --noheadings --output FSTYPE /"

BOOTS: t.Sequence[Boot] = (
    Boot(
        "GPT, GRUB on a BIOS",
        1,
        "bios",
        _gpt(BIOS, _root()),
        _GRUB_BIOS,
        {"cat /proc/cmdline": r"^BOOT_IMAGE=", "test ! -d /sys/firmware/efi && echo BIOS": "BIOS"},
    ),
    Boot(
        "MBR with logical partitions, GRUB on a BIOS",
        3,
        "bios",
        {
            "size": "content",
            "partitionTableType": "mbr",
            "partitions": [
                {**ROOT, "flags": ["boot"]},
                {**SWAP, "size": "64MiB"},
                {"id": "srv", "fsType": "ext4", "size": "16MiB", "mountPoint": "/srv"},
                {"id": "home", "fsType": "ext4", "size": "16MiB", "mountPoint": "/home"},
                {"id": "opt", "fsType": "ext2", "size": "16MiB", "mountPoint": "/opt"},
            ],
        },
        _GRUB_BIOS,
        {
            "cat /proc/cmdline": r"root=PARTUUID=[0-9a-f]{8}-01",
            "findmnt --noheadings --output SOURCE /opt": "/dev/vda6",
            "swapon --noheadings --show=NAME": "/dev/vda2",
        },
    ),
    Boot(
        "GRUB on a BIOS and on UEFI",
        3,
        "bios uefi",
        _gpt(BIOS, ESP, _root()),
        {"bootloader": {"bootType": "hybrid", "provider": "grub"}},
        {"cat /proc/cmdline": r"^BOOT_IMAGE="},
    ),
    Boot(
        "MBR, GRUB on a BIOS and UKI",
        2,
        "bios uefi",
        {"size": "content", "partitionTableType": "mbr", "partitions": [ESP, {**ROOT, "flags": ["boot"]}]},
        {"bootloader": {"bootType": "hybrid", "provider": "systemd-boot"}, "kernel": {"uki": True}},
        {"{ ls /sys/firmware/efi/efivars || cat /proc/cmdline; } 2>/dev/null": r"StubInfo-|^BOOT_IMAGE="},
    ),
    Boot(
        "xfs root, GRUB on UEFI",
        1,
        "uefi",
        _gpt(ESP, _root(fsType="xfs")),
        _GRUB_EFI,
        {
            _ROOT_TYPE: "^xfs$",
            # Only GRUB tells the kernel where it was loaded from.
            "cat /proc/cmdline": r"^BOOT_IMAGE=.* root=PARTUUID=[0-9a-fA-F-]{36}\b",
            "cat /sys/firmware/efi/fw_platform_size": "^64$",
        },
    ),
    Boot(
        "btrfs root, systemd-boot",
        1,
        "uefi",
        _gpt(ESP, _root(fsType="btrfs", mountOptions="compress=zstd:1")),
        _SYSTEMD_BOOT,
        {_ROOT_TYPE: "^btrfs$", "findmnt --noheadings --output OPTIONS /": "compress=zstd:1"},
    ),
    Boot(
        "separate /boot, and /var on xfs, GRUB on a BIOS",
        2,
        "bios",
        _gpt(
            BIOS,
            BOOT,
            _root(),
            {"id": "var", "type": "linux-var", "fsType": "xfs", "size": "400MiB", "mountPoint": "/var"},
        ),
        _GRUB_BIOS,
        {
            "findmnt --noheadings --output FSTYPE /var": "^xfs$",
            "findmnt --noheadings --output FSTYPE /boot": "^ext4$",
            "cat /proc/cmdline": "^BOOT_IMAGE=/vmlinuz-",
        },
    ),
    Boot(
        "signed shim and GRUB on UEFI",
        2,
        "uefi",
        _gpt(ESP, _root()),
        {"bootloader": {**_GRUB_EFI["bootloader"], "signed": True}},
        {"cat /proc/cmdline": r"^BOOT_IMAGE=", "test -d /sys/firmware/efi && echo UEFI": "UEFI"},
    ),
    Boot(
        "squashfs root, systemd-boot",
        2,
        "uefi",
        _gpt(ESP, _root(fsType="squashfs")),
        {**_SYSTEMD_BOOT, **_READ_ONLY},
        {_ROOT_TYPE: "^squashfs$", "findmnt --noheadings --output FSTYPE /var": "^tmpfs$"},
    ),
    Boot(
        "erofs root, UKI",
        2,
        "uefi",
        _gpt(ESP, _root(fsType="erofs")),
        {**_SYSTEMD_BOOT, **_READ_ONLY, "kernel": {"uki": True}},
        {_ROOT_TYPE: "^erofs$", "ls /sys/firmware/efi/efivars": "StubInfo-"},
    ),
    Boot(
        "root that grows at first boot, systemd-boot",
        3,
        "uefi",
        _gpt(ESP, _root(growOnBoot=True)),
        _SYSTEMD_BOOT,
        {"findmnt --noheadings --bytes --output SIZE / | cut -c1-2": "^[34]"},
        enlarged=4 << 30,
    ),
    Boot(
        "SELinux enforcing, ext4 root, systemd-boot",
        1,
        "uefi",
        _gpt(ESP, _root()),
        {**_SYSTEMD_BOOT, **_SELINUX},
        _ENFORCING,
    ),
    Boot(
        "RPM packages, UKI",
        1,
        "uefi",
        _gpt(ESP, _root()),
        {**_SYSTEMD_BOOT, "kernel": {"uki": True}},
        {"ls /sys/firmware/efi/efivars": "StubInfo-", "rpm -q systemd-boot": r"^systemd-boot-\d"},
        of_rpm=True,
    ),
    Boot(
        "RPM packages, GRUB on UEFI",
        2,
        "uefi",
        _gpt(ESP, _root()),
        _GRUB_EFI,
        {"cat /proc/cmdline": r"^BOOT_IMAGE=/boot/vmlinuz-", "test -d /sys/firmware/efi && echo UEFI": "UEFI"},
        of_rpm=True,
    ),
    Boot(
        "RPM packages, MBR, GRUB on a BIOS",
        3,
        "bios",
        {
            "size": "content",
            "partitionTableType": "mbr",
            "partitions": [{**ROOT, "flags": ["boot"]}, {**SWAP, "size": "64MiB"}],
        },
        _GRUB_BIOS,
        {"cat /proc/cmdline": r"^BOOT_IMAGE=/boot/vmlinuz-", "test ! -d /sys/firmware/efi && echo BIOS": "BIOS"},
        of_rpm=True,
    ),
    Boot(
        "aarch64: systemd-boot",
        2,
        "uefi",
        _gpt(ESP, _arm_root()),
        _SYSTEMD_BOOT,
        {**_IS_ARM, "ls /sys/firmware/efi/efivars": "LoaderInfo-"},
        arch="aarch64",
    ),
    Boot(
        "aarch64: GRUB",
        3,
        "uefi",
        _gpt(ESP, _arm_root()),
        _GRUB_EFI,
        {**_IS_ARM, "cat /proc/cmdline": r"^BOOT_IMAGE="},
        arch="aarch64",
    ),
    Boot(
        "aarch64: UKI",
        3,
        "uefi",
        _gpt(ESP, _arm_root()),
        {**_SYSTEMD_BOOT, "kernel": {"uki": True}},
        {**_IS_ARM, "ls /sys/firmware/efi/efivars": "StubInfo-"},
        arch="aarch64",
    ),
    Boot(
        "aarch64: signed shim and GRUB",
        1,
        "uefi",
        _gpt(ESP, _arm_root()),
        {"bootloader": {**_GRUB_EFI["bootloader"], "signed": True}},
        {**_IS_ARM, "cat /proc/cmdline": r"^BOOT_IMAGE="},
        arch="aarch64",
    ),
)


@dataclasses.dataclass(frozen=True)
class Whole:
    """What an end-to-end test builds by the playbook and boots; tests name it by the marker C(cells).

    :ivar case: The case that the test belongs to.
    :ivar turn: The turn of C(make test) in which its tests run; V(None) for each.
    """

    name: str
    case: str
    turn: int | None


WHOLE: t.Sequence[Whole] = (
    Whole("live ISO, CD on a BIOS", "live-iso", turn=1),
    Whole("live ISO, CD on UEFI", "live-iso", turn=3),
    Whole("live ISO, USB disk on UEFI", "live-iso", turn=3),
    Whole("installer ISO of a protected squashfs root, CD on UEFI", "installer-iso", turn=2),
    Whole("protected disk that the installer has written", "installer-iso", turn=2),
    Whole("initrd, with its kernel", "initrd", turn=1),
    Whole("Debian 13, signed UKI with a protected root", "secure-boot", turn=None),
    Whole("Debian 13, signed shim and GRUB with a UKI", "signed-grub", turn=1),
    Whole("shipped debian12-immutable, initramfs-tools", "verity", turn=1),
    Whole("RPM packages, protected erofs root with changes on /var, dracut", "verity", turn=2),
    Whole("shipped debian13-immutable, dracut", "verity", turn=3),
    Whole("two copies of an image, each booted twice", "machine-secrets", turn=1),
    Whole("kernel update, systemd-boot", "kernel-update", turn=1),
    Whole("kernel update, GRUB on UEFI", "kernel-update", turn=2),
    Whole("kernel update, UKI", "kernel-update", turn=3),
    Whole("RPM packages, live ISO, CD on a BIOS", "rpm-live-iso", turn=2),
    Whole("RPM packages, live ISO, CD on UEFI", "rpm-live-iso", turn=1),
    Whole("RPM packages, installer ISO, CD on UEFI", "rpm-installer-iso", turn=3),
    Whole("RPM packages, disk that the installer has written", "rpm-installer-iso", turn=3),
)

__all__ = (
    "BOOTS",
    "CELLS",
    "FORMATS",
    "LOADERS",
    "REFUSED",
    "WHOLE",
    "Boot",
    "Cell",
    "Refused",
    "Whole",
)
