# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An HTTP server for tests: real sockets, ranges, validators, TLS, and faults on demand."""

from __future__ import annotations

import dataclasses
import email.utils
import hashlib
import http.server
import os
import re
import ssl
import subprocess
import threading
import time
import typing as t
import urllib.parse


@dataclasses.dataclass
class Fault:
    """How the server misbehaves for some requests of one path.

    :ivar status: Answer with this status instead of the file.
    :ivar headers: More headers.
    :ivar truncate: Close the connection after this many bytes of the body.
    :ivar delay: Wait so many seconds before the answer.
    :ivar pace: Wait so many seconds after each piece of the body.
    :ivar piece: The bytes of a piece.
    :ivar head_pace: Send the head of the answer byte by byte, and wait so many seconds after each.
    :ivar endless: Tell no length, and never stop sending the body.
    :ivar content: Send these bytes instead of the file's.
    :ivar reset: Close the connection without any answer.
    :ivar no_range: Ignore the Range header.
    :ivar times: For how many requests; V(None) for all.
    """

    status: int | None = None
    headers: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    truncate: int | None = None
    delay: float = 0
    pace: float = 0
    piece: int = 16384
    head_pace: float = 0
    endless: bool = False
    content: bytes | None = None
    reset: bool = False
    no_range: bool = False
    times: int | None = 1


@dataclasses.dataclass(frozen=True)
class Request:
    """A request that the server got."""

    path: str
    headers: t.Mapping[str, str]
    status: int


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: t.Any) -> None:  # noqa: A002
        """Say nothing: the requests are kept for the test."""

    def do_GET(self) -> None:
        """Answer with a file, or with the fault that was ordered for it."""
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        fault = self.server.owner.take_fault(path) or Fault()
        time.sleep(fault.delay)
        if fault.reset:
            self._note(0)
            self.close_connection = True
            return
        if fault.status is not None:
            self._answer(fault.status, b"", fault)
            return
        data = fault.content
        if data is None:
            try:
                with open(self.server.owner.root + path, "rb") as stream:
                    data = stream.read()
            except OSError:
                self._answer(404, b"", fault)
                return
        etag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        headers = {"ETag": etag, **fault.headers} if self.server.owner.validators else dict(fault.headers)
        if self.server.owner.validators and self.headers.get("If-None-Match") == etag:
            self._answer(304, b"", dataclasses.replace(fault, headers=headers))
            return
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if match and not fault.no_range:
            begin = int(match[1])
            if begin >= len(data):
                self._answer(416, b"", fault)
                return
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
            self._answer(206, data[begin:], dataclasses.replace(fault, headers=headers))
            return
        self._answer(200, data, dataclasses.replace(fault, headers=headers))

    def _note(self, status: int) -> None:
        self.server.owner.requests.append(Request(self.path, dict(self.headers), status))

    def _answer(self, status: int, body: bytes, fault: Fault) -> None:
        self._note(status)
        if fault.head_pace:
            self._drip(b"HTTP/1.1 200 OK\r\nX-Padding: ", 0)
            self._drip(b"x" * 100_000, fault.head_pace)
            return
        self.send_response(status)
        for name, value in fault.headers.items():
            self.send_header(name, value)
        if fault.endless:
            self.send_header("Connection", "close")
        elif status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        sent = body if fault.truncate is None else body[: fault.truncate]
        self._drip(sent, fault.pace, piece=fault.piece if fault.pace else max(len(sent), 1))
        while fault.endless and self._drip(bytes(fault.piece), fault.pace, piece=fault.piece):
            pass
        if fault.truncate is not None:
            self.close_connection = True

    def _drip(self, data: bytes, pace: float, *, piece: int = 1) -> bool:
        """Send some bytes piece by piece; tells whether the client still listens and the server lives."""
        try:
            for begin in range(0, len(data), piece):
                self.wfile.write(data[begin : begin + piece])
                if pace and self.server.owner.closing.wait(pace):
                    self.close_connection = True
                    return False
        except OSError:
            self.close_connection = True
            return False
        return True


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    owner: FileServer

    def handle_error(self, request: t.Any, client_address: t.Any) -> None:
        """Say nothing: clients of tests break connections on purpose."""


class FileServer:
    """Serves a directory on 127.0.0.1 while its context is entered.

    :param root: The directory.
    :param certificate: A PEM file with key and certificate, for https.
    :param validators: Send ETags and answer 304.
    """

    def __init__(
        self, root: str | os.PathLike[str], *, certificate: str | None = None, validators: bool = True
    ) -> None:
        self.root = os.fspath(root)
        self.validators = validators
        self.requests: list[Request] = []
        self._faults: dict[str, list[Fault]] = {}
        self._guard = threading.Lock()
        self.closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._scheme = "https"

    def __enter__(self) -> FileServer:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        """The TCP port."""
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        return f"{self._scheme}://127.0.0.1:{self.port}"

    def fail(self, path: str, *faults: Fault) -> None:
        """Order faults for a path (or V(*) for all); they come one after the other."""
        with self._guard:
            self._faults.setdefault(path, []).extend(faults)

    def heal(self) -> None:
        """Forget all faults, and the requests so far."""
        with self._guard:
            self._faults.clear()
            self.requests.clear()

    def take_fault(self, path: str) -> Fault | None:
        """Return the next fault for a path."""
        with self._guard:
            for key in (path, "*"):
                queue = self._faults.get(key)
                if queue:
                    fault = queue[0]
                    if fault.times is not None:
                        fault.times -= 1
                        if fault.times <= 0:
                            queue.pop(0)
                    return fault
        return None

    def paths(self) -> list[str]:
        """Return the paths of the requests so far."""
        return [request.path for request in self.requests]


def make_certificate(path: str | os.PathLike[str]) -> str:
    """Write a self-signed certificate for 127.0.0.1 with its key into one PEM file; return the path."""
    target = os.fspath(path)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        + [
            "-subj",
            "/CN=127.0.0.1",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            target,
            "-out",
            f"{target}.c",
        ],
        check=True,
        capture_output=True,
    )
    with open(target, "ab") as stream, open(f"{target}.c", "rb") as certificate:
        stream.write(certificate.read())
    return target


def http_date(seconds: float) -> str:
    """Return a date as HTTP headers and Release files have it."""
    return email.utils.formatdate(seconds, usegmt=True)


__all__ = ("Fault", "FileServer", "Request", "http_date", "make_certificate")
