# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Repositories of the DEB family: from a signature to package indexes that can be believed.

The chain is: the repository's own keys -> C(InRelease) (or C(Release) with C(Release.gpg)) -> the digest of each
C(Packages) file -> the digest of each package. See Debian's wiki page DebianRepository/Format.

What was verified is kept in C({metadata_dir}/{name}-{id}/): the signed documents, the decompressed indexes, and in
C(state.json) what the next run needs to ask the server for changes only. It replaces an older state as a whole, last.
C(seen.json) remembers the newest date that was ever seen, so that nobody can play old metadata back.
"""

from __future__ import annotations

import bz2
import contextlib
import dataclasses
import datetime
import email.utils
import gzip
import hashlib
import json
import lzma
import os
import re
import subprocess
import time
import typing as t
import urllib.parse
import zlib

from ansible_collections.os_image.composer.plugins.module_utils._command import find_tool
from ansible_collections.os_image.composer.plugins.module_utils._download import Document, Download, Downloader, redact
from ansible_collections.os_image.composer.plugins.module_utils._errors import RepositoryError, SignatureError
from ansible_collections.os_image.composer.plugins.module_utils._filelock import file_lock
from ansible_collections.os_image.composer.plugins.module_utils._io import (
    atomic_file,
    digest_of,
    sha256_bytes,
    sha256_file,
    write_file,
    write_json,
)
from ansible_collections.os_image.composer.plugins.module_utils._parallel import run_parallel
from ansible_collections.os_image.composer.plugins.module_utils._progress import Progress
from ansible_collections.os_image.composer.plugins.module_utils._repository.keys import is_url, local_keys
from ansible_collections.os_image.composer.plugins.module_utils._repository.mirrors import Mirrors
from ansible_collections.os_image.composer.plugins.module_utils._repository.model import (
    PackageIndex,
    RepositoryMetadata,
)
from ansible_collections.os_image.composer.plugins.module_utils._repository.signature import (
    SignedContent,
    read_keyring,
    verify_clearsigned,
    verify_detached,
)

_STATE_SCHEMA = 1
# The largest Release files of today have 0.3 MB, the largest indexes 60 MB; more than this is an attack or an error.
_RELEASE_LIMIT = 16 << 20
_INDEX_LIMIT = 2 << 30
_CLOCK_TOLERANCE = 3600
_KEEP_SECONDS = 3600
# Smallest transfer first.
_COMPRESSIONS = (".xz", ".zst", ".gz", ".bz2", "")
_OPENERS: t.Mapping[str, t.Callable[[str, t.Literal["rb"]], t.Any]] = {
    ".xz": lzma.open,
    ".gz": gzip.open,
    ".bz2": bz2.open,
    "": open,
}

RepositoryConfig = t.Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class _Listed:
    """A file that a Release names."""

    sha256: str
    size: int


@dataclasses.dataclass(frozen=True)
class _Release:
    """The parsed content of a Release file."""

    fields: t.Mapping[str, str]
    files: t.Mapping[str, _Listed]
    date: int
    valid_until: int | None

    def words(self, name: str) -> list[str]:
        """Return a field's words; none when it is absent."""
        return self.fields.get(name, "").split()


@dataclasses.dataclass(frozen=True)
class _Wanted:
    """An index that has to be on disk: which compressed file of the Release gives it."""

    component: str
    arch: str
    path: str
    listed: _Listed
    plain: _Listed | None


