# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Problems of a template: found one by one, told all at once."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import TemplateError
from ansible_collections.os_image.composer.plugins.module_utils._template.located import Origin, show_path

# More than these helps nobody, and results must stay small.
_SHOWN = 50


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    :ivar origin: Where it was written.
    :ivar message: The thing, the reason, and the remedy: full sentences.
    """

    origin: Origin
    message: str

    @property
    def line(self) -> str:
        """The problem as one line of an error message."""
        return f"{self.origin.place}: {show_path(self.origin.path)}: {self.message}"

    def as_dict(self) -> t.Dict[str, t.Any]:
        """The problem as an element of the module's result."""
        return {
            "file": self.origin.file,
            "line": self.origin.line,
            "path": show_path(self.origin.path),
            "message": self.message,
        }


def template_error(what: str, problems: t.Iterable[Problem]) -> TemplateError:
    """Make one error of all problems, sorted by file and line, each of them once.

    :param what: The subject of the message, for example C(The image template /x.yml).
    """
    unique = sorted(set(problems), key=lambda problem: (problem.origin.file, problem.origin.line, problem.message))
    count = "1 error" if len(unique) == 1 else f"{len(unique)} errors"
    lines = [problem.line for problem in unique[:_SHOWN]]
    if len(unique) > _SHOWN:
        lines.append(f"... and {len(unique) - _SHOWN} more")
    return TemplateError(
        "\n".join([f"{what} is not valid ({count}):", *lines]),
        details={"errors": [problem.as_dict() for problem in unique[:_SHOWN]]},
    )


__all__ = ("Problem", "template_error")
