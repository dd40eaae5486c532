# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Downloads from a real server that misbehaves in every way servers do."""

from __future__ import annotations

import collections
import dataclasses
import fcntl
import hashlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import types
import typing as t

import pytest
import yaml
from ansible_collections.os_image.composer.plugins.doc_fragments._download_options import ModuleDocFragment
from ansible_collections.os_image.composer.plugins.module_utils._argspec import DOWNLOAD_OPTIONS
from ansible_collections.os_image.composer.plugins.module_utils._credentials import AptCredentials
from ansible_collections.os_image.composer.plugins.module_utils._download.downloader import Downloader
from ansible_collections.os_image.composer.plugins.module_utils._download.model import (
    Download,
    Limits,
    Timeouts,
    limits_of,
)
from ansible_collections.os_image.composer.plugins.module_utils._errors import CancelledError, RepositoryError
from ansible_collections.os_image.composer.plugins.module_utils._lease import cancellable
from ansible_collections.os_image.composer.tests.support.http_server import (
    Fault,
    FileServer,
    http_date,
    make_certificate,
)

DATA = bytes(range(256)) * 4096
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def downloader() -> t.Iterator[Downloader]:
    with Downloader(workers=4, attempts=3, backoff=0.01, timeouts=Timeouts(connect=2, read=1)) as instance:
        yield instance


