# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The build host's distribution, and the family that it belongs to."""

from __future__ import annotations

import contextlib
import typing as t

# Distributions that are built and used like one of these.
_FAMILIES: t.Mapping[str, str] = {
    "azurelinux": "azurelinux",
    "debian": "debian",
    "fedora": "redhat",
    "rhel": "redhat",
    "ubuntu": "debian",
}


def read_distribution(path: str = "/etc/os-release") -> t.Dict[str, str]:
    """Return what the host's C(os-release) says: C(id), C(version), C(name), and the C(family) it is handled as."""
    values: t.Dict[str, str] = {}
    with contextlib.suppress(OSError), open(path, encoding="utf-8") as stream:
        for line in stream:
            name, equals, value = line.strip().partition("=")
            if equals:
                values[name] = value.strip("\"'")
    own = values.get("ID", "")
    likes = values.get("ID_LIKE", "").split()
    family = next((_FAMILIES[name] for name in (own, *likes) if name in _FAMILIES), "")
    return {
        "id": own,
        "version": values.get("VERSION_ID", ""),
        "name": values.get("PRETTY_NAME", own),
        "family": family,
    }


__all__ = ("read_distribution",)
