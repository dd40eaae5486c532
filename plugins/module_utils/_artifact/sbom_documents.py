# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The documents of a bill of materials: where they lie in an image, and how their names end.

Who only looks for them needs nothing of what makes them.
"""

from __future__ import annotations

#: Where the documents lie in an image.
DIRECTORY = "/usr/share/sbom"
SPDX = ".spdx.json"
CYCLONEDX = ".cdx.json"

__all__ = ("CYCLONEDX", "DIRECTORY", "SPDX")
