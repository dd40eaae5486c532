# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.os_image.composer.plugins.plugin_utils import _progress_action

_progress_action.HEARTBEAT_SECONDS = 2


class ActionModule(_progress_action.ProgressActionBase):
    """Runs the slow stage and displays its milestones live, with a quick heartbeat."""
