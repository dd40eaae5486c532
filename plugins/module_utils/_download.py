# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Downloads over HTTP: parallel, resumable, verified.

What is downloaded lies in C({destination}.part) until its digest is the demanded one; only then it gets its name. A
C(.part) file is locked while somebody writes it, so that two builds that share a cache share a download too, and it is
continued by whoever comes next when its writer was killed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import errno
import fcntl
import hashlib
import os
import random
import socket
import threading
import time
import typing as t
import urllib.parse

from ansible_collections.os_image.composer.plugins.module_utils._credentials import AptCredentials
from ansible_collections.os_image.composer.plugins.module_utils._errors import RepositoryError
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_file
from ansible_collections.os_image.composer.plugins.module_utils._libraries import import_library
from ansible_collections.os_image.composer.plugins.module_utils._parallel import run_parallel

_CHUNK = 1 << 18
_USER_AGENT = "os-image-composer"
# Debian's requests knows it already; the one from PyPI brings its own list, without the host's own authorities.
_CA_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
_TEMPORARY_STATUS = frozenset({408, 425, 429, *(status for status in range(500, 600) if status not in (501, 505))})
_LONGEST_BACKOFF = 30.0
# A server that wants to be left alone for longer than this is treated as down.
_LONGEST_RETRY_AFTER = 120.0
_LOCK_POLL_SECONDS = 0.2
# Left free beside what is downloaded, for the documents and logs of the build.
_SPACE_MARGIN = 16 << 20

#: Returns login and password for a URL, if it has any.
CredentialFinder = t.Callable[[str], t.Optional[t.Tuple[str, str]]]
#: Returns the proxies for a URL in the form of C(requests); V(None) leaves it to the environment.
ProxyFinder = t.Callable[[str], t.Optional[t.Mapping[str, t.Optional[str]]]]


@dataclasses.dataclass(frozen=True)
class Download:
    """A file that is wanted.

    :ivar urls: Where it may be had, the best place first (C(http), C(https) and C(file)).
    :ivar destination: Absolute path of the file.
    :ivar sha256: Its digest, 64 hexadecimal digits.
    :ivar size: Its size in bytes.
    :ivar what: The thing, as messages name it, for example C(package openssl 3.0.17-1).
    :ivar missing_remedy: What the user can do when no server has the file.
    """

    urls: tuple[str, ...]
    destination: str
    sha256: str
    size: int
    what: str
    missing_remedy: str | None = None


@dataclasses.dataclass(frozen=True)
class Document:
    """A small document that was asked for.

    :ivar data: Its content; V(None) when it has not changed since the given validators were seen.
    :ivar etag: The server's validator for next time, if it told one.
    :ivar last_modified: The server's time stamp for next time, if it told one.
    """

    data: bytes | None
    etag: str | None = None
    last_modified: str | None = None


@dataclasses.dataclass(frozen=True)
class Timeouts:
    """Seconds to wait for a connection, and for the next bytes of an answer."""

    connect: float = 10.0
    read: float = 30.0


class _Problem(Exception):
    """Why one URL did not give what was wanted."""

    def __init__(self, reason: str, remedy: str | None = None) -> None:
        super().__init__(reason)
        self.remedy = remedy


class _Refused(_Problem):
    """Asking again would give the same answer.

    :ivar missing: The server does not have it.
    :ivar fatal: Asking for the whole instead of the rest would not help either.
    """

    def __init__(self, reason: str, remedy: str | None = None, *, missing: bool = False, fatal: bool = False) -> None:
        super().__init__(reason, remedy)
        self.missing = missing
        self.fatal = fatal


class _Temporary(_Problem):
    """Asking again may help."""

    def __init__(
        self,
        reason: str,
        remedy: str | None = None,
        *,
        retry_after: float | None = None,
        unreachable: bool = False,
    ) -> None:
        super().__init__(reason, remedy)
        self.retry_after = retry_after
        self.unreachable = unreachable


class _Stopped(Exception):
    """Somebody else failed, or the stage was cancelled."""