class _Repository:
    """One configured repository, its place on disk, and where it lies on the network."""

    def __init__(self, config: RepositoryConfig, *, metadata_dir: str, mirrors: Mirrors) -> None:
        self.name: str = config["name"]
        self.suite: str = config["suite"]
        self.components: tuple[str, ...] = tuple(config.get("components") or ())
        self.priority: int = config.get("priority", 500)
        self.allow_packages: tuple[str, ...] = tuple(config.get("allow_packages") or ())
        self.gpgcheck: bool = config.get("gpgcheck", True)
        self.keys: tuple[str, ...] = tuple(config.get("keys") or ())
        self.fingerprints: tuple[str, ...] = tuple(config.get("fingerprints") or ())
        self.is_flat = self.suite.endswith("/")
        self._mirror: str | None = config.get("mirror")
        self._url: str | None = config.get("url")
        self._mirrors = mirrors
        # Not the mirror's URL: another mirror of the same archive must not be older than this one was.
        identity = {"place": f"mirror:{self._mirror}" if self._mirror else self._url, "suite": self.suite}
        label = re.sub(r"[^A-Za-z0-9._-]+", "_", self.name)
        self.metadata_dir = metadata_dir
        self.directory = os.path.join(metadata_dir, f"{label}-{digest_of(identity)[:8]}")

    def join(self, *parts: str) -> str:
        return os.path.join(self.directory, *parts)

    def resolve(self) -> str:
        """Return the base URL; packages lie below it."""
        url = self._mirrors.url(self._mirror) if self._mirror else self._url
        if not url:
            raise RepositoryError(
                f"The repository {self.name!r} has neither a url nor a mirror.",
                remedy="Name one of them in the template.",
            )
        parts = urllib.parse.urlsplit(url)
        if "@" in parts.netloc:
            raise RepositoryError(
                f"The URL of the repository {self.name!r} ({redact(url)}) holds credentials, which would end up in "
                "lock files and logs.",
                remedy="Put them into a file in /etc/apt/auth.conf.d of the build host, and take them out of the URL.",
            )
        return url.rstrip("/")

    def release_url(self, base_url: str, name: str) -> str:
        """Return the URL of a file that lies beside the Release."""
        place = self.suite.strip("/") if self.is_flat else f"dists/{self.suite.strip('/')}"
        # A flat repository may be the base URL itself ("./").
        place = "/".join(part for part in place.split("/") if part not in ("", "."))
        return "/".join(part for part in (base_url, place, _quote(name)) if part)

    @property
    def shown(self) -> str:
        return f"repository {self.name!r}"


@dataclasses.dataclass
class _Candidate:
    """The signed documents of a repository, as they came or as they were kept."""

    repository: _Repository
    base_url: str
    documents: dict[str, bytes]
    validators: dict[str, str | None]
    fresh: bool
    release: _Release | None = None
    signed: SignedContent | None = None


def _quote(path: str) -> str:
    return urllib.parse.quote(path, safe="/~:+@=,!$&'()*;")


def refresh(
    repositories: t.Sequence[RepositoryConfig],
    *,
    package_arch: str,
    metadata_dir: str,
    mirrors: t.Mapping[str, str] | Mirrors | None,
    downloader: Downloader,
    offline: bool = False,
    progress: Progress | None = None,
    lock_timeout: float = 300,
    now: int | None = None,
) -> list[RepositoryMetadata]:
    """Bring the metadata of some repositories up to date, and return it verified.

    :param repositories: As C(template.json) has them (C(provider.repositories)).
    :param package_arch: For example C(amd64).
    :param metadata_dir: C({cache_dir}/pkgCache/{provider_id}/metadata).
    :param mirrors: The option C(mirrors), or the mirrors of the host.
    :param offline: Use what an earlier run has left, and verify that.
    :param now: Seconds since 1970 to be taken for the present time.
    :raises RepositoryError: A repository cannot be had, is out of date, or is not what was asked for.
    :raises SignatureError: A repository is not signed as it should be.
    """
    known = mirrors if isinstance(mirrors, Mirrors) else Mirrors(mirrors)
    moment = int(time.time()) if now is None else now
    items = [_Repository(config, metadata_dir=metadata_dir, mirrors=known) for config in repositories]
    if progress is not None:
        where = "from the cache" if offline else "from the repositories"
        progress.milestone("Packages", f"Refreshing package metadata {where} ({len(items)} repositories)")
    os.makedirs(metadata_dir, exist_ok=True)
    lock = file_lock(
        os.path.join(metadata_dir, ".lock"),
        what=f"package metadata in {metadata_dir}",
        who="refresh of the package metadata",
        timeout=lock_timeout,
    )
    with lock:
        candidates = run_parallel(
            lambda item: _candidate(item, downloader, offline=offline, now=moment, faked=now),
            items,
            workers=downloader.workers,
        )
        wanted = [_wanted(candidate, package_arch) for candidate in candidates]
        missing = [
            (candidate, index)
            for candidate, indexes in zip(candidates, wanted)
            for index in indexes
            if not _on_disk(candidate.repository, index)
        ]
        if missing and offline:
            names = ", ".join(f"{candidate.repository.name}: {index.path}" for candidate, index in missing)
            raise RepositoryError(
                f"Package indexes are not in the cache, and this is an offline run: {names}.",
                remedy="Run os_image.composer.pkg_resolve once with a network for the same repositories.",
            )
        if missing:
            _fetch_indexes(missing, downloader, progress)
        result = [
            _accept(candidate, indexes, progress, offline=offline, now=moment)
            for candidate, indexes in zip(candidates, wanted)
        ]
    return result


