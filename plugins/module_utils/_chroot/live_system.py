# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Live systems: one class for each program in an initramfs that finds the root file system on the medium.

A live system's root is a squashfs on the medium, under a writable layer in memory. To add another program: a subclass
of :class:`LiveSystem`, and its name in :data:`LIVE_SYSTEMS`.
"""

from __future__ import annotations

import abc
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.squashfs import Squashfs
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.vfat import Fat16
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles

#: What the initramfs of a live system has to have beside the drivers of disks: the medium's, and those of its file
#: systems. Modules that a kernel has built in are skipped.
LIVE_MODULES: t.Tuple[str, ...] = (
    "isofs",
    *Squashfs.kernel_modules,
    "cdrom",
    "sr_mod",
    *Fat16.kernel_modules,
    "ohci_pci",
)


class LiveSystem(abc.ABC):
    """A program of the initramfs that makes the root of a live system."""

    #: The generator that it belongs to.
    generator: t.ClassVar[str]
    #: Where the tree has it: one of these, relative to the tree.
    marks: t.ClassVar[t.Tuple[str, ...]]
    #: The module that the generator has to be told; empty when it knows by itself.
    generator_module: t.ClassVar[str] = ""
    #: Where the root file system lies on the medium.
    squashfs: t.ClassVar[str]
    #: Where the running system shows the medium.
    medium: t.ClassVar[str]

    @classmethod
    def is_installed(cls, tree: str) -> bool:
        """Whether a root tree has it."""
        return any(TreeFiles(tree).exists(mark) for mark in cls.marks)

    @classmethod
    @abc.abstractmethod
    def cmdline(cls, volume_id: str) -> str:
        """Return what the kernel command line has to say."""


class LiveBoot(LiveSystem):
    """Debian's live-boot; see live-boot(7)."""

    generator = "initramfs-tools"
    marks = ("/usr/share/initramfs-tools/scripts/live",)
    squashfs = "live/filesystem.squashfs"
    medium = "/run/live/medium"

    @classmethod
    def cmdline(cls, volume_id: str) -> str:
        return "boot=live"


class DmsquashLive(LiveSystem):
    """dracut's dmsquash-live; see dracut.cmdline(7)."""

    generator = "dracut"
    marks = ("/usr/lib/dracut/modules.d/90dmsquash-live", "/usr/lib/dracut/modules.d/70dmsquash-live")
    generator_module = "dmsquash-live"
    squashfs = "LiveOS/squashfs.img"
    medium = "/run/initramfs/live"

    @classmethod
    def cmdline(cls, volume_id: str) -> str:
        # overlayfs instead of a device-mapper snapshot, which would be full at 512 MiB.
        return f"root=live:CDLABEL={volume_id} rd.live.image rd.live.overlay.overlayfs=1"


LIVE_SYSTEMS: t.Tuple[t.Type[LiveSystem], ...] = (LiveBoot, DmsquashLive)


def live_system(tree: str, generator: str = "auto") -> t.Type[LiveSystem]:
    """Return what a root tree has to make a live system.

    :param tree: The mounted root tree.
    :param generator: The generator that makes the initramfs; C(auto) for whichever has what is needed.
    :raises BootError: It has nothing.
    """
    for candidate in LIVE_SYSTEMS:
        if generator in ("auto", candidate.generator) and candidate.is_installed(tree):
            return candidate
    raise BootError(
        "The image has nothing that mounts the root file system of an ISO from its medium.",
        remedy="Add live-boot and live-boot-initramfs-tools to systemConfig.packages, or dracut-live for dracut.",
    )


__all__ = ("LIVE_MODULES", "LIVE_SYSTEMS", "DmsquashLive", "LiveBoot", "LiveSystem", "live_system")
