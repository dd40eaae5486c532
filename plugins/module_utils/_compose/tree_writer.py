# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""A writer of files into a root tree, which leaves no trace of the time of writing."""

from __future__ import annotations

import os
import posixpath
import stat
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import DiskError


class TreeWriter:
    """Writes files into a root tree without leaving the time of writing in it."""

    def __init__(self, tree: str, epoch: int) -> None:
        self._tree = tree
        self._epoch = epoch
        self._times: t.Dict[str, int] = {}

    def write(self, path: str, data: bytes) -> None:
        """Make or replace a file (mode 0644, owner root)."""
        place = self._place(path)
        if os.path.lexists(place):
            os.unlink(place)
        with open(place, "xb") as stream:
            os.fchmod(stream.fileno(), 0o644)
            os.fchown(stream.fileno(), 0, 0)
            stream.write(data)
        self._times[place] = self._epoch

    def make_directory(self, path: str, *, mode: int = 0o755) -> None:
        """Make a directory (owner root) when there is none; those above it get the mode 0755."""
        place = os.path.normpath(self._tree + path)
        is_new = not os.path.lexists(place)
        self._place(path.rstrip("/") + "/")
        if is_new:
            os.chmod(place, mode)

    def finish(self) -> None:
        """Give everything its time."""
        # The innermost first: it does not change the time of what is around it, but the order is one to rely on.
        for place in sorted(self._times, reverse=True):
            os.utime(place, (self._times[place], self._times[place]))

    def _place(self, path: str) -> str:
        """Make the directories above C(path) and return its path on the host.

        :raises DiskError: Something on the way is not a directory; a link could lead out of the tree.
        """
        place = self._tree
        for part in posixpath.dirname(path).strip("/").split("/"):
            if part:
                self._times.setdefault(place, min(int(os.stat(place).st_mtime), self._epoch))
                place = f"{place}/{part}"
            try:
                mode = os.lstat(place).st_mode
            except FileNotFoundError:
                os.mkdir(place)
                os.chmod(place, 0o755)
                os.chown(place, 0, 0)
                self._times[place] = self._epoch
                continue
            if not stat.S_ISDIR(mode):
                raise DiskError(
                    f"{path} cannot be made: {place[len(self._tree) :]} is not a directory in the root tree.",
                    remedy="Choose a mount point that is no file, and not behind a file or a symbolic link.",
                )
        self._times.setdefault(place, min(int(os.stat(place).st_mtime), self._epoch))
        return f"{place}/{posixpath.basename(path)}"


__all__ = ("TreeWriter",)