def _candidate(
    repository: _Repository, downloader: Downloader, *, offline: bool, now: int, faked: int | None
) -> _Candidate:
    """Get the signed documents of a repository, and verify everything that they say about themselves."""
    candidate = _stored(repository) if offline else _ask(repository, downloader)
    where = f"the {repository.shown} ({candidate.base_url})"
    if repository.gpgcheck:
        candidate.signed = _verify(candidate, downloader, where=where, offline=offline, now=faked)
    else:
        candidate.signed = SignedContent(_unsigned_content(candidate.documents), ())
    candidate.release = _parse_release(candidate.signed.content, where=where)
    _check_release(candidate, where=where, offline=offline, now=now)
    return candidate


def _ask(repository: _Repository, downloader: Downloader) -> _Candidate:
    """Get the signed documents from the network; unchanged ones from the disk."""
    base_url = repository.resolve()
    state = _read_json(repository.join("state.json"))
    stored = _read_documents(repository)
    same_place = state.get("base_url") == base_url and state.get("schema_version") == _STATE_SCHEMA
    validators = state.get("validators", {}) if same_place else {}
    url = repository.release_url(base_url, "InRelease")
    what = f"the InRelease of the {repository.shown}"
    known = "InRelease" in stored
    answer = downloader.get(
        url,
        limit=_RELEASE_LIMIT,
        what=what,
        etag=validators.get("etag") if known else None,
        last_modified=validators.get("last_modified") if known else None,
        missing_ok=True,
    )
    if answer is not None:
        if answer.data is None:
            return _Candidate(repository, base_url, {"InRelease": stored["InRelease"]}, validators, fresh=False)
        fresh = answer.data != stored.get("InRelease")
        return _Candidate(repository, base_url, {"InRelease": answer.data}, _validators(answer), fresh=fresh)
    documents: dict[str, bytes] = {}
    for name in ("Release", "Release.gpg"):
        document = downloader.get(
            repository.release_url(base_url, name),
            limit=_RELEASE_LIMIT,
            what=f"the {name} of the {repository.shown}",
            missing_ok=True,
        )
        if document is not None and document.data is not None:
            documents[name] = document.data
    if "Release" not in documents:
        raise RepositoryError(
            f"There is no repository at {redact(repository.release_url(base_url, ''))}: it has neither an InRelease "
            f"nor a Release file ({repository.shown}).",
            remedy="Check the URL and the suite of the repository, or use another mirror.",
        )
    fresh = any(documents[name] != stored.get(name) for name in documents)
    return _Candidate(repository, base_url, documents, {}, fresh=fresh)


def _validators(answer: Document) -> dict[str, str | None]:
    return {"etag": answer.etag, "last_modified": answer.last_modified}


def _stored(repository: _Repository) -> _Candidate:
    """Take the signed documents that an earlier run has verified and kept."""
    documents = _read_documents(repository)
    state = _read_json(repository.join("state.json"))
    if not documents or not state:
        raise RepositoryError(
            f"The metadata of the {repository.shown} is not in the cache ({repository.directory}), and this is an "
            "offline run.",
            remedy="Run os_image.composer.pkg_resolve once with a network for the same repositories.",
        )
    return _Candidate(repository, state["base_url"], documents, state.get("validators", {}), fresh=False)


def _read_documents(repository: _Repository) -> dict[str, bytes]:
    documents = {}
    for name in ("InRelease", "Release", "Release.gpg"):
        with contextlib.suppress(FileNotFoundError), open(repository.join(name), "rb") as stream:
            documents[name] = stream.read()
    return documents


def _read_json(path: str) -> dict[str, t.Any]:
    try:
        with open(path, encoding="utf-8") as stream:
            value = json.load(stream)
    except (FileNotFoundError, ValueError):
        # What cannot be read proves nothing; it is made anew.
        return {}
    return value if isinstance(value, dict) else {}


