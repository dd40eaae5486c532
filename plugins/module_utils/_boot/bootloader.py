# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The protocol of bootloaders; one class for each, found in :mod:`kinds` by the template's bootloader section.

What is known of a bootloader without an image stands in :mod:`_bootloader`.
"""

from __future__ import annotations

import abc
import dataclasses
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._boot.esp import EspStaging
from ansible_collections.os_image.composer.plugins.module_utils._boot.kernel import Kernel
from ansible_collections.os_image.composer.plugins.module_utils._boot.kernel_updates import (
    UpdateFile,
    UpdateFiles,
    immutable_files,
)
from ansible_collections.os_image.composer.plugins.module_utils._bootloader import (
    BOOT_TYPES,
    BOOTLOADERS,
    EFI,
    LEGACY,
    BootloaderTraits,
    bootloaders_that,
)
from ansible_collections.os_image.composer.plugins.module_utils._chroot.kernels import version_key
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import DiskLayout
from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.kinds import file_system
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles

# Capital letters are against the rule, but do no harm.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_OS_RELEASE = re.compile(r"""^([A-Z_]+)=(["']?)(.*)\2$""")


@dataclasses.dataclass(frozen=True)
class BootContext:
    """What a bootloader has to know.

    :ivar tree: Path of the mounted root tree on the host; it must not be written to.
    :ivar arch: The image's architecture, as C(uname -m) shows it.
    :ivar layout: The disk.
    :ivar file_system_ids: Partition id -> identifier of its file system.
    :ivar kernels: The one to boot first.
    :ivar cmdline: The kernel command line.
    :ivar use_uki: Whether unified kernel images are wanted.
    :ivar use_signed: Whether the distribution's signed programs are wanted.
    :ivar timeout: Seconds that the menu is shown; V(None) leaves it to the bootloader.
    :ivar family: Of the packages in the tree: V(deb) or V(rpm).
    :ivar wanted: The version of the kernel to boot first, or its beginning, when the template names one.
    :ivar is_signed: Whether what the firmware starts is signed with keys that machines do not have.
    :ivar is_immutable: Whether the root file system is never written to, so that no kernel can be installed.
    :ivar runner: Runs programs.
    :ivar scratch: A directory for temporary files.
    """

    tree: str
    arch: str
    layout: DiskLayout
    file_system_ids: t.Mapping[str, str]
    kernels: t.Sequence[Kernel]
    cmdline: str
    use_uki: bool
    use_signed: bool
    timeout: int | None
    family: str
    wanted: str
    is_signed: bool
    is_immutable: bool
    runner: CommandRunner
    scratch: str

    @property
    def files(self) -> TreeFiles:
        """The files of the tree."""
        return TreeFiles(self.tree)

    @property
    def pinned(self) -> str:
        """The version of the kernel that stays the default when newer ones are installed; empty when none does.

        The beginning of a version stands for the newest of that series, as long as no other series is newer.
        """
        first = self.kernels[0].version
        newest = max(self.kernels, key=lambda kernel: version_key(kernel.version)).version
        return first if self.wanted == first or first != newest else ""

    def path(self, path: str) -> str:
        """Return the host's path of a regular file of the tree, without symbolic links."""
        return self.files.host_path(path)

    def in_tree(self, *paths: str, packages: t.Sequence[str]) -> str:
        """Return the path, of the tree, of a file or directory that the image must have.

        :param paths: Where it may lie; the first place counts that has it.
        :param packages: What the package that has it is called, for the error message.
        :raises BootError: It is missing.
        """
        for path in paths:
            if self.files.exists(path):
                return path
        raise BootError(
            f"The root tree has no {' and no '.join(paths)}, which the bootloader needs.",
            remedy="Add the package that has it to systemConfig.packages; distributions call it "
            f"{' or '.join(packages)}.",
        )

    def on_esp(self, path: str) -> str | None:
        """Return the path that a file of the tree has on the EFI system partition; V(None) when it is not there."""
        holder = self.layout.holding(path)
        if holder is None or not holder.is_esp or holder.mount_point is None:
            return None
        return path[len(holder.mount_point.rstrip("/")) + 1 :]


@dataclasses.dataclass(frozen=True)
class BiosProgram:
    """What a BIOS loads from outside of the partitions; see :mod:`bios`.

    :ivar boot: The boot sector, 512 bytes.
    :ivar core: What the boot sector loads.
    """

    boot: bytes
    core: bytes


@dataclasses.dataclass
class BootFiles:
    """What a bootloader makes.

    :ivar esp: The files for the EFI system partition.
    :ivar tree: Absolute path in the tree -> content, for files that belong on other partitions.
    :ivar entries: The entries of its menu, the default one first.
    :ivar bios: V(None) when no BIOS boots the image.
    :ivar updates: Absolute path in the tree -> file, for what brings later kernels to the bootloader. What the template
        has at such a path stays.
    """

    esp: EspStaging
    tree: t.Dict[str, bytes] = dataclasses.field(default_factory=dict)
    entries: t.List[str] = dataclasses.field(default_factory=list)
    bios: BiosProgram | None = None
    updates: t.Dict[str, UpdateFile] = dataclasses.field(default_factory=dict)


class Bootloader(abc.ABC):
    """A bootloader that can be laid onto an image without running it."""

    #: The template's provider.
    name: t.ClassVar[str]
    #: The template's bootType.
    boot_type: t.ClassVar[str]
    #: Host tools that are needed.
    tools: t.ClassVar[t.Tuple[str, ...]] = ()
    #: Those of them whose versions shape the image.
    shaping_tools: t.ClassVar[t.Tuple[str, ...]] = ()

    @property
    def traits(self) -> BootloaderTraits:
        """What is known of it without an image."""
        return BOOTLOADERS[self.name]

    def stage(self, context: BootContext) -> BootFiles:
        """Make everything that the image needs to boot.

        :raises BootError: Something that it needs is missing, or cannot be had in this combination.
        """
        self._check(context)
        files = BootFiles(EspStaging(f"{context.scratch}/esp"))
        self.add_files(context, files)
        files.updates = immutable_files(context.family) if context.is_immutable else self.update_files(context)
        return files

    @abc.abstractmethod
    def add_files(self, context: BootContext, files: BootFiles) -> None:
        """Add everything that the image needs to boot. What was asked for is something that the bootloader can do.

        :raises BootError: Something that it needs is missing.
        """

    @abc.abstractmethod
    def update_files(self, context: BootContext) -> UpdateFiles:
        """Return what the image needs so that kernels which are installed later get to the bootloader."""

    def _check(self, context: BootContext) -> None:
        """Check that the bootloader can do what is asked for."""
        traits, boot_type = self.traits, BOOT_TYPES[self.boot_type]
        if context.arch not in boot_type.architectures:
            raise BootError(
                f"A machine of the architecture {context.arch} has no {BOOT_TYPES[LEGACY].firmware}.",
                remedy=f"Set bootloader.bootType to {EFI}, and add an EFI system partition.",
            )
        if context.use_uki and not traits.starts_uki:
            raise BootError(
                f"{traits.title} does not start unified kernel images.",
                remedy="Set kernel.uki to false, or bootloader.provider to "
                f"{bootloaders_that(lambda other: other.starts_uki)}.",
            )
        if boot_type.needs_esp:
            _require_esp(context, traits.title)
        if context.use_signed and self.boot_type not in traits.signed_for:
            if not boot_type.checks_signatures:
                raise BootError(
                    f"A {boot_type.firmware} checks no signatures.",
                    remedy=f"Set bootloader.signed to false, or bootloader.bootType to {EFI}.",
                )
            raise BootError(
                f"The distributions do not sign {traits.title}.",
                remedy="Set bootloader.signed to false, or bootloader.provider to "
                f"{bootloaders_that(lambda other: self.boot_type in other.signed_for)}.",
            )


def os_release_text(tree: str) -> str:
    """Return the content of a tree's os-release file; empty when there is none."""
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        data = TreeFiles(tree).read_bytes(path)
        if data is not None:
            return data.decode("utf-8", errors="replace")
    return ""


def os_release(tree: str) -> t.Dict[str, str]:
    """Return the fields of a tree's os-release file; see os-release(5).

    :raises BootError: The name of the distribution, which becomes a part of file names, cannot be one.
    """
    matches = [_OS_RELEASE.match(line.strip()) for line in os_release_text(tree).splitlines()]
    fields = {match.group(1): match.group(3) for match in matches if match}
    if fields.get("ID") and not _ID.fullmatch(fields["ID"]):
        raise BootError(
            f"The os-release file of the image has the ID {fields['ID']!r}, which cannot be one.",
            remedy="Correct it: letters, digits, '.', '_' and '-'.",
        )
    return fields


def _require_esp(context: BootContext, title: str) -> None:
    """Check that the disk has an EFI system partition with a file system that firmware reads.

    :raises BootError: It has none.
    """
    esp = context.layout.esp
    if esp is None:
        raise BootError(
            f"The bootloader {title} needs an EFI system partition, but disk.partitions has none.",
            remedy="Add a partition with type: esp and fsType: fat32, for example from 1MiB to 513MiB.",
        )
    if not (esp.fs_type and file_system(esp.fs_type).is_read_by_firmware):
        raise BootError(
            f"The EFI system partition {esp.id!r} has the fsType {esp.fs_type!r}, which firmware cannot read.",
            remedy="Set its fsType to fat32.",
        )


__all__ = (
    "BiosProgram",
    "BootContext",
    "BootFiles",
    "Bootloader",
    "os_release",
    "os_release_text",
)
