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
    Limits,
    ProxyFinder,
    Timeouts,
)
from ansible_collections.os_image.composer.plugins.module_utils._download.pace import Transfer, Watch
from ansible_collections.os_image.composer.plugins.module_utils._download.problem import (
    Problem,
    Refused,
    Temporary,
    chain_of,
    explain,
)
from ansible_collections.os_image.composer.plugins.module_utils._download.url import redact, server_of
from ansible_collections.os_image.composer.plugins.module_utils._libraries import import_library

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

    def __init__(
        self, timeouts: Timeouts, limits: Limits, *, proxies: ProxyFinder | None, credentials: CredentialFinder
    ) -> None:
        self._timeouts = timeouts
        self._limits = limits
        self._proxies = proxies
        self._credentials = credentials
        self._local = threading.local()
        self._sessions: list[t.Any] = []
        self._guard = threading.Lock()
        self._watch = Watch()

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
            session.get_redirect_target = _target_of_redirect(session)
            for scheme in ("http://", "https://"):
                session.mount(scheme, _watched_adapter(self._attach))
            self._local.session = session
            with self._guard:
                self._sessions.append(session)
        return session

    def _attach(self, wire: socket.socket) -> None:
        """Give a connection to the transfer of this thread."""
        transfer: Transfer | None = getattr(self._local, "transfer", None)
        if transfer is not None:
            transfer.attach(wire)

    @contextlib.contextmanager
    def request(self, url: str, headers: t.Mapping[str, str], *, end: float) -> t.Iterator[Answer]:
        """Ask for a URL and yield the answer, its body unread; every failure becomes a :class:`Problem`.

        :param end: When the whole of it has to be here, by C(time.monotonic()).
        """
        transfer = Transfer(server_of(url), self._timeouts, self._limits, end=end)
        with self._watch.over(transfer):
            self._local.transfer = transfer
            try:
                with self._request(url, headers, transfer) as answer:
                    yield answer
            except Problem as exc:
                # What a connection says that was shut down is not the reason.
                if transfer.problem is not None and not isinstance(exc, Refused):
                    raise transfer.problem from exc
                raise
            finally:
                self._local.transfer = None

    @contextlib.contextmanager
    def _request(self, url: str, headers: t.Mapping[str, str], transfer: Transfer) -> t.Iterator[Answer]:
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
        if transfer.problem is not None:
            # A head that was cut off may look like a whole one.
            response.close()
            raise transfer.problem
        transfer.answered()
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
            yield Answer(response, transfer)
            clean = True
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as exc:
            raise explain(exc, url, self._timeouts) from exc
        except (ConnectionError, socket.timeout, ssl.SSLError) as exc:
            raise explain(exc, url, self._timeouts) from exc
        finally:
            if not clean:
                # Its body may not have been read: such a connection cannot carry another request.
                response.close()


class Answer:
    """The answer to a request, its body read piece by piece.

    :ivar status: The HTTP status.
    :ivar headers: The header fields; upper and lower case are the same.
    """

    def __init__(self, response: t.Any, transfer: Transfer) -> None:
        self.status: int = response.status_code
        self.headers: t.Mapping[str, str] = response.headers
        self._response = response
        self._transfer = transfer

    @property
    def length(self) -> int | None:
        """How many bytes the server announces, if it does."""
        value = self.headers.get("Content-Length", "")
        return int(value) if value.isdigit() else None

    def read(self) -> bytes:
        """Read the next bytes of the body as they came; none at its end, whether that is early or not.

        :raises Problem: The server is too slow.
        """
        urllib3 = import_library("urllib3")
        try:
            data = t.cast(bytes, self._response.raw.read(self._transfer.chunk, decode_content=False))
        except urllib3.exceptions.ProtocolError as exc:
            # urllib3 2 tells an early end by an exception, urllib3 1 does not; the callers count the bytes.
            if not any(type(cause).__name__ == "IncompleteRead" for cause in chain_of(exc)):
                raise
            data = b""
        if not data and self._transfer.problem is not None:
            raise self._transfer.problem
        self._transfer.came(len(data))
        return data


def _target_of_redirect(session: t.Any) -> t.Callable[[t.Any], str | None]:
    """Return what finds out where an answer sends a session of requests to, and refuses to leave TLS."""
    original = session.get_redirect_target

    def target(response: t.Any) -> str | None:
        found: str | None = original(response)
        before, after = (urllib.parse.urlsplit(url or "").scheme.lower() for url in (response.url, found))
        if found and (before, after) == ("https", "http"):
            # Whoever is in between could answer from there on.
            raise Refused(
                f"{server_of(response.url)} redirects to {redact(found)}, which is not protected by TLS",
                "Use another mirror, or an http URL where that is good enough.",
                fatal=True,
            )
        return found

    return target


def _watched_adapter(attach: t.Callable[[socket.socket], None]) -> t.Any:
    """Return an adapter of requests that tells of each connection, new or used again, before it is waited for."""
    requests = import_library("requests")
    urllib3 = import_library("urllib3")

    def watched(connection: t.Any) -> t.Any:
        class Watched(connection):  # type: ignore[misc]
            def _new_conn(self) -> t.Any:
                made = super()._new_conn()
                attach(made)
                return made

            def request(self, *arguments: t.Any, **options: t.Any) -> t.Any:
                if self.sock is not None:
                    attach(self.sock)
                return super().request(*arguments, **options)

        return Watched

    def pool(kind: t.Any) -> t.Any:
        return type(f"Watched{kind.__name__}", (kind,), {"ConnectionCls": watched(kind.ConnectionCls)})

    pools = {"http": pool(urllib3.HTTPConnectionPool), "https": pool(urllib3.HTTPSConnectionPool)}

    class Adapter(requests.adapters.HTTPAdapter):  # type: ignore[misc,name-defined]
        def init_poolmanager(self, *arguments: t.Any, **options: t.Any) -> None:
            super().init_poolmanager(*arguments, **options)
            self.poolmanager.pool_classes_by_scheme = pools

        def proxy_manager_for(self, *arguments: t.Any, **options: t.Any) -> t.Any:
            manager = super().proxy_manager_for(*arguments, **options)
            manager.pool_classes_by_scheme = pools
            return manager

    return Adapter()


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


__all__ = ("Answer", "Connections", "local_file")
