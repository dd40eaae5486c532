# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import pathlib
import struct
import types
import zlib

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._boot_test import machine
from ansible_collections.os_image.composer.plugins.module_utils._boot_test.machine import (
    MachineSpec,
    choose_accelerator,
    disk_format,
    kernel_beside,
    machine_argv,
)
from ansible_collections.os_image.composer.plugins.module_utils._boot_test.screenshot import png_of_pixmap
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError, ToolMissingError


@pytest.mark.parametrize(
    ("image", "wanted", "expected"),
    [
        ("/a/x-1.0.raw", "auto", "raw"),
        ("/a/x.QCOW2", "auto", "qcow2"),
        ("/a/x.vhd", "auto", "vpc"),
        ("/a/x", "raw", "raw"),
        ("/a/x.raw", "vhdx", "vhdx"),
        ("/a/x.iso", "auto", "raw"),
        ("/a/x-1.0.initrd.img", "auto", "initrd"),
        ("/a/x.img", "auto", "raw"),
    ],
)
def test_disk_format(image: str, wanted: str, expected: str) -> None:
    assert disk_format(image, wanted) == expected


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("/a/x.bin", "does not tell its format. Set the option format to one of img, initrd, iso, qcow2, raw"),
    ],
)
def test_disk_format_unknown(image: str, message: str) -> None:
    with pytest.raises(BootError, match=message):
        disk_format(image)


def set_firmware(monkeypatch: pytest.MonkeyPatch, arch: str, *pairs: tuple[pathlib.Path, pathlib.Path]) -> None:
    """Say where a host has firmware."""
    known = [(str(code), str(variables)) for code, variables in pairs]
    hardware = {**machine.HARDWARE, arch: dataclasses.replace(machine.HARDWARE[arch], uefi=known)}
    monkeypatch.setattr(machine, "HARDWARE", hardware)


