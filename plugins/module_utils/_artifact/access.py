# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Access to published files: who may read them, and to whom they belong."""

from __future__ import annotations

import dataclasses
import grp
import os
import pwd
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import ArtifactError

# Octal digits, as chmod takes them.
_MODE = re.compile(r"0?[0-7]{3}")
_READ, _OWNERS_WRITE, _OWNERS_READ = 0o444, 0o200, 0o400


@dataclasses.dataclass(frozen=True)
class Access:
    """Who may do what with published files.

    :ivar mode: Their permissions.
    :ivar owner: A user, by name or number; empty for who publishes.
    :ivar group: A group, by name or number; empty for the group of the output directory.
    :ivar is_shared: Whether others than the one who publishes may write into the output directory.
    """

    mode: int = 0o640
    owner: str = ""
    group: str = ""
    is_shared: bool = False

    @classmethod
    def of(cls, mode: str, owner: str, group: str, *, is_shared: bool) -> Access:
        """Read the options of a module.

        :raises ArtifactError: The mode is not one of files that are only read.
        """
        bits = int(mode, 8) if _MODE.fullmatch(mode) else 0
        if bits & ~(_READ | _OWNERS_WRITE) or not bits & _OWNERS_READ:
            raise ArtifactError(
                f"output_mode {mode!r} is no mode of files that are only read.",
                remedy="Give octal digits without rights to execute, and to write for the owner alone: 0640 or 0644.",
            )
        return cls(bits, owner, group, is_shared)

    def ids(self, output_dir: str) -> t.Tuple[int, int]:
        """Return the IDs of the user and the group that files get.

        :raises ArtifactError: There is no such user or group.
        """
        try:
            uid = _number(self.owner, lambda name: pwd.getpwnam(name).pw_uid) if self.owner else os.geteuid()
            if self.group:
                return uid, _number(self.group, lambda name: grp.getgrnam(name).gr_gid)
        except KeyError as exc:
            raise ArtifactError(
                f"The build host has no such user or group: {exc.args[0]}.",
                remedy="Correct output_owner or output_group, or add it to the build host.",
            ) from exc
        return uid, os.stat(output_dir).st_gid

    def give(self, path: str, output_dir: str) -> None:
        """Give it to a file.

        :raises OSError: Only root can give a file to somebody else.
        """
        status = os.stat(path)
        if (status.st_uid, status.st_gid) != self.ids(output_dir) and (
            # A group that nobody asked for is not worth an error.
            os.geteuid() == 0 or self.owner or self.group
        ):
            os.chown(path, *self.ids(output_dir))
        os.chmod(path, self.mode)


def _number(name: str, look_up: t.Callable[[str], int]) -> int:
    return int(name) if name.isdigit() else look_up(name)


__all__ = ("Access",)
