# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Argument specifications that several modules share."""

from __future__ import annotations

import typing as t

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

#: Of the modules that download; kept in step with plugins/doc_fragments/_download_options.py by a unit test.
DOWNLOAD_OPTIONS: t.Mapping[str, OptionSpec] = {
    "download_min_rate": {"type": "float", "default": 1000},
    "download_timeout": {"type": "float", "default": 3600},
}

#: Of the modules that sign for Secure Boot.
SECURE_BOOT_OPTIONS: t.Mapping[str, OptionSpec] = {"secure_boot_passphrase": {"type": "str", "no_log": True}}

BUILD_DIR: t.Mapping[str, OptionSpec] = {"build_dir": {"type": "path", "required": True}}

#: Of the modules that report on images; kept in step with plugins/doc_fragments/_report_options.py by a unit test.
REPORT_OPTIONS: t.Mapping[str, OptionSpec] = {
    "report_file": {"type": "path"},
    "temp_dir": {"type": "path", "default": "/var/tmp"},  # noqa: S108
}


def stage_argument_spec(*specs: t.Mapping[str, OptionSpec]) -> t.Dict[str, OptionSpec]:
    """Return the argument specification of a stage: the shared options and its own."""
    merged: t.Dict[str, OptionSpec] = {name: dict(option) for name, option in STAGE_OPTIONS.items()}
    for spec in specs:
        merged.update({name: dict(option) for name, option in spec.items()})
    return merged


__all__ = (
    "BUILD_DIR",
    "DOWNLOAD_OPTIONS",
    "REPORT_OPTIONS",
    "SECURE_BOOT_OPTIONS",
    "STAGE_OPTIONS",
    "stage_argument_spec",
)
