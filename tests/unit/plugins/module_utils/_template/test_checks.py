# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._template import checks
from ansible_collections.os_image.composer.tests.unit.plugins.module_utils._template.conftest import Build

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF/pgDVlBAs8oBF1ZILG8+0H1bbrddUTi6ZB/QRO5qSu admin@example.org"
ESP = {
    "id": "boot",
    "type": "esp",
    "fsType": "fat32",
    "start": "1MiB",
    "end": "257MiB",
    "mountPoint": "/boot/efi",
}
ROOT = {"id": "root", "type": "linux-root-amd64", "fsType": "ext4", "start": "257MiB", "end": "0", "mountPoint": "/"}

SIZED_ROOT = {"id": "root", "fsType": "ext4", "mountPoint": "/"}
MBR_ROOT = {**SIZED_ROOT, "size": "1GiB", "flags": ["boot"], "mbrType": "83"}


def disk(*partitions: dict[str, t.Any], size: str = "2GiB") -> dict[str, t.Any]:
    return {"disk": {"name": "d", "size": size, "partitions": list(partitions)}}


def config(**values: t.Any) -> dict[str, t.Any]:
    return {"systemConfig": values}


def user(**values: t.Any) -> dict[str, t.Any]:
    return config(users=[{"name": "a", **values}])


def repository(**values: t.Any) -> dict[str, t.Any]:
    return {"packageRepositories": [{"codename": "stable", **values}]}


