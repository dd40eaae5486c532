# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""GRUB for UEFI and for a BIOS: an image of its own with everything in it that it needs to read the kernel.

For UEFI also the distribution's signed one, behind its shim.
"""

from __future__ import annotations

import abc
import os
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._boot.bios import check_core
from ansible_collections.os_image.composer.plugins.module_utils._boot.bootloader import (
    BiosProgram,
    BootContext,
    BootFiles,
    Bootloader,
    os_release,
)
from ansible_collections.os_image.composer.plugins.module_utils._boot.esp import efi_name, fallback_path
from ansible_collections.os_image.composer.plugins.module_utils._boot.grub_script import escaped_cmdline, quoted_title
from ansible_collections.os_image.composer.plugins.module_utils._boot.kernel_updates import (
    GrubMenu,
    UpdateFiles,
    grub_files,
)
from ansible_collections.os_image.composer.plugins.module_utils._bootloader import BOOTLOADERS, EFI, GRUB, LEGACY
from ansible_collections.os_image.composer.plugins.module_utils._command import find_tool
from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import Partition
from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.kinds import file_system

#: GRUB's name of a platform, and the packages that have its modules: Debian's, Fedora's, Azure Linux's.
Platform = t.Tuple[str, t.Sequence[str]]

_EFI_PLATFORMS: t.Mapping[str, Platform] = {
    "x86_64": ("x86_64-efi", ("grub-efi-amd64-bin", "grub2-efi-x64-modules", "grub2-efi")),
    "aarch64": ("arm64-efi", ("grub-efi-arm64-bin", "grub2-efi-aa64-modules", "grub2-efi")),
}
_BIOS_PLATFORM: Platform = ("i386-pc", ("grub-pc-bin", "grub2-pc-modules", "grub2-pc"))
_MODULES = (
    "all_video",
    "boot",
    "configfile",
    "echo",
    "gzio",
    "linux",
    "loadenv",
    "ls",
    "normal",
    "part_gpt",
    "part_msdos",
    "reboot",
    "halt",
    "increment",
    "search",
    "search_fs_uuid",
    "sleep",
    "terminal",
    "test",
    "true",
)
_BIOS_MODULES = ("biosdisk", "serial")
# What the menus of grub-mkconfig ask for beside the common ones.
_EFI_MODULES = ("efifwsetup",)

# The tools that write grub.cfg in the running system, and what each takes for GRUB's directory.
_DIRECTORIES: t.Sequence[t.Tuple[str, str]] = (
    ("/usr/sbin/update-grub", "/boot/grub"),
    ("/usr/sbin/grub-mkconfig", "/boot/grub"),
    ("/usr/sbin/grub2-mkconfig", "/boot/grub2"),
    ("/usr/bin/grub2-mkconfig", "/boot/grub2"),
    ("/boot/grub2", "/boot/grub2"),
)

# The last console= of a kernel command line that is a serial port: its number and its speed; see
# Documentation/admin-guide/serial-console.rst of the kernel.
_SERIAL = re.compile(r"(?:^|\s)console=ttyS([0-3])(?:,(\d+)\w*)?(?=\s|$)")


class Grub(Bootloader):
    """GRUB; kernels and C(grub.cfg) stay in C(/boot)."""

    name = GRUB
    #: Whether GRUB for a BIOS and GRUB for UEFI read one C(grub.cfg).
    is_for_both: t.ClassVar[bool] = False
    tools: t.ClassVar[t.Tuple[str, ...]] = BOOTLOADERS[GRUB].host_tools
    shaping_tools: t.ClassVar[t.Tuple[str, ...]] = ("grub-mkimage",)

    def add_files(self, context: BootContext, files: BootFiles) -> None:
        directory = _directory(context)
        self.add_programs(context, self._holder(context, f"{directory}/grub.cfg"), files)
        files.tree[f"{directory}/grub.cfg"] = self._configuration(context, files).encode("utf-8")

    @abc.abstractmethod
    def add_programs(self, context: BootContext, holder: Partition, files: BootFiles) -> None:
        """Add what the firmware loads.

        :param holder: The partition that has C(grub.cfg).
        """

    def serial_command(self, context: BootContext) -> str:
        """Return the line of C(grub.cfg) that sets up a serial port for the menu; empty when there is none."""
        return ""

    def update_files(self, context: BootContext) -> UpdateFiles:
        release, serial = os_release(context.tree), self.serial_command(context)
        holder, root = self._holder(context, context.kernels[0].initrd), context.layout.root
        menu = GrubMenu(
            path=f"{_directory(context)}/grub.cfg",
            header="\n".join(_header(context, serial, is_for_both=self.is_for_both)),
            title=_title(release).replace("'", ""),
            distributor=(release.get("ID") or "linux").capitalize(),
            partition=_search_id(context, holder),
            root="" if root is None else context.file_system_ids.get(root.id, ""),
            prefix=(holder.mount_point or "/").rstrip("/"),
            cmdline=escaped_cmdline(context.cmdline),
            pinned=context.pinned,
            timeout=_timeout(context),
            is_shown=bool(context.timeout),
            serial=serial,
        )
        return grub_files(context.files, family=context.family, menu=menu)

    def _holder(self, context: BootContext, path: str) -> Partition:
        """The partition on which a file of the tree lies, which GRUB has to find and read."""
        holder = context.layout.holding(path)
        if holder is None:
            raise BootError(f"No partition holds {path}.", remedy="Add a partition with mountPoint: /.")
        if not file_system(holder.fs_type).grub_modules:
            raise BootError(
                f"GRUB cannot read the file system {holder.fs_type} of the partition {holder.id!r}, which has {path}.",
                remedy="Add a partition with fsType: ext4 and mountPoint: /boot.",
            )
        return holder

    def make_image(
        self, context: BootContext, holder: Partition, platform: Platform, image: str, more: t.Sequence[str]
    ) -> None:
        """Make a GRUB image that finds its C(grub.cfg).

        :param more: Modules beside those that every platform has.
        """
        name, packages = platform
        found = context.in_tree(f"/usr/lib/grub/{name}", f"/usr/lib64/grub/{name}", packages=packages)
        # A program of the host reads them, which would follow links.
        modules = os.path.join(context.scratch, f"grub-{name}")
        context.files.copy_directory_out(found, modules)
        early = os.path.join(context.scratch, f"grub-early-{name}.cfg")
        with open(early, "w", encoding="ascii") as stream:
            stream.write(_early_configuration(context, holder))
        readers = {module for part in context.layout.partitions for module in _grub_modules(part)}
        wanted = sorted({*_MODULES, *more, *readers, *file_system(holder.fs_type).grub_modules})
        # A module that one version has and the next has not is not worth an error.
        wanted = [module for module in wanted if os.path.exists(f"{modules}/{module}.mod")]
        directory = _on_partition(holder, _directory(context))
        command = [find_tool("grub-mkimage"), "-d", modules, "-O", name, "-o", image]
        context.runner.run([*command, "-p", directory, "-c", early, *wanted], what="Making the GRUB image")

    def _configuration(self, context: BootContext, files: BootFiles) -> str:
        title = _title(os_release(context.tree))
        lines = _header(context, self.serial_command(context), is_for_both=self.is_for_both)
        for kernel in context.kernels:
            holder = self._holder(context, kernel.image)
            name = f"{title}, {kernel.version}"
            files.entries.append(name)
            lines += [
                f"menuentry {quoted_title(name)} {{",
                f"\tsearch --no-floppy --fs-uuid --set=root {_search_id(context, holder)}",
                f"\tlinux {_on_partition(holder, kernel.image)} {escaped_cmdline(context.cmdline)}",
            ]
            # With a partition for /boot or /usr a kernel in /usr/lib/modules lies on another one than its initrd.
            initrd_holder = self._holder(context, kernel.initrd)
            if initrd_holder is not holder:
                lines.append(f"\tsearch --no-floppy --fs-uuid --set=root {_search_id(context, initrd_holder)}")
            lines += [f"\tinitrd {_on_partition(initrd_holder, kernel.initrd)}", "}"]
        return "\n".join(lines) + "\n"


def _title(release: t.Mapping[str, str]) -> str:
    return release.get("PRETTY_NAME") or "Linux"


def _timeout(context: BootContext) -> int:
    return 1 if context.timeout is None else context.timeout


def _header(context: BootContext, serial: str, *, is_for_both: bool) -> t.List[str]:
    """Return what C(grub.cfg) has before the entries."""
    # A BIOS, unlike UEFI, seldom shows on a serial port what is written to the screen.
    terminals = [serial, "terminal_input console serial", "terminal_output console serial"] if serial else []
    if serial and is_for_both:
        terminals = ['if [ "$grub_platform" = "pc" ]; then', *(f"\t{line}" for line in terminals), "fi"]
    return [
        "# Made when the image was built. update-grub or grub2-mkconfig replaces it in the running system.",
        *terminals,
        "set default=0",
        f"set timeout_style={'menu' if context.timeout else 'hidden'}",
        f"set timeout={_timeout(context)}",
        "",
    ]


def _directory(context: BootContext) -> str:
    """Return where the image's own tools expect GRUB's files."""
    for path, directory in _DIRECTORIES:
        if context.files.exists(path):
            return directory
    return "/boot/grub"


class GrubEfi(Grub):
    """GRUB from the image's own modules, or the distribution's signed one."""

    boot_type = EFI

    def add_programs(self, context: BootContext, holder: Partition, files: BootFiles) -> None:
        if context.use_signed:
            self._add_signed(context, holder, files)
            return
        image = files.esp.new_file(fallback_path(context.arch))
        platform = _EFI_PLATFORMS[context.arch]
        self.make_image(context, holder, platform, image, _EFI_MODULES)
        files.esp.add(fallback_path(context.arch), image)

    def _add_signed(self, context: BootContext, holder: Partition, files: BootFiles) -> None:
        """Add shim, which firmware trusts, and GRUB and MokManager, which shim trusts.

        What lies where the firmware looks needs no boot entry. GRUB reads the C(grub.cfg) of its vendor's directory,
        whose name was fixed when it was signed.
        """
        arch = efi_name(context.arch)
        vendor = os_release(context.tree).get("ID") or "linux"
        platform = _EFI_PLATFORMS[context.arch][0]
        on_esp = f"/boot/efi/EFI/{vendor}"
        programs = (
            (
                fallback_path(context.arch),
                (f"/usr/lib/shim/shim{arch}.efi.signed", f"{on_esp}/shim{arch}.efi"),
                "shim-signed",
            ),
            (
                f"EFI/BOOT/grub{arch}.efi",
                (f"/usr/lib/grub/{platform}-signed/grub{arch}.efi.signed", f"{on_esp}/grub{arch}.efi"),
                "grub-efi-amd64-signed" if arch == "x64" else "grub-efi-arm64-signed",
            ),
            (
                f"EFI/BOOT/mm{arch}.efi",
                (f"/usr/lib/shim/mm{arch}.efi.signed", f"{on_esp}/mm{arch}.efi"),
                "shim-helpers-amd64-signed" if arch == "x64" else "shim-helpers-arm64-signed",
            ),
        )
        for path, sources, package in programs:
            files.esp.add(path, context.path(context.in_tree(*sources, packages=[package])))
        files.esp.add_text(f"EFI/{vendor}/grub.cfg", _early_configuration(context, holder))


class GrubBios(Grub):
    """GRUB for a BIOS, from the image's own modules; on GPT in a BIOS boot partition, on MBR before the first one."""

    boot_type = LEGACY

    def add_programs(self, context: BootContext, holder: Partition, files: BootFiles) -> None:
        path = os.path.join(context.scratch, "grub-core.img")
        self.make_image(context, holder, _BIOS_PLATFORM, path, _BIOS_MODULES)
        name, packages = _BIOS_PLATFORM
        places = [f"/usr/{lib}/grub/{name}/boot.img" for lib in ("lib", "lib64")]
        boot = context.in_tree(*places, packages=packages)
        with context.files.open(boot) as boot_stream, open(path, "rb") as core_stream:
            files.bios = BiosProgram(boot_stream.read(), core_stream.read())
        check_core(files.bios.core, context.layout)

    def serial_command(self, context: BootContext) -> str:
        ports = _SERIAL.findall(context.cmdline)
        if not ports:
            return ""
        unit, speed = ports[-1]
        return f"serial --unit={unit} --speed={speed or 9600}"


def _early_configuration(context: BootContext, holder: Partition) -> str:
    """Return what GRUB runs first: it finds the partition with C(grub.cfg)."""
    directory = _on_partition(holder, _directory(context))
    return (
        f"search --no-floppy --fs-uuid --set=root {_search_id(context, holder)}\n"
        f"set prefix=($root){directory}\n"
        f"configfile ($root){directory}/grub.cfg\n"
    )


def _grub_modules(partition: Partition) -> t.Tuple[str, ...]:
    return file_system(partition.fs_type).grub_modules if partition.fs_type else ()


def _search_id(context: BootContext, partition: Partition) -> str:
    return context.file_system_ids[partition.id]


def _on_partition(partition: Partition, path: str) -> str:
    """Return the path that a file of the tree has on its partition."""
    mount_point = (partition.mount_point or "/").rstrip("/")
    return path[len(mount_point) :]


__all__ = ("Grub", "GrubBios", "GrubEfi")
