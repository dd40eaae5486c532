# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Images that are no disks: an ISO or an initrd, made by disk_compose from the same root tree.

One class for each behind one protocol, found by the template's imageType.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import os
import shutil
import stat
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._build_directory import Facts
from ansible_collections.os_image.composer.plugins.module_utils._chroot.tree import RootTree
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._progress import Progress
from ansible_collections.os_image.composer.plugins.module_utils._stage import Outcome
from ansible_collections.os_image.composer.plugins.module_utils._template.document import TemplateDocument


@dataclasses.dataclass(frozen=True)
class Workplace:
    """Where an image is made, and with what.

    :ivar lock: The content of C(packages.lock.json).
    :ivar directory: The directory of the finished image.
    :ivar compose_disk: Composes a raw disk by a disk section (with its size) at a path; returns the stage's result.
    :ivar documents: Returns, for a tree in which everything else is, the bills of materials that go into it.
    """

    document: TemplateDocument
    lock: t.Mapping[str, t.Any]
    tree: RootTree
    directory: str
    workers: int
    runner: CommandRunner
    progress: Progress
    compose_disk: t.Callable[[t.Mapping[str, t.Any], str], Facts]
    documents: t.Callable[[str], t.Mapping[str, bytes]]

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
            copy_attributes(self.tree.layers[-1], upper)
            with self.tree.mounted(upper=upper, work=work, only_metadata=only_metadata) as root:
                yield root


class TreeImage(abc.ABC):
    """An image that is made of the root tree, and is no disk."""

    #: The template's imageType.
    name: t.ClassVar[str]
    #: Programs of the build host that shape it -> their packages (Debian's names).
    tools: t.ClassVar[t.Mapping[str, str]] = {}
    #: How to ask those programs for their version.
    version_commands: t.ClassVar[t.Mapping[str, t.Sequence[str]]] = {}

    def __init__(self, document: TemplateDocument) -> None:
        self.document = document

    @property
    def disk(self) -> t.Mapping[str, t.Any] | None:
        """The disk section of a raw disk that is made for it; V(None) when there is none."""
        return None

    @abc.abstractmethod
    def check_host(self) -> None:
        """Check that the build host has what has no version to be asked for.

        :raises ToolMissingError: Something is missing.
        """

    @abc.abstractmethod
    def inputs(self) -> Facts:
        """Return what of the template shapes it, beside what shapes every image."""

    @abc.abstractmethod
    def facts(self) -> Facts:
        """Return what C(--diff) shows."""

    @abc.abstractmethod
    def make(self, workplace: Workplace) -> Outcome:
        """Make the image.

        :raises ComposerError: It cannot be made.
        """


def copy_attributes(source: str, destination: str) -> None:
    """Give a directory the owner, the permissions and the times of another one."""
    status = os.stat(source)
    os.chown(destination, status.st_uid, status.st_gid)
    os.chmod(destination, stat.S_IMODE(status.st_mode))
    os.utime(destination, ns=(status.st_atime_ns, status.st_mtime_ns))


__all__ = ("TreeImage", "Workplace", "copy_attributes")
