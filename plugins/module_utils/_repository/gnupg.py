# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""GnuPG in a private home that lives as long as one task, without an agent and without a network."""

from __future__ import annotations

import contextlib
import copy
import functools
import tempfile
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._command import find_tool
from ansible_collections.os_image.composer.plugins.module_utils._libraries import import_library

_OPTIONS = (
    "--no-options",
    "--no-autostart",
    "--disable-dirmngr",
    "--no-auto-key-locate",
    "--no-auto-key-retrieve",
    "--no-auto-check-trustdb",
    "--no-permission-warning",
    "--trust-model",
    "always",
)


@functools.lru_cache(maxsize=1)
def _prototype() -> t.Any:
    """Return an object of python-gnupg; making one runs C(gpg --version), so it is made once."""
    gnupg = import_library("gnupg")
    return gnupg.GPG(gpgbinary=find_tool("gpg"))


@contextlib.contextmanager
def private_gpg(*, now: int | None) -> t.Iterator[t.Any]:
    """Yield an object of python-gnupg whose home is empty, and goes away at the end."""
    with tempfile.TemporaryDirectory(prefix="os-image-composer-gnupg-") as home:
        gpg = copy.copy(_prototype())
        gpg.gnupghome = home
        gpg.options = [*_OPTIONS, *(("--faked-system-time", f"{now}!") if now is not None else ())]
        yield gpg


__all__ = ("private_gpg",)
