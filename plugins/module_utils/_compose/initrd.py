# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The image type C(initrd): the whole system in an archive that the kernel unpacks into memory, and the kernel."""

from __future__ import annotations

import os
import re
import subprocess
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._artifact.compression import BEST_RATIO
from ansible_collections.os_image.composer.plugins.module_utils._boot.cmdline import kernel_command_line
from ansible_collections.os_image.composer.plugins.module_utils._boot.kernel import (
    Kernel,
    default_kernel_first,
    find_kernel_images,
)
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import Facts
from ansible_collections.os_image.composer.plugins.module_utils._command import find_tool, killed_on_error
from ansible_collections.os_image.composer.plugins.module_utils._compose.cpio import CpioWriter
from ansible_collections.os_image.composer.plugins.module_utils._compose.image_type import (
    ComposedBoot,
    ComposedImage,
    ImageType,
)
from ansible_collections.os_image.composer.plugins.module_utils._compose.mount_points import make_mount_points
from ansible_collections.os_image.composer.plugins.module_utils._compose.tree_writer import TreeWriter
from ansible_collections.os_image.composer.plugins.module_utils._compose.workplace import Workplace
from ansible_collections.os_image.composer.plugins.module_utils._disk.content import measure_tree
from ansible_collections.os_image.composer.plugins.module_utils._disk.fstab import FSTAB, fstab_without_disk
from ansible_collections.os_image.composer.plugins.module_utils._disk.selinux import FileContexts
from ansible_collections.os_image.composer.plugins.module_utils._disk.space import require_space
from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError, CommandError
from ansible_collections.os_image.composer.plugins.module_utils._size import show_size
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles

# The kernel itself lies beside the initrd, and an initrd of its own would only take up memory.
_NOT_NEEDED = re.compile(r"boot/(vmlinuz|initrd|initramfs|System\.map)[^/]*|(vmlinuz|initrd\.img)(\.old)?")

_FSTAB = "# The root file system is in memory.\n"

# How many files a warning names.
_NAMED = 10


class InitrdImage(ImageType):
    """A system that runs from memory."""

    name = "initrd"
    tools: t.ClassVar[t.Tuple[str, ...]] = ("zstd",)
    shaping_tools: t.ClassVar[t.Tuple[str, ...]] = ("zstd",)

    def inputs(self) -> Facts:
        return {"initrd": "newc, zstd"}

    def facts(self) -> Facts:
        return {"initrd": "newc, zstd"}

    def compose(self, workplace: Workplace) -> ComposedImage:
        image, kernel_image = (os.path.join(workplace.directory, name) for name in ("initrd.img", "vmlinuz"))
        with workplace.scratch("initrd") as scratch, workplace.writable_tree() as root:
            kernel = self._kernel(root)
            if not TreeFiles(root).exists("/sbin/init"):
                raise BootError(
                    "The root tree has no /sbin/init, which the kernel starts.",
                    remedy="Add the package 'systemd-sysv' to systemConfig.packages.",
                )
            contexts = FileContexts.of(TreeFiles(root))
            # Whatever it is booted with: its command line is no part of an initrd.
            if contexts is not None and contexts.is_enforced:
                raise BootError(
                    "/etc/selinux/config of the image enforces an SELinux policy, but an initrd is an archive that "
                    "holds no labels: the policy would let nothing start.",
                    remedy="Set systemConfig.security.selinux to disabled, or use imageType: raw or iso.",
                )
            require_space(workplace.directory, measure_tree(root).size // BEST_RATIO, what="The initrd")
            writer = TreeWriter(root, workplace.epoch)
            table = fstab_without_disk(
                self.document.disk.mounts or (),
                TreeFiles(root).read(FSTAB),
                header=_FSTAB,
                root="is in memory",
                swap_problem="an initrd has no disk for one",
            )
            writer.write(FSTAB, table.text.encode("utf-8", errors="surrogateescape"))
            make_mount_points(root, table, writer)
            for path, data in workplace.documents(root).items():
                writer.write(path, data)
            writer.finish()
            workplace.progress.milestone("Initrd", "Writing the root tree into an archive")
            archive = os.path.join(scratch, "initrd")
            lost = _pack(root, archive, workplace)
            TreeFiles(root).copy_out(kernel.image, os.path.join(scratch, "vmlinuz"))
            os.rename(os.path.join(scratch, "vmlinuz"), kernel_image)
            os.rename(archive, image)
        if lost:
            workplace.progress.milestone("Initrd", _warning(lost), level="warn")
        workplace.progress.milestone("Initrd", f"Composed {image} ({show_size(os.path.getsize(image))})")
        cmdline = kernel_command_line(None, self.document.system.kernel.cmdline)
        boot = ComposedBoot("", (), kernel.version, cmdline)
        return ComposedImage({"image": image, "kernel": kernel_image}, boot, more={"lost_permissions": lost})

    def _kernel(self, root: str) -> Kernel:
        return default_kernel_first(find_kernel_images(root), self.document.system.kernel.version)[0]


def _warning(lost: t.Mapping[str, t.Sequence[str]]) -> str:
    names = [f"{path} ({', '.join(kinds)})" for path, kinds in sorted(lost.items())]
    more = f" and {len(names) - _NAMED} others" if len(names) > _NAMED else ""
    return (
        f"An initrd holds no extended attributes, so these lose what they have: {', '.join(names[:_NAMED])}{more}. "
        "Give it back in the running system (setcap, setfacl), or use imageType raw or iso"
    )


def _pack(root: str, path: str, workplace: Workplace) -> t.Dict[str, t.List[str]]:
    """Write the archive through zstd: one frame, as the kernel reads no second one in the middle of an archive.

    :returns: What it cannot hold, see :attr:`CpioWriter.lost`.
    """
    command = [find_tool("zstd"), "-q", "-3", "-T0", "-c"]
    with open(path, "xb") as target:
        process = workplace.runner.start(command, stdin=subprocess.PIPE, stdout=target, stderr=subprocess.PIPE)
        if process.stdin is None or process.stderr is None:
            raise AssertionError("both are pipes")
        writer = CpioWriter(t.cast(t.BinaryIO, process.stdin), epoch=workplace.epoch)
        with killed_on_error(process):
            try:
                # The kernel starts this program of an initrd, and nothing else.
                writer.add_tree(root, without=lambda name: bool(_NOT_NEEDED.fullmatch(name)) or name == "init")
                writer.add_link("init", "sbin/init")
                writer.finish()
                process.stdin.close()
            except BrokenPipeError:
                # zstd says why.
                pass
            said = process.stderr.read().decode("utf-8", errors="replace").strip()
        if process.wait() != 0:
            raise CommandError(f"Packing the initrd failed: zstd ended with status {process.returncode}: {said}.")
    return writer.lost


__all__ = ("InitrdImage",)
