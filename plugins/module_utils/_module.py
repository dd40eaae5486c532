# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The frame of a module: what goes wrong inside of it becomes the module's failed result."""

from __future__ import annotations

import contextlib
import re
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.os_image.composer.plugins.module_utils._errors import ComposerError, HostError


@contextlib.contextmanager
def failing(
    module: AnsibleModule,
    *,
    shown_paths: t.Mapping[str, str] | None = None,
    facts: t.Mapping[str, t.Any] | None = None,
) -> t.Iterator[None]:
    """Run a block, the only place where errors become C(fail_json).

    :param shown_paths: Paths, or beginnings of them, and what stands for each in messages to the user.
    :param facts: More values of a failed result.
    """
    try:
        yield
    except (ComposerError, OSError) as exc:
        error = exc if isinstance(exc, ComposerError) else HostError.of(exc)
        # Without `exception`: Ansible would put the messages of the error and of its causes behind this one, which says
        # it all. It takes the traceback from here all the same, with those of the causes.
        module.fail_json(
            msg=with_shown_paths(str(error), shown_paths or {}),
            **{**(facts or {}), **with_shown_paths(error.details, shown_paths or {})},
        )


def with_shown_paths(value: t.Any, paths: t.Mapping[str, str]) -> t.Any:
    """Return a message, or data that holds messages, with other paths in it."""
    if isinstance(value, dict):
        return {key: with_shown_paths(item, paths) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [with_shown_paths(item, paths) for item in value]
    if isinstance(value, str):
        # Of two that fit the longer one counts: a file before its directory.
        known = "|".join(re.escape(path) for path in sorted(paths, key=len, reverse=True))
        value = re.sub(known, lambda match: paths[match[0]], value) if known else value
    return value


__all__ = ("failing", "with_shown_paths")
