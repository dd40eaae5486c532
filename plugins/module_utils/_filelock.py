# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Locks that the kernel gives back when their holder dies, and that can say who holds them."""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import json
import os
import time
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import LockedError
from ansible_collections.os_image.composer.plugins.module_utils._io import parse_json
from ansible_collections.os_image.composer.plugins.module_utils._ownership import open_own_file

_POLL_SECONDS = 0.2


def _holder(descriptor: int) -> str:
    """Describe the holder in words, from what it wrote into the locked file."""
    try:
        data = parse_json(os.pread(descriptor, 4096, 0).decode("utf-8"))
        return f"process {data['pid']} ({data['who']}, since {data['since']})"
    except (ValueError, KeyError, TypeError, OSError):
        # The file may be caught between truncation and write, or belong to a shared holder.
        return "another process"


@contextlib.contextmanager
def file_lock(path: str, *, what: str, who: str, timeout: float, shared: bool = False) -> t.Iterator[None]:
    """Hold C(flock(2)) on C(path) while the block runs.

    :param what: The guarded thing, as the message names it, for example C(build directory /x).
    :param who: Who takes the lock, for example the stage's name; others see it in their message.
    :param timeout: Seconds to wait for the lock.
    :param shared: Take a shared instead of an exclusive lock.
    :raises OwnershipError: The file is a link, or belongs to somebody else.
    :raises LockedError: Somebody else holds the lock for longer than C(timeout).
    """
    descriptor = open_own_file(path, os.O_RDWR, what="lock")
    try:
        end = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                break
            except OSError as exc:
                if exc.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    raise
                if time.monotonic() >= end:
                    raise LockedError(
                        f"The {what} is in use by {_holder(descriptor)}, and still was after {timeout:g} s.",
                        remedy="Wait for it to end, or give lock_timeout a larger value.",
                    ) from exc
            time.sleep(_POLL_SECONDS)
        if not shared:
            since = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "who": who, "since": since}).encode("utf-8"), 0)
        yield
    finally:
        os.close(descriptor)


__all__ = ("file_lock",)