@pytest.fixture
def installed(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A host with QEMU and firmware, of which only the names matter."""
    for name in ("code.fd", "vars.fd", "arm-code.fd", "arm-vars.fd"):
        (tmp_path / name).touch()
    set_firmware(monkeypatch, "x86_64", (tmp_path / "code.fd", tmp_path / "vars.fd"))
    set_firmware(
        monkeypatch,
        "aarch64",
        (tmp_path / "gone.fd", tmp_path / "vars.fd"),
        (tmp_path / "arm-code.fd", tmp_path / "arm-vars.fd"),
    )
    monkeypatch.setattr(machine, "find_tool", lambda name: f"/usr/bin/{name}")
    return tmp_path


def test_uefi_machine(installed: pathlib.Path) -> None:
    argv = machine_argv(MachineSpec("/a/b,c.raw", memory=512), console=7, monitor=8)
    drives = [value for option, value in zip(argv, argv[1:]) if option == "-drive"]
    assert drives == [
        f"if=pflash,unit=0,format=raw,readonly=on,file={installed}/code.fd",
        f"if=pflash,unit=1,format=raw,snapshot=on,file={installed}/vars.fd",
        # QEMU would take what follows a single comma for the next option.
        "if=none,id=disk,format=raw,snapshot=on,file=/a/b,,c.raw",
    ]
    assert argv[argv.index("-cpu") + 1] == "max,-cx16"
    assert argv[argv.index("-netdev") + 1] == "user,id=net,restrict=on"
    assert "socket,id=console,fd=7" in argv
    assert "socket,id=monitor,fd=8" in argv


def test_bios_machine_needs_no_uefi_firmware(installed: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_firmware(monkeypatch, "x86_64")
    argv = machine_argv(MachineSpec("/a/b.qcow2", "qcow2", firmware="bios", accelerator="kvm"), console=7, monitor=8)
    assert not any("pflash" in word for word in argv)
    assert argv[argv.index("-accel") + 1] == "kvm"


def test_arm_machine(installed: pathlib.Path) -> None:
    argv = machine_argv(MachineSpec("/a/b.raw", arch="aarch64"), console=7, monitor=8)
    assert argv[0] == "/usr/bin/qemu-system-aarch64"
    assert argv[argv.index("-machine") + 1] == "virt,gic-version=max"
    assert argv[argv.index("-cpu") + 1] == "max,pauth-impdef=on"
    drives = [value for option, value in zip(argv, argv[1:]) if option == "-drive"]
    # The first pair that is whole.
    assert drives[:2] == [
        f"if=pflash,unit=0,format=raw,readonly=on,file={installed}/arm-code.fd",
        f"if=pflash,unit=1,format=raw,snapshot=on,file={installed}/arm-vars.fd",
    ]
    # It has no VGA, and no IDE.
    assert "virtio-gpu-pci" in argv
    assert "VGA" not in argv
    argv = machine_argv(MachineSpec("/a/b.iso", arch="aarch64", attachment="cdrom"), console=7, monitor=8)
    assert argv[-4:] == ["-device", "virtio-scsi-pci", "-device", "scsi-cd,drive=disk,bootindex=0"]


def test_arm_machine_has_no_bios(installed: pathlib.Path) -> None:
    spec = MachineSpec("/a/b.raw", arch="aarch64", firmware="bios")
    with pytest.raises(BootError, match=r"architecture aarch64 has no BIOS\. Set firmware to uefi\."):
        machine_argv(spec, console=7, monitor=8)


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("x86_64", r"\(OVMF\) was not found on the build host. Install the package 'ovmf'"),
        ("aarch64", r"\(AAVMF\) was not found on the build host. Install the package 'qemu-efi-aarch64'"),
    ],
)
def test_firmware_missing(installed: pathlib.Path, monkeypatch: pytest.MonkeyPatch, arch: str, message: str) -> None:
    set_firmware(monkeypatch, arch, (installed / "code.fd", installed / "gone.fd"))
    with pytest.raises(ToolMissingError, match=message):
        machine_argv(MachineSpec("/a/b.raw", arch=arch), console=7, monitor=8)


@pytest.fixture
def secure(installed: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A host that also has two firmwares that enforce Secure Boot, with variables of 3 and of 5 bytes."""
    pairs = []
    for size in (3, 5):
        code, variables = installed / f"secure-{size}.fd", installed / f"empty-{size}.fd"
        code.touch()
        variables.write_bytes(bytes(size))
        pairs.append((str(code), str(variables)))
    known = dataclasses.replace(machine.HARDWARE["x86_64"], secure_uefi=pairs)
    monkeypatch.setattr(machine, "HARDWARE", {**machine.HARDWARE, "x86_64": known})
    return installed


def test_secure_boot_has_the_firmware_that_fits_its_variables(secure: pathlib.Path) -> None:
    (secure / "mine.fd").write_bytes(b"12345")
    spec = MachineSpec("/a/b.raw", secure_boot_variables=str(secure / "mine.fd"))
    argv = machine_argv(spec, console=7, monitor=8)
    drives = [value for option, value in zip(argv, argv[1:]) if option == "-drive"]
    assert drives[:2] == [
        f"if=pflash,unit=0,format=raw,readonly=on,file={secure}/secure-5.fd",
        f"if=pflash,unit=1,format=raw,snapshot=on,file={secure}/mine.fd",
    ]
    assert "driver=cfi.pflash01,property=secure,value=on" in argv
    assert "smm=on" in argv


@pytest.mark.parametrize(
    ("arch", "name", "message"),
    [
        ("x86_64", "code.fd", r"code\.fd do not fit the firmware .*secure-3\.fd or .*secure-5\.fd: .* Make them from"),
        ("x86_64", "gone.fd", r"gone\.fd for Secure Boot do not exist\. Make them by virt-fw-vars, or correct"),
        ("aarch64", "code.fd", r"enforces Secure Boot on a machine of the architecture aarch64\. Leave out"),
    ],
)
def test_secure_boot_that_cannot_be_had(secure: pathlib.Path, arch: str, name: str, message: str) -> None:
    spec = MachineSpec("/a/b.raw", arch=arch, secure_boot_variables=str(secure / name))
    with pytest.raises(BootError, match=message):
        machine_argv(spec, console=7, monitor=8)


def test_firmware_for_secure_boot_missing(secure: pathlib.Path) -> None:
    for size in (3, 5):
        (secure / f"secure-{size}.fd").unlink()
    spec = MachineSpec("/a/b.raw", secure_boot_variables=str(secure / "code.fd"))
    with pytest.raises(ToolMissingError, match="The UEFI firmware that enforces Secure Boot for virtual machines"):
        machine_argv(spec, console=7, monitor=8)


def test_no_foreign_processor_is_virtualised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.os, "access", lambda path, mode: True)
    monkeypatch.setattr(machine.os, "uname", lambda: types.SimpleNamespace(machine="x86_64"))
    runner = CommandRunner()
    assert choose_accelerator("auto", arch="aarch64", firmware="uefi", runner=runner) == "tcg"
    with pytest.raises(BootError, match="KVM on this host: its processors are not those of aarch64"):
        choose_accelerator("kvm", arch="aarch64", firmware="uefi", runner=runner)


