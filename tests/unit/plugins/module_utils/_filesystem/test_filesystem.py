# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""File systems in general: what all of them have in common."""

from __future__ import annotations

from ansible_collections.os_image.composer.plugins.module_utils._filesystem.filesystem import with_suboptions


def test_suboptions_are_merged() -> None:
    assert with_suboptions(
        "-m", {"crc": "1", "uuid": "x"}, ["-n", "size=8192", "-m", "crc=0,rmapbt=1", "-mbigtime"]
    ) == (
        "crc=0,uuid=x,rmapbt=1,bigtime",
        ["-n", "size=8192"],
    )