WRONG: list[tuple[dict[str, t.Any], str]] = [
    # disk
    (disk(ESP, {**ROOT, "start": "256MiB"}), "disk.partitions[1].start: The partition 'root' starts at 256 MiB"),
    (disk(ESP, {**ROOT, "end": "3GiB"}), "Use end: '0' for the rest of the disk, or enlarge disk.size."),
    (disk(ESP, {**ROOT, "start": "3GiB"}), "Nothing of the disk (2 GiB) is left for the partition 'root'"),
    (disk({**ESP, "start": "4KiB"}, ROOT), "disk.partitions[0].start: The partition 'boot' starts at 4 KiB"),
    (disk(ESP, {**ROOT, "end": "300MiB"}), "disk.partitions[1].end: The partition 'root' has 43 MiB, but a root file"),
    (disk({**ESP, "end": "20MiB"}, {**ROOT, "start": "20MiB"}), "a fat32 file system needs at least 33 MiB"),
    (disk(ESP, {**ROOT, "id": "boot"}), "Two partitions have the id 'boot'."),
    (disk({**ESP, "name": "x"}, {**ROOT, "name": "x"}), "The name 'x' is used twice."),
    (disk({**ESP, "fsLabel": "X"}, {**ROOT, "fsLabel": "X"}), "The file system label 'X' is used twice."),
    (disk(ESP, {**ROOT, "mountPoint": "/data"}), "No partition has the mountPoint /."),
    (
        disk(ESP, {**ROOT, "end": "1GiB"}, {**ROOT, "id": "two", "start": "1GiB"}),
        "is a second one with the mountPoint /",
    ),
    (disk(ESP, {**ROOT, "fsType": "fat32", "type": "linux"}), "The root file system cannot be fat32"),
    (
        disk(ESP, {**ROOT, "end": "1GiB"}, {**ROOT, "id": "x", "start": "1GiB", "mountPoint": "/a/../b"}),
        "without //, . and ..",
    ),
    (
        disk(ESP, {**ROOT, "end": "1GiB"}, {**ROOT, "id": "x", "start": "1GiB", "mountPoint": "/proc/x"}),
        "virtual file system",
    ),
    (disk(ROOT | {"start": "1MiB"}), "There is no EFI system partition, but bootloader.bootType is efi."),
    (
        disk(
            ESP,
            {**ESP, "id": "b2", "start": "257MiB", "end": "400MiB", "mountPoint": "/efi"},
            {**ROOT, "start": "400MiB"},
        ),
        "The partition 'b2' is a second EFI system partition.",
    ),
    (
        disk({**ESP, "fsType": "ext4"}, ROOT),
        "The EFI system partition 'boot' must have a FAT file system. Use fsType: fat32.",
    ),
    (disk({**ESP, "mountPoint": "/boot"}, ROOT), "must be mounted on /boot/efi or /efi."),
    (disk(ESP, {**ROOT, "type": "linux-root-arm64"}), "The type linux-root-arm64 does not belong to x86_64."),
    (disk(ESP, {**ROOT, "flags": ["esp"]}), "The flag esp only has an effect on an EFI system partition."),
    (disk({**ESP, "fsLabel": "TWELVE-CHARS"}, ROOT), "is longer than the 11 bytes that fat32 can store."),
    (disk({**ESP, "fsLabel": "esp"}, ROOT), "may only have capital letters"),
    (
        disk(
            {**ESP, "end": "200MiB"},
            {"id": "s", "fsType": "swap", "type": "linux", "start": "200MiB", "end": "257MiB"},
            ROOT,
        ),
        "A swap partition must have the type linux-swap, not linux.",
    ),
    (
        disk({**ESP, "end": "200MiB"}, {"id": "s", "fsLabel": "x", "start": "200MiB", "end": "257MiB"}, ROOT),
        "A label without a file system has no effect.",
    ),
    (
        {"disk": {"artifacts": [{"type": "raw", "compression": "gz"}, {"type": "raw", "compression": "gzip"}]}},
        "disk.artifacts[1]: The artifact raw with gz is asked for twice.",
    ),
    (
        disk(ESP, {**ROOT, "fsType": "xfs", "fsLabel": "thirteen-byte"}),
        "is longer than the 12 bytes that xfs can store.",
    ),
    (disk(ESP, {**ROOT, "fsType": "erofs", "fsLabel": "x"}), "The file system erofs has no label. Remove fsLabel."),
    (disk(ESP, {**ROOT, "fsType": "xfs", "end": "540MiB"}), "but a xfs file system needs at least 300 MiB."),
    (
        disk(ROOT | {"start": "1MiB"}) | config(bootloader={"bootType": "legacy", "provider": "grub"}),
        "There is no BIOS boot partition, which GRUB needs on a GPT disk.",
    ),
    (config(bootloader={"bootType": "legacy"}), "No BIOS can start systemd-boot."),
    (config(bootloader={"signed": True}), "Only GRUB for UEFI comes signed from the distributions."),
    (
        config(bootloader={"provider": "grub"}, kernel={"uki": True}),
        "systemConfig.kernel.uki: GRUB does not start unified kernel images.",
    ),
    # system
    (config(hostname="-web"), "systemConfig.hostname: '-web' is no host name."),
    (config(hostname="a..b"), "'a..b' is no host name."),
    (config(timezone="Europe Berlin"), "systemConfig.timezone: 'Europe Berlin' is no time zone."),
    (config(timezone="../../etc/passwd"), "is no time zone."),
    (config(locale="german"), "systemConfig.locale: 'german' is no locale."),
    (config(locale="de_DE.UTF-8"), "The locale de_DE.UTF-8 needs the package locales."),
    (config(packages=["curl", "curl"]), "systemConfig.packages[1]: The package curl is named twice."),
    (config(packages=["curl=1", "curl=2"]), "The package curl is asked for in the versions 1 and 2."),
    (config(packages=["curl="]), "'curl=' is no package with a version."),
    (config(kernel={"cmdline": "quiet root=/dev/sda1"}), "root= is set by the build itself. Remove 'root=/dev/sda1'."),
    (config(kernel={"cmdline": "a\nb"}), "printable ASCII characters, in one line."),
    (config(kernel={"cmdline": 'a="b'}), "A quotation mark of the kernel command line is not closed."),
    (
        config(kernel={"uki": True}, bootloader={"provider": "grub"}),
        "A unified kernel image is started by systemd-boot.",
    ),
    (config(initramfs={"generator": "dracut"}), "The generator dracut needs the package dracut."),
    # users
    (config(users=[{"name": "a"}, {"name": "a"}]), "systemConfig.users[1].name: The user 'a' is there twice."),
    (user(groups=["x", "x"]), "The user 'a' has this group twice."),
    (user(hash_algo="sha512"), "hash_algo without a password has no effect."),
    (user(password=""), "The password is empty."),
    (user(password="$8$abc"), "The password begins with $, but is no hash in a form of crypt(3)."),
    (user(password="$6$"), "is no hash in a form of crypt(3)."),
    (user(password="$6$salt$" + "x" * 86, hash_algo="sha256"), "The password is a hash made by sha512, not by sha256."),
    (user(password="plain", hash_algo="md5"), "A plain password is not hashed by md5 here."),
    (user(sshKeys=["hello"]), "systemConfig.users[0].sshKeys[0]: This is no public SSH key."),
    (user(sshKeys=["ssh-ed25519"]), "The key itself is missing after its type."),
    (user(sshKeys=["ssh-ed25519 AAAA"]), "The key is damaged"),
    (user(sshKeys=[KEY.replace("ssh-ed25519 ", "ssh-rsa ")]), "The key is damaged"),
    (user(sshKeys=["-----BEGIN OPENSSH PRIVATE KEY-----"]), "This is a private key, which must never be in an image."),
    (user(sshKeys=[KEY + "\n" + KEY]), "A key must be one line."),
    (user(sudo=True), "sudo needs the package sudo."),
    (user(shell="/bin/sh", startupScript="/bin/kiosk"), "startupScript takes the place of the login shell."),
    (user(home="/home/../root"), "systemConfig.users[0].home: The path '/home/../root' must be written without"),
    # network
    (config(network={"interfaces": [{"name": "a"}, {"name": "a"}]}), "The interface a is described twice."),
    (config(network={"interfaces": [{"name": "a", "addresses": ["10.0.0.1"]}]}), "has no prefix length."),
    (
        config(network={"interfaces": [{"name": "a", "addresses": ["10.0.0.999/8"]}]}),
        "is no IP address with a prefix length",
    ),
    (
        config(network={"interfaces": [{"name": "a", "addresses": ["10.0.0.1/8"], "gateway4": "::1"}]}),
        "must be an IPv4 one.",
    ),
    (config(network={"interfaces": [{"name": "a", "gateway6": "fe80::1"}]}), "gateway6 needs an IPv6 address"),
    (
        config(network={"interfaces": [{"name": "a", "nameservers": ["dns"]}]}),
        "nameservers[0]: 'dns' is no IP address.",
    ),
    (
        config(network={"interfaces": [{"name": "a", "routes": [{"to": "10.0.0.1/8", "via": "10.0.0.1"}]}]}),
        "is no network.",
    ),
    (
        config(network={"interfaces": [{"name": "a", "routes": [{"to": "10.0.0.0/8", "via": "::1"}]}]}),
        "must be an IPv4 address",
    ),
    # services
    (config(services={"enable": ["ssh"], "mask": ["ssh.service"]}), "The unit ssh.service is in enable and in mask."),
    (config(services={"disable": ["a", "a"]}), "The unit a.service is twice in disable."),
    # commands
    (config(configurations=[{"cmd": " "}]), "systemConfig.configurations[0].cmd: The command is blank."),
    (config(scripts={"postInstall": [{"inline": "\n"}]}), "The script is blank."),
    # repositories
    (repository(url="ftp://x/y", pkey="k"), "'ftp://x/y' is no URL of a repository."),
    (repository(url="<URL>", pkey="k"), "<URL> is a placeholder."),
    (repository(url="https://me:secret@x/y", pkey="k"), "The URL holds a user name or password"),
    (repository(url="http://x/y", gpgcheck=False), "Unsigned packages that come over http can be changed by anybody."),
    (repository(url="https://x/y"), "The repository 'stable' has no key."),
    (
        repository(url="https://x/y", pkey="https://x/key.asc"),
        "A key that is fetched at build time would be trusted blindly.",
    ),
    (repository(url="https://x/y", pkey="[trusted=yes]"), "Write gpgcheck: false, and no key"),
    (
        repository(url="https://x/y", gpgcheck=False, fingerprints=["A" * 40]),
        "Keys have no effect with gpgcheck: false.",
    ),
    (
        {"packageRepositories": [{"codename": "x", "mirror": "debian", "gpgcheck": False}] * 2},
        "Two repositories are called 'x'.",
    ),
]


