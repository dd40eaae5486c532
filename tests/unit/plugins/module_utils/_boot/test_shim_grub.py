# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""GRUB behind a shim."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import struct
import subprocess

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._boot.bootloader import BootContext, BootFiles
from ansible_collections.os_image.composer.plugins.module_utils._boot.kernel import find_kernels
from ansible_collections.os_image.composer.plugins.module_utils._boot.kinds import bootloader
from ansible_collections.os_image.composer.plugins.module_utils._boot.shim_grub import ShimGrub, forget_vendor, section
from ansible_collections.os_image.composer.plugins.module_utils._boot.uki import read_sections
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import disk_layout
from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_file
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Disk
from ansible_collections.os_image.composer.tests.support.disk_tree import DISK
from ansible_collections.os_image.composer.tests.support.shim_program import DISTRUSTED, TRUSTED, make_shim, vendor
from ansible_collections.os_image.composer.tests.support.template_data import whole_part

STUB = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
GRUB = "/usr/lib/grub/x86_64-efi"
OLD, NEW = "6.1.0-9-amd64", "6.1.0-10-amd64"


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> pathlib.Path:
    made = tmp_path / "tree"
    for version in (OLD, NEW):
        for name in ("vmlinuz", "initrd.img"):
            path = made / f"boot/{name}-{version}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{name} {version} " * 100)
    for name in (f"{made}{os.path.dirname(STUB)}", f"{made}/etc"):
        os.makedirs(name)
    (made / "etc/os-release").write_text('ID=debian\nPRETTY_NAME="Debian"\n')
    shutil.copy(STUB, f"{made}{STUB}")
    shutil.copytree(GRUB, f"{made}{GRUB}")
    make_shim(made / "usr/lib/shim/shimx64.efi")
    return made


def stage(tree: pathlib.Path, name: str = "scratch") -> BootFiles:
    scratch = tree.parent / name
    scratch.mkdir()
    loader = bootloader("efi", "grub", use_uki=True, is_signed=True)
    assert isinstance(loader, ShimGrub)
    return loader.stage(
        BootContext(
            tree=str(tree),
            arch="x86_64",
            layout=disk_layout(whole_part(Disk, DISK)),
            file_system_ids={"boot": "ABCD-0123", "rootfs": "11-22"},
            kernels=find_kernels(str(tree)),
            cmdline="console=ttyS0",
            use_uki=True,
            use_signed=False,
            timeout=None,
            family="deb",
            wanted="",
            is_signed=True,
            is_immutable=False,
            runner=CommandRunner(),
            scratch=str(scratch),
        )
    )


def test_what_lies_on_the_esp(tree: pathlib.Path) -> None:
    files = stage(tree)
    kernels = [f"EFI/Linux/debian-{version}.efi" for version in (NEW, OLD)]
    assert set(files.esp.files) == {"EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/grubx64.efi", *kernels}
    assert set(files.esp.programs()) == set(files.esp.files)
    assert files.entries == [f"debian-{version}.efi" for version in (NEW, OLD)]
    # Not even a file in /boot, which GRUB could read.
    assert files.tree == {}
    assert ".linux" in read_sections(files.esp.files[kernels[0]])


def test_grub_starts_kernels_and_ends(tree: pathlib.Path) -> None:
    data = pathlib.Path(stage(tree).esp.files["EFI/BOOT/grubx64.efi"]).read_bytes()
    script = re.search(rb"chainloader [ -~\n]+\n", data)
    assert script is not None
    assert script.group().decode().splitlines() == [
        f"chainloader '/EFI/Linux/debian-{NEW}.efi'",
        "boot",
        f"chainloader '/EFI/Linux/debian-{OLD}.efi'",
        "boot",
        "echo 'No unified kernel image could be started.'",
        "exit",
    ]
    # What reads menus, shows them, or takes commands.
    assert b"configfile" not in data
    assert b"menuentry" not in data


