# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import os
import pathlib
import struct
import subprocess
import sys
import textwrap
import time
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._boot_test import machine, session
from ansible_collections.os_image.composer.plugins.module_utils._boot_test.session import BootTest, run_boot_test
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool
from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError, CommandError

# Says on the console what the image file holds, a line at a time, and answers on the monitor as QEMU does. A line
# "EXIT" ends it; at the end of the file it waits to be ended.
_FAKE_QEMU = """
    import json, os, socket, sys, threading, time
    chardevs = {}
    for word in sys.argv:
        if word.startswith("socket,id="):
            name, descriptor = (part.split("=")[1] for part in word.split(",")[1:])
            chardevs[name] = socket.socket(fileno=int(descriptor))
    image = next(word.split("file=")[1] for word in sys.argv if "id=disk" in word)

    def monitor():
        stream = chardevs["monitor"].makefile("rw")
        print(json.dumps({"QMP": {}}), file=stream, flush=True)
        for line in stream:
            message = json.loads(line)
            if message["execute"] == "screendump":
                print(json.dumps({"event": "SOMETHING"}), file=stream)
                with open(message["arguments"]["filename"], "wb") as picture:
                    picture.write(b"P6\\n1 1\\n255\\nabc")
            print(json.dumps({"return": {}}), file=stream, flush=True)

    threading.Thread(target=monitor, daemon=True).start()
    with open(os.path.join(os.path.dirname(image), "pid"), "w") as stream:
        stream.write(str(os.getpid()))
    for line in open(image):
        if line.startswith("EXIT"):
            sys.exit("the disk is on fire")
        chardevs["console"].sendall(line.encode())
    time.sleep(60)
"""


@pytest.fixture
def boot_test(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., BootTest]:
    """Make the test of an image whose console says the given text."""
    qemu = tmp_path / "qemu"
    qemu.write_text(f"#!{sys.executable}\n{textwrap.dedent(_FAKE_QEMU)}", encoding="utf-8")
    qemu.chmod(0o755)
    for name in ("code.fd", "vars.fd"):
        (tmp_path / name).touch()
    pair = (str(tmp_path / "code.fd"), str(tmp_path / "vars.fd"))
    hardware = {arch: dataclasses.replace(entry, uefi=[pair]) for arch, entry in machine.HARDWARE.items()}
    monkeypatch.setattr(machine, "HARDWARE", hardware)
    monkeypatch.setattr(
        machine,
        "find_tool",
        lambda name: str(qemu) if name.startswith("qemu-system") else find_tool(name),
    )

    def make(says: str, **options: t.Any) -> BootTest:
        image = tmp_path / "image.raw"
        image.write_text(says, encoding="utf-8")
        return BootTest(image=str(image), output_dir=str(tmp_path / "out"), **{"timeout": 20, **options})

    return make


@pytest.mark.parametrize(("program", "suffix"), [("gzip", "gz"), ("xz", "xz"), ("zstd", "zst")])
def test_compressed_image(
    boot_test: t.Callable[..., BootTest], tmp_path: pathlib.Path, program: str, suffix: str
) -> None:
    plain = boot_test("edge-7 login: ")
    subprocess.run([program, "-q", plain.image], check=True)
    temp_dir = tmp_path / "temp"
    temp_dir.mkdir()
    packed = dataclasses.replace(plain, image=f"{tmp_path}/image.raw.{suffix}", temp_dir=str(temp_dir))
    assert run_boot_test(packed, runner=CommandRunner()).matched == "edge-7 login:"
    assert os.path.basename(packed.console_log) == f"image.raw.{suffix}.console.log"
    assert list(temp_dir.iterdir()) == []


def test_damaged_compressed_image(boot_test: t.Callable[..., BootTest], tmp_path: pathlib.Path) -> None:
    packed = tmp_path / "image.raw.zst"
    packed.write_bytes(b"\x28\xb5\x2f\xfd and then something else")
    with pytest.raises(CommandError, match=f"The image {packed} cannot be unpacked: "):
        run_boot_test(dataclasses.replace(boot_test(""), image=str(packed)), runner=CommandRunner())


def _machine_is_gone(tmp_path: pathlib.Path) -> bool:
    pid = (tmp_path / "pid").read_text(encoding="utf-8")
    return not os.path.exists(f"/proc/{pid}")