@pytest.fixture
def target(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "cache" / "file.deb"


def publish(server: FileServer, name: str = "file.deb", data: bytes = DATA) -> str:
    path = pathlib.Path(server.root) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return f"{server.url}/{name}"


def wish(target: pathlib.Path, *urls: str, data: bytes = DATA, what: str = "the package file 1.0") -> Download:
    return Download(
        urls=urls,
        destination=str(target),
        digest=hashlib.sha256(data).hexdigest(),
        size=len(data),
        what=what,
        missing_remedy="Resolve again.",
    )


def assert_nothing_final(target: pathlib.Path) -> None:
    assert not target.exists()
    assert [path.name for path in target.parent.iterdir() if not path.name.endswith(".part")] == []


def test_the_options_are_those_of_the_documentation() -> None:
    documented = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    assert {name: {key: option[key] for key in ("type", "default")} for name, option in documented.items()} == (
        DOWNLOAD_OPTIONS
    )
    limits = limits_of({name: option["default"] for name, option in DOWNLOAD_OPTIONS.items()})
    assert limits == Limits()


def test_many_files_come_in_parallel(server: FileServer, downloader: Downloader, tmp_path: pathlib.Path) -> None:
    files = {f"pool/{number}.deb": os.urandom(1000 * number) for number in range(20)}
    downloads = [
        wish(tmp_path / "cache" / name.replace("/", "_"), publish(server, name, data), data=data)
        for name, data in files.items()
    ]
    done: list[str] = []
    received = downloader.fetch_all(downloads, on_done=lambda download, size: done.append(download.destination))
    assert received == sum(map(len, files.values()))
    assert sorted(done) == sorted(download.destination for download in downloads)
    for download, data in zip(downloads, files.values()):
        assert pathlib.Path(download.destination).read_bytes() == data
    assert not list((tmp_path / "cache").glob("*.part"))


def test_a_partial_file_is_continued(server: FileServer, downloader: Downloader, target: pathlib.Path) -> None:
    target.parent.mkdir()
    part = target.with_name("file.deb.part")
    part.write_bytes(DATA[:700_000])
    assert downloader.fetch_all([wish(target, publish(server))]) == len(DATA) - 700_000
    assert server.requests[0].headers["Range"] == "bytes=700000-"
    assert target.read_bytes() == DATA
    assert not part.exists()


def test_a_complete_partial_file_needs_no_network(downloader: Downloader, target: pathlib.Path) -> None:
    target.parent.mkdir()
    target.with_name("file.deb.part").write_bytes(DATA)
    assert downloader.fetch_all([wish(target, "http://127.0.0.1:9/file.deb")]) == 0
    assert target.read_bytes() == DATA


@pytest.mark.parametrize(
    "part",
    [b"x" * 1000, b"x" * len(DATA), DATA + b"more"],
    ids=["wrong beginning", "wrong content", "too long"],
)
def test_a_wrong_partial_file_is_replaced(
    server: FileServer, downloader: Downloader, target: pathlib.Path, part: bytes
) -> None:
    target.parent.mkdir()
    target.with_name("file.deb.part").write_bytes(part)
    downloader.fetch_all([wish(target, publish(server))])
    assert target.read_bytes() == DATA


@pytest.mark.parametrize(
    "fault",
    [Fault(no_range=True), Fault(status=416), Fault(status=206, headers={"Content-Range": "bytes 5-9/10"})],
    ids=["range ignored", "range refused", "another range"],
)
def test_a_server_without_ranges_sends_all_again(
    server: FileServer, downloader: Downloader, target: pathlib.Path, fault: Fault
) -> None:
    target.parent.mkdir()
    target.with_name("file.deb.part").write_bytes(DATA[:1000])
    url = publish(server)
    server.fail("/file.deb", fault)
    downloader.fetch_all([wish(target, url)])
    assert target.read_bytes() == DATA


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_temporary_errors_are_tried_again(
    server: FileServer, downloader: Downloader, target: pathlib.Path, status: int
) -> None:
    url = publish(server)
    server.fail("/file.deb", Fault(status=status, times=2))
    downloader.fetch_all([wish(target, url)])
    assert [request.status for request in server.requests] == [status, status, 200]
    assert target.read_bytes() == DATA


def test_the_tries_end(server: FileServer, downloader: Downloader, target: pathlib.Path) -> None:
    url = publish(server)
    server.fail("/file.deb", Fault(status=503, times=None))
    with pytest.raises(RepositoryError) as caught:
        downloader.fetch_all([wish(target, url)])
    assert str(caught.value) == (
        f"The package file 1.0 could not be downloaded from {url}: the server answers 503 Service Unavailable. "
        "Try again later, or use another mirror."
    )
    assert len(server.requests) == 3
    assert_nothing_final(target)


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_honoured(
    server: FileServer, downloader: Downloader, target: pathlib.Path, as_date: bool
) -> None:
    url = publish(server)
    value = http_date(time.time() + 2) if as_date else "1"
    server.fail("/file.deb", Fault(status=503, headers={"Retry-After": value}))
    begin = time.monotonic()
    downloader.fetch_all([wish(target, url)])
    assert 0.9 <= time.monotonic() - begin < 4


def test_a_long_retry_after_is_told_and_not_waited_for(
    server: FileServer, downloader: Downloader, target: pathlib.Path
) -> None:
    url = publish(server)
    server.fail("/file.deb", Fault(status=429, headers={"Retry-After": "3600"}))
    with pytest.raises(RepositoryError, match="wants no further request for 3600 s"):
        downloader.fetch_all([wish(target, url)])


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (404, "404 Not Found. Resolve again."),
        (410, "410 Gone. Resolve again."),
        (403, "403 Forbidden. Check that the build host may read this URL."),
        (401, "401 Unauthorized. Put the credentials for this server into"),
    ],
)
def test_final_errors_are_not_tried_again(
    server: FileServer, downloader: Downloader, target: pathlib.Path, status: int, words: str
) -> None:
    url = publish(server)
    server.fail("/file.deb", Fault(status=status, times=None))
    with pytest.raises(RepositoryError) as caught:
        downloader.fetch_all([wish(target, url)])
    assert words in str(caught.value)
    assert len(server.requests) == 1
    assert_nothing_final(target)


def test_all_missing_files_are_named_at_once(
    server: FileServer, downloader: Downloader, tmp_path: pathlib.Path
) -> None:
    downloads = [
        wish(tmp_path / f"cache/{name}", f"{server.url}/{name}", what=f"the package {name}") for name in ("a", "b", "c")
    ]
    with pytest.raises(RepositoryError) as caught:
        downloader.fetch_all([*downloads, wish(tmp_path / "cache/good", publish(server))])
    assert "3 files are not on any server that may have them: the package a, the package b, the package c." in str(
        caught.value
    )
    # What could be had is kept for the next run.
    assert (tmp_path / "cache/good").read_bytes() == DATA


def test_a_broken_connection_is_continued(server: FileServer, downloader: Downloader, target: pathlib.Path) -> None:
    url = publish(server)
    # More breaks than tries: each one gets on.
    server.fail("/file.deb", *(Fault(truncate=200_000) for _number in range(4)))
    assert downloader.fetch_all([wish(target, url)]) == len(DATA)
    assert [request.headers.get("Range") for request in server.requests] == [
        None,
        "bytes=200000-",
        "bytes=400000-",
        "bytes=600000-",
        "bytes=800000-",
    ]
    assert target.read_bytes() == DATA


