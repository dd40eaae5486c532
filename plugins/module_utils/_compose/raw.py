# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The image type C(raw): a disk with a partition table, file systems and a bootloader."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._build_directory import Facts
from ansible_collections.os_image.composer.plugins.module_utils._compose.disk import (
    BootOptions,
    DiskComposer,
    DiskIdentity,
)
from ansible_collections.os_image.composer.plugins.module_utils._compose.image_type import (
    ComposedImage,
    ImageType,
    Part,
)
from ansible_collections.os_image.composer.plugins.module_utils._compose.workplace import Workplace
from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import (
    CONTENT,
    DiskLayout,
    Partition,
    disk_layout,
)
from ansible_collections.os_image.composer.plugins.module_utils._disk.selinux import FileContexts
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.kinds import file_system
from ansible_collections.os_image.composer.plugins.module_utils._size import show_size
from ansible_collections.os_image.composer.plugins.module_utils._template.document import TemplateDocument
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Disk
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles


class HashTree:
    """The hashes of a protected root file system, as something that a program of the build host makes."""

    tools: t.ClassVar[t.Tuple[str, ...]] = ("veritysetup",)
    shaping_tools: t.ClassVar[t.Tuple[str, ...]] = ("veritysetup",)


class RawImage(ImageType):
    """A disk.

    :param disk: How it is laid out, where that is not the template's own C(disk) section.
    """

    name = "raw"
    tools: t.ClassVar[t.Tuple[str, ...]] = ("sfdisk",)
    shaping_tools: t.ClassVar[t.Tuple[str, ...]] = ("sfdisk",)

    def __init__(self, document: TemplateDocument, disk: Disk | None = None) -> None:
        super().__init__(document)
        self.disk = document.disk if disk is None else disk

    def parts(self) -> t.Sequence[Part]:
        boot = BootOptions.of(self.document)
        formats = [entry.fs_type for entry in self.disk.partitions if entry.fs_type]
        parts: t.List[Part] = [self, *(file_system(name) for name in formats)]
        if boot.protection is not None:
            parts.append(HashTree())
        return [*parts, boot.bootloader()]

    def facts(self) -> Facts:
        layout = disk_layout(self.disk)
        return {
            "disk": _size(layout.size, layout.section.size == CONTENT),
            "partitions": {
                partition.id: _describe(partition, unplaced=layout.needs_content) for partition in layout.partitions
            },
        }

    def compose(self, workplace: Workplace) -> ComposedImage:
        image = os.path.join(workplace.directory, "image.raw")
        composed = self.write(workplace, image)
        workplace.progress.milestone("Disk", f"Composed {image}")
        return composed

    def write(self, workplace: Workplace, image: str) -> ComposedImage:
        """Make the disk under a name of its own."""
        layout = disk_layout(self.disk)
        identity = DiskIdentity.derive(layout, workplace.build_digest)
        with workplace.scratch("work") as scratch:
            composer = DiskComposer(
                layout,
                identity,
                BootOptions.of(self.document),
                epoch=workplace.epoch,
                scratch=scratch,
                runner=workplace.runner,
                progress=workplace.progress,
                documents=workplace.documents,
            )
            with workplace.tree.mounted() as root:
                contexts = FileContexts.of(TreeFiles(root))
            with workplace.writable_tree(only_metadata=contexts is not None) as root:
                boot = composer.compose(root, image, contexts)
        # With the sizes of partitions that fit their content, and the identifiers that follow from it.
        layout, identity = composer.layout, composer.identity
        varying = _varying(layout)
        if varying:
            workplace.progress.milestone(
                "Disk",
                f"The image is not the same bit by bit on every run: {', '.join(varying)}",
                level="warn",
            )
        return ComposedImage(
            files={"image": image},
            boot=boot,
            partitions=[_partition_facts(partition, identity) for partition in layout.partitions],
            more={
                "table": layout.table,
                "reproducible": not varying,
                "efi_programs": [{"path": f"/{path}", "sha256": it} for path, it in composer.efi_programs.items()],
                **({"root_hash": composer.root_hash} if composer.root_hash else {}),
            },
        )


def _varying(layout: DiskLayout) -> t.List[str]:
    """Return the partitions whose bytes differ from run to run: id and file system."""
    return [
        f"{partition.id} ({partition.fs_type})"
        for partition in layout.partitions
        if partition.fs_type and not file_system(partition.fs_type).is_reproducible
    ]


def _partition_facts(partition: Partition, identity: DiskIdentity) -> Facts:
    return {
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


def _describe(partition: Partition, *, unplaced: bool) -> str:
    fs = partition.fs_type or "no file system"
    where = f", {partition.mount_point}" if partition.mount_point else ""
    size = _size(partition.size, partition.fits_content)
    # Behind a partition that fits its content the place is not known before there is any.
    return f"{partition.number}: {size}{'' if unplaced else f' at {show_size(partition.offset)}'}, {fs}{where}"


def _size(size: int, fits_content: bool) -> str:
    return "as large as its content" if fits_content else show_size(size)


__all__ = ("RawImage",)
