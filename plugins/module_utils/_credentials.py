# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Credentials for repositories, from where apt keeps them on the build host (see apt_auth.conf(5)).

So they stand neither in templates nor in lock files, documents or logs. The file C(~/.netrc) of the user who runs the
modules is read by C(requests) itself.
"""

from __future__ import annotations

import dataclasses
import glob
import os
import typing as t
import urllib.parse


@dataclasses.dataclass(frozen=True)
class _Machine:
    """One entry: what it is for, and how to log in there."""

    scheme: str
    host: str
    path: str
    login: str
    password: str

    def fits(self, parts: urllib.parse.SplitResult) -> bool:
        """Tell whether the entry is for a URL. As with apt, only an entry that says C(http://) is for plain HTTP."""
        if parts.scheme != (self.scheme or "https"):
            return False
        if self.host not in (parts.hostname, parts.netloc.rpartition("@")[2]):
            return False
        return not self.path or parts.path == self.path or parts.path.startswith(self.path.rstrip("/") + "/")


class AptCredentials:
    """The entries of C(auth.conf) and C(auth.conf.d), read when they are first needed.

    :param directory: Where the host keeps apt's configuration.
    """

    def __init__(self, directory: str = "/etc/apt") -> None:
        self._directory = directory
        self._machines: list[_Machine] | None = None

    def __call__(self, url: str) -> tuple[str, str] | None:
        """Return login and password for a URL; V(None) when there are none."""
        if self._machines is None:
            paths = [os.path.join(self._directory, "auth.conf")]
            paths += sorted(glob.glob(os.path.join(self._directory, "auth.conf.d", "*.conf")))
            self._machines = [machine for path in paths for machine in _read(path)]
        parts = urllib.parse.urlsplit(url)
        found = next((machine for machine in self._machines if machine.fits(parts)), None)
        return (found.login, found.password) if found else None


def _read(path: str) -> t.Iterator[_Machine]:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            words = [word for line in stream if not line.lstrip().startswith("#") for word in line.split()]
    except OSError:
        return
    entries: list[dict[str, str]] = []
    for key, value in zip(words[::2], words[1::2]):
        if key == "machine":
            entries.append({})
        if entries:
            entries[-1][key] = value
    for entry in entries:
        scheme, separator, rest = entry["machine"].rpartition("://")
        host, slash, place = rest.partition("/")
        yield _Machine(
            scheme=scheme if separator else "",
            host=host,
            path=slash + place,
            login=entry.get("login", ""),
            password=entry.get("password", ""),
        )


__all__ = ("AptCredentials",)
