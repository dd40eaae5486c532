# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Python libraries that come with the build host's distribution."""

from __future__ import annotations

import importlib
import sys
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import ToolMissingError


def import_library(name: str, *, package: str) -> t.Any:
    """Import a library of the build host's Python.

    :param name: The module's name, for example C(solv).
    :param package: Debian's package that has it, for the error message.
    :raises ToolMissingError: This interpreter cannot import it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as exc:
        raise ToolMissingError(
            f"The Python library {name!r} cannot be imported by {sys.executable}: {exc}.",
            remedy=(
                f"Install the package {package!r} on the build host, or apply the role os_image.composer.build_host, "
                "and let ansible_python_interpreter name the distribution's own Python (/usr/bin/python3)."
            ),
        ) from exc


__all__ = ("import_library",)