def test_grub_has_the_generations_of_the_distribution(tree: pathlib.Path) -> None:
    made = stage(tree).esp.files["EFI/BOOT/grubx64.efi"]
    own = section(f"{GRUB}/monolithic/grubx64.efi", ".sbat").rstrip(b"\0")
    assert b"\ngrub.debian," in own
    assert section(made, ".sbat").rstrip(b"\0") == own


def test_it_is_the_same_each_time(tree: pathlib.Path) -> None:
    one, two = (stage(tree, name).esp.files for name in ("one", "two"))
    assert {path: sha256_file(source) for path, source in one.items()} == {
        path: sha256_file(source) for path, source in two.items()
    }


def test_shim_trusts_its_vendor_no_longer(tree: pathlib.Path) -> None:
    before = (tree / "usr/lib/shim/shimx64.efi").read_bytes()
    made = stage(tree).esp.files["EFI/BOOT/BOOTX64.EFI"]
    content = section(made, ".vendor_cert")
    assert content[: len(vendor())] == (
        struct.pack("<IIII", 0, len(DISTRUSTED), 16, 16 + len(TRUSTED)) + bytes(len(TRUSTED)) + DISTRUSTED
    )
    after = pathlib.Path(made).read_bytes()
    assert TRUSTED not in after
    assert after == before.replace(vendor(), content[: len(vendor())])
    # The package's own file stays.
    assert (tree / "usr/lib/shim/shimx64.efi").read_bytes() == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"short", "has no place for certificates of its vendor"),
        (vendor(begin=8), "keeps the certificates of its vendor in a way that is unknown"),
        (vendor(begin=1 << 20), "keeps the certificates of its vendor in a way that is unknown"),
    ],
)
def test_an_unknown_shim_is_not_taken(tmp_path: pathlib.Path, content: bytes, message: str) -> None:
    path = make_shim(tmp_path / "shim.efi", content)
    with pytest.raises(BootError, match=message):
        forget_vendor(str(path))


def test_a_program_that_is_no_shim_is_not_taken(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "shim.efi"
    shutil.copy(STUB, path)
    with pytest.raises(BootError, match="has no place for certificates of its vendor"):
        forget_vendor(str(path))


def test_grub_without_generations_is_not_taken(tree: pathlib.Path) -> None:
    program = tree / f"{GRUB[1:]}/monolithic/grubx64.efi"
    subprocess.run(["objcopy", "--remove-section", ".sbat", str(program)], check=True)
    with pytest.raises(BootError, match="has no SBAT section, so that nothing tells which generation of GRUB"):
        stage(tree)


@pytest.mark.parametrize(
    ("path", "package"),
    [
        ("usr/lib/shim/shimx64.efi", "shim-unsigned"),
        (f"{GRUB[1:]}/monolithic/grubx64.efi", "grub-efi-amd64-unsigned"),
        (STUB[1:], "systemd-boot-efi"),
    ],
)
def test_what_is_missing_is_named_with_its_package(tree: pathlib.Path, path: str, package: str) -> None:
    (tree / path).unlink()
    with pytest.raises(BootError, match=f"The root tree has no .*{package}"):
        stage(tree)


def test_a_module_that_is_missing_is_an_error(tree: pathlib.Path) -> None:
    """Without the command that leaves GRUB, its prompt would follow."""
    (tree / f"{GRUB[1:]}/minicmd.mod").unlink()
    with pytest.raises(Exception, match="minicmd"):
        stage(tree)


def test_a_kernel_that_comes_later_is_refused(tree: pathlib.Path) -> None:
    updates = stage(tree).updates
    hook = updates["/etc/kernel/preinst.d/os-image"]
    assert hook.text.startswith("#!/bin/sh\n")
    program = next(file.text for path, file in updates.items() if path in hook.text and path != "/bin/sh")
    assert "is not put into the bootloader: this image starts kernels that were signed for Secure Boot" in program
    assert "/etc/default/grub" not in updates
