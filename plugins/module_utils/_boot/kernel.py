# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The kernels of a root tree that can be booted."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._chroot.kernels import kernel_images
from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles

_INITRDS = ("initrd.img-{}", "initramfs-{}.img", "initrd-{}")


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A kernel with its initrd.

    :ivar version: As C(uname -r) shows it.
    :ivar image: Absolute path in the tree.
    :ivar initrd: Absolute path in the tree; empty when nobody has looked for it.
    """

    version: str
    image: str
    initrd: str


def find_kernels(tree: str) -> t.List[Kernel]:
    """Return the kernels in a root tree, the newest first.

    :param tree: The tree's path on the host.
    :raises BootError: There is none, or one has no initrd.
    """
    files = TreeFiles(tree)
    kernels = []
    for kernel in find_kernel_images(tree):
        initrds = [f"/boot/{form.format(kernel.version)}" for form in _INITRDS]
        initrd = next((path for path in initrds if files.is_file(path)), None)
        if initrd is None:
            raise BootError(
                f"The kernel {kernel.version} has no initrd: the root tree has none of {', '.join(initrds)}.",
                remedy="Install an initramfs generator (initramfs-tools or dracut-core) into the image.",
            )
        kernels.append(dataclasses.replace(kernel, initrd=initrd))
    return kernels


def find_kernel_images(tree: str) -> t.List[Kernel]:
    """Return the kernels in a root tree, the newest first, without looking for their initrds.

    :param tree: The tree's path on the host.
    :raises BootError: There is none.
    """
    images = kernel_images(tree)
    if not images:
        raise BootError(
            "The root tree has no kernel: neither /boot/vmlinuz-* nor /usr/lib/modules/*/vmlinuz exists.",
            remedy="Add a kernel to kernel.packages, for example linux-image-amd64 or kernel.",
        )
    return [Kernel(version, images[version], "") for version in reversed(images)]


def default_kernel_first(kernels: t.Sequence[Kernel], wanted: str) -> t.List[Kernel]:
    """Return the kernels with the one to be booted first, the others newest first.

    :param wanted: The template's C(kernel.version): a version or its beginning (C(6.1) stands for C(6.1.0-18-amd64));
        empty for the newest.
    :raises BootError: No kernel has that version.
    """
    if not wanted:
        return list(kernels)
    for kernel in kernels:
        rest = kernel.version[len(wanted) :]
        # C(6.1) must not stand for 6.12.
        if kernel.version.startswith(wanted) and not (rest[:1].isdigit() and wanted[-1].isdigit()):
            return [kernel, *(other for other in kernels if other is not kernel)]
    present = ", ".join(kernel.version for kernel in kernels)
    raise BootError(
        f"The template asks for the kernel version {wanted!r}, but the image has {present}.",
        remedy="Correct kernel.version or kernel.packages; without kernel.version the newest kernel is booted.",
    )


__all__ = ("Kernel", "default_kernel_first", "find_kernel_images", "find_kernels")
