# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The stage disk_compose: from the root tree to a raw disk image, an ISO, or an initrd."""

from __future__ import annotations

import dataclasses
import os
import shutil
import typing as t

# Importing a module makes its bootloader known.
# pylint: disable=unused-import
import ansible_collections.os_image.composer.plugins.module_utils._boot.grub  # noqa: F401
import ansible_collections.os_image.composer.plugins.module_utils._boot.systemd_boot  # noqa: F401

# pylint: enable=unused-import
from ansible_collections.os_image.composer.plugins.module_utils._artifact.sbom import (
    CHECKSUMS_OF_FILES,
    Bill,
    write_checksums,
)
from ansible_collections.os_image.composer.plugins.module_utils._boot.bootloader import bootloader
from ansible_collections.os_image.composer.plugins.module_utils._boot.cmdline import security_words
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import Facts
from ansible_collections.os_image.composer.plugins.module_utils._chroot.files import TreeFiles
from ansible_collections.os_image.composer.plugins.module_utils._chroot.tree import RootTree
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool, tool_version
from ansible_collections.os_image.composer.plugins.module_utils._compose.initrd import InitrdImage
from ansible_collections.os_image.composer.plugins.module_utils._compose.iso import IsoImage
from ansible_collections.os_image.composer.plugins.module_utils._compose.raw import (
    BootOptions,
    ComposedBoot,
    DiskComposer,
    DiskIdentity,
)
from ansible_collections.os_image.composer.plugins.module_utils._compose.tree_image import (
    TreeImage,
    Workplace,
    copy_attributes,
)
from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import (
    CONTENT,
    DiskLayout,
    Partition,
    disk_layout,
)
from ansible_collections.os_image.composer.plugins.module_utils._disk.selinux import FileContexts
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.kinds import file_system
from ansible_collections.os_image.composer.plugins.module_utils._io import write_file
from ansible_collections.os_image.composer.plugins.module_utils._size import show_size
from ansible_collections.os_image.composer.plugins.module_utils._stage import Decision, Outcome, Stage
from ansible_collections.os_image.composer.plugins.module_utils._template.document import TemplateDocument
from ansible_collections.os_image.composer.plugins.module_utils._version import COLLECTION_VERSION