def test_image_that_boots(boot_test: t.Callable[..., BootTest], tmp_path: pathlib.Path) -> None:
    test = boot_test("\x1b[2JBdsDxe: starting\n\nedge-7 login: ")
    report = run_boot_test(test, runner=CommandRunner())
    assert (report.matched, report.accelerator, report.commands) == ("edge-7 login:", "tcg", ())
    assert pathlib.Path(test.console_log).read_text(encoding="utf-8") == "BdsDxe: starting\n\nedge-7 login: "
    assert pathlib.Path(test.screenshot).read_bytes().startswith(b"\x89PNG")
    assert _machine_is_gone(tmp_path)


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        (
            "Kernel panic - not syncing: VFS: Unable to mount root fs\n",
            r"its kernel panicked \(VFS: Unable to mount root fs\)",
        ),
        ("BdsDxe: No bootable option or device was found.\n", "the firmware found nothing to boot on it"),
        ("UEFI Interactive Shell v2.2\n", "the firmware found nothing to boot on it"),
        ('BdsDxe: failed to load Boot0001 "UEFI": Access Denied\n', "Secure Boot refused its boot loader"),
        (
            "Error loading \\EFI\\Linux\\a.efi: Access Denied\n",
            r"Secure Boot refused its kernel \(Access Denied\)",
        ),
        (
            "../src/boot/boot.c:2576@image_start: Error loading \\EFI\\Linux\\a.efi: Access denied\n",
            r"Secure Boot refused its kernel \(Access denied\)",
        ),
        ("You are in emergency mode. After logging in\n", "a unit that it needs failed, so it is in emergency mode"),
        ("grub> ", "GRUB found no configuration or no file to boot"),
        ("Linux\nEXIT\n", "the machine ended before that, and QEMU said: the disk is on fire"),
    ],
)
def test_image_that_does_not_boot(
    boot_test: t.Callable[..., BootTest], tmp_path: pathlib.Path, says: str, reason: str
) -> None:
    test = boot_test(f"first line\n{says}")
    started = time.monotonic()
    with pytest.raises(BootError, match=f"image.raw did not boot to '.* login:': {reason}") as caught:
        run_boot_test(test, runner=CommandRunner())
    assert time.monotonic() - started < 10, "it waited for the time limit although there was nothing to wait for"
    message = str(caught.value)
    assert "The console's last lines:\nfirst line\n" in message
    assert f"The whole console is in {test.console_log}" in message
    assert _machine_is_gone(tmp_path)


def test_image_that_says_nothing(boot_test: t.Callable[..., BootTest], tmp_path: pathlib.Path) -> None:
    test = boot_test("", timeout=0.5)
    with pytest.raises(BootError, match=r"that was not to be seen within 0.5 s.\nThe console said nothing.") as caught:
        run_boot_test(test, runner=CommandRunner())
    assert f"a picture of the display in {test.screenshot}" in str(caught.value)
    assert _machine_is_gone(tmp_path)


def test_own_marker(boot_test: t.Callable[..., BootTest]) -> None:
    report = run_boot_test(boot_test("READY 17\n", marker=r"READY \d+"), runner=CommandRunner())
    assert report.matched == "READY 17"


def test_older_results_do_not_stay(boot_test: t.Callable[..., BootTest]) -> None:
    run_boot_test(boot_test("a login:"), runner=CommandRunner())
    test = boot_test("EXIT\n")
    with pytest.raises(BootError):
        run_boot_test(test, runner=CommandRunner())
    assert not os.path.exists(test.screenshot)
    assert pathlib.Path(test.console_log).read_text(encoding="utf-8") == ""


def test_missing_image(boot_test: t.Callable[..., BootTest]) -> None:
    test = dataclasses.replace(boot_test(""), image="/nowhere/x.raw")
    with pytest.raises(BootError, match="The image /nowhere/x.raw does not exist. Build it first"):
        run_boot_test(test, runner=CommandRunner())


def test_missing_kernel(boot_test: t.Callable[..., BootTest], tmp_path: pathlib.Path) -> None:
    initrd = tmp_path / "x.initrd.img"
    initrd.touch()
    test = dataclasses.replace(boot_test(""), image=str(initrd))
    with pytest.raises(BootError, match=rf"The kernel {tmp_path}/x.vmlinuz for {initrd} does not exist. Publish it"):
        run_boot_test(test, runner=CommandRunner())


def test_the_disk_for_an_installer_is_made_anew(boot_test: t.Callable[..., BootTest], tmp_path: pathlib.Path) -> None:
    disk = tmp_path / "target.raw"
    disk.write_bytes(b"old")
    run_boot_test(
        boot_test("a login:", target_disk=str(disk), target_size=5 << 20, attachment="cdrom"), runner=CommandRunner()
    )
    assert disk.stat().st_size == 5 << 20
    assert not disk.read_bytes().strip(b"\0")


def test_a_device_of_the_host_is_never_a_disk_for_an_installer(boot_test: t.Callable[..., BootTest]) -> None:
    with pytest.raises(BootError, match="/dev/null is no file, and is not overwritten"):
        run_boot_test(boot_test("a login:", target_disk="/dev/null"), runner=CommandRunner())


@pytest.mark.parametrize(("arch", "expected"), [("auto", "x86_64"), ("x86_64", "x86_64"), ("aarch64", "aarch64")])
def test_the_machine_is_the_images_or_the_users(boot_test: t.Callable[..., BootTest], arch: str, expected: str) -> None:
    report = run_boot_test(boot_test("edge-7 login: ", arch=arch), runner=CommandRunner())
    assert report.arch == expected


@pytest.mark.parametrize(
    ("machine_number", "arch", "cmdline"),
    [(0x8664, "x86_64", "console=ttyS0"), (0xAA64, "aarch64", "console=ttyAMA0")],
)
def test_the_console_of_a_kernel_is_that_of_its_machine(
    tmp_path: pathlib.Path, machine_number: int, arch: str, cmdline: str
) -> None:
    header = b"MZ" + bytes(58) + struct.pack("<I4sH", 64, b"PE\0\0", machine_number)
    (tmp_path / "small.vmlinuz").write_bytes(header.ljust(8192, b"\0"))
    (tmp_path / "small.initrd").touch()
    test = BootTest(image=str(tmp_path / "small.initrd"), output_dir=str(tmp_path))
    spec = session._machine_spec(test, test.image, CommandRunner())
    assert (spec.arch, spec.cmdline, spec.image) == (arch, cmdline, None)
    spec = session._machine_spec(dataclasses.replace(test, cmdline="quiet"), test.image, CommandRunner())
    assert spec.cmdline == "quiet"
