# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Problems of a download in words, and whether it helps to ask again."""

from __future__ import annotations

import errno
import os
import socket
import typing as t
import urllib.parse

from ansible_collections.os_image.composer.plugins.module_utils._download.model import Timeouts
from ansible_collections.os_image.composer.plugins.module_utils._download.url import redact
from ansible_collections.os_image.composer.plugins.module_utils._errors import RepositoryError
from ansible_collections.os_image.composer.plugins.module_utils._libraries import import_library

_SHOWN = 4


class Problem(Exception):
    """Why one URL did not give what was wanted."""

    def __init__(self, reason: str, remedy: str | None = None) -> None:
        super().__init__(reason)
        self.remedy = remedy


class Refused(Problem):
    """Asking again would give the same answer.

    :ivar missing: The server does not have it.
    :ivar fatal: Asking for the whole instead of the rest would not help either.
    """

    def __init__(self, reason: str, remedy: str | None = None, *, missing: bool = False, fatal: bool = False) -> None:
        super().__init__(reason, remedy)
        self.missing = missing
        self.fatal = fatal


class Temporary(Problem):
    """Asking again may help.

    :ivar retry_after: Seconds that the server wants to be left alone.
    :ivar unreachable: The server cannot be reached at all.
    :ivar slow: The server is there, but too slow.
    """

    def __init__(
        self,
        reason: str,
        remedy: str | None = None,
        *,
        retry_after: float | None = None,
        unreachable: bool = False,
        slow: bool = False,
    ) -> None:
        super().__init__(reason, remedy)
        self.retry_after = retry_after
        self.unreachable = unreachable
        self.slow = slow


class Stopped(Exception):
    """Somebody else failed, or the stage was cancelled."""


def chain_of(exc: BaseException) -> t.Iterator[BaseException]:
    """Yield an exception and everything that it wraps, in whichever way its library does that."""
    seen: set[int] = set()
    queue: list[t.Any] = [exc]
    while queue:
        current = queue.pop(0)
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        queue += [*current.args, getattr(current, "reason", None), current.__cause__, current.__context__]


def explain(exc: BaseException, url: str, timeouts: Timeouts) -> Problem:
    """Turn an exception of the HTTP library into a reason and a remedy in words."""
    # Loaded here and not above: a run that downloads nothing shall not pay for it.
    import ssl

    exceptions = import_library("requests").exceptions
    host = urllib.parse.urlsplit(url).hostname or url
    server = urllib.parse.urlsplit(url).netloc.rpartition("@")[2]
    chain = list(chain_of(exc))
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Refused(
                f"the TLS certificate of {server} is not trusted: {cause.verify_message or cause.reason}",
                "Check the URL and the clock of the build host; the certificate of a private authority belongs into "
                "/usr/local/share/ca-certificates (then run update-ca-certificates).",
                fatal=True,
            )
    if isinstance(exc, exceptions.ProxyError):
        return Temporary(
            f"the proxy for {server} cannot be used: {_innermost(chain)}",
            "Check the proxy settings of the build host (http_proxy, https_proxy, no_proxy, Acquire::http::Proxy).",
            unreachable=True,
        )
    for cause in chain:
        if isinstance(cause, socket.gaierror):
            return Temporary(
                f"the name {host!r} cannot be resolved: {cause.strerror}",
                "Check the name, and the DNS and proxy settings of the build host.",
                unreachable=True,
            )
        if isinstance(cause, ConnectionRefusedError):
            return Temporary(
                f"{server} refuses connections",
                "Check that the server runs and that the URL is right.",
                unreachable=True,
            )
        if isinstance(cause, OSError) and cause.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
            return Temporary(
                f"{server} cannot be reached: {os.strerror(cause.errno)}",
                "Check the network of the build host.",
                unreachable=True,
            )
    if any(isinstance(cause, ssl.SSLError) for cause in chain) or isinstance(exc, exceptions.SSLError):
        return Refused(
            f"no TLS connection to {server} can be made: {_innermost(chain)}",
            "Check that the server speaks TLS at this port.",
            fatal=True,
        )
    if isinstance(exc, exceptions.ConnectTimeout):
        return Temporary(
            f"{server} did not accept a connection within {timeouts.connect:g} s",
            "Check the network and the firewall of the build host.",
            unreachable=True,
        )
    if any(isinstance(cause, (exceptions.ReadTimeout, socket.timeout)) for cause in chain) or any(
        type(cause).__name__ == "ReadTimeoutError" for cause in chain
    ):
        return Temporary(f"{server} sent nothing for {timeouts.read:g} s", "Try again later, or use another mirror.")
    if isinstance(exc, (exceptions.InvalidURL, exceptions.InvalidSchema, exceptions.MissingSchema)):
        return Refused("this is not a URL that can be fetched", "Use an http, https or file URL.", fatal=True)
    if isinstance(exc, exceptions.TooManyRedirects):
        return Refused(f"{server} redirects in circles", "Check the URL.")
    return Temporary(f"the connection to {server} broke: {_innermost(chain)}", "Try again later.")


def _innermost(chain: t.Sequence[BaseException]) -> str:
    last = chain[-1]
    return (last.strerror if isinstance(last, OSError) and last.strerror else str(last)) or type(last).__name__


def failure(what: str, problems: t.Mapping[str, Problem], missing_remedy: str | None) -> RepositoryError:
    """Say why none of the URLs gave what was wanted."""
    missing = all(isinstance(problem, Refused) and problem.missing for problem in problems.values())
    reasons = [f"{redact(url)}: {problem}" for url, problem in problems.items()]
    last = list(problems.values())[-1]
    if len(reasons) == 1:
        message = f"{capital(what)} could not be downloaded from {reasons[0]}."
    else:
        more = [f"{len(reasons) - _SHOWN} more places"] if len(reasons) > _SHOWN + 1 else reasons[_SHOWN:]
        message = f"{capital(what)} could not be downloaded: {'; '.join([*reasons[:_SHOWN], *more])}."
    remedy = missing_remedy if missing and missing_remedy else last.remedy
    return RepositoryError(
        message,
        remedy=remedy or "Check the URL, or use another mirror.",
        details={"missing": True, "what": what} if missing else {},
    )


def capital(text: str) -> str:
    """Return a text that begins a sentence."""
    return text[:1].upper() + text[1:]


def oversized(limit: int) -> Refused:
    """Return what is wrong with a document of more than C(limit) bytes."""
    return Refused(f"it has more than the {limit} bytes that such a document may have", "Check the URL.", fatal=True)


__all__ = ("Problem", "Refused", "Stopped", "Temporary", "capital", "chain_of", "explain", "failure", "oversized")