def _verify(
    candidate: _Candidate, downloader: Downloader, *, where: str, offline: bool, now: int | None
) -> SignedContent:
    repository = candidate.repository
    if not repository.keys:
        raise SignatureError(
            f"For {where} no key is named, so its signature cannot be checked.",
            remedy="Name its key files in the template, or set gpgcheck: false for this repository.",
        )
    try:
        return _verify_with(_keyring(repository, downloader, offline=offline, now=now), candidate, where=where, now=now)
    except SignatureError:
        if offline or not any(is_url(key) for key in repository.keys):
            raise
        # Owners prolong keys and add subkeys to them: what is kept may be older than the signature.
        keyring = _keyring(repository, downloader, offline=offline, now=now, anew=True)
        return _verify_with(keyring, candidate, where=where, now=now)


def _keyring(
    repository: _Repository, downloader: Downloader, *, offline: bool, now: int | None, anew: bool = False
) -> bytes:
    what = f"the {repository.shown}"
    paths = local_keys(
        repository.keys,
        repository.fingerprints,
        metadata_dir=repository.metadata_dir,
        what=what,
        downloader=downloader,
        offline=offline,
        anew=anew,
        now=now,
    )
    return read_keyring(paths, what=what)


def _verify_with(keyring: bytes, candidate: _Candidate, *, where: str, now: int | None) -> SignedContent:
    documents = candidate.documents
    common: dict[str, t.Any] = {"keyring": keyring, "fingerprints": candidate.repository.fingerprints, "now": now}
    if "InRelease" in documents:
        return verify_clearsigned(documents["InRelease"], what=f"The InRelease of {where}", **common)
    if "Release.gpg" not in documents:
        raise SignatureError(
            f"{where[:1].upper()}{where[1:]} is not signed: it has neither an InRelease nor a Release.gpg file.",
            remedy="Check the URL; a repository without signatures needs gpgcheck: false in the template.",
        )
    return verify_detached(documents["Release"], documents["Release.gpg"], what=f"The Release of {where}", **common)


def _unsigned_content(documents: t.Mapping[str, bytes]) -> bytes:
    """Return the content of a Release whose signature nobody wants to see (C(gpgcheck: false))."""
    data = documents.get("InRelease")
    if data is None:
        return documents["Release"]
    match = re.search(
        rb"^-----BEGIN PGP SIGNED MESSAGE-----\r?\n(?:[^\r\n]+\r?\n)*\r?\n(?P<text>.*?)^-----BEGIN PGP SIGNATURE-----",
        data,
        re.MULTILINE | re.DOTALL,
    )
    return re.sub(rb"^- ", b"", match["text"], flags=re.MULTILINE) if match else data


def _parse_release(content: bytes, *, where: str) -> _Release:
    fields: dict[str, str] = {}
    files: dict[str, _Listed] = {}
    name = ""
    try:
        for line in content.decode("utf-8").splitlines():
            if line[:1] in (" ", "\t"):
                if name == "SHA256":
                    digest, size, path = line.split()
                    if not re.fullmatch(r"[0-9a-f]{64}", digest) or not size.isdigit():
                        raise ValueError(f"bad line {line.strip()!r}")
                    files[path] = _Listed(digest, int(size))
                continue
            name, colon, value = line.partition(":")
            if line and not colon:
                raise ValueError(f"bad line {line[:80]!r}")
            fields[name] = value.strip()
        if "SHA256" not in fields:
            raise ValueError("it lists no SHA256 digests")
        date = _seconds(fields.get("Date"))
        if date is None:
            raise ValueError("it has no Date")
        return _Release(fields, files, date, _seconds(fields.get("Valid-Until")))
    except ValueError as exc:
        raise RepositoryError(
            f"The Release of {where} cannot be understood: {exc}.",
            remedy="Check the URL; the repository's owner has to publish a Release file with SHA256 digests.",
        ) from exc


def _seconds(value: str | None) -> int | None:
    if not value:
        return None
    try:
        when = email.utils.parsedate_to_datetime(value)
    except (TypeError, ValueError) as exc:
        raise ValueError(f"bad date {value!r}") from exc
    if when.tzinfo is None:
        when = when.replace(tzinfo=datetime.timezone.utc)
    return int(when.timestamp())


