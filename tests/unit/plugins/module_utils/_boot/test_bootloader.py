# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bootloaders on a disk, as mtools and the tools for EFI programs see them."""

from __future__ import annotations

import gzip
import os
import pathlib
import shutil
import struct
import subprocess
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._boot.esp import EspStaging
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_bytes
from ansible_collections.os_image.composer.tests.support import disk_tree
from ansible_collections.os_image.composer.tests.support.disk_judges import partition_table
from ansible_collections.os_image.composer.tests.support.disk_tree import (
    ESP,
    KERNEL,
    ROOT,
    Composed,
    compose,
    make_tree,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")

OTHER_KERNEL = "6.1.0-9-amd64"
NO_PARTITION = {"start": None, "end": None}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    made = make_tree(tmp_path_factory.mktemp("boot") / "tree")
    for name in ("vmlinuz", "initrd.img"):
        (made / f"boot/{name}-{OTHER_KERNEL}").write_text(f"older {name}")
    return made


def esp_files(composed: Composed) -> t.Set[str]:
    listed = subprocess.run(
        ["mdir", "-/", "-b", "-a", "-i", composed.esp(), "::/"], check=True, capture_output=True, text=True
    ).stdout
    return {line[2:] for line in listed.splitlines() if not line.endswith("/")}


def test_systemd_boot_with_entries(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    composed = compose(tree, tmp_path)
    assert esp_files(composed) == {
        "/EFI/BOOT/BOOTX64.EFI",
        "/EFI/systemd/systemd-bootx64.efi",
        f"/debian/{KERNEL}/linux",
        f"/debian/{KERNEL}/initrd.img-{KERNEL}",
        f"/debian/{OTHER_KERNEL}/linux",
        f"/debian/{OTHER_KERNEL}/initrd.img-{OTHER_KERNEL}",
        "/loader/loader.conf",
        f"/loader/entries/debian-{KERNEL}.conf",
        f"/loader/entries/debian-{OTHER_KERNEL}.conf",
    }
    assert (
        composed.read_esp("/EFI/BOOT/BOOTX64.EFI")
        == (tree / "usr/lib/systemd/boot/efi/systemd-bootx64.efi").read_bytes()
    )
    assert composed.read_esp(f"/debian/{KERNEL}/linux") == (tree / f"boot/vmlinuz-{KERNEL}").read_bytes()
    assert composed.read_esp("/loader/loader.conf").decode() == (
        "default debian-*.conf\ntimeout 0\nconsole-mode keep\neditor no\n"
    )
    assert composed.read_esp(f"/loader/entries/debian-{KERNEL}.conf").decode().splitlines() == [
        "title Debian GNU/Linux 12 (bookworm)",
        f"version {KERNEL}",
        "sort-key debian",
        f"linux /debian/{KERNEL}/linux",
        f"initrd /debian/{KERNEL}/initrd.img-{KERNEL}",
        f"options root=PARTUUID={composed.identity.partitions['rootfs']} console=ttyS0",
    ]
    assert composed.boot.kernel_version == KERNEL


def test_the_wanted_kernel_is_the_default(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    composed = compose(tree, tmp_path, kernel_version="6.1.0-9")
    assert composed.boot.entries == [f"debian-{OTHER_KERNEL}.conf", f"debian-{KERNEL}.conf"]
    assert composed.read_esp("/loader/loader.conf").decode().startswith("default debian-6.1.0-9[.+~_-]*.conf\n")


def test_kernels_are_not_copied_when_the_esp_is_boot(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    disk = {"size": "96MiB", "partitions": [{**ESP, "mountPoint": "/boot"}, ROOT]}
    composed = compose(tree, tmp_path, disk)
    assert f"/vmlinuz-{KERNEL}" in esp_files(composed)
    assert not [path for path in esp_files(composed) if path.startswith("/debian")]
    entry = composed.read_esp(f"/loader/entries/debian-{KERNEL}.conf").decode()
    assert f"linux /vmlinuz-{KERNEL}\ninitrd /initrd.img-{KERNEL}\n" in entry


def test_files_that_the_tree_has_on_the_esp_are_kept(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    copied = tmp_path / "tree"
    subprocess.run(["cp", "-a", str(tree), str(copied)], check=True)
    (copied / "boot/efi/Vendor Tools").mkdir(parents=True)
    (copied / "boot/efi/Vendor Tools/read me.txt").write_text("keep me")
    composed = compose(copied, tmp_path / "out")
    assert composed.read_esp("/Vendor Tools/read me.txt") == b"keep me"
    assert "/EFI/BOOT/BOOTX64.EFI" in esp_files(composed)


def test_unified_kernel_images(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    composed = compose(tree, tmp_path, use_uki=True)
    path = f"/EFI/Linux/debian-{KERNEL}.efi"
    assert esp_files(composed) == {
        "/EFI/BOOT/BOOTX64.EFI",
        "/EFI/systemd/systemd-bootx64.efi",
        path,
        f"/EFI/Linux/debian-{OTHER_KERNEL}.efi",
        "/loader/loader.conf",
    }
    image = tmp_path / "uki.efi"
    image.write_bytes(composed.read_esp(path))
    headers = subprocess.run(["objdump", "-h", str(image)], check=True, capture_output=True, text=True).stdout
    names = [line.split()[1] for line in headers.splitlines() if line.strip()[:1].isdigit()]
    assert names[-5:] == [".osrel", ".cmdline", ".uname", ".initrd", ".linux"]
    assert section(image, ".cmdline") == composed.boot.cmdline.encode() + b"\0"
    assert section(image, ".uname") == KERNEL.encode()
    assert section(image, ".osrel") == (tree / "usr/lib/os-release").read_bytes()
    assert section(image, ".linux") == (tree / f"boot/vmlinuz-{KERNEL}").read_bytes()
    assert section(image, ".initrd") == (tree / f"boot/initrd.img-{KERNEL}").read_bytes()


def section(image: pathlib.Path, name: str) -> bytes:
    """Take a section out of an EFI program by objcopy, less what it is filled up with."""
    out = image.with_suffix(name)
    subprocess.run(["objcopy", "-O", "binary", f"--only-section={name}", str(image), str(out)], check=True)
    return out.read_bytes()


GRUB_BOOT: t.Mapping[str, t.Any] = {
    "id": "bootfs",
    "fsType": "ext2",
    "start": "80MiB",
    "end": "90MiB",
    "mountPoint": "/boot",
}


def test_grub(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    composed = compose(tree, tmp_path, provider="grub", cmdline='quiet dyndbg="file x +p; y" a;b')
    assert esp_files(composed) == {"/EFI/BOOT/BOOTX64.EFI"}
    root = composed.identity.file_systems["rootfs"]
    image = composed.read_esp("/EFI/BOOT/BOOTX64.EFI")
    assert f"search --no-floppy --fs-uuid --set=root {root}\nset prefix=($root)/boot/grub\n".encode() in image
    lines = composed.debugfs("rootfs", "cat /boot/grub/grub.cfg").splitlines()
    start = lines.index(f"menuentry 'Debian GNU/Linux 12 (bookworm), {KERNEL}' {{")
    assert lines[start + 1 : start + 5] == [
        f"\tsearch --no-floppy --fs-uuid --set=root {root}",
        f"\tlinux /boot/vmlinuz-{KERNEL} root=PARTUUID={composed.identity.partitions['rootfs']} quiet "
        'dyndbg="file x +p; y" a\\;b',
        f"\tinitrd /boot/initrd.img-{KERNEL}",
        "}",
    ]
    script = tmp_path / "grub.cfg"
    script.write_text("\n".join(lines) + "\n")
    if shutil.which("grub-script-check"):
        subprocess.run(["grub-script-check", str(script)], check=True)


def test_grub_reads_a_boot_partition(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    disk = {"size": "96MiB", "partitions": [ESP, ROOT, GRUB_BOOT]}
    composed = compose(tree, tmp_path, disk, provider="grub")
    boot = composed.identity.file_systems["bootfs"]
    early = f"search --no-floppy --fs-uuid --set=root {boot}\nset prefix=($root)/grub\n"
    assert early.encode() in composed.read_esp("/EFI/BOOT/BOOTX64.EFI")
    assert f"\tlinux /vmlinuz-{KERNEL} root=" in composed.debugfs("bootfs", "cat /grub/grub.cfg")


@pytest.mark.parametrize("mount_point", ["/boot", "/usr"])
def test_grub_finds_a_kernel_and_its_initrd_on_different_partitions(tmp_path: pathlib.Path, mount_point: str) -> None:
    tree = make_tree(tmp_path / "tree")
    (tree / f"usr/lib/modules/{KERNEL}").mkdir()
    (tree / f"boot/vmlinuz-{KERNEL}").rename(tree / f"usr/lib/modules/{KERNEL}/vmlinuz")
    other = {"id": "other", "fsType": "ext2", "size": "content", "mountPoint": mount_point}
    disk = {"size": "content", "partitions": [ESP, ROOT, other]}
    composed = compose(tree, tmp_path / "out", disk, provider="grub")
    root, mounted = (composed.identity.file_systems[name] for name in ("rootfs", "other"))
    usr = "" if mount_point == "/usr" else "/usr"
    boot = "" if mount_point == "/boot" else "/boot"
    kernel_on, initrd_on = (root, mounted) if boot == "" else (mounted, root)
    holder = "other" if boot == "" else "rootfs"
    lines = composed.debugfs(holder, f"cat {boot}/grub/grub.cfg").splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("menuentry"))
    entry = [line.partition(" root=PARTUUID")[0] for line in lines[start + 1 :]]
    assert entry == [
        f"\tsearch --no-floppy --fs-uuid --set=root {kernel_on}",
        f"\tlinux {usr}/lib/modules/{KERNEL}/vmlinuz",
        f"\tsearch --no-floppy --fs-uuid --set=root {initrd_on}",
        f"\tinitrd {boot}/initrd.img-{KERNEL}",
        "}",
    ]


def test_a_kernel_that_cannot_be_unpacked_is_named(tmp_path: pathlib.Path) -> None:
    tree = make_tree(tmp_path / "tree")
    (tree / f"boot/vmlinuz-{KERNEL}").write_bytes(gzip.compress(b"kernel")[:-9])
    with pytest.raises(BootError, match=rf"The kernel /boot/vmlinuz-{KERNEL} cannot be unpacked: .*\. Look for what"):
        compose(tree, tmp_path / "out")


def test_an_os_release_that_is_not_utf_8_is_shown_as_it_can_be(tmp_path: pathlib.Path) -> None:
    tree = make_tree(tmp_path / "tree")
    (tree / "usr/lib/os-release").write_bytes(b'ID=debian\nPRETTY_NAME="Gr\xfcn"\n')
    composed = compose(tree, tmp_path / "out")
    entry = composed.read_esp(f"/loader/entries/debian-{KERNEL}.conf").decode()
    assert entry.startswith("title Gr\ufffdn\n")


@pytest.mark.parametrize("name", ["../../../../../../etc/evil", "/etc/evil", "..", "a/b", "a b"])
def test_the_name_of_a_distribution_is_no_path(tmp_path: pathlib.Path, name: str) -> None:
    tree = make_tree(tmp_path / "tree")
    (tree / "usr/lib/os-release").write_text(f"ID={name}\n")
    with pytest.raises(
        BootError, match=rf"^The os-release file of the image has the ID '{name}', which cannot be one\."
    ):
        compose(tree, tmp_path / "out")


@pytest.mark.parametrize("path", ["../x", "loader/../../x", "/x"])
def test_files_of_the_esp_lie_below_it(tmp_path: pathlib.Path, path: str) -> None:
    with pytest.raises(BootError, match=rf"^No file of the EFI system partition can have the path '{path}'\."):
        EspStaging(str(tmp_path / "esp")).add_text(path, "x")
    assert os.listdir(tmp_path) == ["esp"]


@pytest.mark.parametrize("target", ["{}/secret", "../../../../../../../../../..{}/secret", "/dev/zero"])
@pytest.mark.parametrize("place", [f"boot/vmlinuz-{KERNEL}", f"boot/initrd.img-{KERNEL}"])
def test_no_file_of_the_host_gets_into_an_image(tmp_path: pathlib.Path, place: str, target: str) -> None:
    tree = make_tree(tmp_path / "tree")
    (tmp_path / "secret").write_text("secret")
    (tree / place).unlink()
    (tree / place).symlink_to(target.format(tmp_path))
    with pytest.raises(BootError, match="has no kernel|has no initrd"):
        compose(tree, tmp_path / "out")


def test_grub_where_its_tools_call_it_grub2(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    copied = tmp_path / "tree"
    subprocess.run(["cp", "-a", str(tree), str(copied)], check=True)
    (copied / "usr/sbin").mkdir(parents=True, exist_ok=True)
    (copied / "usr/sbin/grub2-mkconfig").write_text("")
    composed = compose(copied, tmp_path / "out", provider="grub")
    assert b"set prefix=($root)/boot/grub2\n" in composed.read_esp("/EFI/BOOT/BOOTX64.EFI")
    assert f"/boot/vmlinuz-{KERNEL}" in composed.debugfs("rootfs", "cat /boot/grub2/grub.cfg")


def test_grub_images_are_identical(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    images = [compose(tree, tmp_path / name, provider="grub").read_esp("/EFI/BOOT/BOOTX64.EFI") for name in "ab"]
    assert sha256_bytes(images[0]) == sha256_bytes(images[1])


@pytest.mark.parametrize(
    ("missing", "arguments", "message"),
    [
        (
            "usr/lib/systemd/boot/efi/systemd-bootx64.efi",
            {},
            r"The root tree has no /usr/lib/systemd/boot/efi/systemd-bootx64\.efi, which the bootloader needs\. "
            r"Add the package that has it to systemConfig\.packages; distributions call it systemd-boot-efi or ",
        ),
        (
            "usr/lib/systemd/boot/efi/linuxx64.efi.stub",
            {"use_uki": True},
            r"has no .*/linuxx64\.efi\.stub, .* call it systemd-boot-efi or systemd-boot-unsigned or systemd-boot\.",
        ),
        (
            "usr/lib/grub",
            {"provider": "grub"},
            r"has no /usr/lib/grub/x86_64-efi and no .* it grub-efi-amd64-bin or grub2",
        ),
        ("home", {"provider": "grub", "use_uki": True}, r"GRUB does not start unified kernel images\. Set kernel\.uki"),
    ],
)
def test_what_is_missing_is_named_with_its_package(
    tree: pathlib.Path, tmp_path: pathlib.Path, missing: str, arguments: t.Mapping[str, t.Any], message: str
) -> None:
    copied = tmp_path / "tree"
    subprocess.run(["cp", "-a", str(tree), str(copied)], check=True)
    path = copied / missing
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    with pytest.raises(BootError, match=message):
        compose(copied, tmp_path / "out", **arguments)


BIOS_PARTITION = {"id": "bios", "type": "bios-boot", "size": "1MiB"}
PLACED_ROOT = {key: value for key, value in ROOT.items() if key not in ("start", "end")}
FIRST_ESP: t.Mapping[str, t.Any] = {
    **{key: value for key, value in ESP.items() if key not in ("start", "end")},
    "size": "40MiB",
}
BIOS_DISKS: t.Mapping[str, t.Mapping[str, t.Any]] = {
    "gpt": {"size": "64MiB", "partitions": [BIOS_PARTITION, {**PLACED_ROOT, "end": "0"}]},
    "mbr": {
        "size": "64MiB",
        "partitionTableType": "mbr",
        "partitions": [{**PLACED_ROOT, "end": "0", "flags": ["boot"]}],
    },
}


@pytest.mark.parametrize("table", ["gpt", "mbr"])
def test_grub_for_a_bios(tree: pathlib.Path, tmp_path: pathlib.Path, table: str) -> None:
    composed = compose(
        tree,
        tmp_path,
        BIOS_DISKS[table],
        boot_type="legacy",
        provider="grub",
        cmdline="console=ttyS0,115200n8 console=ttyS1 quiet",
    )
    # The table has survived the boot sector.
    entries = partition_table(composed.image)["partitions"]
    sector = entries[0]["start"] if table == "gpt" else 1
    image = pathlib.Path(composed.image).read_bytes()
    boot = (tree / "usr/lib/grub/i386-pc/boot.img").read_bytes()
    assert image[0x5A:0x5C] == boot[0x5A:0x5C]
    assert image[0x68:0x1B8] == boot[0x68:0x1B8]
    assert struct.unpack_from("<Q", image, 0x5C) == (sector,)
    assert (image[0x64], image[0x66:0x68]) == (0xFF, b"\x90\x90")
    assert image[0x1FE:0x200] == b"\x55\xaa"
    core = image[sector * 512 : entries[-1]["start"] * 512].rstrip(b"\0")
    # One list entry: all sectors behind the first one, to where GRUB expects them.
    where, length, segment = struct.unpack_from("<QHH", core, 0x1F4)
    assert (where, segment) == (sector + 1, 0x820)
    assert length == -(-len(core) // 512) - 1
    lines = composed.debugfs("rootfs", "cat /boot/grub/grub.cfg").splitlines()
    assert lines[1:4] == [
        "serial --unit=1 --speed=9600",
        "terminal_input console serial",
        "terminal_output console serial",
    ]
    assert composed.boot.loader == "grub"
    again = compose(
        tree,
        tmp_path / "again",
        BIOS_DISKS[table],
        boot_type="legacy",
        provider="grub",
        cmdline="console=ttyS0,115200n8 console=ttyS1 quiet",
    )
    assert pathlib.Path(again.image).read_bytes() == image


HYBRID_DISKS: t.Mapping[str, t.Mapping[str, t.Any]] = {
    "gpt": {"size": "128MiB", "partitions": [{**BIOS_PARTITION}, FIRST_ESP, {**PLACED_ROOT, "end": "0"}]},
    "mbr": {
        "size": "128MiB",
        "partitionTableType": "mbr",
        "partitions": [FIRST_ESP, {**PLACED_ROOT, "end": "0", "flags": ["boot"]}],
    },
}


@pytest.mark.parametrize("table", ["gpt", "mbr"])
@pytest.mark.parametrize(
    ("provider", "use_uki", "on_esp"),
    [
        ("grub", False, {"/EFI/BOOT/BOOTX64.EFI"}),
        ("systemd-boot", True, {"/EFI/BOOT/BOOTX64.EFI", f"/EFI/Linux/debian-{KERNEL}.efi"}),
        ("systemd-boot", False, {"/EFI/BOOT/BOOTX64.EFI", f"/loader/entries/debian-{KERNEL}.conf"}),
    ],
)
def test_both_kinds_of_firmware(
    tree: pathlib.Path, tmp_path: pathlib.Path, table: str, provider: str, use_uki: bool, on_esp: t.Set[str]
) -> None:
    def make(name: str) -> Composed:
        return compose(
            tree,
            tmp_path / name,
            HYBRID_DISKS[table],
            boot_type="hybrid",
            provider=provider,
            use_uki=use_uki,
            cmdline="console=ttyS0,115200n8 quiet",
        )

    composed = make("one")
    assert on_esp <= esp_files(composed)
    image = pathlib.Path(composed.image).read_bytes()
    assert b"GRUB" in image[:440]
    sector = partition_table(composed.image)["partitions"][0]["start"] if table == "gpt" else 1
    assert struct.unpack_from("<Q", image, 0x5C) == (sector,)
    assert image[sector * 512 : (sector + 16) * 512].strip(b"\0")
    configuration = composed.debugfs("rootfs", "cat /boot/grub/grub.cfg")
    # Where UEFI starts GRUB, the console is the firmware's business.
    assert (
        'if [ "$grub_platform" = "pc" ]; then\n\tserial --unit=0 --speed=115200\n'
        "\tterminal_input console serial\n\tterminal_output console serial\nfi\n"
    ) in configuration
    assert configuration.count("menuentry ") == len(composed.boot.entries) == len(set(composed.boot.entries))
    assert composed.boot.loader == provider
    assert pathlib.Path(make("two").image).read_bytes() == image
    script = tmp_path / "grub.cfg"
    script.write_text(configuration)
    if shutil.which("grub-script-check"):
        subprocess.run(["grub-script-check", str(script)], check=True)


@pytest.mark.parametrize(
    ("disk", "arguments", "message"),
    [
        (
            {"size": "64MiB", "partitions": [{**PLACED_ROOT, "end": "0"}]},
            {},
            r"needs a BIOS boot partition on a GPT disk, .*Add a partition with type: bios-boot and size: 1MiB",
        ),
        (
            {"size": "64MiB", "partitions": [{**BIOS_PARTITION, "size": "64KiB"}, {**PLACED_ROOT, "end": "0"}]},
            {},
            r"GRUB needs \d+\.\d KiB in the BIOS boot partition, which has 64 KiB\. Give the partition size: 1MiB\.",
        ),
        (
            {
                "size": "64MiB",
                "partitionTableType": "mbr",
                "partitions": [{**PLACED_ROOT, "start": "32KiB", "end": "0"}],
            },
            {},
            r"GRUB needs .* before the first partition, which has 31\.5 KiB\. Start the first partition at 1MiB\.",
        ),
        (BIOS_DISKS["gpt"], {"arch": "aarch64"}, r"of the architecture aarch64 has no BIOS\. Set bootloader\.bootType"),
        (BIOS_DISKS["gpt"], {"use_signed": True}, r"A BIOS checks no signatures\."),
        (BIOS_DISKS["gpt"], {"use_uki": True}, r"GRUB does not start unified kernel images\."),
        (
            {
                "size": "64MiB",
                "partitions": [BIOS_PARTITION, {**PLACED_ROOT, "fsType": "erofs", "fsLabel": "", "end": "0"}],
            },
            {},
            r"GRUB cannot read the file system erofs .* Add a partition with fsType: ext4 and mountPoint: /boot\.",
        ),
    ],
)
def test_what_a_bios_cannot_boot_is_named(
    tree: pathlib.Path,
    tmp_path: pathlib.Path,
    disk: t.Mapping[str, t.Any],
    arguments: t.Mapping[str, t.Any],
    message: str,
) -> None:
    with pytest.raises(BootError, match=message):
        compose(tree, tmp_path, disk, boot_type="legacy", provider="grub", **arguments)


def with_signed_programs(tree: pathlib.Path, copied: pathlib.Path, arch: str) -> pathlib.Path:
    """Add what the signed packages would bring, as files that only say what they are."""
    subprocess.run(["cp", "-a", str(tree), str(copied)], check=True)
    platform = {"x64": "x86_64-efi", "aa64": "arm64-efi"}[arch]
    for path in (
        f"usr/lib/shim/shim{arch}.efi.signed",
        f"usr/lib/shim/mm{arch}.efi.signed",
        f"usr/lib/grub/{platform}-signed/grub{arch}.efi.signed",
    ):
        (copied / path).parent.mkdir(parents=True, exist_ok=True)
        (copied / path).write_text(path)
    return copied


@pytest.mark.parametrize(
    ("machine", "arch", "platform"), [("x86_64", "x64", "x86_64-efi"), ("aarch64", "aa64", "arm64-efi")]
)
def test_the_signed_chain(tree: pathlib.Path, tmp_path: pathlib.Path, machine: str, arch: str, platform: str) -> None:
    copied = with_signed_programs(tree, tmp_path / "tree", arch)
    composed = compose(copied, tmp_path / "out", provider="grub", use_signed=True, arch=machine)
    assert esp_files(composed) == {
        f"/EFI/BOOT/BOOT{arch.upper()}.EFI",
        f"/EFI/BOOT/grub{arch}.efi",
        f"/EFI/BOOT/mm{arch}.efi",
        "/EFI/debian/grub.cfg",
    }
    shim = composed.read_esp(f"/EFI/BOOT/BOOT{arch.upper()}.EFI")
    assert shim == f"usr/lib/shim/shim{arch}.efi.signed".encode()
    grub = composed.read_esp(f"/EFI/BOOT/grub{arch}.efi")
    assert grub == f"usr/lib/grub/{platform}-signed/grub{arch}.efi.signed".encode()
    root = composed.identity.file_systems["rootfs"]
    assert composed.read_esp("/EFI/debian/grub.cfg").decode() == (
        f"search --no-floppy --fs-uuid --set=root {root}\n"
        "set prefix=($root)/boot/grub\nconfigfile ($root)/boot/grub/grub.cfg\n"
    )
    assert "menuentry" in composed.debugfs("rootfs", "cat /boot/grub/grub.cfg")


def test_signed_programs_of_an_rpm_distribution(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    copied = tmp_path / "tree"
    subprocess.run(["cp", "-a", str(tree), str(copied)], check=True)
    (copied / "usr/lib/os-release").write_text("ID=centos\n")
    vendor = copied / "boot/efi/EFI/centos"
    vendor.mkdir(parents=True)
    for name in ("shimx64.efi", "grubx64.efi", "mmx64.efi"):
        (vendor / name).write_text(name)
    composed = compose(copied, tmp_path / "out", provider="grub", use_signed=True)
    assert composed.read_esp("/EFI/BOOT/BOOTX64.EFI") == b"shimx64.efi"
    assert composed.read_esp("/EFI/centos/shimx64.efi") == b"shimx64.efi"
    assert b"configfile" in composed.read_esp("/EFI/centos/grub.cfg")


def test_signed_programs_that_are_missing_are_named(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    message = (
        r"has no /usr/lib/shim/shimx64\.efi\.signed and no /boot/efi/EFI/debian/shimx64\.efi, .* call it shim-signed\."
    )
    with pytest.raises(BootError, match=message):
        compose(tree, tmp_path / "grub", provider="grub", use_signed=True)
    with pytest.raises(BootError, match=r"The distributions do not sign systemd-boot\. Set bootloader\.signed"):
        compose(tree, tmp_path / "systemd", use_signed=True)


@pytest.fixture
def arm_tree(tree: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """A tree with the programs of another machine: systemd's are those of this one under its names."""
    copied = tmp_path / "tree"
    subprocess.run(["cp", "-a", str(tree), str(copied)], check=True)
    directory = copied / "usr/lib/systemd/boot/efi"
    (directory / "systemd-bootx64.efi").rename(directory / "systemd-bootaa64.efi")
    (directory / "linuxx64.efi.stub").rename(directory / "linuxaa64.efi.stub")
    kernel = copied / f"boot/vmlinuz-{KERNEL}"
    kernel.write_bytes(gzip.compress(kernel.read_bytes()))
    return copied


@pytest.mark.parametrize("use_uki", [False, True])
def test_systemd_boot_for_arm(
    arm_tree: pathlib.Path, tree: pathlib.Path, tmp_path: pathlib.Path, use_uki: bool
) -> None:
    composed = compose(arm_tree, tmp_path / "out", arch="aarch64", use_uki=use_uki)
    assert {"/EFI/BOOT/BOOTAA64.EFI", "/EFI/systemd/systemd-bootaa64.efi"} < esp_files(composed)
    plain = (tree / f"boot/vmlinuz-{KERNEL}").read_bytes()
    if not use_uki:
        # Firmware starts no gzip file.
        assert composed.read_esp(f"/debian/{KERNEL}/linux") == plain
        return
    image = tmp_path / "uki.efi"
    image.write_bytes(composed.read_esp(f"/EFI/Linux/debian-{KERNEL}.efi"))
    assert section(image, ".linux") == plain


def test_grub_for_arm(arm_tree: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are no modules for it here: grub-mkimage itself is not run, only asked for the right thing."""
    asked: t.List[t.List[str]] = []

    class Recorder(CommandRunner):
        def run(self, argv: t.Sequence[str], **kwargs: t.Any) -> t.Any:
            if not argv[0].endswith("/grub-mkimage"):
                return super().run(argv, **kwargs)
            asked.append(list(argv))
            pathlib.Path(argv[argv.index("-o") + 1]).write_text("GRUB for Arm")
            return None

    monkeypatch.setattr(disk_tree, "CommandRunner", Recorder)
    modules = arm_tree / "usr/lib/grub/arm64-efi"
    modules.mkdir()
    for name in ("ext2", "normal", "fat"):
        (modules / f"{name}.mod").touch()
    composed = compose(arm_tree, tmp_path / "out", arch="aarch64", provider="grub")
    assert esp_files(composed) == {"/EFI/BOOT/BOOTAA64.EFI"}
    assert composed.read_esp("/EFI/BOOT/BOOTAA64.EFI") == b"GRUB for Arm"
    (command,) = asked
    given = dict(zip(command[1:10:2], command[2:11:2]))
    assert (given["-O"], given["-p"], command[11:]) == ("arm64-efi", "/boot/grub", ["ext2", "fat", "normal"])


@pytest.mark.parametrize(("timeout", "shown"), [(None, "0"), (0, "0"), (5, "5")])
def test_timeout_of_systemd_boot(tree: pathlib.Path, tmp_path: pathlib.Path, timeout: int | None, shown: str) -> None:
    composed = compose(tree, tmp_path, timeout=timeout)
    assert f"\ntimeout {shown}\n" in composed.read_esp("/loader/loader.conf").decode()


@pytest.mark.parametrize(("timeout", "shown"), [(None, ("hidden", 1)), (0, ("hidden", 0)), (5, ("menu", 5))])
def test_timeout_and_default_of_grub(
    tree: pathlib.Path, tmp_path: pathlib.Path, timeout: int | None, shown: t.Tuple[str, int]
) -> None:
    composed = compose(tree, tmp_path, provider="grub", timeout=timeout, kernel_version=KERNEL, default="6.1.0-9")
    text = composed.debugfs("rootfs", "cat /boot/grub/grub.cfg")
    assert f"set default=0\nset timeout_style={shown[0]}\nset timeout={shown[1]}\n" in text
    # The default entry is the first one.
    assert composed.boot.entries == [f"Debian GNU/Linux 12 (bookworm), {name}" for name in (OTHER_KERNEL, KERNEL)]
    assert text.index(OTHER_KERNEL) < text.index(KERNEL)
    assert composed.boot.kernel_version == OTHER_KERNEL


@pytest.mark.parametrize(("kind", "module"), [("xfs", "xfs"), ("btrfs", "btrfs")])
def test_grub_reads_the_root_file_system(tree: pathlib.Path, tmp_path: pathlib.Path, kind: str, module: str) -> None:
    root = {**PLACED_ROOT, "fsType": kind, "size": "320MiB"}
    composed = compose(tree, tmp_path, {"size": "400MiB", "partitions": [ESP, root]}, provider="grub")
    (command,) = [line for line in composed.log.splitlines() if "grub-mkimage" in line]
    assert module in command.split()
    assert f"--set=root {composed.identity.file_systems['rootfs']}".encode() in composed.read_esp(
        "/EFI/BOOT/BOOTX64.EFI"
    )