def test_a_truncated_file_is_no_file(server: FileServer, downloader: Downloader, target: pathlib.Path) -> None:
    url = publish(server)
    server.fail("/file.deb", Fault(truncate=100, times=1), Fault(truncate=0, times=None))
    with pytest.raises(RepositoryError, match="the answer ended after 100 of 1048576 bytes"):
        downloader.fetch_all([wish(target, url)])
    assert_nothing_final(target)
    assert target.with_name("file.deb.part").read_bytes() == DATA[:100]


def test_wrong_content_is_refused(server: FileServer, downloader: Downloader, target: pathlib.Path) -> None:
    url = publish(server)
    wrong = b"y" * len(DATA)
    server.fail("/file.deb", Fault(content=wrong, times=None))
    with pytest.raises(RepositoryError) as caught:
        downloader.fetch_all([wish(target, url)])
    assert f"its content has the SHA-256 {hashlib.sha256(wrong).hexdigest()}, but {DIGEST} is demanded" in str(
        caught.value
    )
    assert "use another mirror" in str(caught.value)
    assert_nothing_final(target)


def test_another_size_is_refused_before_the_content_comes(
    server: FileServer, downloader: Downloader, target: pathlib.Path
) -> None:
    url = publish(server)
    server.fail("/file.deb", Fault(content=b"<html>log in first</html>", times=None))
    with pytest.raises(RepositoryError, match="the server has 25 bytes, but 1048576 are demanded"):
        downloader.fetch_all([wish(target, url)])
    assert_nothing_final(target)


def test_the_next_place_helps(server: FileServer, downloader: Downloader, target: pathlib.Path) -> None:
    url = publish(server)
    peer = f"{server.url}/peer/file.deb"
    server.fail("/peer/file.deb", Fault(content=b"z" * len(DATA), times=None))
    downloader.fetch_all([wish(target, "http://127.0.0.1:9/file.deb", f"{server.url}/none.deb", peer, url)])
    assert target.read_bytes() == DATA


def test_a_dead_peer_is_asked_once(server: FileServer, tmp_path: pathlib.Path) -> None:
    log: list[str] = []
    downloads = []
    for number in range(6):
        url = publish(server, f"{number}.deb", DATA[number:])
        downloads.append(wish(tmp_path / f"{number}.deb", f"http://127.0.0.1:9/{number}", url, data=DATA[number:]))
    with Downloader(workers=1, backoff=0.01, log=log.append) as downloader:
        downloader.fetch_all(downloads)
    assert len([line for line in log if "refuses connections" in line]) == 1


def test_a_slow_peer_is_waited_for_once(server: FileServer, tmp_path: pathlib.Path) -> None:
    peer = publish(server, "peer.deb").replace("127.0.0.1", "localhost")
    server.fail("/peer.deb", Fault(pace=0.05, piece=1, times=None))
    downloads = [
        wish(tmp_path / "cache" / name, peer, publish(server, name, DATA), data=DATA) for name in ("a.deb", "b.deb")
    ]
    with Downloader(workers=1, backoff=0.01, limits=Limits(rate=1000, window=0.5)) as downloader:
        assert downloader.fetch_all(downloads) >= 2 * len(DATA)
    assert server.paths().count("/peer.deb") == 1


def test_a_refused_connection_is_explained(downloader: Downloader, target: pathlib.Path) -> None:
    with pytest.raises(RepositoryError) as caught:
        downloader.fetch_all([wish(target, "http://127.0.0.1:9/file.deb")])
    assert str(caught.value) == (
        "The package file 1.0 could not be downloaded from http://127.0.0.1:9/file.deb: 127.0.0.1:9 refuses "
        "connections. Check that the server runs and that the URL is right."
    )
    assert_nothing_final(target)


def test_a_name_that_does_not_resolve_is_explained(downloader: Downloader, target: pathlib.Path) -> None:
    with pytest.raises(RepositoryError, match=r"the name 'mirror.invalid' cannot be resolved: .*DNS and proxy"):
        downloader.fetch_all([wish(target, "http://mirror.invalid/file.deb")])


