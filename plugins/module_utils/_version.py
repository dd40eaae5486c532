# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The collection's version, for what it leaves outside of itself (manifests, bills of materials)."""

from __future__ import annotations

#: Equal to C(version) in galaxy.yml, which is not on the build host; a unit test keeps them in step.
COLLECTION_VERSION = "0.1.0"

__all__ = ("COLLECTION_VERSION",)
