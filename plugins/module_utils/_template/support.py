# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Support: what is valid and this version cannot build yet, in one list, each entry with the way out.

Such a template can be validated, merged and resolved. C(pkg_fetch) and C(chroot_configure) refuse it, so that nothing
is downloaded or installed in vain.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._compression import (
    COMPRESSIONS,
    UNSUPPORTED_COMPRESSIONS,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.located import (
    LocatedList,
    LocatedMapping,
    Path,
)


@dataclasses.dataclass(frozen=True)
class Unsupported:
    """Values of a field that are refused.

    :ivar field: The YAML path; C(*) stands for each item of a list.
    :ivar values: The values; V(None) stands for every value.
    :ivar remedy: What to write instead.
    """

    field: t.Tuple[str, ...]
    values: t.Tuple[t.Any, ...] | None
    remedy: str


_COMPRESSIONS = list(COMPRESSIONS)

UNSUPPORTED: t.Tuple[Unsupported, ...] = (
    Unsupported(("target", "arch"), ("armv7hl",), "Use x86_64 or aarch64."),
    Unsupported(
        ("disk", "artifacts", "*", "compression"),
        UNSUPPORTED_COMPRESSIONS,
        f"Use {', '.join(_COMPRESSIONS[:-1])} or {_COMPRESSIONS[-1]}.",
    ),
    Unsupported(("systemConfig", "immutability", "enabled"), (True,), "Use false."),
)


def unsupported(template: LocatedMapping) -> t.Iterator[t.Tuple[Path, str]]:
    """Yield (YAML path, message) for each value that this version cannot build."""
    for entry in UNSUPPORTED:
        for path, value in _values(template, entry.field, ()):
            name = [step for step in entry.field if step != "*"][-1]
            if entry.values is None:
                yield path, f"The key {name} is not supported by this version. {entry.remedy}"
            elif value in entry.values:
                word = str(value).lower() if isinstance(value, bool) else value
                yield path, f"{name} {word} is not supported by this version. {entry.remedy}"


def _values(value: t.Any, field: t.Tuple[str, ...], path: Path) -> t.Iterator[t.Tuple[Path, t.Any]]:
    if not field:
        yield path, value
    elif field[0] == "*":
        for index, item in enumerate(value if isinstance(value, LocatedList) else ()):
            yield from _values(item, field[1:], (*path, index))
    elif isinstance(value, LocatedMapping) and field[0] in value:
        yield from _values(value[field[0]], field[1:], (*path, field[0]))


__all__ = ("UNSUPPORTED", "Unsupported", "unsupported")
