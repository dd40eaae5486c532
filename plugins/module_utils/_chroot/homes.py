# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Home directories: what is made in one belongs to who lives there."""

from __future__ import annotations

import dataclasses
import posixpath
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles, is_account_id

# Programs refuse what others may look into.
_PRIVATE = (".gnupg", ".ssh")


@dataclasses.dataclass(frozen=True)
class Home:
    """The home directory of an account.

    :ivar path: Where it really is, behind all links.
    """

    path: str
    uid: int
    gid: int


def homes(files: TreeFiles) -> t.List[Home]:
    """Return the home directories that are there and belong to their accounts.

    That leaves out those of root and of accounts that only have the name of a directory: C(/), C(/usr/sbin).
    """
    found = []
    for fields in files.accounts("passwd"):
        if len(fields) < 7 or not is_account_id(fields[3]) or not fields[5].startswith("/"):
            continue
        uid, place = int(fields[2]), files.resolve(fields[5])
        status = files.status(place, follow_last=False)
        if uid and status is not None and status.st_uid == uid and files.is_directory(place):
            found.append(Home(place, uid, int(fields[3])))
    return found


def make_parents(files: TreeFiles, path: str, known: t.Sequence[Home]) -> None:
    """Make the directories above a file: those in a home directory for who lives there, others for root.

    :param path: Of the file, absolute. What lies behind a symbolic link is in the home directory that it leads to.
    :raises ChrootError: One of them cannot be made.
    """
    directory = files.resolve(posixpath.dirname(path))
    missing: t.List[str] = []
    while directory != "/" and not files.exists(directory, follow_last=False):
        missing.append(directory)
        directory = posixpath.dirname(directory)
    around = [home for home in known if directory == home.path or directory.startswith(f"{home.path}/")]
    owner = max(around, key=lambda home: len(home.path), default=Home("/", 0, 0))
    for place in reversed(missing):
        is_private = owner.uid and posixpath.basename(place) in _PRIVATE
        files.make_directory(place, mode=0o700 if is_private else 0o755, uid=owner.uid, gid=owner.gid)


__all__ = ("Home", "homes", "make_parents")
