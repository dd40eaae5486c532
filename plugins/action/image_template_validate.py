# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.os_image.composer.plugins.plugin_utils._template_display import diff_blocks, template_blocks

Result = dict[str, t.Any]

display = Display()


class ActionModule(ActionBase):
    """Runs the module, and displays the merged template when that is asked for."""

    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: t.Any = None, task_vars: Result | None = None) -> Result:
        """Run the action; see M(ansible.plugins.action)."""
        result: Result = super().run(tmp, task_vars)
        variables = task_vars or {}
        result.update(self._execute_module(task_vars=variables, wrap_async=bool(self._task.async_val)))
        is_wanted = boolean(self._task.args.get("show", False), strict=False)
        if is_wanted and not self._task.no_log and "template" in result:
            self._show(result, str(variables.get("inventory_hostname", "localhost")))
        return result

    def _show(self, result: Result, label: str) -> None:
        for text, colour in template_blocks(result, template=str(self._task.args["template"]), label=label):
            display.display(text, color=colour)
        # It is displayed here, also when nothing has changed since the last run; the callback would repeat it.
        diff = result.pop("diff", {})
        if self._task.diff:
            for text, colour in diff_blocks(diff, label=label):
                display.display(text, color=colour)


__all__ = ("ActionModule",)
