# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The image type C(iso): a live system on a medium, which as an installer also holds the image as a disk."""

from __future__ import annotations

import dataclasses
import os
import shlex
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._artifact.compression import BEST_RATIO, compress_file
from ansible_collections.os_image.composer.plugins.module_utils._boot.cmdline import kernel_command_line, security_words
from ansible_collections.os_image.composer.plugins.module_utils._boot.esp import fallback_path
from ansible_collections.os_image.composer.plugins.module_utils._boot.kernel import default_kernel_first, find_kernels
from ansible_collections.os_image.composer.plugins.module_utils._bootloader import GRUB
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import Facts
from ansible_collections.os_image.composer.plugins.module_utils._chroot.live_system import LiveSystem, live_system
from ansible_collections.os_image.composer.plugins.module_utils._compose.image_type import (
    ComposedBoot,
    ComposedImage,
    ImageType,
    Part,
)
from ansible_collections.os_image.composer.plugins.module_utils._compose.mount_points import make_mount_points
from ansible_collections.os_image.composer.plugins.module_utils._compose.raw import RawImage
from ansible_collections.os_image.composer.plugins.module_utils._compose.tree_writer import TreeWriter
from ansible_collections.os_image.composer.plugins.module_utils._compose.workplace import Workplace
from ansible_collections.os_image.composer.plugins.module_utils._compression import COMPRESSIONS
from ansible_collections.os_image.composer.plugins.module_utils._disk.content import measure_tree
from ansible_collections.os_image.composer.plugins.module_utils._disk.fstab import FSTAB, Table, fstab_without_disk
from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import ALIGNMENT, MBR_PRIMARY
from ansible_collections.os_image.composer.plugins.module_utils._disk.selinux import FileContexts, set_labels
from ansible_collections.os_image.composer.plugins.module_utils._disk.space import require_space
from ansible_collections.os_image.composer.plugins.module_utils._host_tools.grub import require_grub
from ansible_collections.os_image.composer.plugins.module_utils._identity import derive_hex
from ansible_collections.os_image.composer.plugins.module_utils._image_type import IMAGE_TYPES
from ansible_collections.os_image.composer.plugins.module_utils._io import digest_of
from ansible_collections.os_image.composer.plugins.module_utils._iso import install_program
from ansible_collections.os_image.composer.plugins.module_utils._iso.medium import IsoMedium
from ansible_collections.os_image.composer.plugins.module_utils._iso.menu import (
    MenuEntry,
    make_grub,
    menu,
)
from ansible_collections.os_image.composer.plugins.module_utils._iso.options import IsoOptions
from ansible_collections.os_image.composer.plugins.module_utils._iso.target_disk import TargetDisk, target_disk
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.squashfs import make_squashfs
from ansible_collections.os_image.composer.plugins.module_utils._partition_type import ESP
from ansible_collections.os_image.composer.plugins.module_utils._size import SECTOR, show_size
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles

_KERNEL = "boot/vmlinuz"
_INITRD = "boot/initrd.img"

# live-boot writes what it mounts itself.
_FSTAB = "# The root file system comes from the medium.\n"

# Seconds: an installer overwrites a disk, so that there is time to choose something else.
_LIVE_TIMEOUT = 3
_INSTALL_TIMEOUT = 10


@dataclasses.dataclass(frozen=True)
class Payload:
    """The disk that an installer writes, as it lies on the medium.

    :ivar name: Its path on the medium.
    :ivar size: Bytes of the disk image, unpacked.
    :ivar sha256: Of the file on the medium.
    :ivar target: How it is laid out.
    :ivar partitions: Its partitions, as results have them.
    """

    name: str
    size: int
    sha256: str
    target: TargetDisk
    partitions: t.Sequence[Facts]

    @property
    def least(self) -> int:
        """How many bytes the machine's disk must have."""
        return max(self.size, self.target.least)

    @property
    def grown(self) -> Facts | None:
        """The partition that takes the rest of the machine's disk."""
        return next((item for item in self.partitions if item["number"] == self.target.grows), None)

    @property
    def extended_start(self) -> int | None:
        """The first byte of the extended partition in which that one lies; V(None) when it does not."""
        if self.target.extended is None:
            return None
        logical = [item["start"] for item in self.partitions if item["number"] > MBR_PRIMARY]
        return int(min(logical)) - ALIGNMENT * SECTOR


