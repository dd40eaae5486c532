# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Reports about images: all of them in a file, and as much as fits in a module's result."""

from __future__ import annotations

import json
import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import ArtifactError
from ansible_collections.os_image.composer.plugins.module_utils._io import write_json

# Results have to stay below 50 kB; some room for what Ansible itself adds.
LIMIT = 45_000
_LONGEST_TEXT = 4_000

Report = t.Dict[str, t.Any]


def write_report(path: str, report: Report, *, check_mode: bool) -> bool:
    """Write a report as JSON, unless the file has the same already.

    :returns: Whether the file is, or would be, another one.
    :raises ArtifactError: Its directory does not exist.
    """
    if not os.path.isdir(os.path.dirname(os.path.abspath(path))):
        raise ArtifactError(
            f"The report {path} cannot be written, as its directory does not exist.",
            remedy="Make the directory, or correct report_file.",
        )
    try:
        with open(path, encoding="utf-8") as stream:
            if json.load(stream) == json.loads(json.dumps(report)):
                return False
    except (OSError, ValueError):
        pass
    if not check_mode:
        write_json(path, report)
    return True


def shorten(report: Report, limit: int = LIMIT) -> t.Tuple[Report, t.Dict[str, int]]:
    """Return a report that is short enough for a result, and how many items its lists have lost, by their names."""
    shortened: Report = _copy(report)
    lost: t.Dict[str, int] = {}
    while len(json.dumps(shortened)) > limit:
        sizes = {name: len(json.dumps(items)) for name, items in _lists(shortened, "") if items}
        if not sizes:
            break
        name = max(sizes, key=lambda key: sizes[key])
        items = dict(_lists(shortened, ""))[name]
        excess = len(json.dumps(shortened)) - limit
        keep = min(len(items) - 1, int(len(items) * max(0, sizes[name] - excess) / sizes[name]))
        lost[name] = lost.get(name, 0) + len(items) - keep
        del items[keep:]
    return shortened, lost


def _lists(value: Report, prefix: str) -> t.Iterator[t.Tuple[str, t.List[t.Any]]]:
    """Give the lists of a report, and of what is in it by name, with their names."""
    for key, item in value.items():
        if isinstance(item, list):
            yield prefix + key, item
        elif isinstance(item, dict):
            yield from _lists(item, f"{prefix}{key}.")


def _copy(value: t.Any) -> t.Any:
    """Copy a JSON value; texts that are too long are cut."""
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    if isinstance(value, str) and len(value) > _LONGEST_TEXT:
        return value[:_LONGEST_TEXT] + "..."
    return value


__all__ = ("LIMIT", "Report", "shorten", "write_report")
