# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this doc fragment is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  workers:
    description:
      - How many connections, processes or threads the stage may use at once, between 1 and 100.
    type: int
    default: 8
  log_level:
    description:
      - The least level of the messages that are written to the logs.
    type: str
    choices:
      - debug
      - info
      - warn
      - error
    default: info
  log_file:
    description:
      - A file on the build host to which the milestones of the stage are appended, beside C(build.log) in the build
        directory.
    type: path
  temp_dir:
    description:
      - A directory on the build host for temporary files that need not lie beside their destination.
      - By default, the build directory is used.
    type: path
  rebuild:
    description:
      - When to do the stage's work again.
    type: str
    choices:
      changed: When an input, an output, or the stage itself has changed since the last run.
      always: On each run.
      never: Only when it was never done in this build directory.
    default: changed
  lock_timeout:
    description:
      - How many seconds to wait when another process uses the build directory or a cache.
    type: float
    default: 60
  lease_file:
    description:
      - A file that whoever started the stage touches for as long as it is interested in the result.
      - The action plugins of this collection set it; there is no need to set it by hand.
    type: path
  lease_timeout:
    description:
      - After how many seconds without a touch of O(lease_file) the stage stops, cleaning up behind itself. Use V(0) to
        never stop.
    type: float
    default: 300
"""

    BUILD_DIR = r"""
options:
  build_dir:
    description:
      - The build directory, as RV(os_image.composer.image_template_validate#module:build_dir) of
        M(os_image.composer.image_template_validate).
    type: path
    required: true
"""
