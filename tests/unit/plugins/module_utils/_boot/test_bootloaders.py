# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the bootloaders lay onto a disk, as mtools and the tools for EFI programs see it."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_bytes
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
        f"/debian/{KERNEL}/initrd.img",
        f"/debian/{OTHER_KERNEL}/linux",
        f"/debian/{OTHER_KERNEL}/initrd.img",
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
        f"default debian-{KERNEL}.conf\ntimeout 0\nconsole-mode keep\neditor no\n"
    )
    assert composed.read_esp(f"/loader/entries/debian-{KERNEL}.conf").decode().splitlines() == [
        "title Debian GNU/Linux 12 (bookworm)",
        f"version {KERNEL}",
        "sort-key debian",
        f"linux /debian/{KERNEL}/linux",
        f"initrd /debian/{KERNEL}/initrd.img",
        f"options root=PARTUUID={composed.identity.partitions['rootfs']} console=ttyS0",
    ]
    assert composed.boot.kernel_version == KERNEL


def test_the_wanted_kernel_is_the_default(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    composed = compose(tree, tmp_path, kernel_version="6.1.0-9")
    assert composed.boot.entries == [f"debian-{OTHER_KERNEL}.conf", f"debian-{KERNEL}.conf"]
    assert composed.read_esp("/loader/loader.conf").decode().startswith(f"default debian-{OTHER_KERNEL}.conf\n")


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
        ("usr/lib/grub", {"provider": "grub"}, r"has no /usr/lib/grub/x86_64-efi, .* it grub-efi-amd64-bin or grub2"),
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
