# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The kernel command line."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError

# COMMAND_LINE_SIZE of the kernel on x86 and arm64, less the final zero byte.
_LIMIT = 2047

# The kernel's own rule: blanks separate, double quotes hold blanks together.
_WORD = re.compile(r'(?:[^\s"]|"[^"]*"?)+')


def kernel_command_line(root_partition_uuid: str | None, given: str, more: t.Sequence[str] = ()) -> str:
    """Return the kernel command line of an image.

    The root file system is found by its PARTUUID, unless the template names another one itself; of several the last
    counts, as it does for the kernel. What is written twice is kept once, in its last place.

    :param root_partition_uuid: V(None) when nothing but the template tells where the root file system is.
    :param given: The template's C(kernel.cmdline).
    :param more: What the disk demands (C(rootfstype=squashfs)); a word of the template with that name has its place.
    :raises BootError: The kernel could not read it.
    """
    bad = next((char for char in given if ord(char) < 32 and char not in "\t\n\r"), None)
    if bad is not None:
        raise BootError(
            f"The kernel command line has the control character {bad!r}.", remedy="Remove it from kernel.cmdline."
        )
    words: t.List[str] = _WORD.findall(given)
    roots = [word for word in words if word.startswith("root=")]
    if not roots and root_partition_uuid is not None:
        roots = [f"root=PARTUUID={root_partition_uuid}"]
    rest = [word for word in words if not word.startswith("root=")]
    kept = [word for index, word in enumerate(rest) if word not in rest[index + 1 :]]
    names = {word.partition("=")[0] for word in kept}
    added = [word for word in more if word.partition("=")[0] not in names]
    line = " ".join([*roots[-1:], *added, *kept])
    if len(line.encode("utf-8")) > _LIMIT:
        raise BootError(
            f"The kernel command line has {len(line.encode('utf-8'))} bytes, but the kernel reads only {_LIMIT}.",
            remedy="Shorten kernel.cmdline.",
        )
    return line


__all__ = ("kernel_command_line",)
