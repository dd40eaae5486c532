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
from ansible_collections.os_image.composer.plugins.module_utils._host_tools.table import HOST_LIBRARIES, install_remedy


def import_library(name: str) -> t.Any:
    """Import a library of the build host's Python.

    :param name: One of :data:`HOST_LIBRARIES`, for example C(solv).
    :raises ToolMissingError: This interpreter cannot import it, or its version is too old.
    """
    wanted = HOST_LIBRARIES[name]
    from_pypi = f"Install {(wanted.project or name)!r} for that interpreter with pip."
    try:
        library = importlib.import_module(name)
    except ImportError as exc:
        raise ToolMissingError(
            f"The Python library {name!r} cannot be imported by {sys.executable} of the build host: {exc}.",
            remedy=(
                f"{install_remedy(wanted.package, otherwise=from_pypi)} Let ansible_python_interpreter name the Python "
                "that has it, as the distribution's own (/usr/bin/python3)."
            ),
        ) from exc
    if wanted.feature and not hasattr(library, wanted.feature):
        version = getattr(library, "__version__", "that it has")
        raise ToolMissingError(
            f"The version {version} of the Python library {name!r} of {sys.executable} is too old: it has no "
            f"{wanted.feature}.",
            remedy=from_pypi,
        )
    return library


__all__ = ("import_library",)
