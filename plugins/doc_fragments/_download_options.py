# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this doc fragment is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  download_min_rate:
    description:
      - The least bytes per second, over half a minute, that a server has to send. One that is slower is left, and the
        next place is tried. V(0) sets no limit.
    type: float
    default: 1000
  download_timeout:
    description:
      - The most seconds that one file may take, with all tries at all places.
    type: float
    default: 3600
"""