def redact(url: str) -> str:
    """Return a URL without the credentials that it may hold, for messages and logs."""
    parts = urllib.parse.urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _server(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _chain(exc: BaseException) -> t.Iterator[BaseException]:
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


def _explain(exc: BaseException, url: str, timeouts: Timeouts) -> _Problem:
    """Turn an exception of the HTTP library into a reason and a remedy in words."""
    # Loaded here and not above: a run that downloads nothing shall not pay for it.
    import ssl

    exceptions = import_library("requests", package="python3-requests").exceptions
    host = urllib.parse.urlsplit(url).hostname or url
    server = urllib.parse.urlsplit(url).netloc.rpartition("@")[2]
    chain = list(_chain(exc))
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _Refused(
                f"the TLS certificate of {server} is not trusted: {cause.verify_message or cause.reason}",
                "Check the URL and the clock of the build host; the certificate of a private authority belongs into "
                "/usr/local/share/ca-certificates (then run update-ca-certificates).",
                fatal=True,
            )
    if isinstance(exc, exceptions.ProxyError):
        return _Temporary(
            f"the proxy for {server} cannot be used: {_innermost(chain)}",
            "Check the proxy settings of the build host (http_proxy, https_proxy, no_proxy, Acquire::http::Proxy).",
            unreachable=True,
        )
    for cause in chain:
        if isinstance(cause, socket.gaierror):
            return _Temporary(
                f"the name {host!r} cannot be resolved: {cause.strerror}",
                "Check the name, and the DNS and proxy settings of the build host.",
                unreachable=True,
            )
        if isinstance(cause, ConnectionRefusedError):
            return _Temporary(
                f"{server} refuses connections",
                "Check that the server runs and that the URL is right.",
                unreachable=True,
            )
        if isinstance(cause, OSError) and cause.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
            return _Temporary(
                f"{server} cannot be reached: {os.strerror(cause.errno)}",
                "Check the network of the build host.",
                unreachable=True,
            )
    if any(isinstance(cause, ssl.SSLError) for cause in chain) or isinstance(exc, exceptions.SSLError):
        return _Refused(
            f"no TLS connection to {server} can be made: {_innermost(chain)}",
            "Check that the server speaks TLS at this port.",
            fatal=True,
        )
    if isinstance(exc, exceptions.ConnectTimeout):
        return _Temporary(
            f"{server} did not accept a connection within {timeouts.connect:g} s",
            "Check the network and the firewall of the build host.",
            unreachable=True,
        )
    if any(isinstance(cause, (exceptions.ReadTimeout, socket.timeout)) for cause in chain) or any(
        type(cause).__name__ == "ReadTimeoutError" for cause in chain
    ):
        return _Temporary(f"{server} sent nothing for {timeouts.read:g} s", "Try again later, or use another mirror.")
    if isinstance(exc, (exceptions.InvalidURL, exceptions.InvalidSchema, exceptions.MissingSchema)):
        return _Refused("this is not a URL that can be fetched", "Use an http, https or file URL.", fatal=True)
    if isinstance(exc, exceptions.TooManyRedirects):
        return _Refused(f"{server} redirects in circles", "Check the URL.")
    return _Temporary(f"the connection to {server} broke: {_innermost(chain)}", "Try again later.")


def _innermost(chain: t.Sequence[BaseException]) -> str:
    last = chain[-1]
    return (last.strerror if isinstance(last, OSError) and last.strerror else str(last)) or type(last).__name__


def _retry_after(value: str | None) -> float | None:
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


@dataclasses.dataclass
class _Partial:
    """The C(.part) file of a download.

    :ivar digest: The hash object of what it holds.
    :ivar offset: How much it holds.
    :ivar received: How much of it came in this run.
    """

    descriptor: int
    digest: t.Any
    offset: int = 0
    received: int = 0

    def restart(self) -> None:
        os.ftruncate(self.descriptor, 0)
        self.digest = hashlib.sha256()
        self.offset = 0

    def load(self, size: int) -> None:
        """Take over what an earlier run left, if it can be the beginning of the file."""
        if os.fstat(self.descriptor).st_size > size:
            self.restart()
            return
        position = 0
        while True:
            chunk = os.pread(self.descriptor, 1 << 20, position)
            if not chunk:
                break
            self.digest.update(chunk)
            position += len(chunk)
        self.offset = position

    def append(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            count = os.pwrite(self.descriptor, view, self.offset)
            self.digest.update(view[:count])
            self.offset += count
            self.received += count
            view = view[count:]


@contextlib.contextmanager
def _locked_part(path: str, stop: threading.Event) -> t.Iterator[_Partial]:
    """Open a C(.part) file and hold its lock; wait for another build that is writing it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if stop.wait(_LOCK_POLL_SECONDS):
                    raise _Stopped from None
                continue
            try:
                same = os.path.samestat(os.fstat(descriptor), os.stat(path))
            except FileNotFoundError:
                same = False
            if not same:
                # The one who held the lock has finished the file and given it its name.
                continue
            partial = _Partial(descriptor, hashlib.sha256())
            try:
                yield partial
            finally:
                if os.fstat(descriptor).st_size == 0:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(path)
            return
        finally:
            os.close(descriptor)


class Downloader:
    """Fetches files and documents; a context manager that closes its connections.

    :param workers: How many connections are used at once, 1 to 100.
    :param attempts: How often each thing is tried before its failure is final.
    :param backoff: Seconds before the second try; doubled for each further one, with jitter.
    :param proxies: Finds the proxies of a URL, see M(_repository.mirrors); the environment's are used otherwise.
    :param credentials: Finds the credentials of a URL; those that apt has on this host are used otherwise.
    :param log: Gets a line for each try that failed.
    """

    def __init__(
        self,
        *,
        workers: int = 8,
        attempts: int = 5,
        backoff: float = 0.5,
        timeouts: Timeouts | None = None,
        proxies: ProxyFinder | None = None,
        credentials: CredentialFinder | None = None,
        log: t.Callable[[str], None] | None = None,
    ) -> None:
        self.workers = workers
        self._attempts = attempts
        self._backoff = backoff
        self._timeouts = timeouts or Timeouts()
        self._proxies = proxies
        self._credentials = credentials or AptCredentials()
        self._log = log
        self._local = threading.local()
        self._sessions: list[t.Any] = []
        self._guard = threading.Lock()
        self._down: set[str] = set()

    def __enter__(self) -> Downloader:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all idle connections."""
        with self._guard:
            sessions, self._sessions = self._sessions, []
        self._local = threading.local()
        for session in sessions:
            session.close()

    def get(
        self,
        url: str,
        *,
        limit: int,
        what: str,
        etag: str | None = None,
        last_modified: str | None = None,
        missing_ok: bool = False,
    ) -> Document | None:
        """Fetch a small document into memory.

        :param limit: The most bytes that it may have.
        :param what: The thing, as messages name it.
        :param etag: The validator from last time: with it the answer may be "unchanged" (C(data) is V(None)).
        :param last_modified: The time stamp from last time, likewise.
        :param missing_ok: Return V(None) when the server does not have it.
        :raises RepositoryError: It cannot be had.
        """
        conditions = {"If-None-Match": etag, "If-Modified-Since": last_modified}
        headers = {name: value for name, value in conditions.items() if value}
        stop = threading.Event()

        def attempt(address: str) -> Document | None:
            try:
                return self._get(address, limit, headers)
            except _Refused as exc:
                if exc.missing and missing_ok:
                    return None
                raise

        return self._try_all((url,), attempt, what=what, stop=stop, missing_remedy=None)

    def fetch_all(
        self,
        downloads: t.Iterable[Download],
        *,
        on_done: t.Callable[[Download, int], None] | None = None,
    ) -> int:
        """Fetch files in parallel.

        :param on_done: Called in the calling thread for each finished file, with the bytes that came over the network.
        :returns: The bytes that came over the network.
        :raises RepositoryError: One of them cannot be had; files that were finished before stay.
        """
        unique = list({download.destination: download for download in downloads}.values())
        check_space(unique)
        stop = threading.Event()
        total = 0
        missing: list[RepositoryError] = []

        def fetch(download: Download) -> int | RepositoryError:
            try:
                return self._fetch(download, stop)
            except RepositoryError as exc:
                if not exc.details.get("missing"):
                    raise
                # The user shall read the names of all missing files at once.
                return exc

        def done(download: Download, result: int | RepositoryError) -> None:
            nonlocal total
            if isinstance(result, RepositoryError):
                missing.append(result)
                return
            total += result
            if on_done is not None:
                on_done(download, result)

        # Large files first: the last connection to end shall not be the one that began the largest file last.
        unique.sort(key=lambda download: -download.size)
        run_parallel(fetch, unique, workers=self.workers, stop=stop, on_result=done)
        if len(missing) == 1:
            raise missing[0]
        if missing:
            names = sorted(exc.details["what"] for exc in missing)
            shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
            raise RepositoryError(
                f"{len(missing)} files are not on any server that may have them: {shown}. The first: {missing[0]}",
                details={"missing": names},
            )
        return total

    def _session(self) -> t.Any:
        session = getattr(self._local, "session", None)
        if session is None:
            requests = import_library("requests", package="python3-requests")
            session = requests.Session()
            session.headers.update({"User-Agent": _USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"})
            session.verify = next((path for path in _CA_BUNDLES if os.path.exists(path)), True)
            self._local.session = session
            with self._guard:
                self._sessions.append(session)
        return session

    @contextlib.contextmanager
    def _request(self, url: str, headers: t.Mapping[str, str]) -> t.Iterator[t.Any]:
        """Ask for a URL and yield the answer, its body unread; every failure becomes a :class:`_Problem`."""
        import ssl

        requests = import_library("requests", package="python3-requests")
        urllib3 = import_library("urllib3", package="python3-urllib3")
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
            raise _explain(exc, url, self._timeouts) from exc
        clean = False
        try:
            status = response.status_code
            if status in _TEMPORARY_STATUS:
                after = _retry_after(response.headers.get("Retry-After"))
                text = f"the server answers {status} {response.reason}"
                if after is not None and after > _LONGEST_RETRY_AFTER:
                    raise _Refused(f"{text} and wants no further request for {after:.0f} s", "Try again then.")
                raise _Temporary(text, "Try again later, or use another mirror.", retry_after=after)
            if status >= 400:
                remedy = {
                    401: "Put the credentials for this server into /etc/apt/auth.conf.d or ~/.netrc of the build host.",
                    403: "Check that the build host may read this URL.",
                    407: "Check the credentials in the proxy settings of the build host.",
                }.get(status)
                raise _Refused(
                    f"the server answers {status} {response.reason}",
                    remedy,
                    missing=status in (404, 410),
                    fatal=remedy is not None,
                )
            yield response
            clean = True
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as exc:
            raise _explain(exc, url, self._timeouts) from exc
        except (ConnectionError, socket.timeout, ssl.SSLError) as exc:
            raise _explain(exc, url, self._timeouts) from exc
        finally:
            if not clean:
                # Its body may not have been read: such a connection cannot carry another request.
                response.close()

    def _get(self, url: str, limit: int, headers: t.Mapping[str, str]) -> Document:
        if url.startswith("file:"):
            with _local_file(url) as stream:
                data = stream.read(limit + 1)
            if len(data) > limit:
                raise _oversized(limit)
            return Document(data)
        with self._request(url, headers) as response:
            etag, modified = response.headers.get("ETag"), response.headers.get("Last-Modified")
            if response.status_code == 304:
                response.raw.read()
                return Document(None, etag, modified)
            announced = _content_length(response)
            if announced is not None and announced > limit:
                raise _oversized(limit)
            data = b""
            while len(data) <= limit:
                chunk = _read_body(response)
                if not chunk:
                    break
                data += chunk
            if len(data) > limit:
                raise _oversized(limit)
            if announced is not None and len(data) < announced:
                raise _Temporary(f"the answer ended after {len(data)} of {announced} bytes", "Try again later.")
            return Document(data, etag, modified)

    def _fetch(self, download: Download, stop: threading.Event) -> int:
        """Fetch one file; return the bytes that came over the network."""
        os.makedirs(os.path.dirname(download.destination), exist_ok=True)
        part = f"{download.destination}.part"

        def attempt(url: str) -> None:
            begin = time.monotonic()
            self._receive(url, partial, download, stop)
            if partial.offset < download.size:
                raise _Temporary(
                    f"the answer ended after {partial.offset} of {download.size} bytes",
                    "Try again later, or use another mirror.",
                )
            self._tell(f"{redact(url)}: {download.size} bytes in {time.monotonic() - begin:.2f} s")

        try:
            with _locked_part(part, stop) as partial:
                if _is_intact(download):
                    partial.restart()
                    return 0
                partial.load(download.size)
                if partial.offset == download.size and partial.digest.hexdigest() != download.sha256:
                    partial.restart()
                if partial.offset < download.size or download.size == 0:
                    self._try_all(
                        download.urls,
                        lambda url: self._checked(url, attempt, partial, download),
                        what=download.what,
                        stop=stop,
                        missing_remedy=download.missing_remedy,
                        progressed=lambda: partial.offset,
                    )
                os.fsync(partial.descriptor)
                os.rename(part, download.destination)
        except OSError as exc:
            if exc.errno in (errno.ENOSPC, errno.EDQUOT):
                raise RepositoryError(
                    f"{_capital(download.what)} could not be stored: no space is left in "
                    f"{os.path.dirname(download.destination)}.",
                    remedy="Free some space there, or choose another cache_dir; what was downloaded is continued.",
                ) from exc
            raise RepositoryError(
                f"{_capital(download.what)} could not be stored as {download.destination}: {exc.strerror}.",
                remedy="Check the directory and its file system.",
            ) from exc
        return partial.received

    def _checked(self, url: str, attempt: t.Callable[[str], None], partial: _Partial, download: Download) -> None:
        """Fetch a file from one URL to its end, and demand its digest; what was there before may have been wrong."""
        continued = partial.offset > 0
        attempt(url)
        if partial.digest.hexdigest() == download.sha256:
            return
        if continued:
            partial.restart()
            attempt(url)
            if partial.digest.hexdigest() == download.sha256:
                return
        actual = partial.digest.hexdigest()
        partial.restart()
        raise _Refused(
            f"its content has the SHA-256 {actual}, but {download.sha256} is demanded",
            "The server or a proxy on the way delivers another file: use another mirror, or try again later.",
        )

    def _receive(self, url: str, partial: _Partial, download: Download, stop: threading.Event) -> None:
        """Append what a URL has beyond the partial file."""
        if url.startswith("file:"):
            with _local_file(url) as stream:
                stream.seek(partial.offset)
                self._append(lambda: stream.read(1 << 20), partial, download, stop)
            return
        headers = {"Range": f"bytes={partial.offset}-"} if partial.offset else {}
        try:
            with self._request(url, headers) as response:
                if partial.offset:
                    begin = f"bytes {partial.offset}-"
                    if response.status_code != 206 or not response.headers.get("Content-Range", "").startswith(begin):
                        if response.status_code == 206:
                            raise _Refused("the server answers with another range than was asked for")
                        partial.restart()
                elif response.status_code == 206:
                    raise _Refused("the server answers with a range that was not asked for")
                announced = _content_length(response)
                if announced is not None and partial.offset + announced != download.size:
                    raise _Refused(
                        f"the server has {partial.offset + announced} bytes, but {download.size} are demanded",
                        "The server or a proxy on the way delivers another file: use another mirror, or try again "
                        "later.",
                    )
                self._append(lambda: _read_body(response), partial, download, stop)
        except _Refused as exc:
            if not partial.offset or exc.missing or exc.fatal:
                raise
            # Whatever the server has against the range (416 above all), the whole file may still be had.
            partial.restart()
            self._receive(url, partial, download, stop)

    @staticmethod
    def _append(read: t.Callable[[], bytes], partial: _Partial, download: Download, stop: threading.Event) -> None:
        while True:
            chunk = read()
            if not chunk:
                return
            if stop.is_set():
                raise _Stopped
            if partial.offset + len(chunk) > download.size:
                partial.restart()
                raise _Refused(f"the server sends more than the {download.size} bytes that are demanded")
            partial.append(chunk)

    def _try_all(
        self,
        urls: t.Sequence[str],
        attempt: t.Callable[[str], t.Any],
        *,
        what: str,
        stop: threading.Event,
        missing_remedy: str | None,
        progressed: t.Callable[[], int] | None = None,
    ) -> t.Any:
        """Try each URL in turn, and all of them again after a pause, until one gives what is wanted."""
        problems: dict[str, _Problem] = {}
        tries = 0
        position = progressed() if progressed else 0
        while True:
            pause = 0.0
            candidates = [url for url in urls if not isinstance(problems.get(url), _Refused)]
            up = [url for url in candidates if _server(url) not in self._down]
            for url in up or candidates[-1:]:
                if stop.is_set():
                    raise _Stopped
                try:
                    return attempt(url)
                except _Problem as exc:
                    problems[url] = exc
                    self._tell(f"{redact(url)}: {exc}")
                    if isinstance(exc, _Temporary):
                        pause = max(pause, exc.retry_after or 0.0)
                        if exc.unreachable and len(urls) > 1:
                            # Others of the same batch need not wait for a dead peer again.
                            self._down.add(_server(url))
            if all(isinstance(problems.get(url), _Refused) for url in urls):
                break
            reached = progressed() if progressed else 0
            # A connection that breaks again and again gets on nevertheless.
            tries = 1 if reached > position else tries + 1
            position = max(position, reached)
            if tries >= self._attempts:
                break
            pause = max(pause, min(self._backoff * 2 ** (tries - 1), _LONGEST_BACKOFF) * random.uniform(0.8, 1.2))
            if stop.wait(pause):
                raise _Stopped
        raise _failure(what, problems, missing_remedy)

    def _tell(self, message: str) -> None:
        if self._log is not None:
            self._log(message)


def _failure(what: str, problems: t.Mapping[str, _Problem], missing_remedy: str | None) -> RepositoryError:
    """Say why none of the URLs gave what was wanted."""
    missing = all(isinstance(problem, _Refused) and problem.missing for problem in problems.values())
    reasons = [f"{redact(url)}: {problem}" for url, problem in problems.items()]
    last = list(problems.values())[-1]
    if len(reasons) == 1:
        message = f"{_capital(what)} could not be downloaded from {reasons[0]}."
    else:
        message = f"{_capital(what)} could not be downloaded: {'; '.join(reasons)}."
    remedy = missing_remedy if missing and missing_remedy else last.remedy
    return RepositoryError(
        message,
        remedy=remedy or "Check the URL, or use another mirror.",
        details={"missing": True, "what": what} if missing else {},
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _oversized(limit: int) -> _Refused:
    return _Refused(f"it has more than the {limit} bytes that such a document may have", "Check the URL.", fatal=True)


def _read_body(response: t.Any) -> bytes:
    """Read the next bytes of an answer as they came; none at its end, whether that is early or not."""
    urllib3 = import_library("urllib3", package="python3-urllib3")
    try:
        return t.cast(bytes, response.raw.read(_CHUNK, decode_content=False))
    except urllib3.exceptions.ProtocolError as exc:
        # urllib3 2 tells an early end by an exception, urllib3 1 does not; the callers count the bytes.
        if any(type(cause).__name__ == "IncompleteRead" for cause in _chain(exc)):
            return b""
        raise


def _content_length(response: t.Any) -> int | None:
    value = response.headers.get("Content-Length", "")
    return int(value) if value.isdigit() else None


@contextlib.contextmanager
def _local_file(url: str) -> t.Iterator[t.BinaryIO]:
    path = urllib.parse.unquote(urllib.parse.urlsplit(url).path)
    try:
        with open(path, "rb") as stream:
            yield stream
    except FileNotFoundError as exc:
        raise _Refused("there is no such file", missing=True) from exc
    except (PermissionError, IsADirectoryError) as exc:
        raise _Refused(f"it cannot be read: {exc.strerror}", fatal=True) from exc


def _is_intact(download: Download) -> bool:
    try:
        same_size = os.stat(download.destination).st_size == download.size
    except FileNotFoundError:
        return False
    return same_size and sha256_file(download.destination) == download.sha256


def check_space(downloads: t.Iterable[Download]) -> None:
    """Check that the file systems have room for what is still missing of some downloads.

    :raises RepositoryError: There is too little.
    """
    needed: dict[int, int] = {}
    directories: dict[int, str] = {}
    for download in downloads:
        directory = os.path.dirname(download.destination)
        while not os.path.isdir(directory):
            directory = os.path.dirname(directory)
        device = os.stat(directory).st_dev
        present = 0
        with contextlib.suppress(FileNotFoundError):
            present = os.stat(f"{download.destination}.part").st_size
        needed[device] = needed.get(device, 0) + max(0, download.size - present)
        directories.setdefault(device, directory)
    for device, size in needed.items():
        status = os.statvfs(directories[device])
        free = status.f_bavail * status.f_frsize
        if size and free < size + _SPACE_MARGIN:
            raise RepositoryError(
                f"The downloads need {size / 1e6:.0f} MB, but only {free / 1e6:.0f} MB are free in "
                f"{directories[device]}.",
                remedy="Free some space there, or choose another cache_dir.",
            )


__all__ = ("CredentialFinder", "Document", "Download", "Downloader", "ProxyFinder", "Timeouts", "check_space", "redact")
