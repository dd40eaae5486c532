# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Requests to a server, and its answers."""

from __future__ import annotations

import dataclasses
import typing as t

#: Returns login and password for a URL, if it has any.
CredentialFinder = t.Callable[[str], t.Optional[t.Tuple[str, str]]]
#: Returns the proxies for a URL in the form of C(requests); V(None) leaves it to the environment.
ProxyFinder = t.Callable[[str], t.Optional[t.Mapping[str, t.Optional[str]]]]


@dataclasses.dataclass(frozen=True)
class Download:
    """A file that is wanted.

    :ivar urls: Where it may be had, the best place first (C(http), C(https) and C(file)).
    :ivar destination: Absolute path of the file.
    :ivar digest: Its SHA-256, or its SHA-512, in hexadecimal digits.
    :ivar size: Its size in bytes.
    :ivar what: The thing, as messages name it, for example C(package openssl 3.0.17-1).
    :ivar missing_remedy: What the user can do when no server has the file.
    """

    urls: tuple[str, ...]
    destination: str
    digest: str
    size: int
    what: str
    missing_remedy: str | None = None


@dataclasses.dataclass(frozen=True)
class Document:
    """A small document that was asked for.

    :ivar data: Its content; V(None) when it has not changed since the given validators were seen.
    :ivar etag: The server's validator for next time, if it told one.
    :ivar last_modified: The server's time stamp for next time, if it told one.
    :ivar url: Where it came from.
    """

    data: bytes | None
    etag: str | None = None
    last_modified: str | None = None
    url: str = ""


@dataclasses.dataclass(frozen=True)
class Timeouts:
    """Seconds to wait for a connection, and for the next bytes of an answer."""

    connect: float = 10.0
    read: float = 30.0


@dataclasses.dataclass(frozen=True)
class Limits:
    """How slow a server may be.

    :ivar rate: The least bytes per second; 0 for no limit.
    :ivar window: The seconds over which the rate is measured.
    :ivar file: The most seconds that one file may take, with all tries at all places.
    """

    rate: float = 1000.0
    window: float = 30.0
    file: float = 3600.0


def limits_of(options: t.Mapping[str, t.Any]) -> Limits:
    """Return the limits that the options of a module set."""
    return Limits(rate=options["download_min_rate"], file=options["download_timeout"])


__all__ = ("CredentialFinder", "Document", "Download", "Limits", "ProxyFinder", "Timeouts", "limits_of")
