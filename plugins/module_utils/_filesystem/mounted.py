# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""File systems that only the kernel fills faithfully."""

from __future__ import annotations

from ansible_collections.os_image.composer.plugins.module_utils._filesystem.filesystem import FileSystem


class MountedFileSystem(FileSystem):
    """A file system that is filled by the kernel."""

    is_checked = False
    grows_online = True
    # Identifiers, times and the order of allocation are the kernel's own.
    is_reproducible = False


__all__ = ("MountedFileSystem",)
