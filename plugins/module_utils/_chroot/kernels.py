# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The kernels of a root tree."""

from __future__ import annotations

import re

from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles

_PREFIX = "vmlinuz-"
# Copies that tools keep of a kernel, which are not kernels of their own.
_COPIES = (".old", ".bak", ".dpkg-new", ".rpmnew", ".rpmsave")


def version_key(version: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts versions as people do: numbers by value, C(~) before everything."""
    key: list[tuple[int, int, str]] = []
    for number, tilde, letters in re.findall(r"([0-9]+)|(~)|([^0-9~]+)", version):
        key.append((0, 0, "") if tilde else (3, int(number), "") if number else (2, 0, letters))
    # The end of a version: after a tilde, and before anything else.
    return [*key, (1, 0, "")]


def kernel_images(root: str) -> dict[str, str]:
    """Return the kernels of a tree by their versions, the oldest first.

    :param root: Absolute path of the tree.
    :returns: Paths of the tree: in /boot, where Debian's packages have their kernels, else in /usr/lib/modules, where
        those of others have them.
    """
    files = TreeFiles(root)
    images = {}
    for name in files.names("/boot"):
        version, path = name[len(_PREFIX) :], f"/boot/{name}"
        if not name.startswith(_PREFIX) or name.endswith(_COPIES) or not version:
            continue
        # A link may be left of a kernel that was removed.
        if files.is_file(path):
            images[version] = path
    for version in files.names("/usr/lib/modules"):
        path = f"/usr/lib/modules/{version}/vmlinuz"
        if version not in images and files.is_file(path):
            images[version] = path
    return {version: images[version] for version in sorted(images, key=version_key)}


__all__ = ("kernel_images", "version_key")
