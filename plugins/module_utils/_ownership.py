# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Ownership of what modules write to: whether somebody else could have put it there, or could exchange it.

A module often runs as root, and takes for its own what it finds in its directories. Whoever else can write there could
let it write to another file, by a link, or sign and publish what is not of the build.
"""

from __future__ import annotations

import os
import stat
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import OwnershipError


def trusted_users() -> t.FrozenSet[int]:
    """Return the IDs of the users whose files are as good as the module's own.

    They are root, who the module runs as, and who has become root by sudo for that: his own checkout and his own
    directories are what he builds in.
    """
    return frozenset((0, os.geteuid(), *_numbers("SUDO_UID")))


def _trusted_groups() -> t.FrozenSet[int]:
    return frozenset((0, os.getegid(), *_numbers("SUDO_GID")))


def _numbers(variable: str) -> t.List[int]:
    """Return what sudo says of who has called it; only root believes that."""
    value = os.environ.get(variable, "")
    return [int(value)] if os.geteuid() == 0 and value.isdigit() else []


def require_own_directory(path: str, *, what: str) -> None:
    """Check that nobody else can write into a directory, nor exchange it or one that it lies in.

    What does not exist yet is not checked, only what it would be made in.

    :param what: What it is, as the subject of the message, for example C(work directory).
    :raises OwnershipError: Somebody else can; the message says who, where and what to do.
    """
    real = os.path.realpath(path)
    while not os.path.isdir(real):
        real = os.path.dirname(real)
    own = real
    while True:
        problem = _problem(real, is_own=real == own)
        if problem is not None:
            raise OwnershipError(
                f"The {what} {path} is not safe: {real} {problem}, who could exchange what lies in it.",
                remedy=f"Let it belong to the user who builds, and to nobody else: chown root:root {real} and "
                f"chmod go-w {real}; or use another directory.",
            )
        if real == "/":
            return
        real = os.path.dirname(real)


def _problem(path: str, *, is_own: bool) -> str | None:
    status = os.lstat(path)
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid not in trusted_users():
        return f"belongs to the user {status.st_uid}"
    # In a sticky directory everybody can make files, but only their owner can exchange them.
    if mode & stat.S_ISVTX and not is_own:
        return None
    if mode & stat.S_IWOTH:
        return f"can be written to by everybody (mode {mode:04o})"
    if mode & stat.S_IWGRP and status.st_gid not in _trusted_groups():
        return f"can be written to by the group {status.st_gid} (mode {mode:04o})"
    return None


def open_own_file(path: str, flags: int, mode: int = 0o600, *, what: str) -> int:
    """Open a file that the module writes to, making it when it is missing; it is nobody's trap.

    :param what: What it is, as the subject of the message.
    :raises OwnershipError: It is a link, no regular file, has other names too, or belongs to somebody else.
    """
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    except OSError as exc:
        if os.path.islink(path):
            raise OwnershipError(
                f"The {what} {path} is a symbolic link, which is not followed.", remedy="Remove it."
            ) from exc
        raise
    status = os.fstat(descriptor)
    problem = None
    if not stat.S_ISREG(status.st_mode):
        problem = "is not a regular file"
    elif status.st_uid not in trusted_users():
        problem = f"belongs to the user {status.st_uid}"
    elif status.st_nlink > 1:
        problem = "has another name, too"
    if problem is not None:
        os.close(descriptor)
        raise OwnershipError(f"The {what} {path} {problem}.", remedy="Remove it, or use another path.")
    return descriptor


__all__ = ("open_own_file", "require_own_directory", "trusted_users")
