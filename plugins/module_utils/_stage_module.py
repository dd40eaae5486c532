# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The C(main()) that the seven stages share."""

from __future__ import annotations

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.os_image.composer.plugins.module_utils._errors import printable
from ansible_collections.os_image.composer.plugins.module_utils._module import failing, with_shown_paths
from ansible_collections.os_image.composer.plugins.module_utils._stage import Stage, StageOptions, run_stage

#: Makes a stage from the module's parameters and the shared options.
StageFactory = t.Callable[[t.Mapping[str, t.Any], StageOptions], Stage]


def run_stage_module(
    module: AnsibleModule, factory: StageFactory, *, shown_paths: t.Mapping[str, str] | None = None
) -> t.NoReturn:
    """Run a stage as a module.

    :param shown_paths: Paths, or beginnings of them, and what stands for each in messages to the user.
    """
    options = StageOptions.from_params(module.params, check_mode=module.check_mode)
    if not 1 <= options.workers <= 100:
        module.fail_json(msg=f"workers is {options.workers}, but must be between 1 and 100.")
    with failing(module, shown_paths=shown_paths):
        result = run_stage(factory(module.params, options))
    for warning in result.pop("warnings", []):
        # The controller puts them into the result's `warnings`, and displays them.
        module.warn(printable(with_shown_paths(warning, shown_paths or {})))
    module.exit_json(**result)


__all__ = ("StageFactory", "run_stage_module")
