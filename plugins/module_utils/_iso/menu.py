# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The boot menu of an ISO: GRUB for the BIOS and for UEFI, and its configuration.

GRUB comes from the build host, whose modules fit its C(grub-mkimage): what is in the image is for the image's disk.
Only where the host has none for the image's architecture are the image's own taken, as for its disk.
"""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._boot.esp import fallback_path
from ansible_collections.os_image.composer.plugins.module_utils._boot.grub_script import escaped_cmdline, quoted_title
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool
from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError
from ansible_collections.os_image.composer.plugins.module_utils._host_tools.grub import has_modules, module_directory
from ansible_collections.os_image.composer.plugins.module_utils._host_tools.table import GRUB_MODULES
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles

_PREFIX = "/boot/grub"
_COMMON = (
    "all_video",
    "boot",
    "configfile",
    "echo",
    "fat",
    "gfxterm",
    "gzio",
    "halt",
    "iso9660",
    "linux",
    "ls",
    "minicmd",
    "normal",
    "part_gpt",
    "part_msdos",
    "reboot",
    "search",
    "search_fs_file",
    "search_label",
    "sleep",
    "test",
    "true",
)


@dataclasses.dataclass(frozen=True)
class GrubPlatform:
    """GRUB for one firmware.

    :ivar directory: Of its modules, below :data:`GRUB_DIRECTORY` of the host tools.
    :ivar format: The image format of C(grub-mkimage).
    :ivar modules: Beside the common ones.
    """

    directory: str
    format: str
    modules: t.Tuple[str, ...] = ()


_BIOS: t.Mapping[str, GrubPlatform] = {
    "x86_64": GrubPlatform("i386-pc", "i386-pc-eltorito", ("biosdisk", "vbe", "vga"))
}
_UEFI: t.Mapping[str, GrubPlatform] = {
    "x86_64": GrubPlatform("x86_64-efi", "x86_64-efi", ("efi_gop", "efi_uga")),
    "aarch64": GrubPlatform("arm64-efi", "arm64-efi", ("efi_gop",)),
}


@dataclasses.dataclass(frozen=True)
class MenuEntry:
    """A line of the boot menu.

    :ivar cmdline: The kernel command line.
    """

    title: str
    cmdline: str


@dataclasses.dataclass(frozen=True)
class GrubFiles:
    """GRUB's programs for an ISO.

    :ivar efi_path: Where the UEFI program belongs on the EFI system partition.
    :ivar efi: The host's path of that program.
    :ivar eltorito: That of the image that the BIOS loads from a CD; V(None) where there is no BIOS.
    :ivar hybrid: That of the boot sector for USB disks; V(None) where there is no BIOS.
    """

    efi_path: str
    efi: str
    eltorito: str | None
    hybrid: str | None


def firmwares(arch: str) -> t.List[GrubPlatform]:
    """Return what an ISO for an architecture boots by, the BIOS first."""
    return [table[arch] for table in (_BIOS, _UEFI) if arch in table]


def _module_directory(platform: GrubPlatform, root: str, scratch: str) -> str:
    """Return where GRUB's modules are, on the build host or as copies of the image's.

    :raises BootError: They are in neither.
    """
    directory = module_directory(platform.directory)
    if has_modules(platform.directory):
        return directory
    files = TreeFiles(root)
    if files.is_file(f"{directory}/normal.mod"):
        # A program of the host reads them, which would follow links.
        copies = os.path.join(scratch, platform.directory)
        files.copy_directory_out(directory, copies)
        return copies
    raise BootError(
        f"Neither the build host nor the image has GRUB's modules for {platform.directory}.",
        remedy="Add the package that has them to systemConfig.packages; distributions call it "
        f"{' or '.join(GRUB_MODULES[platform.directory].names())}.",
    )


def make_grub(arch: str, mark: str, root: str, scratch: str, runner: CommandRunner) -> GrubFiles:
    """Make GRUB's programs.

    :param root: The image's root tree.
    :param mark: Path of a file that only this ISO has, by which GRUB finds it among all disks.
    :param scratch: An empty directory for what is made.
    """
    early = os.path.join(scratch, "early.cfg")
    with open(early, "w", encoding="ascii") as stream:
        stream.write(f"search --no-floppy --set=root --file {mark}\n")
        stream.write(f"set prefix=($root){_PREFIX}\n")
        stream.write(f"configfile ($root){_PREFIX}/grub.cfg\n")
    efi = os.path.join(scratch, "grub.efi")
    _make_image(_UEFI[arch], _module_directory(_UEFI[arch], root, scratch), early, efi, runner)
    bios = _BIOS.get(arch)
    if bios is None:
        return GrubFiles(fallback_path(arch), efi, None, None)
    eltorito = os.path.join(scratch, "eltorito.img")
    directory = _module_directory(bios, root, scratch)
    _make_image(bios, directory, early, eltorito, runner)
    hybrid = os.path.join(directory, "boot_hybrid.img")
    return GrubFiles(fallback_path(arch), efi, eltorito, hybrid)


def _make_image(platform: GrubPlatform, directory: str, early: str, path: str, runner: CommandRunner) -> None:
    # A module that one version has and the next has not is not worth an error.
    wanted = sorted({*_COMMON, *platform.modules})
    present = [module for module in wanted if os.path.exists(f"{directory}/{module}.mod")]
    command = [find_tool("grub-mkimage"), "-d", directory, "-O", platform.format, "-o", path]
    runner.run([*command, "-p", _PREFIX, "-c", early, *present], what=f"Making the GRUB image {platform.format}")


def menu(entries: t.Sequence[MenuEntry], *, kernel: str, initrd: str, timeout: int) -> str:
    """Return C(grub.cfg).

    :param kernel: Path of the kernel on the ISO.
    :param timeout: Seconds until the first entry starts.
    """
    lines = ["# Made when the image was built.", "set default=0", f"set timeout={timeout}", ""]
    for entry in entries:
        lines += [
            f"menuentry {quoted_title(entry.title)} {{",
            f"\tlinux {kernel} {escaped_cmdline(entry.cmdline)}",
            f"\tinitrd {initrd}",
            "}",
        ]
    return "\n".join(lines) + "\n"


__all__ = ("GrubFiles", "GrubPlatform", "MenuEntry", "firmwares", "make_grub", "menu")
