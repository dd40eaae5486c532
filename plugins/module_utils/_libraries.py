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

from ansible_collections.os_image.composer.plugins.module_utils._distribution import install_remedy
from ansible_collections.os_image.composer.plugins.module_utils._errors import ToolMissingError

# What PyPI calls those libraries that it has under another name.
_PROJECTS: t.Mapping[str, str] = {"gnupg": "python-gnupg", "yaml": "PyYAML"}

# What versions lack that are too old.
_FEATURES: t.Mapping[str, str] = {"jsonschema": "Draft202012Validator"}


def import_library(name: str, *, package: str) -> t.Any:
    """Import a library of the build host's Python.

    :param name: The module's name, for example C(solv).
    :param package: Debian's package that has it, for the error message.
    :raises ToolMissingError: This interpreter cannot import it, or its version is too old.
    """
    from_pypi = f"Install {_PROJECTS.get(name, name)!r} for that interpreter with pip."
    try:
        library = importlib.import_module(name)
    except ImportError as exc:
        raise ToolMissingError(
            f"The Python library {name!r} cannot be imported by {sys.executable} of the build host: {exc}.",
            remedy=(
                f"{install_remedy(package, otherwise=from_pypi)} Let ansible_python_interpreter name the Python that "
                "has it, as the distribution's own (/usr/bin/python3)."
            ),
        ) from exc
    if name in _FEATURES and not hasattr(library, _FEATURES[name]):
        version = getattr(library, "__version__", "that it has")
        raise ToolMissingError(
            f"The version {version} of the Python library {name!r} of {sys.executable} is too old: it has no "
            f"{_FEATURES[name]}.",
            remedy=from_pypi,
        )
    return library


__all__ = ("import_library",)
