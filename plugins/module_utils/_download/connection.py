# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Connections to servers, kept open from one request to the next."""

from __future__ import annotations

import contextlib
import datetime
import os
import socket
import threading
import time
import typing as t
import urllib.parse

from ansible_collections.os_image.composer.plugins.module_utils._download.model import (
    CredentialFinder,
    ProxyFinder,
    Timeouts,
)
from ansible_collections.os_image.composer.plugins.module_utils._download.problem import (
    Refused,
    Temporary,
    chain_of,
    explain,
)
from ansible_collections.os_image.composer.plugins.module_utils._libraries import import_library

_CHUNK = 1 << 18
_USER_AGENT = "os-image-composer"
# Debian's requests knows it already; the one from PyPI brings its own list, without the host's own authorities.
_CA_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
_TEMPORARY_STATUS = frozenset({408, 425, 429, *(status for status in range(500, 600) if status not in (501, 505))})
# A server that wants to be left alone for longer than this is treated as down.
_LONGEST_RETRY_AFTER = 120.0


class Connections:
    """The connections of a downloader, one for each of its threads and servers.

    :param proxies: Finds the proxies of a URL; V(None) leaves them to the environment.
    :param credentials: Finds the credentials of a URL.
    """

    def __init__(self, timeouts: Timeouts, *, proxies: ProxyFinder | None, credentials: CredentialFinder) -> None:
        self._timeouts = timeouts
        self._proxies = proxies
        self._credentials = credentials
        self._local = threading.local()
        self._sessions: list[t.Any] = []
        self._guard = threading.Lock()

    def close(self) -> None:
        """Close all idle connections."""
        with self._guard:
            sessions, self._sessions = self._sessions, []
        self._local = threading.local()
        for session in sessions:
            session.close()

    def _session(self) -> t.Any:
        session = getattr(self._local, "session", None)
        if session is None:
            requests = import_library("requests")
            session = requests.Session()
            session.headers.update({"User-Agent": _USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"})
            session.verify = next((path for path in _CA_BUNDLES if os.path.exists(path)), True)
            self._local.session = session
            with self._guard:
                self._sessions.append(session)
        return session

    @contextlib.contextmanager
    def request(self, url: str, headers: t.Mapping[str, str]) -> t.Iterator[t.Any]:
        """Ask for a URL and yield the answer, its body unread; every failure becomes a :class:`Problem`."""
        import ssl

        requests = import_library("requests")
        urllib3 = import_library("urllib3")
        try:
            response = self._session().get(
                url,
                headers=dict(headers),
                stream=True,
                timeout=(self._timeouts.connect, self._timeouts.read),
                auth=self._credentials(url),
                proxies=dict(found) if self._proxies and (found := self._proxies(url)) is not None else None,
            )
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as exc:
            raise explain(exc, url, self._timeouts) from exc
        clean = False
        try:
            status = response.status_code
            if status in _TEMPORARY_STATUS:
                after = _seconds_to_wait(response.headers.get("Retry-After"))
                text = f"the server answers {status} {response.reason}"
                if after is not None and after > _LONGEST_RETRY_AFTER:
                    raise Refused(f"{text} and wants no further request for {after:.0f} s", "Try again then.")
                raise Temporary(text, "Try again later, or use another mirror.", retry_after=after)
            if status >= 400:
                remedy = {
                    401: "Put the credentials for this server into /etc/apt/auth.conf.d or ~/.netrc of the build host.",
                    403: "Check that the build host may read this URL.",
                    407: "Check the credentials in the proxy settings of the build host.",
                }.get(status)
                raise Refused(
                    f"the server answers {status} {response.reason}",
                    remedy,
                    missing=status in (404, 410),
                    fatal=remedy is not None,
                )
            yield response
            clean = True
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as exc:
            raise explain(exc, url, self._timeouts) from exc
        except (ConnectionError, socket.timeout, ssl.SSLError) as exc:
            raise explain(exc, url, self._timeouts) from exc
        finally:
            if not clean:
                # Its body may not have been read: such a connection cannot carry another request.
                response.close()


def _seconds_to_wait(value: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for; it holds seconds or an HTTP date (RFC 9110, 10.2.3)."""
    if not value:
        return None
    import email.utils

    with contextlib.suppress(ValueError):
        return max(0.0, float(value))
    try:
        when = email.utils.parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=datetime.timezone.utc)
    return max(0.0, when.timestamp() - time.time())


def read_body(response: t.Any) -> bytes:
    """Read the next bytes of an answer as they came; none at its end, whether that is early or not."""
    urllib3 = import_library("urllib3")
    try:
        return t.cast(bytes, response.raw.read(_CHUNK, decode_content=False))
    except urllib3.exceptions.ProtocolError as exc:
        # urllib3 2 tells an early end by an exception, urllib3 1 does not; the callers count the bytes.
        if any(type(cause).__name__ == "IncompleteRead" for cause in chain_of(exc)):
            return b""
        raise


def content_length(response: t.Any) -> int | None:
    """Return how many bytes a server announces, if it does."""
    value = response.headers.get("Content-Length", "")
    return int(value) if value.isdigit() else None


@contextlib.contextmanager
def local_file(url: str) -> t.Iterator[t.BinaryIO]:
    """Open what a C(file) URL names.

    :raises Refused: It cannot be opened.
    """
    path = urllib.parse.unquote(urllib.parse.urlsplit(url).path)
    try:
        with open(path, "rb") as stream:
            yield stream
    except FileNotFoundError as exc:
        raise Refused("there is no such file", missing=True) from exc
    except (PermissionError, IsADirectoryError) as exc:
        raise Refused(f"it cannot be read: {exc.strerror}", fatal=True) from exc


__all__ = ("Connections", "content_length", "local_file", "read_body")