@pytest.mark.parametrize(
    ("attachment", "devices"),
    [
        ("cdrom", ["ide-cd,drive=disk,bootindex=0"]),
        ("usb", ["qemu-xhci", "usb-storage,drive=disk,bootindex=0,removable=on"]),
    ],
)
def test_an_iso_is_a_cd_or_a_stick(installed: pathlib.Path, attachment: str, devices: list[str]) -> None:
    argv = machine_argv(MachineSpec("/a/b.iso", attachment=attachment, target_disks=("/c",)), console=7, monitor=8)
    found = [value for option, value in zip(argv, argv[1:]) if option == "-device"]
    assert found[-len(devices) - 1 :] == [*devices, "virtio-blk-pci,drive=target0"]
    assert "if=none,id=disk,format=raw,snapshot=on,file=/a/b.iso" in argv
    assert "if=none,id=target0,format=raw,cache=unsafe,file=/c" in argv


def test_a_kernel_with_its_initrd(installed: pathlib.Path) -> None:
    spec = MachineSpec(None, kernel="/a/x.vmlinuz", initrd="/a/x.initrd.img", cmdline="quiet a=b")
    argv = machine_argv(spec, console=7, monitor=8)
    assert argv[-6:] == ["-kernel", "/a/x.vmlinuz", "-append", "quiet a=b", "-initrd", "/a/x.initrd.img"]
    assert not any("id=disk" in word for word in argv)
    assert kernel_beside("/a/x.initrd.img") == "/a/x.vmlinuz"


def test_png_of_pixmap() -> None:
    pixels = bytes(range(2 * 3 * 3))
    png = png_of_pixmap(b"P6\n2 3\n255\n" + pixels)
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, offset = {}, 8
    while offset < len(png):
        (length,) = struct.unpack_from(">I", png, offset)
        kind, data = png[offset + 4 : offset + 8], png[offset + 8 : offset + 8 + length]
        assert struct.unpack_from(">I", png, offset + 8 + length) == (zlib.crc32(kind + data),)
        chunks[kind] = data
        offset += 12 + length
    assert chunks[b"IHDR"] == struct.pack(">IIBBBBB", 2, 3, 8, 2, 0, 0, 0)
    rows = zlib.decompress(chunks[b"IDAT"])
    assert rows == b"".join(b"\0" + pixels[row : row + 6] for row in (0, 6, 12))


@pytest.mark.parametrize("pixmap", [b"", b"P5\n1 1\n255\n\0", b"P6\n2 2\n255\nshort"])
def test_png_of_something_else(pixmap: bytes) -> None:
    with pytest.raises(BootError, match="picture of its display is"):
        png_of_pixmap(pixmap)
