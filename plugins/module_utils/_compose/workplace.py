# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The workplace of disk_compose: the root tree that an image is made of, and room for what is in the making."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import stat
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._chroot.tree import RootTree
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._progress import Progress
from ansible_collections.os_image.composer.plugins.module_utils._template.document import TemplateDocument

#: Makes documents from a finished tree: gets its path, returns their content by their absolute paths in the tree.
Documents = t.Callable[[str], t.Mapping[str, bytes]]


@dataclasses.dataclass(frozen=True)
class Workplace:
    """Where an image is made, and with what.

    :ivar lock: The content of C(packages.lock.json).
    :ivar directory: The directory of the finished image.
    :ivar documents: Returns, for a tree in which everything else is, the bills of materials that go into it.
    """

    document: TemplateDocument
    lock: t.Mapping[str, t.Any]
    tree: RootTree
    directory: str
    workers: int
    runner: CommandRunner
    progress: Progress
    documents: Documents

    @property
    def epoch(self) -> int:
        """SOURCE_DATE_EPOCH: all times in the image."""
        return int(self.lock["source_date_epoch"])

    @property
    def build_digest(self) -> str:
        """What identifiers derive from."""
        return self.document.build_digest(self.lock)

    @contextlib.contextmanager
    def scratch(self, name: str) -> t.Iterator[str]:
        """Make an empty directory for the block."""
        path = os.path.join(self.directory, name)
        shutil.rmtree(path, ignore_errors=True)
        os.makedirs(path, mode=0o700)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    @contextlib.contextmanager
    def writable_tree(self, *, only_metadata: bool = False) -> t.Iterator[str]:
        """Show the root tree for the block, with an upper layer for what belongs to this image alone.

        :param only_metadata: Files whose attributes alone change are not copied.
        """
        with self.scratch("upper") as upper, self.scratch("overlay") as work:
            # The root directory of the mounted tree is the uppermost one.
            _copy_attributes(self.tree.layers[-1], upper)
            with self.tree.mounted(upper=upper, work=work, only_metadata=only_metadata) as root:
                yield root


def _copy_attributes(source: str, destination: str) -> None:
    """Give a directory the owner, the permissions and the times of another one."""
    status = os.stat(source)
    os.chown(destination, status.st_uid, status.st_gid)
    os.chmod(destination, stat.S_IMODE(status.st_mode))
    os.utime(destination, ns=(status.st_atime_ns, status.st_mtime_ns))


__all__ = ("Documents", "Workplace")
