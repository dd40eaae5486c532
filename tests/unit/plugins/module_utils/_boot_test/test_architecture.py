# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import gzip
import pathlib
import struct
import subprocess

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._boot_test.architecture import (
    image_architecture,
    kernel_architecture,
)


def make_disk(path: pathlib.Path, names: list[str], label: str = "gpt") -> pathlib.Path:
    """Make a disk with an EFI system partition that has empty programs of these names, and a second partition."""
    esp_type = "U" if label == "gpt" else "ef"
    table = f"label: {label}\nstart=2048, size=8192, type={esp_type}\nstart=12288, size=2048, type=L\n"
    with open(path, "wb") as stream:
        stream.truncate(8 << 20)
    subprocess.run(["sfdisk", "-q", str(path)], input=table, text=True, check=True)
    esp = path.with_suffix(".esp")
    with open(esp, "wb") as stream:
        stream.truncate(4 << 20)
    subprocess.run(["mkfs.vfat", str(esp)], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["mmd", "-i", str(esp), "::EFI", "::EFI/BOOT"], check=True)
    for name in names:
        empty = path.with_suffix(".empty")
        empty.touch()
        subprocess.run(["mcopy", "-i", str(esp), str(empty), f"::EFI/BOOT/{name}"], check=True)
    with open(path, "r+b") as stream:
        stream.seek(2048 * 512)
        stream.write(esp.read_bytes())
    return path


@pytest.mark.parametrize("image_format", ["raw", "qcow2", "vmdk"])
@pytest.mark.parametrize("label", ["gpt", "dos"])
@pytest.mark.parametrize(
    ("names", "expected"),
    [(["BOOTX64.EFI"], "x86_64"), (["grubaa64.efi", "bootaa64.efi"], "aarch64"), (["mmaa64.efi"], "x86_64")],
)
def test_the_bootloader_tells(
    tmp_path: pathlib.Path, names: list[str], expected: str, label: str, image_format: str
) -> None:
    raw = make_disk(tmp_path / "disk.raw", names, label)
    image = tmp_path / f"disk.{image_format}"
    if image_format != "raw":
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", image_format, str(raw), str(image)], check=True)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert image_architecture(str(image), image_format, temp_dir=str(scratch)) == expected
    assert not list(scratch.iterdir())


def test_what_has_no_bootloader_for_uefi_is_for_a_bios(tmp_path: pathlib.Path) -> None:
    image = tmp_path / "image.raw"
    image.write_bytes(b"no table at all")
    assert image_architecture(str(image), "raw", temp_dir=None) == "x86_64"
    # An EFI system partition that is none.
    damaged = make_disk(tmp_path / "disk.raw", ["BOOTAA64.EFI"])
    with open(damaged, "r+b") as stream:
        stream.seek(2048 * 512)
        stream.write(bytes(4 << 20))
    assert image_architecture(str(damaged), "raw", temp_dir=None) == "x86_64"


def pe(machine: int) -> bytes:
    """Return how an EFI program for a machine begins."""
    begin = bytearray(8192)
    begin[:2] = b"MZ"
    struct.pack_into("<I", begin, 0x3C, 0x40)
    struct.pack_into("<4sH", begin, 0x40, b"PE\0\0", machine)
    return bytes(begin)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (pe(0xAA64), "aarch64"),
        (gzip.compress(pe(0xAA64), mtime=0), "aarch64"),
        (pe(0x8664), "x86_64"),
        (pe(0x14C), "x86_64"),
        (b"MZ", "x86_64"),
        (b"an old kernel without a stub" * 1000, "x86_64"),
    ],
)
def test_the_kernel_tells(tmp_path: pathlib.Path, content: bytes, expected: str) -> None:
    kernel = tmp_path / "vmlinuz"
    kernel.write_bytes(content)
    assert kernel_architecture(str(kernel)) == expected
