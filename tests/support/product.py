# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The product: what of the checkout shapes an image."""

from __future__ import annotations

import hashlib
import os

from ansible_collections.os_image.composer.tests.support.stage_driver import ROOT


def product_digest(root: str = ROOT) -> str:
    """Return a digest of everything that shapes an image: with other code, the same template may give another one."""
    digest = hashlib.sha256()
    for top in ("config", "plugins", "roles"):
        for directory, directories, names in os.walk(os.path.join(root, top)):
            directories[:] = sorted(name for name in directories if name != "__pycache__")
            for name in sorted(names):
                path = os.path.join(directory, name)
                digest.update(os.path.relpath(path, root).encode())
                with open(path, "rb") as stream:
                    digest.update(hashlib.sha256(stream.read()).digest())
    return digest.hexdigest()[:12]


__all__ = ("product_digest",)