def _day(seconds: int) -> str:
    return f"{datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


def _check_release(candidate: _Candidate, *, where: str, offline: bool, now: int) -> None:
    """Check that a Release is the one that was asked for, and neither stale nor older than one seen before."""
    repository, release = candidate.repository, candidate.release
    if release is None:
        raise AssertionError("release is known here")
    names = {release.fields[name] for name in ("Suite", "Codename") if release.fields.get(name)}
    wanted = {repository.suite.strip("/")}
    if repository.suite.endswith("/updates"):
        # The security archive before Debian 11.
        wanted |= {repository.suite[: -len("/updates")], repository.suite.replace("/updates", "-security")}
    if names and not repository.is_flat and not names & wanted:
        raise RepositoryError(
            f"At {where} lies the suite {' / '.join(sorted(names))}, but {repository.suite} was asked for.",
            remedy="Correct the suite in the template; if it is right, the mirror serves a wrong file: use another.",
        )
    if release.date > now + _CLOCK_TOLERANCE:
        raise RepositoryError(
            f"The Release of {where} is dated {_day(release.date)}, which lies in the future.",
            remedy=f"Check the clock of the build host: it says {_day(now)}.",
        )
    # Offline the freshness cannot be known; what is on the disk was fresh when it came.
    if release.valid_until is not None and release.valid_until < now and not offline:
        raise RepositoryError(
            f"The Release of {where} has expired: it was valid until {_day(release.valid_until)}.",
            remedy="The mirror is no longer updated, or somebody withholds updates: use another mirror, and check the "
            "clock of the build host.",
        )
    seen = _read_json(repository.join("seen.json")).get("date")
    if isinstance(seen, int) and release.date < seen:
        raise RepositoryError(
            f"The Release of {where} is dated {_day(release.date)}, but this build host has seen one of "
            f"{_day(seen)} before: it is too old.",
            remedy="Use a mirror that is up to date; if the older state is really wanted, remove "
            f"{repository.join('seen.json')}.",
        )


def _wanted(candidate: _Candidate, package_arch: str) -> list[_Wanted]:
    """Choose the index files to use, one for each component and architecture."""
    repository, release = candidate.repository, candidate.release
    if release is None:
        raise AssertionError("release is known here")
    if repository.is_flat:
        found = _choose(release, "Packages", "", package_arch) or _choose(release, "./Packages", "", package_arch)
        if found is None:
            raise RepositoryError(
                f"The Release of the {repository.shown} ({candidate.base_url}) lists no Packages file.",
                remedy="Check the URL and the suite: a suite that ends in '/' means a repository without components.",
            )
        return [found]
    architectures = [package_arch]
    # Without this word the indexes of the other architectures have the packages of "all" too.
    if "all" in release.words("Architectures") and "Packages" not in release.words("No-Support-for-Architecture-all"):
        architectures.append("all")
    result = []
    for component in repository.components:
        indexes = [_choose(release, f"{component}/binary-{arch}/Packages", component, arch) for arch in architectures]
        present = [index for index in indexes if index is not None]
        if not present:
            raise _no_index(candidate, component, package_arch)
        result += present
    return result


def _choose(release: _Release, path: str, component: str, arch: str) -> _Wanted | None:
    for suffix in _COMPRESSIONS:
        listed = release.files.get(path + suffix)
        if listed is not None:
            return _Wanted(component, arch, path + suffix, listed, release.files.get(path))
    return None


def _no_index(candidate: _Candidate, component: str, arch: str) -> RepositoryError:
    repository, release = candidate.repository, candidate.release
    if release is None:
        raise AssertionError("release is known here")
    paths = [match for path in release.files if (match := re.fullmatch(r"(.+)/binary-([^/]+)/Packages.*", path))]
    components = sorted({match[1] for match in paths})
    architectures = sorted({match[2] for match in paths if match[1] == component})
    if architectures:
        what = f"has no packages of {component!r} for {arch}, only for {', '.join(architectures)}"
    else:
        what = f"has no component {component!r}, only {', '.join(components) or 'none at all'}"
    return RepositoryError(
        f"The {repository.shown} ({candidate.base_url}, suite {repository.suite}) {what}.",
        remedy="Correct the repository's components in the template.",
    )


