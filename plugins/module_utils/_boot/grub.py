# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""GRUB for UEFI: an image of its own with everything in it that it needs to read the kernel."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._boot.bootloader import (
    BootContext,
    BootFiles,
    Bootloader,
    fallback_path,
    os_release,
    register,
    require_esp,
)
from ansible_collections.os_image.composer.plugins.module_utils._boot.esp import EspStaging
from ansible_collections.os_image.composer.plugins.module_utils._command import find_tool
from ansible_collections.os_image.composer.plugins.module_utils._disk.filesystem import file_system
from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import Partition
from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError

# GRUB's names of platforms, with those of the packages that have its modules: Debian's, Fedora's, Azure Linux's.
_PLATFORMS: t.Mapping[str, t.Tuple[str, t.Sequence[str]]] = {
    "x86_64": ("x86_64-efi", ("grub-efi-amd64-bin", "grub2-efi-x64-modules", "grub2-efi")),
    "aarch64": ("arm64-efi", ("grub-efi-arm64-bin", "grub2-efi-aa64-modules", "grub2-efi")),
}
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
    "search",
    "search_fs_uuid",
    "sleep",
    "test",
    "true",
)

# The tools that write grub.cfg in the running system, and what each takes for GRUB's directory.
_DIRECTORIES: t.Sequence[t.Tuple[str, str]] = (
    ("/usr/sbin/update-grub", "/boot/grub"),
    ("/usr/sbin/grub-mkconfig", "/boot/grub"),
    ("/usr/sbin/grub2-mkconfig", "/boot/grub2"),
    ("/usr/bin/grub2-mkconfig", "/boot/grub2"),
    ("/boot/grub2", "/boot/grub2"),
)


@register("efi", "grub", "grub2")
class GrubEfi(Bootloader):
    """GRUB from the image's own modules; kernels and C(grub.cfg) stay in C(/boot)."""

    name = "grub"
    tools: t.ClassVar[t.Mapping[str, str]] = {"grub-mkimage": "grub-common"}
    version_commands: t.ClassVar[t.Mapping[str, t.Sequence[str]]] = {"grub-mkimage": ("--version",)}

    def stage(self, context: BootContext) -> BootFiles:
        require_esp(context, self.name)
        if context.use_uki:
            raise BootError(
                "GRUB does not start unified kernel images.",
                remedy="Set kernel.uki to false, or bootloader.provider to systemd-boot.",
            )
        directory = _directory(context)
        holder = self._holder(context, f"{directory}/grub.cfg")
        files = BootFiles(EspStaging(f"{context.scratch}/esp"))
        image = files.esp.new_file(fallback_path(context.arch))
        self._make_image(context, holder, directory, image)
        files.esp.add(fallback_path(context.arch), image)
        files.tree[f"{directory}/grub.cfg"] = self._configuration(context, files).encode("utf-8")
        return files

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

    def _make_image(self, context: BootContext, holder: Partition, directory: str, image: str) -> None:
        platform, packages = _PLATFORMS[context.arch]
        modules = context.in_tree(f"/usr/lib/grub/{platform}", f"/usr/lib64/grub/{platform}", packages=packages)
        early = os.path.join(context.scratch, "grub-early.cfg")
        directory = _on_partition(holder, directory)
        with open(early, "w", encoding="ascii") as stream:
            stream.write(f"search --no-floppy --fs-uuid --set=root {_search_id(context, holder)}\n")
            stream.write(f"set prefix=($root){directory}\n")
            stream.write(f"configfile ($root){directory}/grub.cfg\n")
        readers = {module for part in context.layout.partitions for module in _grub_modules(part)}
        wanted = sorted({*_MODULES, *readers, *file_system(holder.fs_type).grub_modules})
        # A module that one version has and the next has not is not worth an error.
        wanted = [module for module in wanted if os.path.exists(f"{modules}/{module}.mod")]
        command = [find_tool("grub-mkimage", package="grub-common"), "-d", modules, "-O", platform, "-o", image]
        context.runner.run([*command, "-p", directory, "-c", early, *wanted], what="Making the GRUB image")

    def _configuration(self, context: BootContext, files: BootFiles) -> str:
        title = os_release(context.tree).get("PRETTY_NAME") or "Linux"
        lines = [
            "# Made when the image was built. update-grub or grub2-mkconfig replaces it in the running system.",
            "set default=0",
            "set timeout_style=hidden",
            "set timeout=1",
            "",
        ]
        for kernel in context.kernels:
            holder = self._holder(context, kernel.image)
            name = f"{title}, {kernel.version}"
            files.entries.append(name)
            lines += [
                f"menuentry {_quote(name)} {{",
                f"\tsearch --no-floppy --fs-uuid --set=root {_search_id(context, holder)}",
                f"\tlinux {_on_partition(holder, kernel.image)} {_escape(context.cmdline)}",
                f"\tinitrd {_on_partition(holder, kernel.initrd)}",
                "}",
            ]
        return "\n".join(lines) + "\n"


def _directory(context: BootContext) -> str:
    """Return where the image's own tools expect GRUB's files."""
    for path, directory in _DIRECTORIES:
        if os.path.exists(context.path(path)):
            return directory
    return "/boot/grub"


def _grub_modules(partition: Partition) -> t.Tuple[str, ...]:
    return file_system(partition.fs_type).grub_modules if partition.fs_type else ()


def _search_id(context: BootContext, partition: Partition) -> str:
    return context.file_system_ids[partition.id]


def _on_partition(partition: Partition, path: str) -> str:
    """Return the path that a file of the tree has on its partition."""
    mount_point = (partition.mount_point or "/").rstrip("/")
    return path[len(mount_point) :]


def _quote(text: str) -> str:
    return "'" + text.replace("'", "") + "'"


def _escape(cmdline: str) -> str:
    """Keep GRUB's script language from reading anything into a command line."""
    parts = cmdline.split('"')
    # Every second part stands between double quotes, where fewer characters mean something.
    for index, part in enumerate(parts):
        parts[index] = re.sub(r"([\\$])" if index % 2 else r"([\\$';&|<>{}#])", r"\\\1", part)
    return '"'.join(parts)


__all__ = ("GrubEfi",)