@pytest.mark.parametrize(("sections", "expected"), WRONG, ids=[text[:60] for _sections, text in WRONG])
def test_wrong(sections: dict[str, t.Any], expected: str, errors: t.Callable[..., list[str]]) -> None:
    found = errors(**sections)
    assert any(expected in line for line in found), found


FINALS = {
    "/": "must name a file",
    "/a/../b": "must name a file, without //, . and .. in it.",
    "/a/": "must name a file",
    "/proc/x": "/proc/x would not stay in the image, as /proc is empty there.",
    "/etc/fstab": "/etc/fstab is written by the build from disk.partitions.",
    "/boot/efi/x": "/boot/efi/x lies on the EFI system partition",
    "/same": "Two files go to /same.",
    "/dir/file/below": "/dir/file/below lies below /dir/file, to which a file goes too.",
}


@pytest.mark.parametrize(("final", "expected"), FINALS.items(), ids=str)
def test_finals(final: str, expected: str, errors: t.Callable[..., list[str]], tmp_path: t.Any) -> None:
    (tmp_path / "f").write_text("x")
    files = [{"local": "f", "final": path} for path in ("/same", "/dir/file", final)]
    found = errors(systemConfig={"additionalFiles": files})
    assert any(line.startswith("systemConfig.additionalFiles[2].final: ") and expected in line for line in found), found