def _index_path(repository: _Repository, index: _Wanted) -> str:
    label = "_".join(part.replace("/", "_") for part in (index.component, index.arch) if part)
    return repository.join(f"{label}_Packages.{index.listed.sha256[:16]}")


def _on_disk(repository: _Repository, index: _Wanted) -> bool:
    """Tell whether a decompressed index is there and still what was decompressed."""
    path = _index_path(repository, index)
    record = _read_json(f"{path}.json")
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return False
    if record.get("compressed_sha256") != index.listed.sha256 or record.get("size") != status.st_size:
        return False
    if [status.st_mtime_ns, status.st_ino] == record.get("status"):
        return True
    if sha256_file(path) != record.get("sha256"):
        return False
    write_json(f"{path}.json", {**record, "status": [status.st_mtime_ns, status.st_ino]})
    return True


def _fetch_indexes(
    missing: t.Sequence[tuple[_Candidate, _Wanted]], downloader: Downloader, progress: Progress | None
) -> None:
    """Download indexes, check them, and leave them decompressed."""
    downloads: dict[str, tuple[Download, _Candidate, _Wanted]] = {}
    for candidate, index in missing:
        repository, release = candidate.repository, candidate.release
        if release is None:
            raise AssertionError("release is known here")
        os.makedirs(repository.directory, exist_ok=True)
        urls = [repository.release_url(candidate.base_url, index.path)]
        if release.fields.get("Acquire-By-Hash", "").lower() == "yes":
            directory = os.path.dirname(index.path)
            by_hash = "/".join(part for part in (directory, "by-hash/SHA256", index.listed.sha256) if part)
            urls.insert(0, repository.release_url(candidate.base_url, by_hash))
        download = Download(
            urls=tuple(urls),
            destination=f"{_index_path(repository, index)}{os.path.splitext(index.path)[1]}.download",
            sha256=index.listed.sha256,
            size=index.listed.size,
            what=f"the package index {index.path} of the {repository.shown}",
            missing_remedy="The mirror may be in the middle of an update: try again in some minutes, or use another.",
        )
        if index.listed.size > _INDEX_LIMIT:
            raise RepositoryError(
                f"{download.what[:1].upper()}{download.what[1:]} is said to have {index.listed.size} bytes, more than "
                f"the {_INDEX_LIMIT} that an index may have.",
                remedy="Check the URL of the repository.",
            )
        downloads[download.destination] = (download, candidate, index)
    if progress is not None:
        size = sum(download.size for download, _candidate, _index in downloads.values())
        progress.milestone("Packages", f"Downloading package indexes ({len(downloads)} files, {size / 1e6:.1f} MB)")
    downloader.fetch_all([download for download, _candidate, _index in downloads.values()])
    run_parallel(
        lambda item: _unpack(item[1].repository, item[2], item[0]),
        list(downloads.values()),
        # Decompression runs outside of the interpreter's lock.
        workers=min(downloader.workers, os.cpu_count() or 1),
    )


def _unpack(repository: _Repository, index: _Wanted, download: Download) -> None:
    """Decompress a verified index; give it its name and record its digest."""
    path = _index_path(repository, index)
    limit = index.plain.size if index.plain is not None else _INDEX_LIMIT
    digest = hashlib.sha256()
    size = 0
    try:
        with atomic_file(path) as stream:
            for chunk in _decompress(download.destination, os.path.splitext(index.path)[1]):
                size += len(chunk)
                if size > limit:
                    raise ValueError(f"it grows beyond the {limit} bytes that it may have")
                digest.update(chunk)
                stream.write(chunk)
            if index.plain is not None and digest.hexdigest() != index.plain.sha256:
                raise ValueError("decompressed it has another SHA-256 than the Release says")
    except (ValueError, EOFError, OSError, lzma.LZMAError, zlib.error) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise RepositoryError(
            f"{download.what[:1].upper()}{download.what[1:]} cannot be decompressed: {reason}.",
            remedy="Check the free space of the cache; if there is enough, the repository itself is damaged.",
        ) from exc
    status = os.stat(path)
    record = {
        "compressed_sha256": index.listed.sha256,
        "sha256": digest.hexdigest(),
        "size": size,
        "status": [status.st_mtime_ns, status.st_ino],
    }
    write_json(f"{path}.json", record)
    os.unlink(download.destination)