def test_silence_is_explained(server: FileServer, target: pathlib.Path) -> None:
    url = publish(server)
    server.fail("/file.deb", Fault(delay=1, times=None))
    with (
        Downloader(attempts=1, timeouts=Timeouts(connect=1, read=0.2)) as downloader,
        pytest.raises(RepositoryError, match=r"127.0.0.1:\d+ sent nothing for 0.2 s"),
    ):
        downloader.fetch_all([wish(target, url)])


@pytest.mark.parametrize(
    ("limits", "fault", "reason"),
    [
        (
            Limits(rate=1000, window=0.5, file=60),
            Fault(pace=0.05, piece=1, times=None),
            "sends less than 1000 bytes per second. Use another mirror, or lower download_min_rate.",
        ),
        (
            # Fast at first, and slow when the client has got used to it.
            Limits(rate=1000, window=0.5, file=60),
            Fault(pace=0.4, piece=300_000, times=None),
            "sends less than 1000 bytes per second.",
        ),
        (
            # The library closes such a connection as soon as the head of the answer is there.
            Limits(rate=1000, window=0.5, file=60),
            Fault(pace=0.05, piece=1, endless=True, content=b"", headers={"Connection": "close"}, times=None),
            "sends less than 1000 bytes per second. Use another mirror, or lower download_min_rate.",
        ),
        (
            Limits(rate=1000, window=0.5, file=60),
            Fault(head_pace=0.05, times=None),
            "did not send the head of an answer in time.",
        ),
        (
            Limits(rate=0, file=1),
            Fault(pace=0.05, piece=1000, times=None),
            "it was not there within the time that it may take. Use a faster mirror, or raise download_timeout",
        ),
        (
            Limits(rate=0, file=1),
            Fault(status=503, headers={"Retry-After": "50"}, times=None),
            "the server answers 503 Service Unavailable.",
        ),
    ],
    ids=["a byte now and then", "slow in the middle", "no length", "slow head", "the time of a file", "Retry-After"],
)
@pytest.mark.parametrize("form", ["file", "document"])
def test_a_slow_server_is_left(
    server: FileServer, target: pathlib.Path, limits: Limits, fault: Fault, reason: str, form: str
) -> None:
    url = publish(server)
    if fault.piece == 300_000:
        limits = dataclasses.replace(limits, rate=1_000_000)
        reason = reason.replace("1000", "1e+06")
    server.fail("/file.deb", fault)
    begin = time.monotonic()
    with (
        Downloader(attempts=1, backoff=0.01, timeouts=Timeouts(connect=0.5, read=0.5), limits=limits) as downloader,
        pytest.raises(RepositoryError) as caught,
    ):
        if form == "file":
            downloader.fetch_all([wish(target, url)])
        else:
            downloader.get(url, limit=1 << 24, what="the document")
    assert reason in str(caught.value)
    assert time.monotonic() - begin < 4


def test_a_slow_server_is_no_reason_to_begin_again(server: FileServer, target: pathlib.Path) -> None:
    url = publish(server)
    server.fail("/file.deb", Fault(pace=0.05, piece=1000))
    limits = Limits(rate=100_000, window=0.4)
    with Downloader(attempts=2, backoff=0.01, limits=limits) as downloader:
        assert downloader.fetch_all([wish(target, url)]) == len(DATA)
    assert [request.status for request in server.requests] in ([200, 200], [200, 206])


def test_what_is_asked_for_at_once_has_one_time(server: FileServer, downloader: Downloader) -> None:
    url = publish(server)
    server.fail("/file.deb", Fault(pace=0.1, piece=20_000, times=None))
    begin = time.monotonic()
    with downloader.within(0.5), pytest.raises(RepositoryError, match="refresh_timeout"):
        downloader.get(url, limit=1 << 24, what="the document")
    assert time.monotonic() - begin < 2
    server.heal()
    assert downloader.get(url, limit=1 << 24, what="the document") is not None


def test_a_document_has_an_end(server: FileServer, downloader: Downloader) -> None:
    server.fail("/file.deb", Fault(endless=True, times=None))
    with pytest.raises(RepositoryError, match="it has more than the 3000000 bytes"):
        downloader.get(publish(server), limit=3_000_000, what="the document")


