# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The stage disk_compose: from the root tree to a raw disk image."""

from __future__ import annotations

import os
import shutil
import stat
import typing as t

# Importing a module makes its bootloader or file systems known.
# pylint: disable=unused-import
import ansible_collections.os_image.composer.plugins.module_utils._boot.grub
import ansible_collections.os_image.composer.plugins.module_utils._boot.systemd_boot
import ansible_collections.os_image.composer.plugins.module_utils._disk.ext
import ansible_collections.os_image.composer.plugins.module_utils._disk.mounted
import ansible_collections.os_image.composer.plugins.module_utils._disk.packed
import ansible_collections.os_image.composer.plugins.module_utils._disk.vfat  # noqa: F401

# pylint: enable=unused-import
from ansible_collections.os_image.composer.plugins.module_utils._boot.bootloader import bootloader
from ansible_collections.os_image.composer.plugins.module_utils._chroot.tree import RootTree
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool, tool_version
from ansible_collections.os_image.composer.plugins.module_utils._disk.compose import (
    BootOptions,
    ComposedBoot,
    DiskComposer,
    DiskIdentity,
)
from ansible_collections.os_image.composer.plugins.module_utils._disk.filesystem import file_system
from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import (
    CONTENT,
    DiskLayout,
    Partition,
    disk_layout,
)
from ansible_collections.os_image.composer.plugins.module_utils._disk.size import show_size
from ansible_collections.os_image.composer.plugins.module_utils._stage import (
    BuildDirectory,
    Facts,
    Outcome,
    Stage,
    StageOptions,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.document import TemplateDocument


class DiskCompose(Stage):
    """Composes the disk image."""

    name = "disk_compose"
    topic = "Disk"
    version = 2

    def __init__(self, build: BuildDirectory, options: StageOptions) -> None:
        super().__init__(build, options)
        self._tools: t.Dict[str, str] | None = None

    def inputs(self) -> Facts:
        document = TemplateDocument.read(self.build)
        chroot = self.build.require("chroot_configure")
        lock = self.build.read_document("packages.lock.json")
        layout = disk_layout(document.section("disk"))
        return {
            "root tree": {layer["name"]: layer["digest"] for layer in chroot.result["layers"]},
            "disk": _without_artifacts(document.section("disk")),
            "bootloader": document.section("systemConfig", "bootloader"),
            "kernel": document.section("systemConfig", "kernel"),
            "build digest": document.build_digest(lock),
            "source date": lock["source_date_epoch"],
            "host tools": self._tool_versions(layout, document),
        }

    def plan(self) -> Facts | None:
        document = TemplateDocument.read(self.build)
        return _facts(disk_layout(document.section("disk")))

    def execute(self) -> Outcome:
        document = TemplateDocument.read(self.build)
        lock = self.build.read_document("packages.lock.json")
        tree = RootTree.from_stamp(self.build.require("chroot_configure"))
        layout = disk_layout(document.section("disk"))
        identity = DiskIdentity.derive(layout, document.build_digest(lock))
        image = self.build.join("disk", "image.raw")
        scratch, upper, work = (self.build.join("disk", name) for name in ("work", "upper", "overlay"))
        self._clear(scratch, upper, work)
        for path in (scratch, upper, work):
            os.makedirs(path, mode=0o700)
        # The root directory of the mounted tree is the uppermost one.
        _copy_attributes(tree.layers[-1], upper)
        composer = DiskComposer(
            layout,
            identity,
            _boot_options(document),
            epoch=lock["source_date_epoch"],
            scratch=scratch,
            runner=CommandRunner(log=self.progress),
            progress=self.progress,
        )
        try:
            with tree.mounted(upper=upper, work=work) as root:
                boot = composer.compose(root, image)
        finally:
            self._clear(scratch, upper, work)
        layout = composer.layout
        varying = _varying(layout)
        if varying:
            self.progress.milestone(
                "Disk",
                f"The image is not the same bit by bit on every run: {', '.join(varying)}",
                level="warn",
            )
        self.progress.milestone("Disk", f"Composed {image}")
        return Outcome(result=_result(image, layout, identity, boot), outputs={image: None}, facts=_facts(layout))

    @staticmethod
    def _clear(*directories: str) -> None:
        """Remove what this run, or a killed one, has left; nobody else works here, as the build directory is locked."""
        for directory in directories:
            shutil.rmtree(directory, ignore_errors=True)

    def _tool_versions(self, layout: DiskLayout, document: TemplateDocument) -> t.Dict[str, str]:
        """Versions of the programs of the build host that shape the image."""
        commands: t.Dict[str, t.Tuple[str, t.Sequence[str]]] = {"sfdisk": ("fdisk", ("--version",))}
        parts: t.List[t.Any] = [file_system(part.fs_type) for part in layout.partitions if part.fs_type]
        options = _boot_options(document)
        parts.append(bootloader(options.boot_type, options.provider))
        for part in parts:
            for tool, package in part.tools.items():
                find_tool(tool, package=package)
            for tool, arguments in part.version_commands.items():
                commands[tool] = (part.tools[tool], arguments)
        return {
            tool: tool_version([find_tool(tool, package=package), *arguments])
            for tool, (package, arguments) in sorted(commands.items())
        }


def _copy_attributes(source: str, destination: str) -> None:
    status = os.stat(source)
    os.chown(destination, status.st_uid, status.st_gid)
    os.chmod(destination, stat.S_IMODE(status.st_mode))
    os.utime(destination, ns=(status.st_atime_ns, status.st_mtime_ns))


def _without_artifacts(disk: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    return {key: value for key, value in disk.items() if key not in ("artifacts", "name")}


def _boot_options(document: TemplateDocument) -> BootOptions:
    system = document.section("systemConfig")
    loader = system.get("bootloader") or {}
    kernel = system.get("kernel") or {}
    finals = {str(entry.get("final")) for entry in system.get("additionalFiles") or []}
    return BootOptions(
        boot_type=loader.get("bootType") or "efi",
        provider=loader.get("provider") or "systemd-boot",
        arch=document.provider["arch"],
        cmdline=kernel.get("cmdline") or "",
        kernel_version=kernel.get("version") or "",
        use_uki=bool(kernel.get("uki")),
        keep_fstab="/etc/fstab" in finals,
        use_signed=bool(loader.get("signed")),
        timeout=loader.get("timeout"),
        default=loader.get("default") or "",
    )


def _varying(layout: DiskLayout) -> t.List[str]:
    """Return the partitions whose bytes differ from run to run: id and file system."""
    return [
        f"{partition.id} ({partition.fs_type})"
        for partition in layout.partitions
        if partition.fs_type and not file_system(partition.fs_type).is_reproducible
    ]


def _result(image: str, layout: DiskLayout, identity: DiskIdentity, boot: ComposedBoot) -> Facts:
    return {
        "image": image,
        "table": layout.table,
        "reproducible": not _varying(layout),
        "partitions": [
            {
                "id": partition.id,
                "number": partition.number,
                "start": partition.offset,
                "size": partition.size,
                "type": partition.type_guid if partition.mbr_type is None else f"0x{partition.mbr_type:02x}",
                "uuid": identity.partitions[partition.id],
                "fs_type": file_system(partition.fs_type).fstab_type if partition.fs_type else "",
                "label": partition.fs_label,
                "fs_uuid": identity.file_systems.get(partition.id, ""),
                "mount_point": partition.mount_point or "",
            }
            for partition in layout.partitions
        ],
        "boot": {
            "loader": boot.loader,
            "entries": list(boot.entries),
            "kernel_version": boot.kernel_version,
            "cmdline": boot.cmdline,
        },
    }


def _facts(layout: DiskLayout) -> Facts:
    return {
        "disk": _size(layout.size, layout.section.get("size") == CONTENT),
        "partitions": {
            partition.id: _describe(partition, unplaced=layout.needs_content) for partition in layout.partitions
        },
    }


def _describe(partition: Partition, *, unplaced: bool) -> str:
    fs = partition.fs_type or "no file system"
    where = f", {partition.mount_point}" if partition.mount_point else ""
    size = _size(partition.size, partition.fits_content)
    # Behind a partition that fits its content the place is not known before there is any.
    return f"{partition.number}: {size}{'' if unplaced else f' at {show_size(partition.offset)}'}, {fs}{where}"


def _size(size: int, fits_content: bool) -> str:
    return "as large as its content" if fits_content else show_size(size)


__all__ = ("DiskCompose",)
