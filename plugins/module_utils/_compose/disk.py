# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""A disk from a root tree: boot files and fstab into the tree, then each partition into the image.

With dm-verity the root hash is known when the root partition is written, and the boot files hold it: they are made once
before, as large as they will be, and once again behind it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import posixpath
import shlex
import shutil
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._boot.bios import write_bios_program
from ansible_collections.os_image.composer.plugins.module_utils._boot.bootloader import (
    BootContext,
    BootFiles,
    Bootloader,
)
from ansible_collections.os_image.composer.plugins.module_utils._boot.cmdline import (
    kernel_command_line,
    security_words,
    verity_words,
)
from ansible_collections.os_image.composer.plugins.module_utils._boot.kernel import default_kernel_first, find_kernels
from ansible_collections.os_image.composer.plugins.module_utils._boot.kinds import bootloader
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._compose.image_type import ComposedBoot
from ansible_collections.os_image.composer.plugins.module_utils._compose.mount_points import make_mount_points
from ansible_collections.os_image.composer.plugins.module_utils._compose.tree_writer import TreeWriter
from ansible_collections.os_image.composer.plugins.module_utils._compose.workplace import Documents
from ansible_collections.os_image.composer.plugins.module_utils._disk.content import measure
from ansible_collections.os_image.composer.plugins.module_utils._disk.fstab import FSTAB, Table, fstab, swap_file
from ansible_collections.os_image.composer.plugins.module_utils._disk.growth import growth_files
from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import DiskLayout, Partition
from ansible_collections.os_image.composer.plugins.module_utils._disk.selinux import FileContexts, set_labels
from ansible_collections.os_image.composer.plugins.module_utils._disk.space import require_space
from ansible_collections.os_image.composer.plugins.module_utils._disk.swap_file import swap_file_units
from ansible_collections.os_image.composer.plugins.module_utils._disk.table import table_script, write_table
from ansible_collections.os_image.composer.plugins.module_utils._disk.verity import (
    SIGNATURE_SIZE,
    UNKNOWN_HASH,
    hash_partition,
    hash_tree_size,
    make_hash_tree,
    partition_uuids,
    protected_layout,
    signature_partition,
)
from ansible_collections.os_image.composer.plugins.module_utils._errors import CommandError, DiskError
from ansible_collections.os_image.composer.plugins.module_utils._file_limits import require_file_size
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.kinds import file_system
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.usage import Usage
from ansible_collections.os_image.composer.plugins.module_utils._identity import derive_hex, derive_uuid
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.kinds import maker
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.volume import Source, Volume, too_small
from ansible_collections.os_image.composer.plugins.module_utils._namespace import bind, unmount
from ansible_collections.os_image.composer.plugins.module_utils._progress import Progress
from ansible_collections.os_image.composer.plugins.module_utils._size import MIB, align_up, parse_size, show_size
from ansible_collections.os_image.composer.plugins.module_utils._sparse import copy_into, copy_out
from ansible_collections.os_image.composer.plugins.module_utils._template.document import TemplateDocument
from ansible_collections.os_image.composer.plugins.module_utils._template.immutability import DEMANDED, Protection
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles


@dataclasses.dataclass(frozen=True)
class DiskIdentity:
    """All identifiers of a disk; they follow from the build digest.

    :ivar disk: The disk's own UUID; on an MBR disk its signature, eight hexadecimal digits.
    :ivar partitions: Partition id -> PARTUUID.
    :ivar file_systems: Partition id -> identifier of its file system.
    :ivar seeds: Partition id -> UUID for what else has to be fixed in its file system.
    :ivar hash_tree: The UUID of dm-verity's hashes.
    :ivar hash_salt: What their blocks are hashed with: 64 hexadecimal digits.
    """

    disk: str
    partitions: t.Mapping[str, str]
    file_systems: t.Mapping[str, str]
    seeds: t.Mapping[str, str]
    hash_tree: str
    hash_salt: str

    @classmethod
    def derive(cls, layout: DiskLayout, build_digest: str) -> DiskIdentity:
        """Derive all of them."""
        ids = [partition.id for partition in layout.partitions]
        formatted = [partition for partition in layout.partitions if partition.fs_type]
        if layout.table == "mbr":
            disk = derive_hex(build_digest, "disk", 8)
            # As the kernel and udev make it up, for want of a stored one.
            partitions = {partition.id: f"{disk}-{partition.number:02x}" for partition in layout.partitions}
        else:
            disk = derive_uuid(build_digest, "disk")
            partitions = {name: derive_uuid(build_digest, f"partition/{name}") for name in ids}
        return cls(
            disk=disk,
            partitions=partitions,
            file_systems={
                partition.id: file_system(partition.fs_type).identifier(build_digest, f"file system/{partition.id}")
                for partition in formatted
            },
            seeds={name: derive_uuid(build_digest, f"hash seed/{name}") for name in ids},
            hash_tree=derive_uuid(build_digest, "dm-verity"),
            hash_salt=derive_hex(build_digest, "dm-verity salt", 64),
        )

    def with_root_hash(self, root: str, hashes: str, root_hash: str) -> DiskIdentity:
        """Return the same with the PARTUUIDs by which a protected root file system is found.

        :param root: The id of the root partition.
        :param hashes: The id of the one with its hashes.
        """
        data, tree = partition_uuids(root_hash)
        return dataclasses.replace(self, partitions={**self.partitions, root: data, hashes: tree})


@dataclasses.dataclass(frozen=True)
class BootOptions:
    """The template's wishes about booting.

    :ivar security_words: Words of the kernel command line beside C(cmdline), which has the last word.
    :ivar use_signed: Whether the distribution's signed programs boot it.
    :ivar timeout: Seconds that the menu is shown; V(None) leaves it to the bootloader.
    :ivar default: The version of the kernel to boot, or its beginning; empty for C(kernel_version).
    :ivar family: Of the packages in the tree: V(deb) or V(rpm).
    :ivar is_signed: Whether the build signs what the firmware starts.
    :ivar own_files: Absolute paths of files that the template itself brings.
    :ivar protection: How dm-verity protects the root file system; V(None) when it does not.
    """

    boot_type: str
    provider: str
    arch: str
    cmdline: str
    kernel_version: str
    use_uki: bool
    security_words: t.Sequence[str]
    use_signed: bool
    timeout: int | None
    default: str
    family: str
    is_signed: bool
    own_files: t.Collection[str] = ()
    protection: Protection | None = None

    def bootloader(self) -> Bootloader:
        """Return the bootloader that they ask for."""
        return bootloader(
            self.boot_type,
            self.provider,
            use_uki=self.use_uki,
            use_signed=self.use_signed,
            is_signed=self.is_signed,
        )

    @classmethod
    def of(cls, document: TemplateDocument) -> BootOptions:
        """Read them from a template."""
        system, arch = document.system, document.provider.arch
        loader, kernel = system.bootloader, system.kernel
        return cls(
            boot_type=loader.boot_type,
            provider=loader.provider,
            arch=arch,
            cmdline=kernel.cmdline,
            kernel_version=kernel.version,
            use_uki=kernel.uki,
            security_words=security_words(system.security, arch=arch),
            use_signed=loader.signed,
            timeout=loader.timeout,
            default=loader.default,
            family=document.provider.family,
            is_signed=system.signing.secure_boot is not None,
            own_files=[file.final for file in system.additional_files],
            protection=Protection.of(system.immutability, document.disk),
        )