class IsoImage(ImageType):
    """An ISO, live or installer."""

    name = "iso"
    tools: t.ClassVar[t.Tuple[str, ...]] = ("xorriso", "mksquashfs", *IMAGE_TYPES["iso"].boot_tools)
    shaping_tools: t.ClassVar[t.Tuple[str, ...]] = ("xorriso", "mksquashfs", "grub-mkimage", "mkfs.vfat", "mcopy")

    @property
    def options(self) -> IsoOptions:
        """What the template asks for."""
        document = self.document
        return IsoOptions.of(document.image, document.iso, document.disk, document.system.initramfs)

    @property
    def arch(self) -> str:
        """The architecture, as C(uname -m) shows it."""
        return self.document.provider.arch

    def parts(self) -> t.Sequence[Part]:
        return [self, *(RawImage(self.document).parts() if self.options.is_installer else ())]

    def tool_versions(self) -> t.Dict[str, str]:
        # It has no version to be asked for.
        require_grub(self.arch)
        return super().tool_versions()

    def inputs(self) -> Facts:
        facts: Facts = {"iso": dataclasses.asdict(self.options)}
        if self.options.is_installer:
            facts["installing program"] = digest_of(sorted(install_program.FILES.items()))
        return facts

    def facts(self) -> Facts:
        options = self.options
        facts: Facts = {"iso": options.type, "volume_id": options.volume_id}
        if options.is_installer:
            facts["partitions"] = [partition.id for partition in self.document.disk.partitions]
        return facts

    def compose(self, workplace: Workplace) -> ComposedImage:
        image = os.path.join(workplace.directory, "image.iso")
        self._check_space(workplace)
        with workplace.scratch("iso") as scratch:
            medium = IsoMedium(_subdirectory(scratch, "medium"), epoch=workplace.epoch)
            payload = self._payload(workplace, medium, scratch) if self.options.is_installer else None
            with workplace.tree.mounted() as root:
                contexts = FileContexts.of(TreeFiles(root))
            with workplace.writable_tree(only_metadata=contexts is not None) as root:
                boot, facts = self._write(workplace, root, medium, scratch, payload, contexts)
            os.rename(os.path.join(scratch, "image"), image)
        workplace.progress.milestone("ISO", f"Composed {image} ({show_size(os.path.getsize(image))})")
        return ComposedImage({"image": image}, boot, payload.partitions if payload else (), {"iso": facts})

    def _check_space(self, workplace: Workplace) -> None:
        """Check that there can be room for everything. How far it shrinks shows later, when the ISO is written."""
        with workplace.tree.mounted() as root:
            content = measure_tree(root).size
        packed = content // BEST_RATIO
        # The disk that is installed lies beside its packed form; without one, the root file system beside the ISO.
        needed = packed + (content if self.options.is_installer else packed)
        require_space(workplace.directory, needed, what="The ISO with what it is made of")

    def _write(
        self,
        workplace: Workplace,
        root: str,
        medium: IsoMedium,
        scratch: str,
        payload: Payload | None,
        contexts: FileContexts | None,
    ) -> t.Tuple[ComposedBoot, Facts]:
        """Write the ISO; returns how it boots, and what results tell of it."""
        options = self.options
        live = live_system(root)
        kernel = default_kernel_first(find_kernels(root), self.document.system.kernel.version)[0]
        for source, name in ((kernel.image, _KERNEL), (kernel.initrd, _INITRD)):
            TreeFiles(root).copy_out(source, medium.path(name))
        writer = TreeWriter(root, workplace.epoch)
        self._write_fstab(workplace, root, writer, is_installer=payload is not None)
        if payload is not None:
            for path, text in install_program.FILES.items():
                writer.write(path, text.encode("utf-8"))
        for path, data in workplace.documents(root).items():
            writer.write(path, data)
        writer.finish()
        if contexts is not None:
            workplace.progress.milestone("ISO", "Labelling the files for SELinux")
            set_labels(root, contexts)
        workplace.progress.milestone("ISO", "Writing the root file system of the live system")
        squashfs = medium.path(live.squashfs)
        os.makedirs(os.path.dirname(squashfs), exist_ok=True)
        processors = max(1, min(workplace.workers, len(os.sched_getaffinity(0))))
        make_squashfs(
            root,
            squashfs,
            ["-processors", str(processors)],
            epoch=workplace.epoch,
            runner=workplace.runner,
            what="Writing the root file system of the live system",
        )
        entries = self._entries(live, payload, contexts)
        mark = f".disk/{derive_hex(workplace.build_digest, 'iso/mark', 32)}"
        medium.add_text(mark, "")
        medium.add_text(".disk/info", f"{options.title}\n")
        timeout = _LIVE_TIMEOUT if payload is None else _INSTALL_TIMEOUT
        medium.add_text(
            "boot/grub/grub.cfg", menu(entries, kernel=f"/{_KERNEL}", initrd=f"/{_INITRD}", timeout=timeout)
        )
        workplace.progress.milestone("ISO", f"Writing the ISO {options.volume_id} ({options.type})")
        grub = make_grub(self.arch, f"/{mark}", root, _subdirectory(scratch, "grub"), workplace.runner)
        medium.write(
            os.path.join(scratch, "image"),
            grub,
            volume_id=options.volume_id,
            build_digest=workplace.build_digest,
            scratch=_subdirectory(scratch, "esp"),
            runner=workplace.runner,
        )
        facts: Facts = {"type": options.type, "volume_id": options.volume_id, "live_system": live.generator}
        if payload is not None:
            facts["installs"] = {
                "path": payload.name,
                "size": payload.size,
                "sha256": payload.sha256,
                "least_disk_size": payload.least,
            }
        return ComposedBoot(GRUB, [entry.title for entry in entries], kernel.version, entries[0].cmdline), facts

    def _write_fstab(self, workplace: Workplace, root: str, writer: TreeWriter, *, is_installer: bool) -> None:
        """Say what the live system mounts."""
        if is_installer:
            # What the installed system mounts may not be there yet, and then its own installation would not start.
            if Table((), TreeFiles(root).read(FSTAB)).present or self.document.disk.mounts:
                workplace.progress.milestone("ISO", f"{FSTAB} is for the installed system; the live one mounts nothing")
            writer.write(FSTAB, _FSTAB.encode("ascii"))
            return
        table = fstab_without_disk(
            self.document.disk.mounts or (),
            TreeFiles(root).read(FSTAB),
            header=_FSTAB,
            root="comes from the medium",
            swap_problem="a live system has no disk for one",
        )
        writer.write(FSTAB, table.text.encode("utf-8", errors="surrogateescape"))
        make_mount_points(root, table, writer)

    def _entries(
        self, live: t.Type[LiveSystem], payload: Payload | None, contexts: FileContexts | None
    ) -> t.List[MenuEntry]:
        options = self.options
        system = self.document.system
        words = security_words(system.security, arch=self.arch)
        if contexts is not None and contexts.is_enforced:
            # The root directory of a live system is one in memory, whose label no policy lets services look into. The
            # system that is installed enforces the policy nevertheless.
            words.append("enforcing=0")
        given = f"{live.cmdline(options.volume_id)} {system.kernel.cmdline}"
        base = kernel_command_line(None, given, words)
        if payload is None:
            return [MenuEntry(options.title, base)]
        where = options.disk_path or "the disk of this machine"
        install = f"{base} {install_program.TARGET_WORD} image.install"
        auto = MenuEntry(f"Install {options.title} - overwrites {where}", f"{install}=auto")
        ask = MenuEntry(f"Install {options.title} - asks where", f"{install}=ask")
        start = MenuEntry(f"Start {options.title} without installing it", base)
        return [auto, ask, start] if options.unattended else [ask, auto, start]

    def _payload(self, workplace: Workplace, medium: IsoMedium, scratch: str) -> Payload:
        """Make the disk that is installed, pack it, and say what the installing program has to know."""
        with workplace.tree.mounted() as root:
            target = target_disk(self.document.disk, root)
            # A live system has gzip; zstd is much faster where it is installed.
            compression = "zstd" if TreeFiles(root).exists("/usr/bin/zstd") else "gz"
        raw = os.path.join(scratch, "disk.raw")
        composed = RawImage(self.document, target.disk).write(workplace, raw)
        image = self.document.image
        name = f"install/{image.name}-{image.version}.raw.{COMPRESSIONS[compression].extension}"
        workplace.progress.milestone("ISO", f"Packing the disk that is installed ({show_size(os.path.getsize(raw))})")
        packed = compress_file(raw, medium.path(name), compression, workers=workplace.workers)
        payload = Payload(name, os.path.getsize(raw), packed.sha256, target, composed.partitions)
        os.unlink(raw)
        medium.add_text(install_program.SETTINGS, self._settings(payload))
        return payload

    def _settings(self, payload: Payload) -> str:
        """Return what the installing program has to know, quoted for the shell."""
        options = self.options
        partitions, grown, extended = payload.partitions, payload.grown, payload.extended_start
        esp = next((entry["number"] for entry in partitions if entry["type"] == ESP), "")
        values = {
            "TITLE": options.title,
            "VOLUME_ID": options.volume_id,
            "IMAGE": payload.name,
            "SIZE": payload.size,
            "SHA256": payload.sha256,
            "LEAST": payload.least,
            "TABLE": payload.target.disk.partition_table_type,
            "GROWS": payload.target.grows or "",
            "GROWS_FROM": grown["start"] // SECTOR if grown else "",
            "EXTENDED": payload.target.extended or "",
            "EXTENDED_FROM": extended // SECTOR if extended else "",
            "ESP": esp,
            "LOADER": "\\" + fallback_path(self.arch).replace("/", "\\"),
            "DISK": options.disk_path,
            "AFTER": options.after_install,
        }
        lines = [f"{name}={shlex.quote(str(value))}" for name, value in values.items()]
        return "\n".join(["# Made when the image was built; read by the installing program.", *lines]) + "\n"


def _subdirectory(parent: str, name: str) -> str:
    path = os.path.join(parent, name)
    os.mkdir(path, mode=0o700)
    return path


__all__ = ("IsoImage", "Payload")
