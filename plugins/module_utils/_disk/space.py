# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Space for an image, looked for before anything of it is written."""

from __future__ import annotations

import shutil

from ansible_collections.os_image.composer.plugins.module_utils._errors import DiskError
from ansible_collections.os_image.composer.plugins.module_utils._size import show_size


def require_space(directory: str, needed: int, *, what: str) -> None:
    """Check that C(needed) bytes are free in a directory.

    :param what: What is written there, as the subject of a sentence: C(The image).
    :raises DiskError: They are not.
    """
    free = shutil.disk_usage(directory).free
    if needed > free:
        raise DiskError(
            f"{what} needs about {show_size(needed)} in {directory}, but only {show_size(free)} are free there.",
            remedy="Free some space, or choose another work_dir.",
            details={"needed_bytes": needed, "free_bytes": free},
        )


__all__ = ("require_space",)