class DiskCompose(Stage):
    """Composes the disk image."""

    name = "disk_compose"
    topic = "Disk"
    version = 3

    def inputs(self) -> Facts:
        document = TemplateDocument.read(self.build)
        chroot = self.build.require("chroot_configure")
        lock = self.build.read_document("packages.lock.json")
        image = tree_image(document)
        return {
            **(image.inputs() if image is not None else {}),
            "root tree": {layer["name"]: layer["digest"] for layer in chroot.result["layers"]},
            "disk": _without_artifacts(document.section("disk")),
            "bootloader": document.section("systemConfig", "bootloader"),
            "kernel": _without_name(document.section("systemConfig", "kernel")),
            "kernel words of systemConfig.security": list(_boot_options(document).security_words),
            "build digest": document.build_digest(lock),
            "source date": lock["source_date_epoch"],
            "host tools": self._tool_versions(document, image),
            # The bill of materials in the image names it.
            "collection": {"version": COLLECTION_VERSION},
        }

    def plan(self) -> Facts | None:
        document = TemplateDocument.read(self.build)
        image = tree_image(document)
        return image.facts() if image is not None else _facts(disk_layout(document.section("disk")))

    def execute(self, decision: Decision) -> Outcome:
        document = TemplateDocument.read(self.build)
        lock = self.build.read_document("packages.lock.json")
        tree = RootTree.from_stamp(self.build.require("chroot_configure"))
        bill = Bill.of(document, lock, tree.layers)
        outputs: t.Dict[str, str | None] = {self.build.join(*CHECKSUMS_OF_FILES): None} if bill.lists_files else {}

        def documents(root: str) -> t.Mapping[str, bytes]:
            return self._bills(bill, root)

        def compose_disk(disk: t.Mapping[str, t.Any], image: str) -> Facts:
            return self._compose_disk(document, lock, tree, disk, image, documents)

        other = tree_image(document)
        if other is not None:
            directory = self.build.join("disk")
            os.makedirs(directory, mode=0o700, exist_ok=True)
            runner = CommandRunner(log=self.progress)
            workers = self.options.workers
            outcome = other.make(
                Workplace(document, lock, tree, directory, workers, runner, self.progress, compose_disk, documents)
            )
            return dataclasses.replace(outcome, outputs={**outcome.outputs, **outputs})
        image, disk = self.build.join("disk", "image.raw"), document.section("disk")
        result = compose_disk(disk, image)
        self.progress.milestone("Disk", f"Composed {image}")
        return Outcome(result=result, outputs={image: None, **outputs}, facts=_facts(disk_layout(disk)))

    def _compose_disk(
        self,
        document: TemplateDocument,
        lock: Facts,
        tree: RootTree,
        disk: t.Mapping[str, t.Any],
        image: str,
        documents: t.Callable[[str], t.Mapping[str, bytes]],
    ) -> Facts:
        """Compose a raw disk at C(image); returns the stage's result."""
        layout = disk_layout(disk)
        identity = DiskIdentity.derive(layout, document.build_digest(lock))
        scratch, upper, work = (self.build.join("disk", name) for name in ("work", "upper", "overlay"))
        self._clear(scratch, upper, work)
        for path in (scratch, upper, work):
            os.makedirs(path, mode=0o700)
        # The root directory of the mounted tree is the uppermost one.
        copy_attributes(tree.layers[-1], upper)
        composer = DiskComposer(
            layout,
            identity,
            _boot_options(document),
            epoch=lock["source_date_epoch"],
            scratch=scratch,
            runner=CommandRunner(log=self.progress),
            progress=self.progress,
            documents=documents,
        )
        with tree.mounted() as root:
            contexts = FileContexts.of(TreeFiles(root))
        try:
            with tree.mounted(upper=upper, work=work, only_metadata=contexts is not None) as root:
                boot = composer.compose(root, image, contexts)
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
        return _result(image, layout, identity, boot)

    def _bills(self, bill: Bill, root: str) -> t.Mapping[str, bytes]:
        """Return the bills of materials that go into a tree."""
        self.progress.milestone(self.topic, "Writing the bill of materials")
        checksums = bill.checksums(root, workers=self.options.workers)
        if checksums is not None:
            write_file(self.build.join(*CHECKSUMS_OF_FILES), write_checksums(checksums))
        return bill.inside(checksums)

    @staticmethod
    def _clear(*directories: str) -> None:
        """Remove what this run, or a killed one, has left; nobody else works here, as the build directory is locked."""
        for directory in directories:
            shutil.rmtree(directory, ignore_errors=True)

    def _tool_versions(self, document: TemplateDocument, image: TreeImage | None) -> t.Dict[str, str]:
        """Versions of the programs of the build host that shape the image."""
        commands: t.Dict[str, t.Tuple[str, t.Sequence[str]]] = {}
        parts: t.List[t.Any] = []
        disk = document.section("disk") if image is None else image.disk
        if image is not None:
            image.check_host()
            parts.append(image)
        if disk is not None:
            commands["sfdisk"] = ("fdisk", ("--version",))
            parts += [file_system(entry["fsType"]) for entry in disk["partitions"] if entry.get("fsType")]
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


def tree_image(document: TemplateDocument) -> TreeImage | None:
    """Return the image that a template asks for; V(None) when that is a disk."""
    kind = document.section("target")["imageType"]
    classes: t.Sequence[t.Type[TreeImage]] = (IsoImage, InitrdImage)
    return next((cls(document) for cls in classes if cls.name == kind), None)


def _without_artifacts(disk: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    return {key: value for key, value in disk.items() if key not in ("artifacts", "name")}


def _without_name(kernel: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    return {key: value for key, value in kernel.items() if key != "name"}


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
        security_words=security_words(system.get("security") or {}, arch=document.provider["arch"]),
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