def test_every_rule_has_a_bad_example() -> None:
    """A rule without an example of what it refuses would be a rule that nobody has seen at work."""
    assert len(checks.RULES) >= 27
    assert len(WRONG) + len(FINALS) > 2 * len(checks.RULES)


GOOD: list[dict[str, t.Any]] = [
    {},
    disk(ESP, ROOT),
    disk({**ESP, "type": "linux"} | {"typeUUID": "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"}, ROOT),
    disk(
        {"id": "boot", "flags": ["esp"], "fsType": "vfat", "size": "256MiB", "mountPoint": "/efi"},
        {"id": "swap", "fsType": "swap", "size": "128MiB"},
        {"id": "root", "fsType": "ext4", "end": "0", "mountPoint": "/"},
    ),
    disk({"id": "bios", "flags": ["bios_grub"], "size": "1MiB"}, {**ROOT, "start": "2MiB"})
    | config(bootloader={"bootType": "legacy", "provider": "grub2"}),
    {"disk": {"name": "d", "size": "2GiB", "partitionTableType": "mbr", "partitions": [MBR_ROOT]}}
    | config(bootloader={"bootType": "legacy", "provider": "grub"}),
    disk(ESP, {**SIZED_ROOT, "size": "content", "growOnBoot": True}, size="content"),
    disk(ESP, {**SIZED_ROOT, "size": "100MiB", "fsType": "squashfs"}),
    config(bootloader={"provider": "grub", "signed": True, "timeout": 5, "default": "6.1"}),
    config(hostname="web.example.org", timezone="America/Argentina/Ushuaia", locale="C.UTF-8"),
    config(locale="de_DE.UTF-8", packages=["locales"]),
    config(packages=["curl=7.88.1-10", "linux-headers-*", "python3:any"]),
    config(kernel={"uki": True, "cmdline": 'a="b c" quiet'}),
    user(password="$6$salt$" + "x" * 86, hash_algo="sha512"),
    user(password="$y$j9T$abcdefghijklmnopqrstuv$" + "x" * 43),
    user(password="!"),
    user(sshKeys=[KEY, 'from="10.0.0.0/8",no-pty ' + KEY.replace("admin", "other")]),
    user(sudo=True) | {"disk": {"size": "3GiB"}} | config(packages=["sudo"], users=[{"name": "a", "sudo": True}]),
    config(
        network={
            "interfaces": [
                {
                    "name": "eth0",
                    "addresses": ["10.1.2.3/16", "2001:db8::2/64"],
                    "gateway4": "10.1.0.1",
                    "gateway6": "fe80::1",
                    "nameservers": ["10.1.0.53"],
                    "domains": ["example.org"],
                    "routes": [{"to": "10.9.0.0/16", "via": "10.1.0.9"}, {"to": "default", "via": "10.1.0.2"}],
                }
            ]
        }
    ),
    config(services={"enable": ["ssh", "getty@tty2.service"], "disable": ["apt-daily.timer"]}),
    repository(mirror="debian", gpgcheck=False, priority=-1),
]


@pytest.mark.parametrize("sections", GOOD)
def test_good(sections: dict[str, t.Any], build: Build) -> None:
    assert build(**sections).template["image"]["name"] == "web"


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({}, "systemConfig.users: No user has a password or an SSH key: nobody can log in to the image."),
        (user(sshKeys=[KEY]), "The user 'a' has SSH keys, but systemConfig.packages names no SSH server."),
        (user(password="$1$saltsalt$" + "x" * 22), "The password of 'a' is hashed by MD5"),
        (repository(mirror="debian", gpgcheck=False), "Signatures of the repository 'stable' are not checked"),
    ],
)
def test_warnings(sections: dict[str, t.Any], expected: str, build: Build) -> None:
    assert any(expected in warning for warning in build(**sections).warnings)
