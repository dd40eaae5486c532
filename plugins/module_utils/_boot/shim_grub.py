# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""GRUB behind a shim, in front of unified kernel images: a chain that the build signs as a whole.

Firmware starts shim, shim starts GRUB, and GRUB starts a unified kernel image. GRUB reads no configuration: what it
does is part of its program, whose last command leaves it, so that neither a menu nor a prompt follows.

shim compares the generations in the C(.sbat) of what it starts with those that were revoked; see
U(https://github.com/rhboot/shim/blob/main/SBAT.md). GRUB has those of the distribution's own program, which was made of
the same modules.
"""

from __future__ import annotations

import os
import struct
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._boot.bootloader import (
    BootContext,
    BootFiles,
)
from ansible_collections.os_image.composer.plugins.module_utils._boot.esp import efi_name, fallback_path
from ansible_collections.os_image.composer.plugins.module_utils._boot.grub_script import quoted_title
from ansible_collections.os_image.composer.plugins.module_utils._boot.systemd_boot import SystemdBoot
from ansible_collections.os_image.composer.plugins.module_utils._boot.uki import read_sections
from ansible_collections.os_image.composer.plugins.module_utils._bootloader import GRUB, SHIM_GRUB, BootloaderTraits
from ansible_collections.os_image.composer.plugins.module_utils._command import find_tool
from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError

#: What GRUB can do: read the partition that it came from, start a program, say something, and end.
_MODULES = ("boot", "chain", "echo", "fat", "minicmd", "part_gpt", "part_msdos")
_PLATFORMS = {"x86_64": "x86_64-efi", "aarch64": "arm64-efi"}
_GRUB_PACKAGES = ("grub-efi-amd64-bin", "grub-efi-arm64-bin")
_SBAT_PACKAGES = ("grub-efi-amd64-unsigned", "grub-efi-amd64-bin")
# The sizes of the certificates that shim trusts by itself, and of those that it does not; then where they begin.
_VENDOR = struct.Struct("<IIII")


class ShimGrub(SystemdBoot):
    """GRUB behind a shim, with the unified kernel images that systemd-boot would start."""

    name = GRUB
    tools: t.ClassVar[t.Tuple[str, ...]] = SHIM_GRUB.host_tools
    shaping_tools: t.ClassVar[t.Tuple[str, ...]] = SHIM_GRUB.host_tools

    @property
    def traits(self) -> BootloaderTraits:
        return SHIM_GRUB

    def add_files(self, context: BootContext, files: BootFiles) -> None:
        arch, first = efi_name(context.arch), fallback_path(context.arch)
        shim = context.in_tree(f"/usr/lib/shim/shim{arch}.efi", packages=["shim-unsigned"])
        made = files.esp.new_file(first)
        context.files.copy_out(shim, made)
        forget_vendor(made)
        files.esp.add(first, made)
        kernels = self.add_ukis(context, files)
        second = f"{os.path.dirname(first)}/grub{arch}.efi"
        made = files.esp.new_file(second)
        self._make_grub(context, made, kernels)
        files.esp.add(second, made)

    @staticmethod
    def _make_grub(context: BootContext, destination: str, kernels: t.Sequence[str]) -> None:
        """Make GRUB that starts the first of some programs that it can."""
        platform = _PLATFORMS[context.arch]
        found = context.in_tree(f"/usr/lib/grub/{platform}", packages=_GRUB_PACKAGES)
        # Programs of the host read them, which would follow links.
        modules, own, sbat, script = (
            os.path.join(context.scratch, f"shim-grub{suffix}") for suffix in ("", ".efi", ".csv", ".cfg")
        )
        context.files.copy_directory_out(found, modules)
        program = context.in_tree(
            f"/usr/lib/grub/{platform}/monolithic/grub{efi_name(context.arch)}.efi", packages=_SBAT_PACKAGES
        )
        context.files.copy_out(program, own)
        with open(sbat, "wb") as stream:
            stream.write(_generations(own, program))
        with open(script, "w", encoding="ascii") as stream:
            stream.write(_script(kernels))
        command = [find_tool("grub-mkimage"), "-d", modules, "-O", platform, "-o", destination, "--sbat", sbat]
        # Without a device this is the one that the firmware has read GRUB from.
        command += ["-p", "/EFI/BOOT", "-c", script, *_MODULES]
        context.runner.run(command, what="Making the GRUB image")


def _script(kernels: t.Sequence[str]) -> str:
    """Return what GRUB does. It goes on behind a command that fails, or behind a program that comes back."""
    lines = []
    for kernel in kernels:
        lines += [f"chainloader {quoted_title(f'/{kernel}')}", "boot"]
    lines += ["echo 'No unified kernel image could be started.'", "exit"]
    return "".join(f"{line}\n" for line in lines)


def _generations(program: str, path: str) -> bytes:
    """Return the C(.sbat) of an EFI program.

    :param path: Its path in the tree.
    """
    content = section(program, ".sbat").rstrip(b"\0")
    if not content.startswith(b"sbat,"):
        raise BootError(
            f"{path} has no SBAT section, so that nothing tells which generation of GRUB this is.",
            remedy="Use a newer GRUB of the distribution, or bootloader.provider: systemd-boot.",
        )
    return content


def section(program: str, name: str) -> bytes:
    """Return the content of a section of an EFI program; empty when it has none of that name."""
    start, size = read_sections(program).get(name, (0, 0))
    with open(program, "rb") as stream:
        stream.seek(start)
        return stream.read(size)


def forget_vendor(shim: str) -> None:
    """Take out of a shim the certificate of its distribution.

    Else it would start GRUB of that distribution, too, which starts any initrd with any command line.

    :param shim: Path of the program.
    :raises BootError: It is no shim as we know it.
    """
    start, size = read_sections(shim).get(".vendor_cert", (0, 0))
    with open(shim, "r+b") as stream:
        stream.seek(start)
        content = bytearray(stream.read(size))
        if size < _VENDOR.size:
            raise BootError("The shim of the image has no place for certificates of its vendor, so that it is unknown.")
        trusted, distrusted, first, second = _VENDOR.unpack_from(content)
        if first < _VENDOR.size or first + trusted > size or (distrusted and second + distrusted > size):
            raise BootError("The shim of the image keeps the certificates of its vendor in a way that is unknown.")
        content[first : first + trusted] = bytes(trusted)
        _VENDOR.pack_into(content, 0, 0, distrusted, first, second)
        stream.seek(start)
        stream.write(content)


__all__ = ("ShimGrub", "forget_vendor", "section")
