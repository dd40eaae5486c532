# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The display of a merged template, as image_template_validate returned it, in a terminal and in AWX."""

from __future__ import annotations

import os
import typing as t

from ansible import constants as C
from ansible_collections.os_image.composer.plugins.module_utils._template.rendering import as_yaml, unified_diff

#: Some lines of text, and the colour that they have in a terminal; V(None) for the usual one.
Block = t.Tuple[str, t.Union[str, None]]

# The first character of a line of a diff -> the setting of ansible.cfg with its colour.
_DIFF_COLOURS: t.Mapping[str, str] = {"+": "COLOR_DIFF_ADD", "-": "COLOR_DIFF_REMOVE", "@": "COLOR_DIFF_LINES"}


def _colour(setting: str) -> str:
    return str(C.config.get_config_value(setting))


def template_blocks(result: t.Mapping[str, t.Any], *, template: str, label: str) -> t.Iterator[Block]:
    """Yield the merged template as YAML.

    :param result: What the module returned.
    :param template: Path of the template on the build host.
    :param label: Names the host.
    """
    name = os.path.basename(template)
    merged = result["template"]
    if not merged:
        yield (
            f"[{label}] {name} was not validated: in check mode it is not copied to the build host. Validate it "
            "without --check; that only writes into the work directory.",
            _colour("COLOR_WARN"),
        )
        return
    yield f"[{label}] {name}, merged over the default template of {result['provider_id']}:", _colour("COLOR_HIGHLIGHT")
    yield as_yaml(merged, directory=os.path.dirname(template)).rstrip("\n"), None
    if "systemConfig" not in merged:
        yield f"[{label}] The rest is too long to be shown; all of it is in {result['build_dir']}/template.json.", None


def diff_blocks(diff: t.Mapping[str, str], *, label: str) -> t.Iterator[Block]:
    """Yield a unified diff, line by line.

    :param diff: What the module returned as C(diff).
    """
    if "prepared" in diff:
        lines = diff["prepared"].splitlines()
    elif "before_header" in diff:
        lines = unified_diff(
            diff["before"], diff["after"], before_name=diff["before_header"], after_name=diff["after_header"]
        )
    else:
        return
    yield f"\n[{label}] What it changes in the default template:", _colour("COLOR_HIGHLIGHT")
    colours = {sign: _colour(name) for sign, name in _DIFF_COLOURS.items()}
    for line in lines:
        yield line, colours.get(line[:1])


__all__ = ("Block", "diff_blocks", "template_blocks")