class DiskComposer:
    """Composes one image.

    :param layout: The disk.
    :param identity: Its identifiers.
    :param boot: The template's wishes about booting.
    :param epoch: SOURCE_DATE_EPOCH: all times in the image.
    :param scratch: An empty directory beside the image for temporary files; the caller removes it.
    :param documents: What is written into the tree when all else is in it.
    """

    def __init__(
        self,
        layout: DiskLayout,
        identity: DiskIdentity,
        boot: BootOptions,
        *,
        epoch: int,
        scratch: str,
        runner: CommandRunner,
        progress: Progress,
        documents: Documents | None = None,
    ) -> None:
        self.layout = layout
        self.identity = identity
        self.boot = boot
        self.epoch = epoch
        self.scratch = scratch
        self.runner = runner
        self.progress = progress
        self.documents = documents
        #: Path on the EFI system partition -> SHA-256 of each EFI program that the bootloader put there.
        self.efi_programs: t.Mapping[str, str] = {}
        #: Path -> bytes of the swap files that the running system makes.
        self.swap_files: t.Mapping[str, int] = {}
        #: The root hash of dm-verity; empty when nothing is protected, or as long as nobody knows it.
        self.root_hash = ""

    def compose(self, tree: str, image: str, contexts: FileContexts | None = None) -> ComposedBoot:
        """Write the image.

        :param tree: The mounted root tree, with an upper layer that takes what belongs to this disk alone.
        :param image: Path of the image; it gets this name only when it is whole.
        :param contexts: The labels of the tree's SELinux policy, if it has one.
        :raises DiskError: The content does not fit.
        :raises BootError: The image could not boot.
        """
        self._check_file_systems()
        self._mark_protected()
        boot, files = self._prepare_tree(tree)
        if contexts is not None:
            self.progress.milestone("Disk", "Labelling the files for SELinux")
            self._make_own_directories(tree)
            set_labels(tree, contexts)
        usages = self._measure(tree, files.esp.files)
        if self.layout.needs_content:
            self.layout = self.layout.with_content(self._content_sizes(usages))
            self._mark_protected()
        sources = self._sources(tree, files.esp.files, usages)
        require_file_size(os.path.dirname(image), self.layout.size, what="The image", option="work_dir")
        self._check_space(os.path.dirname(image), sources)
        temporary = os.path.join(self.scratch, "image")
        with open(temporary, "xb") as stream:
            stream.truncate(self.layout.size)
        if self.boot.protection is None:
            self._write_table(temporary)
        self._write_file_systems(tree, temporary, sources)
        if self.boot.protection is not None:
            boot, files = self._protect(tree, temporary, sources)
            self._write_table(temporary)
        self.efi_programs = files.esp.programs()
        if files.bios is not None:
            write_bios_program(temporary, files.bios, self.layout)
        os.rename(temporary, image)
        return boot

    def _write_table(self, image: str) -> None:
        self.progress.milestone("Disk", f"Partitioning the disk ({show_size(self.layout.size)})")
        script = table_script(self.layout, disk_id=self.identity.disk, partition_uuids=self.identity.partitions)
        write_table(image, script, self.runner)

    def _mark_protected(self) -> None:
        protection = self.boot.protection
        if protection is not None:
            is_signed = protection.signature is not None
            self.layout = protected_layout(self.layout, self.boot.arch, is_signed=is_signed)

    def _write_file_systems(self, tree: str, image: str, sources: t.Mapping[str, Source]) -> None:
        with contextlib.ExitStack() as stack:
            # From the inside out, so that what belongs to a partition is out of sight for those around it; but first
            # the ESP, which also gets files of the others.
            for partition in sorted(self.layout.partitions, key=_order, reverse=True):
                # The ESP of a protected system has to wait for the root hash.
                if not (partition.is_esp and self.boot.protection is not None):
                    self._write(partition, image, sources.get(partition.id))
                if partition.mount_point not in (None, "/"):
                    self._cover(tree, partition, stack)

    def _protect(self, tree: str, image: str, sources: t.Mapping[str, Source]) -> t.Tuple[ComposedBoot, BootFiles]:
        """Write the hashes of the root partition, and the ESP with the root hash; returns how that boots."""
        root, hashes, esp = self.layout.root, hash_partition(self.layout), self.layout.esp
        if root is None or hashes is None or esp is None:
            raise DiskError("A protected disk has a root partition, one for its hashes, and an EFI system partition.")
        self.progress.milestone("Disk", f"Writing partition {hashes.number}: {hashes.id} (hashes of {root.id})")
        data, tree_of_hashes = os.path.join(self.scratch, "verity.data"), os.path.join(self.scratch, "verity.hashes")
        copy_out(image, root.offset, root.size, data)
        self.root_hash = make_hash_tree(
            data,
            tree_of_hashes,
            salt=self.identity.hash_salt,
            identifier=self.identity.hash_tree,
            runner=self.runner,
        )
        needed = os.stat(tree_of_hashes).st_size
        if needed > hashes.size:
            raise DiskError(
                f"The partition {hashes.id!r} has {show_size(hashes.size)}, but the hashes of {root.id!r} need "
                f"{show_size(needed)}.",
                remedy="Use size: content.",
            )
        copy_into(tree_of_hashes, image, hashes.offset)
        for path in (data, tree_of_hashes):
            os.unlink(path)
        self.identity = self.identity.with_root_hash(root.id, hashes.id, self.root_hash)
        scratch = os.path.join(self.scratch, "protected")
        os.mkdir(scratch)
        boot, files = self._stage_boot(tree, scratch)
        self._write(esp, image, dataclasses.replace(sources[esp.id], files=files.esp.files))
        return boot, files

    def _check_file_systems(self) -> None:
        for partition in self.layout.partitions:
            if not partition.fs_type:
                continue
            fs = file_system(partition.fs_type)
            for key, problem in (
                ("fsLabel", fs.check_label(partition.fs_label) if partition.fs_label else None),
                ("mkfsOptions", fs.check_options(partition.mkfs_options)),
            ):
                if problem:
                    raise DiskError(
                        f"The partition {partition.id!r} cannot be made. {problem}", remedy=f"Change its {key}."
                    )

    def _prepare_tree(self, tree: str) -> t.Tuple[ComposedBoot, BootFiles]:
        """Write fstab and the bootloader's files into the tree; returns what goes elsewhere, too."""
        self.progress.milestone("Boot", f"Installing the bootloader {self.boot.provider}")
        boot, files = self._stage_boot(tree, self.scratch)
        writer = TreeWriter(tree, self.epoch)
        for partition in self.layout.partitions:
            if partition.mount_point:
                writer.make_directory(partition.mount_point)
        mounts = self.layout.section.mounts or ()
        table = fstab(
            self.layout,
            self.identity.partitions,
            self.boot.protection,
            mounts=mounts,
            text=TreeFiles(tree).read(FSTAB),
        )
        if table.present:
            count = len(table.present)
            self.progress.milestone("Disk", f"Keeping {count} line{'s' * (count > 1)} that {FSTAB} has already")
        writer.write(FSTAB, table.text.encode("utf-8", errors="surrogateescape"))
        make_mount_points(tree, table, writer)
        self.swap_files = self._swap_files(tree, table, writer)
        units = swap_file_units(tree, self.layout, self.swap_files)
        for path, data in {**files.tree, **growth_files(tree, self.layout), **units}.items():
            writer.write(path, data)
        for path, file in files.updates.items():
            if path not in self.boot.own_files:
                writer.write(path, file.text.encode("utf-8"), mode=file.mode)
        if self.documents is not None:
            for path, data in self.documents(tree).items():
                writer.write(path, data)
        writer.finish()
        return boot, files

    def _swap_files(self, tree: str, table: Table, writer: TreeWriter) -> t.Dict[str, int]:
        """Return how large the swap files are that the running system makes: those that the tree has are taken out."""
        sizes = {str(mount.source): parse_size(mount.size) for mount in self.layout.section.mounts or () if mount.size}
        for entry in table.present:
            path = swap_file(entry)
            status = TreeFiles(tree).status(path, follow_last=False) if path and path not in sizes else None
            if path is None or status is None:
                continue
            self._check_swap_file(path, entry.line)
            sizes[path] = status.st_size
        for path in sizes:
            if TreeFiles(tree).exists(path, follow_last=False):
                writer.remove(path)
        return sizes

    def _check_swap_file(self, path: str, line: str) -> None:
        holder = self.layout.holding(path)
        fs = file_system(holder.fs_type) if holder is not None and holder.fs_type else None
        is_protected = self.boot.protection is not None and holder is self.layout.root
        if holder is None or fs is None:
            return
        if fs.is_read_only or is_protected or holder.is_read_only or not fs.keeps_owners:
            raise DiskError(
                f"{FSTAB} of the image names a swap file on the partition {holder.id!r}, which has no place for one: "
                f"it is never written to, or keeps no owners.\n  {line}",
                remedy=f"Use another partition, or take the line out of {FSTAB}.",
            )

    def _stage_boot(self, tree: str, scratch: str) -> t.Tuple[ComposedBoot, BootFiles]:
        """Make the bootloader's files.

        :param scratch: A directory for those of them that are no files of the tree.
        """
        root = self.layout.root
        if root is None:
            raise DiskError(
                "No partition is mounted at /.",
                remedy="Give one of disk.partitions the mountPoint /, with fsType ext4.",
            )
        wanted = self.boot.default or self.boot.kernel_version
        kernels = default_kernel_first(find_kernels(tree), wanted)
        further = [*self._root_words(root), *self.boot.security_words]
        root_uuid = None if self.boot.protection is not None else self.identity.partitions[root.id]
        cmdline = kernel_command_line(root_uuid, self.boot.cmdline, further)
        loader = self.boot.bootloader()
        files = loader.stage(
            BootContext(
                tree=tree,
                arch=self.boot.arch,
                layout=self.layout,
                file_system_ids=self.identity.file_systems,
                kernels=kernels,
                cmdline=cmdline,
                use_uki=self.boot.use_uki,
                runner=self.runner,
                scratch=scratch,
                use_signed=self.boot.use_signed,
                timeout=self.boot.timeout,
                family=self.boot.family,
                wanted=wanted,
                is_signed=self.boot.is_signed,
                is_immutable=self.boot.protection is not None or file_system(root.fs_type).is_read_only,
            )
        )
        return ComposedBoot(loader.name, files.entries, kernels[0].version, cmdline), files

    def _make_own_directories(self, tree: str) -> None:
        """Make what would be in the image without having been in the tree, and so without a label."""
        writer = TreeWriter(tree, self.epoch)
        for partition in self.layout.partitions:
            if partition.mount_point and partition.fs_type:
                for name in file_system(partition.fs_type).own_directories:
                    writer.make_directory(posixpath.join(partition.mount_point, name), mode=0o700)
        writer.finish()

    def _root_words(self, root: Partition) -> t.Sequence[str]:
        """Return what the kernel must be told about the root file system."""
        fs = file_system(root.fs_type)
        if self.boot.protection is not None:
            signature = signature_partition(self.layout) if self.boot.protection.signature == DEMANDED else None
            words = verity_words(
                self.root_hash or UNKNOWN_HASH, self.identity.partitions[signature.id] if signature else ""
            )
            return [*words, f"rootfstype={fs.fstab_type}"]
        if not fs.is_read_only:
            return ()
        words = [f"rootfstype={fs.fstab_type}", "ro"]
        # Without a /var that can be written to hardly any service starts.
        return words if self.layout.mounted_at("/var") else [*words, "systemd.volatile=state"]

    def _measure(self, tree: str, esp_files: t.Mapping[str, str]) -> t.Dict[str, Usage]:
        """Find out what goes onto each partition."""
        without_holes = [
            partition.id
            for partition in self.layout.partitions
            if partition.fs_type and not file_system(partition.fs_type).keeps_holes
        ]
        usages = measure(tree, self.layout, without_holes=without_holes)
        for partition in self.layout.partitions:
            usage = usages.setdefault(partition.id, Usage())
            if partition is self.layout.esp:
                for path, host_path in esp_files.items():
                    usage.add_file(os.stat(host_path).st_size, "/" + posixpath.dirname(path))
        for path, size in self.swap_files.items():
            holder = self.layout.holding(path)
            if holder is not None and not holder.grows:
                usages[holder.id].add_file(size, path)
        return usages

    def _content_sizes(self, usages: t.Mapping[str, Usage]) -> t.Dict[str, int]:
        sizes = {
            partition.id: file_system(partition.fs_type).content_size(usages[partition.id])
            for partition in self.layout.partitions
            if partition.fits_content and partition.fs_type
        }
        root, hashes = self.layout.root, hash_partition(self.layout)
        if root is not None and hashes is not None and hashes.fits_content and not hashes.fs_type:
            # A root that takes the rest of the disk becomes smaller by this, but never larger.
            sizes[hashes.id] = hash_tree_size(align_up(sizes.get(root.id, root.size), MIB))
        signature = signature_partition(self.layout)
        if signature is not None and signature.fits_content and not signature.fs_type:
            sizes[signature.id] = SIGNATURE_SIZE
        return sizes

    def _sources(self, tree: str, esp_files: t.Mapping[str, str], usages: t.Mapping[str, Usage]) -> t.Dict[str, Source]:
        """Return what goes onto each partition, having checked that it fits."""
        sources: t.Dict[str, Source] = {}
        for partition in self.layout.partitions:
            if not partition.fs_type:
                continue
            usage = usages[partition.id]
            directory = None
            if partition.mount_point:
                directory = TreeFiles(tree).host_path(partition.mount_point)
            source = Source(directory, esp_files if partition is self.layout.esp else {}, usage)
            required = file_system(partition.fs_type).required_size(partition.size, usage)
            if required > partition.size:
                raise too_small(self._volume(partition, ""), required, usage)
            sources[partition.id] = source
        return sources

    def _check_space(self, directory: str, sources: t.Mapping[str, Source]) -> None:
        # Beside the image itself: journals, tables, and one file system at a time as a file of its own.
        staged = [
            sources[partition.id].usage.size
            for partition in self.layout.partitions
            if partition.id in sources and file_system(partition.fs_type).is_staged
        ]
        needed = sum(source.usage.size for source in sources.values()) + max(staged, default=0) + 256 * MIB
        needed -= sum(self.swap_files.values())
        require_space(directory, needed, what="The image")

    def _volume(self, partition: Partition, image: str) -> Volume:
        return Volume(
            name=partition.id,
            image=image,
            offset=partition.offset,
            size=partition.size,
            label=partition.fs_label,
            identifier=self.identity.file_systems.get(partition.id, ""),
            seed=self.identity.seeds[partition.id],
            epoch=self.epoch,
            scratch=self.scratch,
            options=partition.mkfs_options,
            mount_options=tuple(partition.mount_options.split(",")),
        )

    def _write(self, partition: Partition, image: str, source: Source | None) -> None:
        if source is None:
            return
        what = f"{partition.id} ({partition.fs_type}, {show_size(partition.size)})"
        self.progress.milestone("Disk", f"Writing partition {partition.number}: {what}")
        try:
            maker(partition.fs_type).write(self._volume(partition, image), source, self.runner)
        except CommandError as exc:
            if not partition.mkfs_options:
                raise
            raise DiskError(
                str(exc),
                remedy=f"The partition has the mkfsOptions {shlex.join(partition.mkfs_options)}: change them, or leave "
                "them out.",
                details=exc.details,
            ) from exc

    def _cover(self, tree: str, partition: Partition, stack: contextlib.ExitStack) -> None:
        """Show an empty directory in place of what lies on a partition, with the same owner, mode and time."""
        path = TreeFiles(tree).host_path(str(partition.mount_point))
        cover = os.path.join(self.scratch, "covers", partition.id)
        os.makedirs(cover)
        shutil.copystat(path, cover)
        status = os.stat(path)
        os.chown(cover, status.st_uid, status.st_gid)
        os.utime(cover, ns=(status.st_atime_ns, status.st_mtime_ns))
        bind(cover, path)
        stack.callback(unmount, path)


def _order(partition: Partition) -> t.Tuple[bool, int, str]:
    mount_point = partition.mount_point or ""
    return (partition.is_esp, len(mount_point.rstrip("/").split("/")), mount_point)


__all__ = ("BootOptions", "DiskComposer", "DiskIdentity")
