# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The root tree of an image: layers that overlayfs shows as one."""

from __future__ import annotations

import contextlib
import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._build_directory import Stamp
from ansible_collections.os_image.composer.plugins.module_utils._errors import DocumentError
from ansible_collections.os_image.composer.plugins.module_utils._filelock import file_lock
from ansible_collections.os_image.composer.plugins.module_utils._namespace import (
    MS_RDONLY,
    bind,
    mount,
    mount_point,
    overlay_path,
    unmount,
)

#: In the directory of each layer: who uses the layer holds a shared lock on this file, who removes it an exclusive one.
LAYER_LOCK = "lock"

_LOCK_TIMEOUT = 60


class RootTree:
    """A root tree as a stack of directories.

    :param layers: Absolute paths of the layers' trees, the lowest first. They are never written to.
    """

    def __init__(self, layers: t.Sequence[str]) -> None:
        if not layers:
            raise ValueError("A root tree has at least one layer.")
        self.layers = tuple(os.path.abspath(layer) for layer in layers)

    @classmethod
    def from_stamp(cls, stamp: Stamp) -> RootTree:
        """Return the tree that chroot_configure has left.

        :param stamp: The stamp of chroot_configure.
        :raises DocumentError: A layer has been removed since.
        """
        layers = [str(layer["path"]) for layer in stamp.result["layers"]]
        for layer in layers:
            if not os.path.isdir(layer):
                raise DocumentError(
                    f"The layer {layer} of the root tree no longer exists.",
                    remedy="Run the module os_image.composer.chroot_configure again.",
                )
        return cls(layers)

    @contextlib.contextmanager
    def mounted(
        self, *, upper: str | None = None, work: str | None = None, only_metadata: bool = False
    ) -> t.Iterator[str]:
        """Show the layers as one tree while the block runs; yields the tree's path.

        Only this process and its children see it, and it goes with them. The layers cannot be pruned meanwhile.

        :param upper: The directory that takes all changes; V(None) for a tree that cannot be written to.
        :param work: An empty directory beside C(upper), for the kernel; needed with it.
        :param only_metadata: Files whose attributes alone change are not copied as a whole into C(upper), which is then
            of no use but in this overlay.
        :raises ChrootError: The process is not root, or the kernel cannot.
        """
        if (upper is None) != (work is None):
            raise ValueError("upper and work belong together.")
        with contextlib.ExitStack() as stack:
            for layer in self.layers:
                stack.enter_context(_in_use(layer))
            # Beside the layers: a layer's own directory may be renamed or removed meanwhile.
            path = mount_point(os.path.dirname(os.path.dirname(self.layers[0])))
            self._mount(path, upper, work, only_metadata=only_metadata)
            try:
                yield path
            finally:
                unmount(path)
                os.rmdir(path)

    def _mount(self, path: str, upper: str | None, work: str | None, *, only_metadata: bool) -> None:
        if upper is None and len(self.layers) == 1:
            bind(self.layers[0], path, read_only=True)
            return
        # The kernel reads the uppermost first. Each feature that would write marks into the layers which only some
        # kernels understand is off: layers are made by one host's kernel, and read as plain trees as well.
        options = "lowerdir=" + ":".join(overlay_path(layer) for layer in reversed(self.layers))
        if upper is not None and work is not None:
            options += f",upperdir={overlay_path(upper)},workdir={overlay_path(work)}"
            options += ",redirect_dir=on,metacopy=on" if only_metadata else ",redirect_dir=off,metacopy=off"
            options += ",index=off"
        mount("overlay", path, "overlay", flags=0 if upper else MS_RDONLY, options=options)


@contextlib.contextmanager
def _in_use(layer: str) -> t.Iterator[None]:
    """Keep a layer from being pruned. A directory that is nobody's layer needs no lock."""
    lock = os.path.join(os.path.dirname(layer), LAYER_LOCK)
    if not os.path.exists(lock):
        yield
        return
    with file_lock(lock, what=f"layer {layer}", who="root tree", timeout=_LOCK_TIMEOUT, shared=True):
        yield


__all__ = ("LAYER_LOCK", "RootTree")