def _decompress(path: str, suffix: str) -> t.Iterator[bytes]:
    """Yield the content of a compressed file, 1 MiB at most at a time, so that no small file can fill the memory."""
    chunk = 1 << 20
    if suffix == ".zst":
        argv = [find_tool("zstd", package="zstd"), "-dcq", "--memory=256MB", path]
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
            if process.stdout is None:
                raise AssertionError("process.stdout is known here")
            try:
                while True:
                    data = process.stdout.read(chunk)
                    if not data:
                        break
                    yield data
            except GeneratorExit:
                process.kill()
                raise
        if process.returncode != 0:
            raise ValueError("zstd cannot read it")
        return
    with _OPENERS[suffix](path, "rb") as stream:
        while True:
            data = stream.read(chunk)
            if not data:
                return
            yield data


def _accept(
    candidate: _Candidate, indexes: t.Sequence[_Wanted], progress: Progress | None, *, offline: bool, now: int
) -> RepositoryMetadata:
    """Keep what was verified as the repository's state, and describe it."""
    repository, release, signed = candidate.repository, candidate.release, candidate.signed
    if release is None or signed is None:
        raise AssertionError("release and signed is known here")
    metadata_digest = sha256_bytes(signed.content)
    if not offline:
        _keep(candidate, indexes, release)
    if progress is not None:
        if not repository.gpgcheck:
            progress.milestone(
                "Packages",
                f"The signature of the {repository.shown} is not checked, as the template says (gpgcheck: false)",
                level="warn",
            )
        if release.valid_until is not None and release.valid_until < now:
            progress.milestone(
                "Packages",
                f"The metadata of the {repository.shown} has expired ({_day(release.valid_until)}); it is used because "
                "this is an offline run",
                level="warn",
            )
    described = []
    for index in indexes:
        path = _index_path(repository, index)
        record = _read_json(f"{path}.json")
        described.append(PackageIndex(path, record["sha256"], index.component, index.arch, record["size"]))
    return RepositoryMetadata(
        name=repository.name,
        base_url=candidate.base_url,
        suite=repository.suite,
        components=repository.components,
        priority=repository.priority,
        allow_packages=repository.allow_packages,
        gpgcheck=repository.gpgcheck,
        signed_by=signed.signed_by,
        metadata_digest=metadata_digest,
        date=release.date,
        valid_until=release.valid_until,
        indexes=tuple(described),
    )


def _keep(candidate: _Candidate, indexes: t.Sequence[_Wanted], release: _Release) -> None:
    repository = candidate.repository
    os.makedirs(repository.directory, exist_ok=True)
    if candidate.fresh:
        for name in ("InRelease", "Release", "Release.gpg"):
            if name in candidate.documents:
                write_file(repository.join(name), candidate.documents[name])
            else:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(repository.join(name))
    used = sorted(os.path.basename(_index_path(repository, index)) for index in indexes)
    state = {
        "schema_version": _STATE_SCHEMA,
        "base_url": candidate.base_url,
        "validators": candidate.validators,
        "indexes": used,
    }
    before = _read_json(repository.join("state.json"))
    if state != before:
        # Kept for a while: another build may be about to read them.
        for name in set(before.get("indexes", ())) - set(used):
            with contextlib.suppress(FileNotFoundError):
                os.utime(repository.join(name))
        write_json(repository.join("state.json"), state)
        _prune(repository, used)
    seen = _read_json(repository.join("seen.json")).get("date")
    if not isinstance(seen, int) or release.date > seen:
        write_json(repository.join("seen.json"), {"date": release.date, "shown": _day(release.date)})


def _prune(repository: _Repository, used: t.Collection[str]) -> None:
    """Remove indexes that nobody uses any more."""
    for entry in os.scandir(repository.directory):
        match = re.fullmatch(r"(.+_Packages\.[0-9a-f]{16})(?:\..*)?", entry.name)
        if match is None or match[1] in used:
            continue
        with contextlib.suppress(FileNotFoundError):
            if time.time() - entry.stat().st_mtime > _KEEP_SECONDS:
                os.unlink(entry.path)


__all__ = ("RepositoryConfig", "refresh")
