# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Downloads over HTTP: parallel, resumable, verified.

What is downloaded lies in C({destination}.part) until its digest is the demanded one; only then it gets its name.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import random
import threading
import time
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._credentials import AptCredentials
from ansible_collections.os_image.composer.plugins.module_utils._download.connection import (
    Connections,
    local_file,
)
from ansible_collections.os_image.composer.plugins.module_utils._download.model import (
    CredentialFinder,
    Document,
    Download,
    Limits,
    ProxyFinder,
    Timeouts,
)
from ansible_collections.os_image.composer.plugins.module_utils._download.partial import Partial, locked_part
from ansible_collections.os_image.composer.plugins.module_utils._download.problem import (
    Problem,
    Refused,
    Stopped,
    Temporary,
    capital,
    failure,
    oversized,
)
from ansible_collections.os_image.composer.plugins.module_utils._download.url import redact, server_of
from ansible_collections.os_image.composer.plugins.module_utils._errors import RepositoryError
from ansible_collections.os_image.composer.plugins.module_utils._io import file_digest
from ansible_collections.os_image.composer.plugins.module_utils._parallel import run_parallel

_LONGEST_BACKOFF = 30.0
# Left free beside what is downloaded, for the documents and logs of the build.
_SPACE_MARGIN = 16 << 20