def test_a_file_has_the_size_that_is_known(server: FileServer, downloader: Downloader, target: pathlib.Path) -> None:
    server.fail("/file.deb", Fault(endless=True, times=None))
    with pytest.raises(RepositoryError, match=f"the server sends more than the {len(DATA)} bytes that are demanded"):
        downloader.fetch_all([wish(target, publish(server))])
    assert_nothing_final(target)


def test_a_reset_connection_is_tried_again(server: FileServer, downloader: Downloader, target: pathlib.Path) -> None:
    url = publish(server)
    server.fail("/file.deb", Fault(reset=True))
    downloader.fetch_all([wish(target, url)])
    assert target.read_bytes() == DATA


def test_a_self_signed_certificate_is_refused_and_explained(
    tmp_path: pathlib.Path, downloader: Downloader, target: pathlib.Path
) -> None:
    (tmp_path / "served").mkdir()
    with FileServer(tmp_path / "served", certificate=make_certificate(tmp_path / "tls.pem")) as server:
        url = publish(server)
        with pytest.raises(RepositoryError) as caught:
            downloader.fetch_all([wish(target, url)])
    assert f"the TLS certificate of 127.0.0.1:{server.port} is not trusted: self-signed certificate" in str(
        caught.value
    )
    assert "/usr/local/share/ca-certificates" in str(caught.value)
    assert server.requests == []
    assert_nothing_final(target)


def test_plain_http_behind_https_is_explained(server: FileServer, downloader: Downloader, target: pathlib.Path) -> None:
    url = publish(server).replace("http:", "https:")
    with pytest.raises(RepositoryError, match=r"no TLS connection to 127.0.0.1:\d+ can be made"):
        downloader.fetch_all([wish(target, url)])


