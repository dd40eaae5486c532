# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""A writer of files into a root tree, which leaves no trace of the time of writing."""

from __future__ import annotations

import posixpath
import stat
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import DiskError
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles


class TreeWriter:
    """Writes files into a root tree without leaving the time of writing in it; no link on the way is followed."""

    def __init__(self, tree: str, epoch: int) -> None:
        self._files = TreeFiles(tree)
        self._epoch = epoch
        self._times: t.Dict[str, int] = {}

    def write(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """Make or replace a file (owner root)."""
        self._make_parents(path)
        self._files.write(path, data, mode=mode)
        self._times[path] = self._epoch

    def make_directory(self, path: str, *, mode: int = 0o755) -> None:
        """Make a directory (owner root) when there is none; those above it get the mode 0755."""
        if self._make_parents(posixpath.join(path, "")):
            self._files.set_mode(path, mode)

    def remove(self, path: str) -> None:
        """Take a file out."""
        self._make_parents(path)
        self._files.remove(path)

    def finish(self) -> None:
        """Give everything its time."""
        # The innermost first: it does not change the time of what is around it, but the order is one to rely on.
        for place in sorted(self._times, reverse=True):
            self._files.set_time(place, self._times[place])

    def _make_parents(self, path: str) -> bool:
        """Make the directories above C(path); returns whether the innermost was missing.

        :raises DiskError: Something on the way is not a directory; what lies behind a link is not what it seems.
        """
        place, is_new = "/", False
        self._keep_time(place)
        for part in posixpath.dirname(path).strip("/").split("/"):
            if not part:
                continue
            place = posixpath.join(place, part)
            status = self._files.status(place, follow_last=False)
            is_new = status is None
            if status is None:
                self._files.make_directory(place)
                self._times[place] = self._epoch
            elif not stat.S_ISDIR(status.st_mode):
                raise DiskError(
                    f"{path} cannot be made: {place} is not a directory in the root tree.",
                    remedy="Choose a mount point that is no file, and not behind a file or a symbolic link.",
                )
            self._keep_time(place)
        return is_new

    def _keep_time(self, place: str) -> None:
        status = self._files.status(place, follow_last=False)
        if status is not None:
            self._times.setdefault(place, min(int(status.st_mtime), self._epoch))


__all__ = ("TreeWriter",)
