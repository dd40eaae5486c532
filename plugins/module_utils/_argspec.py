# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Argument specifications, and the C(main()) that the seven stages share."""

from __future__ import annotations

import functools
import re
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.os_image.composer.plugins.module_utils._errors import ComposerError, HostError
from ansible_collections.os_image.composer.plugins.module_utils._stage import Stage, StageOptions, run_stage

OptionSpec = t.Dict[str, t.Any]

#: Kept in step with plugins/doc_fragments/_stage_options.py by a unit test.
STAGE_OPTIONS: t.Mapping[str, OptionSpec] = {
    "workers": {"type": "int", "default": 8},
    "log_level": {"type": "str", "choices": ["debug", "info", "warn", "error"], "default": "info"},
    "log_file": {"type": "path"},
    "temp_dir": {"type": "path"},
    "rebuild": {"type": "str", "choices": ["changed", "always", "never"], "default": "changed"},
    "lock_timeout": {"type": "float", "default": 60},
    "lease_file": {"type": "path"},
    "lease_timeout": {"type": "float", "default": 300},
}

BUILD_DIR: t.Mapping[str, OptionSpec] = {"build_dir": {"type": "path", "required": True}}

#: Of the modules that report on images; kept in step with plugins/doc_fragments/_report_options.py by a unit test.
REPORT_OPTIONS: t.Mapping[str, OptionSpec] = {
    "report_file": {"type": "path"},
    "temp_dir": {"type": "path", "default": "/var/tmp"},  # noqa: S108
}

#: Makes a stage from the module's parameters and the shared options.
StageFactory = t.Callable[[t.Mapping[str, t.Any], StageOptions], Stage]


def stage_argument_spec(*specs: t.Mapping[str, OptionSpec]) -> t.Dict[str, OptionSpec]:
    """Return the argument specification of a stage: the shared options and its own."""
    merged: t.Dict[str, OptionSpec] = {name: dict(option) for name, option in STAGE_OPTIONS.items()}
    for spec in specs:
        merged.update({name: dict(option) for name, option in spec.items()})
    return merged


def run_stage_module(
    module: AnsibleModule, factory: StageFactory, *, shown_paths: t.Mapping[str, str] | None = None
) -> t.NoReturn:
    """Run a stage as a module: the only place where its errors become C(fail_json).

    :param shown_paths: Paths, or beginnings of them, and what stands for each in messages to the user.
    """
    shown = functools.partial(_with_shown_paths, paths=shown_paths or {})
    options = StageOptions.from_params(module.params, check_mode=module.check_mode)
    if not 1 <= options.workers <= 100:
        module.fail_json(msg=f"workers is {options.workers}, but must be between 1 and 100.")
    try:
        result = run_stage(factory(module.params, options))
    except ComposerError as exc:
        # Without `exception`, which would tell the whole message twice; the traceback is taken from here all the same.
        module.fail_json(msg=shown(str(exc)), **shown(exc.details))
    except OSError as exc:
        module.fail_json(msg=str(HostError.of(exc)))
    for warning in result.pop("warnings", []):
        # The controller puts them into the result's `warnings`, and displays them.
        module.warn(shown(warning))
    module.exit_json(**result)


def _with_shown_paths(value: t.Any, *, paths: t.Mapping[str, str]) -> t.Any:
    """Return a message, or data that holds messages, with other paths in it."""
    if isinstance(value, dict):
        return {key: _with_shown_paths(item, paths=paths) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_shown_paths(item, paths=paths) for item in value]
    if isinstance(value, str):
        # Of two that fit the longer one counts: a file before its directory.
        known = "|".join(re.escape(path) for path in sorted(paths, key=len, reverse=True))
        value = re.sub(known, lambda match: paths[match[0]], value) if known else value
    return value


__all__ = ("BUILD_DIR", "REPORT_OPTIONS", "STAGE_OPTIONS", "run_stage_module", "stage_argument_spec")