def test_the_proxy_of_the_environment_is_used(
    server: FileServer, downloader: Downloader, target: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(server, "file.deb")
    monkeypatch.setenv("http_proxy", server.url)
    downloader.fetch_all([wish(target, "http://mirror.invalid/file.deb")])
    # A proxy is asked for the whole URL.
    assert server.paths() == ["http://mirror.invalid/file.deb"]
    assert target.read_bytes() == DATA


def test_the_proxy_of_the_caller_is_used(server: FileServer, target: pathlib.Path) -> None:
    publish(server, "file.deb")
    with Downloader(proxies=lambda url: {"http": server.url} if "mirror" in url else None) as downloader:
        downloader.fetch_all([wish(target, "http://mirror.invalid/file.deb")])
    assert server.paths() == ["http://mirror.invalid/file.deb"]


def test_a_broken_proxy_is_explained(
    downloader: Downloader, target: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(RepositoryError, match="the proxy for mirror.invalid cannot be used: .*Acquire::http::Proxy"):
        downloader.fetch_all([wish(target, "http://mirror.invalid/file.deb")])


def test_too_little_space_is_found_before_the_first_byte(
    server: FileServer, downloader: Downloader, target: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = publish(server)
    status = collections.namedtuple("status", ("f_bavail", "f_frsize"))
    monkeypatch.setattr(os, "statvfs", lambda path: status(100, 4096))
    with pytest.raises(RepositoryError) as caught:
        downloader.fetch_all([wish(target, url)])
    assert str(caught.value).startswith("The downloads need 1 MB, but only 0 MB are free in ")
    assert "choose another cache_dir" in str(caught.value)
    assert server.requests == []


FULL_DISK = """
import sys
from ansible_collections.os_image.composer.plugins.module_utils._download import downloader
from ansible_collections.os_image.composer.plugins.module_utils._download.model import Download
from ansible_collections.os_image.composer.plugins.module_utils._errors import RepositoryError
downloader.check_space = lambda downloads: None
url, destination, sha256, size = sys.argv[1:]
try:
    with downloader.Downloader() as fetcher:
        fetcher.fetch_all([Download((url,), destination, sha256, int(size), "the package file 1.0")])
except RepositoryError as exc:
    print(exc)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_a_disk_that_becomes_full_is_explained(server: FileServer, tmp_path: pathlib.Path) -> None:
    url = publish(server)
    mount = tmp_path / "small"
    mount.mkdir()
    script = tmp_path / "fetch.py"
    script.write_text(FULL_DISK)
    # The mount lives in a namespace of its own, and ends with it.
    shell = 'mount -t tmpfs -o size=512k none "$1" && "$2" "$3" "$4" "$1/file.deb" "$5" "$6" && ls "$1"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", shell, "sh", str(mount), sys.executable, str(script), url, DIGEST]
        + [str(len(DATA))],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.splitlines() == [
        f"The package file 1.0 could not be stored: no space is left in {mount}. "
        "Free some space there, or choose another cache_dir; what was downloaded is continued.",
        "file.deb.part",
    ], done.stderr


def test_the_process_can_be_killed_at_any_moment(
    server: FileServer, downloader: Downloader, target: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    url = publish(server)
    server.fail("/file.deb", Fault(pace=0.02))
    script = tmp_path / "fetch.py"
    script.write_text(FULL_DISK)
    process = subprocess.Popen(
        [sys.executable, str(script), url, str(target), DIGEST, str(len(DATA))],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    part = target.with_name("file.deb.part")
    end = time.monotonic() + 10
    while time.monotonic() < end and not (part.exists() and part.stat().st_size > 0):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert_nothing_final(target)
    left = part.stat().st_size
    assert 0 < left < len(DATA)
    assert downloader.fetch_all([wish(target, url)]) == len(DATA) - left
    assert target.read_bytes() == DATA


def test_cancelling_ends_the_downloads_at_once(server: FileServer, tmp_path: pathlib.Path) -> None:
    downloads = []
    for number in range(6):
        url = publish(server, f"{number}.deb")
        server.fail(f"/{number}.deb", Fault(pace=0.2, times=None))
        downloads.append(wish(tmp_path / "cache" / f"{number}.deb", url))
    timer = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGTERM))
    timer.start()
    begin = time.monotonic()
    with (
        pytest.raises(CancelledError),
        Downloader(workers=3) as downloader,
        cancellable("pkg_fetch", lease_file=None, lease_timeout=0),
    ):
        downloader.fetch_all(downloads)
    assert time.monotonic() - begin < 2.5
    time.sleep(0.5)
    assert [path.name for path in (tmp_path / "cache").iterdir() if not path.name.endswith(".part")] == []
    assert len(server.requests) == 3


def test_two_builds_share_one_download(server: FileServer, downloader: Downloader, target: pathlib.Path) -> None:
    url = publish(server)
    target.parent.mkdir()
    part = target.with_name("file.deb.part")

    def other_build() -> None:
        time.sleep(0.3)
        part.write_bytes(DATA)
        part.rename(target)
        os.close(descriptor)

    descriptor = os.open(part, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    thread = threading.Thread(target=other_build)
    thread.start()
    assert downloader.fetch_all([wish(target, url)]) == 0
    thread.join()
    assert server.requests == []
    assert target.read_bytes() == DATA
    assert not part.exists()


def test_a_damaged_file_is_replaced(server: FileServer, downloader: Downloader, target: pathlib.Path) -> None:
    target.parent.mkdir()
    target.write_bytes(b"damaged")
    downloader.fetch_all([wish(target, publish(server))])
    assert target.read_bytes() == DATA


def test_an_empty_file_can_be_fetched(server: FileServer, downloader: Downloader, target: pathlib.Path) -> None:
    downloader.fetch_all([wish(target, publish(server, data=b""), data=b"")])
    assert target.read_bytes() == b""


def test_files_of_the_host(downloader: Downloader, target: pathlib.Path, tmp_path: pathlib.Path) -> None:
    source = tmp_path / "a file"
    source.write_bytes(DATA)
    url = f"file://{tmp_path}/a%20file"
    downloader.fetch_all([wish(target, url)])
    assert target.read_bytes() == DATA
    document = downloader.get(url, limit=2 << 20, what="the file")
    assert document is not None and document.data == DATA
    assert downloader.get(f"{url}.none", limit=10, what="the file", missing_ok=True) is None
    with pytest.raises(RepositoryError, match="The file could not be downloaded from .*: there is no such file."):
        downloader.get(f"{url}.none", limit=10, what="the file")


def test_an_unchanged_document_is_not_sent_again(server: FileServer, downloader: Downloader) -> None:
    url = publish(server, "InRelease", b"text")
    first = downloader.get(url, limit=100, what="the InRelease")
    assert first is not None and first.data == b"text" and first.etag
    second = downloader.get(url, limit=100, what="the InRelease", etag=first.etag)
    assert second is not None and second.data is None
    assert [request.status for request in server.requests] == [200, 304]


@pytest.mark.parametrize("fault", [Fault(truncate=2), Fault(status=500), Fault(reset=True)])
def test_a_document_is_tried_again(server: FileServer, downloader: Downloader, fault: Fault) -> None:
    url = publish(server, "InRelease", b"text")
    server.fail("/InRelease", fault)
    document = downloader.get(url, limit=100, what="the InRelease")
    assert document is not None and document.data == b"text"


def test_an_oversized_document_is_refused(server: FileServer, downloader: Downloader) -> None:
    url = publish(server, "InRelease", b"x" * 101)
    with pytest.raises(RepositoryError, match="it has more than the 100 bytes that such a document may have"):
        downloader.get(url, limit=100, what="the InRelease")


def test_the_credentials_of_apt_are_used(server: FileServer, target: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "auth.conf.d").mkdir()
    machine = f"machine http://127.0.0.1:{server.port}/private login user password secret\n"
    (tmp_path / "auth.conf.d/mine.conf").write_text(machine)
    with Downloader(credentials=AptCredentials(str(tmp_path))) as downloader:
        downloader.fetch_all([wish(target, publish(server, "private/file.deb"))])
        downloader.get(publish(server, "public", b"x"), limit=10, what="the file")
    assert [request.headers.get("Authorization") for request in server.requests] == ["Basic dXNlcjpzZWNyZXQ=", None]


def test_a_redirect_does_not_leave_tls(
    server: FileServer,
    downloader: Downloader,
    target: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = publish(server)
    (tmp_path / "elsewhere").mkdir()
    certificate = make_certificate(tmp_path / "tls.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", f"{certificate}.c")
    with FileServer(tmp_path / "elsewhere", certificate=certificate) as protected:
        url = publish(protected)
        for location in (place, place.replace("http", "HtTp"), place.replace("http", "ht\ttp")):
            protected.fail("/file.deb", Fault(status=302, headers={"Location": location}))
            with pytest.raises(RepositoryError, match="redirects to .*/file.deb, which is not protected by TLS"):
                downloader.fetch_all([wish(target, url)])
        assert server.requests == []
        assert_nothing_final(target)
        protected.fail("/file.deb", Fault(status=302, headers={"Location": f"{protected.url}/other"}))
        publish(protected, "other")
        downloader.fetch_all([wish(target, url)])
    assert target.read_bytes() == DATA


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x"])
def test_a_redirect_leads_to_a_server(
    server: FileServer, downloader: Downloader, target: pathlib.Path, location: str
) -> None:
    url = publish(server)
    server.fail("/file.deb", Fault(status=302, headers={"Location": location}, times=None))
    with pytest.raises(RepositoryError, match="could not be downloaded"):
        downloader.fetch_all([wish(target, url)])
    assert_nothing_final(target)


def test_credentials_are_for_one_server(server: FileServer, target: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Not for the one that it redirects to."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "auth.conf").write_text(f"machine {server.url} login user password secret\n")
    with (
        FileServer(tmp_path / "elsewhere") as other,
        Downloader(credentials=AptCredentials(str(tmp_path))) as downloader,
    ):
        server.fail("/file.deb", Fault(status=302, headers={"Location": publish(other)}))
        downloader.fetch_all([wish(target, publish(server))])
        assert "Authorization" in server.requests[0].headers
        assert "Authorization" not in other.requests[0].headers


def test_credentials_stay_out_of_messages(server: FileServer, downloader: Downloader, target: pathlib.Path) -> None:
    url = server.url.replace("//", "//user:secret@") + "/none.deb"
    with pytest.raises(RepositoryError) as caught:
        downloader.fetch_all([wish(target, url)])
    assert "secret" not in str(caught.value)


def test_the_digest_ends_the_matter_for_compressed_transfers(
    server: FileServer, downloader: Downloader, target: pathlib.Path
) -> None:
    url = publish(server)
    # Some servers call what is a compressed file a compressed transfer; it must come as it is.
    server.fail("/file.deb", Fault(headers={"Content-Encoding": "x-gzip"}))
    downloader.fetch_all([wish(target, url)])
    assert target.read_bytes() == DATA


def test_without_the_library_the_package_is_named(
    downloader: Downloader, target: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "requests", t.cast(types.ModuleType, None))
    with pytest.raises(Exception, match="of the build host: .* Install the package 'python3-requests' there"):
        downloader.fetch_all([wish(target, "http://127.0.0.1:9/file.deb")])