class Downloader:
    """Fetches files and documents; a context manager that closes its connections.

    :param workers: How many connections are used at once, 1 to 100.
    :param attempts: How often each thing is tried before its failure is final.
    :param backoff: Seconds before the second try; doubled for each further one, with jitter.
    :param limits: How slow a server may be.
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
        limits: Limits | None = None,
        proxies: ProxyFinder | None = None,
        credentials: CredentialFinder | None = None,
        log: t.Callable[[str], None] | None = None,
    ) -> None:
        self.workers = workers
        self._attempts = attempts
        self._backoff = backoff
        self._limits = limits or Limits()
        self._connections = Connections(
            timeouts or Timeouts(), self._limits, proxies=proxies, credentials=credentials or AptCredentials()
        )
        self._log = log
        self._end = math.inf
        self._down: set[str] = set()

    def __enter__(self) -> Downloader:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all idle connections."""
        self._connections.close()

    @contextlib.contextmanager
    def within(self, seconds: float) -> t.Iterator[None]:
        """Let everything that is asked for in the block be here after so many seconds."""
        before, self._end = self._end, min(self._end, time.monotonic() + seconds)
        try:
            yield
        finally:
            self._end = before

    def get(
        self,
        url: str,
        *,
        limit: int,
        what: str,
        etag: str | None = None,
        last_modified: str | None = None,
        missing_ok: bool = False,
        others: t.Sequence[str] = (),
        refuse: t.Callable[[bytes], None] | None = None,
    ) -> Document | None:
        """Fetch a small document into memory.

        :param limit: The most bytes that it may have.
        :param what: The thing, as messages name it.
        :param etag: The validator from last time: with it the answer may be "unchanged" (C(data) is V(None)).
        :param last_modified: The time stamp from last time, likewise.
        :param missing_ok: Return V(None) when no server has it.
        :param others: Further places where it may be had, the best first.
        :param refuse: Raises E(Refused) for content that cannot be it.
        :raises RepositoryError: It cannot be had.
        """
        conditions = {"If-None-Match": etag, "If-Modified-Since": last_modified}
        headers = {name: value for name, value in conditions.items() if value}
        stop = threading.Event()

        def attempt(address: str, end: float) -> Document:
            answer = self._get(address, limit, headers, end)
            if answer.data is not None and refuse is not None:
                refuse(answer.data)
            return answer

        try:
            document: Document = self._try_all((url, *others), attempt, what=what, stop=stop, missing_remedy=None)
        except RepositoryError as exc:
            if missing_ok and exc.details.get("missing"):
                return None
            raise
        return document

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

    def _get(self, url: str, limit: int, headers: t.Mapping[str, str], end: float) -> Document:
        if url.startswith("file:"):
            with local_file(url) as stream:
                data = stream.read(limit + 1)
            if len(data) > limit:
                raise oversized(limit)
            return Document(data, url=url)
        with self._connections.request(url, headers, end=end) as answer:
            etag, modified = answer.headers.get("ETag"), answer.headers.get("Last-Modified")
            if answer.status == 304:
                answer.read()
                return Document(None, etag, modified, url)
            announced = answer.length
            if announced is not None and announced > limit:
                raise oversized(limit)
            content = bytearray()
            while len(content) <= limit:
                chunk = answer.read()
                if not chunk:
                    break
                content += chunk
            if len(content) > limit:
                raise oversized(limit)
            if announced is not None and len(content) < announced:
                raise Temporary(f"the answer ended after {len(content)} of {announced} bytes", "Try again later.")
            return Document(bytes(content), etag, modified, url)

    def _fetch(self, download: Download, stop: threading.Event) -> int:
        """Fetch one file; return the bytes that came over the network."""
        os.makedirs(os.path.dirname(download.destination), exist_ok=True)
        part = f"{download.destination}.part"

        def attempt(url: str, end: float) -> None:
            begin = time.monotonic()
            self._receive(url, partial, download, stop, end)
            if partial.offset < download.size:
                raise Temporary(
                    f"the answer ended after {partial.offset} of {download.size} bytes",
                    "Try again later, or use another mirror.",
                )
            self._tell(f"{redact(url)}: {download.size} bytes in {time.monotonic() - begin:.2f} s")

        try:
            with locked_part(part, stop, like=download.digest) as partial:
                if _is_intact(download):
                    partial.restart()
                    return 0
                partial.load(download.size)
                if partial.offset == download.size and partial.digest.hexdigest() != download.digest:
                    partial.restart()
                if partial.offset < download.size or download.size == 0:
                    self._try_all(
                        download.urls,
                        lambda url, end: self._checked(url, lambda place: attempt(place, end), partial, download),
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
                    f"{capital(download.what)} could not be stored: no space is left in "
                    f"{os.path.dirname(download.destination)}.",
                    remedy="Free some space there, or choose another cache_dir; what was downloaded is continued.",
                ) from exc
            raise RepositoryError(
                f"{capital(download.what)} could not be stored as {download.destination}: {exc.strerror}.",
                remedy="Check the directory and its file system.",
            ) from exc
        return partial.received

    def _checked(self, url: str, attempt: t.Callable[[str], None], partial: Partial, download: Download) -> None:
        """Fetch a file from one URL to its end, and demand its digest; what was there before may have been wrong."""
        continued = partial.offset > 0
        attempt(url)
        if partial.digest.hexdigest() == download.digest:
            return
        if continued:
            partial.restart()
            attempt(url)
            if partial.digest.hexdigest() == download.digest:
                return
        actual = partial.digest.hexdigest()
        partial.restart()
        raise Refused(
            f"its content has the SHA-{partial.digest.name[3:]} {actual}, but {download.digest} is demanded",
            "The server or a proxy on the way delivers another file: use another mirror, or try again later.",
        )

    def _receive(self, url: str, partial: Partial, download: Download, stop: threading.Event, end: float) -> None:
        """Append what a URL has beyond the partial file."""
        if url.startswith("file:"):
            with local_file(url) as stream:
                stream.seek(partial.offset)
                self._append(lambda: stream.read(1 << 20), partial, download, stop)
            return
        headers = {"Range": f"bytes={partial.offset}-"} if partial.offset else {}
        try:
            with self._connections.request(url, headers, end=end) as answer:
                if partial.offset:
                    begin = f"bytes {partial.offset}-"
                    if answer.status != 206 or not answer.headers.get("Content-Range", "").startswith(begin):
                        if answer.status == 206:
                            raise Refused("the server answers with another range than was asked for")
                        partial.restart()
                elif answer.status == 206:
                    raise Refused("the server answers with a range that was not asked for")
                announced = answer.length
                if announced is not None and partial.offset + announced != download.size:
                    raise Refused(
                        f"the server has {partial.offset + announced} bytes, but {download.size} are demanded",
                        "The server or a proxy on the way delivers another file: use another mirror, or try again "
                        "later.",
                    )
                self._append(answer.read, partial, download, stop)
        except Refused as exc:
            if not partial.offset or exc.missing or exc.fatal:
                raise
            # Whatever the server has against the range (416 above all), the whole file may still be had.
            partial.restart()
            self._receive(url, partial, download, stop, end)

    @staticmethod
    def _append(read: t.Callable[[], bytes], partial: Partial, download: Download, stop: threading.Event) -> None:
        while True:
            chunk = read()
            if not chunk:
                return
            if stop.is_set():
                raise Stopped
            if partial.offset + len(chunk) > download.size:
                partial.restart()
                raise Refused(f"the server sends more than the {download.size} bytes that are demanded")
            partial.append(chunk)

    def _try_all(
        self,
        urls: t.Sequence[str],
        attempt: t.Callable[[str, float], t.Any],
        *,
        what: str,
        stop: threading.Event,
        missing_remedy: str | None,
        progressed: t.Callable[[], int] | None = None,
    ) -> t.Any:
        """Try each URL in turn, and all of them again after a pause, until one gives what is wanted.

        No server can hold this up: it ends when the time is over that one file, or all of them, may take.
        """
        problems: dict[str, Problem] = {}
        tries = 0
        end = min(self._end, time.monotonic() + self._limits.file)
        position = progressed() if progressed else 0
        while True:
            pause = 0.0
            candidates = [url for url in urls if not isinstance(problems.get(url), Refused)]
            up = [url for url in candidates if server_of(url) not in self._down]
            for url in up or candidates[-1:]:
                if stop.is_set():
                    raise Stopped
                try:
                    return attempt(url, end)
                except Problem as exc:
                    problems[url] = exc
                    self._tell(f"{redact(url)}: {exc}")
                    if isinstance(exc, Temporary):
                        pause = max(pause, exc.retry_after or 0.0)
                        elsewhere = len({server_of(other) for other in urls}) > 1
                        if (exc.unreachable and len(urls) > 1) or (exc.slow and elsewhere):
                            # Others of the same batch need not wait for a dead or slow peer again.
                            self._down.add(server_of(url))
            if all(isinstance(problems.get(url), Refused) for url in urls):
                break
            reached = progressed() if progressed else 0
            slow = any(isinstance(problem, Temporary) and problem.slow for problem in problems.values())
            # A connection that breaks again and again gets on nevertheless.
            tries = 1 if reached > position and not slow else tries + 1
            position = max(position, reached)
            if tries >= self._attempts:
                break
            pause = max(pause, min(self._backoff * 2 ** (tries - 1), _LONGEST_BACKOFF) * random.uniform(0.8, 1.2))
            if time.monotonic() + pause >= end:
                # Nobody waits for a try that could not be made any more.
                break
            if stop.wait(pause):
                raise Stopped
        raise failure(what, problems, missing_remedy)

    def _tell(self, message: str) -> None:
        if self._log is not None:
            self._log(message)


def _is_intact(download: Download) -> bool:
    try:
        same_size = os.stat(download.destination).st_size == download.size
    except FileNotFoundError:
        return False
    return same_size and file_digest(download.destination, like=download.digest) == download.digest


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


__all__ = ("Downloader", "check_space")
