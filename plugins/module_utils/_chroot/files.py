# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Files in a root tree: paths that never lead out of it, and the files of the template."""

from __future__ import annotations

import os
import stat

from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError

# As many as the kernel follows.
_MAX_LINKS = 40


def resolve_in_tree(root: str, path: str, *, follow_last: bool = True) -> str:
    """Return where a path leads when C(root) is the root directory, as an absolute path without symbolic links.

    Absolute links such as /var/run -> /run are followed within the tree, and C(..) ends at its root. Parts that do not
    exist are kept as they are.

    :param follow_last: Whether a link that the path itself names is followed too.
    :raises ChrootError: Links go round in a circle, or the path leads through something that is not a directory.
    """
    pending = [part for part in reversed(path.split("/")) if part and part != "."]
    done: list[str] = []
    links = 0
    while pending:
        part = pending.pop()
        if part == "..":
            done = done[:-1]
            continue
        here = "/".join([root, *done, part])
        try:
            mode = os.lstat(here).st_mode
        except FileNotFoundError:
            done.append(part)
            continue
        except NotADirectoryError:
            raise ChrootError(
                f"The path {path} of the image leads through /{'/'.join(done)}, which is not a directory."
            ) from None
        if stat.S_ISLNK(mode) and (pending or follow_last):
            links += 1
            if links > _MAX_LINKS:
                raise ChrootError(f"The path {path} of the image leads round in a circle of symbolic links.")
            target = os.readlink(here)
            if target.startswith("/"):
                done = []
            pending += [step for step in reversed(target.split("/")) if step and step != "."]
            continue
        done.append(part)
    return "/" + "/".join(done)


__all__ = ("resolve_in_tree",)
