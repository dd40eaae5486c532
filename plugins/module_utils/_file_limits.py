# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""What the file systems of a build host can hold: how large files may be, and how long their names."""

from __future__ import annotations

import errno
import os
import resource
import tempfile

from ansible_collections.os_image.composer.plugins.module_utils._errors import HostError
from ansible_collections.os_image.composer.plugins.module_utils._size import show_size

# Of files whose names begin with that of an image: ".provenance.dsse.json.p7s", and what temporary ones have beside.
_LONGEST_SUFFIX = 40
_TIB = 1 << 40


def file_size_problem(directory: str, size: int, *, what: str, option: str) -> str:
    """Say why no file of C(size) bytes can be in a directory, in full sentences; nothing when it can.

    Where the directory does not exist yet, the one that it will be made in is asked.

    :param what: The file, as the subject of a sentence: C(The image).
    :param option: What names the directory.
    """
    soft, _hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if soft not in (resource.RLIM_INFINITY, -1) and size > soft:
        return (
            f"{what} has {_shown(size)}, but the user who builds may write no file of more than {_shown(soft)} "
            "(ulimit -f). Raise that limit on the build host, or make the image smaller."
        )
    place = _nearest(directory)
    try:
        with tempfile.TemporaryFile(dir=place) as stream:
            if _holds(stream.fileno(), size):
                return ""
            largest = _largest(stream.fileno(), size)
    except OSError:
        # Whether anything can be written there is another question, which is asked when it is.
        return ""
    return (
        f"{what} has {_shown(size)}, but the file system of {place} on the build host holds no file of more than "
        f"{_shown(largest)}. Let {option} lie on another file system, such as XFS, or make the image smaller."
    )


def file_name_problem(directory: str, name: str, *, what: str, option: str) -> str:
    """Say why files whose names begin with C(name) cannot be in a directory; nothing when they can.

    :param what: The name, as the subject of a sentence.
    :param option: What names the directory.
    """
    place = _nearest(directory)
    try:
        longest = os.pathconf(place, "PC_NAME_MAX")
    except (OSError, ValueError):
        return ""
    length = len(os.fsencode(name))
    if length + _LONGEST_SUFFIX <= longest:
        return ""
    return (
        f"{what} has {length} characters, and the names of files that begin with it would have up to "
        f"{length + _LONGEST_SUFFIX}, but the file system of {place} on the build host has names of no more than "
        f"{longest}. Let {option} lie on another file system, or shorten the name."
    )


def require_file_size(directory: str, size: int, *, what: str, option: str) -> None:
    """Check that a file of C(size) bytes can be in a directory; see :func:`file_size_problem`.

    :raises HostError: It cannot.
    """
    problem = file_size_problem(directory, size, what=what, option=option)
    if problem:
        raise HostError(problem)


def _shown(size: int) -> str:
    # Those who reach such limits count in TiB.
    return f"{size / _TIB:.4g} TiB" if size >= _TIB else show_size(size)


def _nearest(directory: str) -> str:
    """Return a directory, or the lowest one above it that exists."""
    place = os.path.abspath(directory)
    while not os.path.isdir(place) and place != os.path.dirname(place):
        place = os.path.dirname(place)
    return place


def _holds(descriptor: int, size: int) -> bool:
    """Tell whether a file may become so large: the kernel goes nowhere beyond that, and nothing is written."""
    try:
        os.lseek(descriptor, size, os.SEEK_SET)
    except OverflowError:
        return False
    except OSError as exc:
        if exc.errno in (errno.EINVAL, errno.EFBIG, errno.EOVERFLOW):
            return False
        raise
    return True


def _largest(descriptor: int, size: int) -> int:
    """Return how large a file may become, given a size that is too large."""
    least, most = 0, size
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (middle, most) if _holds(descriptor, middle) else (least, middle)
    return least


__all__ = ("file_name_problem", "file_size_problem", "require_file_size")
