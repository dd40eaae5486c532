# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Repositories of every package family: their configuration, place on disk, and signed documents.

What was verified is kept in C({metadata_dir}/{name}-{id}/): the signed documents, the decompressed indexes, and in
C(state.json) what the next run needs to ask the server for changes only. It replaces an older state as a whole, last.
What was ever seen of a repository is remembered apart from that, see M(_repository.memory).
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import datetime
import os
import re
import typing as t
import urllib.parse

from ansible_collections.os_image.composer.plugins.module_utils._download.downloader import Downloader
from ansible_collections.os_image.composer.plugins.module_utils._download.model import Document
from ansible_collections.os_image.composer.plugins.module_utils._download.url import redact
from ansible_collections.os_image.composer.plugins.module_utils._errors import RepositoryError, SignatureError
from ansible_collections.os_image.composer.plugins.module_utils._io import (
    digest_of,
    parse_json,
    sha256_bytes,
    write_file,
    write_json,
)
from ansible_collections.os_image.composer.plugins.module_utils._repository.key_download import local_keys
from ansible_collections.os_image.composer.plugins.module_utils._repository.keys import is_url
from ansible_collections.os_image.composer.plugins.module_utils._repository.memory import (
    Memory,
    newer,
    same_place,
    taken_for,
)
from ansible_collections.os_image.composer.plugins.module_utils._repository.mirror_list import list_place
from ansible_collections.os_image.composer.plugins.module_utils._repository.mirrors import Mirrors
from ansible_collections.os_image.composer.plugins.module_utils._repository.public_keys import read_keyring
from ansible_collections.os_image.composer.plugins.module_utils._repository.signature import SignedContent
from ansible_collections.os_image.composer.plugins.module_utils._template.provider_model import (
    Repository as RepositoryConfig,
)

_STATE_SCHEMA = 1
_CLOCK_TOLERANCE = 3600
# The largest indexes of today have 60 MB, those of RPM distributions 300 MB. More than this is an attack or an error.
_INDEX_LIMIT = 512 << 20
_DAY = 86400


@dataclasses.dataclass(frozen=True)
class Listed:
    """A file that the signed document names.

    :ivar digest: Its SHA-256, or its SHA-512, in hexadecimal digits.
    :ivar size: Bytes; V(None) where the document does not tell.
    """

    digest: str
    size: int | None


@dataclasses.dataclass(frozen=True)
class WantedIndex:
    """An index that has to be on disk: which compressed file of the repository gives it.

    :ivar component: For example C(main), or C(primary).
    :ivar arch: Its architecture; empty where one index has all.
    :ivar path: The file, as the signed document names it.
    :ivar label: Its name on disk, without the digest.
    :ivar urls: Where it may be had, the best place first.
    :ivar listed: The compressed file.
    :ivar plain: The decompressed one, if the document describes it.
    """

    component: str
    arch: str
    path: str
    label: str
    urls: tuple[str, ...]
    listed: Listed
    plain: Listed | None


@dataclasses.dataclass(frozen=True)
class Release:
    """What the signed document says about itself.

    :ivar date: When it was published, in seconds since 1970.
    :ivar valid_until: When it ceases to be valid, or V(None).
    :ivar revision: Orders documents of one date.
    """

    date: int
    valid_until: int | None
    revision: int


ReleaseT = t.TypeVar("ReleaseT", bound=Release)


@dataclasses.dataclass
class Documents:
    """The signed documents of a repository, as they came or as they were kept.

    :ivar content: By file name.
    :ivar fresh: They are not those that were kept.
    :ivar mirrors: The base URLs of other places that have the same, the best first.
    """

    base_url: str
    content: dict[str, bytes]
    validators: t.Mapping[str, str | None]
    fresh: bool
    mirrors: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Candidate(t.Generic[ReleaseT]):
    """A repository whose signed documents were verified.

    :ivar warning: What the user should know about it, in full sentences; empty for nothing.
    """

    repository: Repository[ReleaseT]
    documents: Documents
    signed: SignedContent
    release: ReleaseT
    warning: str = ""

    @property
    def digest(self) -> str:
        """The SHA-256 digest of the signed content."""
        return sha256_bytes(self.signed.content)

    @property
    def base_url(self) -> str:
        """Where the repository lies."""
        return self.documents.base_url


class Repository(abc.ABC, t.Generic[ReleaseT]):
    """One configured repository, its place on disk, and where it lies on the network.

    :ivar priority: As in apt's pins; the larger one wins.
    :ivar directory: Where its metadata is kept.
    """

    #: The document that the signature is about, as messages name it.
    document: t.ClassVar[str]
    #: The files that are kept of the signed documents.
    kept: t.ClassVar[tuple[str, ...]]
    #: How an index of loose packages is made.
    loose: t.ClassVar[LoosePackages]

    def __init__(
        self, config: RepositoryConfig, *, metadata_dir: str, mirrors: Mirrors, package_arch: str = ""
    ) -> None:
        self.name = config.name
        self.package_arch = package_arch
        self.suite = config.suite
        self.components = config.components
        self.priority = config.priority
        self.allow_packages = config.allow_packages
        self.exclude_packages = config.exclude_packages
        self.gpgcheck = config.gpgcheck
        #: Whether the metadata has to be signed; where it is not, the packages' own signatures have to do.
        self.signed_metadata = config.gpgcheck and config.repo_gpgcheck
        self.keys = config.keys
        self.fingerprints = config.fingerprints
        self.max_age = config.max_age
        self.module_hotfixes = bool(config.module_hotfixes)
        self.foreign = config.foreign
        self._mirror = config.mirror
        self._url = config.url
        self._mirrors = mirrors
        #: A list of mirrors in the place of a URL.
        self.list_url = config.metalink or config.mirrorlist
        listed = list_place(self.list_url) if self.list_url else None
        identity = {"place": f"mirror:{self._mirror}" if self._mirror else listed or self._url, "suite": self.suite}
        label = re.sub(r"[^A-Za-z0-9._-]+", "_", self.name)
        self.metadata_dir = metadata_dir
        self.directory = os.path.join(metadata_dir, f"{label}-{digest_of(identity)[:8]}")
        # Not the mirror's URL: another mirror of the same archive must not be older than this one was.
        place = f"mirror:{self._mirror}" if self._mirror else listed or same_place(self._url or "")
        subject = {"place": place, "suite": self.suite.rstrip("/")}
        #: What was seen at this place.
        self.memory = Memory(metadata_dir, "place", subject, shown=self.shown)

    @abc.abstractmethod
    def ask(self, downloader: Downloader) -> Documents:
        """Get the signed documents from the network; unchanged ones from the disk."""

    @abc.abstractmethod
    def verified(
        self, documents: Documents, *, where: str, keyring: bytes, fingerprints: t.Sequence[str], now: int | None
    ) -> SignedContent:
        """Check the signature.

        :param keyring: The repository's keys, in the binary form.
        :param fingerprints: The only keys that may have signed; empty allows all of them.
        :param now: Seconds since 1970 to check expiry dates against, instead of the clock.
        :raises SignatureError: There is none, or it is not valid.
        """

    def renew_signature(self, documents: Documents, downloader: Downloader) -> bool:  # noqa: ARG002
        """Get a signature again that lies apart from kept documents; tells whether it is another one."""
        return False

    @abc.abstractmethod
    def unsigned(self, documents: Documents) -> bytes:
        """Return the content of documents whose signature nobody wants to see.

        That is so with C(gpgcheck: false), and with C(repoGpgcheck: false).
        """

    @abc.abstractmethod
    def parse(self, content: bytes, *, where: str) -> ReleaseT:
        """Read the signed document.

        :raises RepositoryError: It cannot be understood.
        """

    @abc.abstractmethod
    def wanted(self, candidate: Candidate[ReleaseT], package_arch: str) -> list[WantedIndex]:
        """Choose the indexes that have to be there.

        :raises RepositoryError: The repository does not have them.
        """

    def optional(self, candidate: Candidate[ReleaseT], package_arch: str) -> list[WantedIndex]:  # noqa: ARG002
        """Return further indexes that are only fetched when somebody asks for them."""
        return []

    def other_components(self, candidate: Candidate[ReleaseT], package_arch: str) -> list[str]:  # noqa: ARG002
        """Return the components that the repository has beside those that were asked for."""
        return []

    def check_release(self, release: ReleaseT, *, where: str) -> None:  # noqa: B027
        """Check that a verified document is the one that was asked for.

        :raises RepositoryError: It is not.
        """

    @abc.abstractmethod
    def identity(self, release: ReleaseT) -> dict[str, str]:
        """Return what a repository says that it is, by the names that its family has for it."""

    def suite_names(self, release: ReleaseT) -> tuple[str, ...]:  # noqa: ARG002
        """Return what the suite calls itself."""
        return ()

    def rank(self, release: ReleaseT) -> int:  # noqa: ARG002
        """Return the priority, as in apt's pins; the larger one wins."""
        return self.priority

    def contradictions(self, before: t.Mapping[str, str], identity: t.Mapping[str, str]) -> list[str]:
        """Return the names of what a repository says otherwise than before; what it did not say before is new."""
        return [name for name, value in before.items() if value and identity.get(name, "") != value]

    def largest(self, component: str) -> int:  # noqa: ARG002
        """Return how many bytes a decompressed index may have.

        :param component: That of the index.
        """
        return _INDEX_LIMIT

    def guard(self, component: str = "") -> Guard | None:  # noqa: ARG002
        """Return what looks at the decompressed bytes of an index before anybody parses them.

        :param component: That of the index.
        """
        return None

    def normalised(self, chunks: t.Iterable[bytes], component: str) -> t.Iterable[bytes]:  # noqa: ARG002
        """Bring a decompressed index into the one form that the resolver reads.

        :param component: That of the index.
        :raises ValueError: It cannot be read.
        """
        return chunks

    # -- places

    def join(self, *parts: str) -> str:
        """Return a path in the repository's directory."""
        return os.path.join(self.directory, *parts)

    def resolve(self) -> str:
        """Return the base URL; packages lie below it.

        :raises RepositoryError: There is none, or it holds credentials.
        """
        if self._mirror:
            url: str | None = self._mirrors.url(self._mirror)
        else:
            # A mirror of one's own can stand for a vendor's repository too; its keys stay the vendor's.
            url = self._mirrors.url(self.name) if self._mirrors.is_given(self.name) else self._url
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

    @property
    def shown(self) -> str:
        """The repository, as messages name it."""
        return f"repository {self.name!r}"

    def index_path(self, index: WantedIndex) -> str:
        """Return where an index lies when it is decompressed."""
        return self.join(f"{index.label}.{index.listed.digest[:16]}")

    # -- signed documents

    def known(self, base_url: str) -> tuple[dict[str, bytes], t.Mapping[str, str | None]]:
        """Return the documents that were kept, and the validators to ask the same place for newer ones."""
        state = read_json(self.join("state.json"))
        same_place = state.get("base_url") == base_url and state.get("schema_version") == _STATE_SCHEMA
        return self._read_documents(), state.get("validators", {}) if same_place else {}

    def stored(self) -> Documents:
        """Take the signed documents that an earlier run has verified and kept.

        :raises RepositoryError: There are none.
        """
        documents = self._read_documents()
        state = read_json(self.join("state.json"))
        if not documents or not state:
            raise RepositoryError(
                f"The metadata of the {self.shown} is not in the cache ({self.directory}), and this is an offline run.",
                remedy="Run os_image.composer.pkg_resolve once with a network for the same repositories.",
            )
        return Documents(state["base_url"], documents, state.get("validators", {}), fresh=False)

    def _read_documents(self) -> dict[str, bytes]:
        documents = {}
        for name in self.kept:
            with contextlib.suppress(FileNotFoundError), open(self.join(name), "rb") as stream:
                documents[name] = stream.read()
        return documents

    def candidate(self, downloader: Downloader, *, offline: bool, now: int, faked: int | None) -> Candidate[ReleaseT]:
        """Get the signed documents, and verify everything that they say about themselves.

        :param now: The present time, in seconds since 1970.
        :param faked: The same for GnuPG, if it is not the clock's.
        :raises RepositoryError: They cannot be had, or must not be believed.
        """
        documents = self.stored() if offline else self.ask(downloader)
        where = f"the {self.shown} ({documents.base_url})"
        if self.signed_metadata:
            signed = self._verify(documents, downloader, where=where, offline=offline, now=faked)
        else:
            signed = SignedContent(self.unsigned(documents), ())
        release = self.parse(signed.content, where=where)
        if release.date == 0 and signed.signed_at:
            release = dataclasses.replace(release, date=signed.signed_at)
        self.check_release(release, where=where)
        warning = self._check_date(release, where=where, offline=offline, now=now)
        candidate = Candidate(self, documents, signed, release, warning)
        self._check_memory(candidate, where=where)
        return candidate

    def _verify(
        self, documents: Documents, downloader: Downloader, *, where: str, offline: bool, now: int | None
    ) -> SignedContent:
        if not self.keys:
            raise SignatureError(
                f"For {where} no key is named, so its signature cannot be checked.",
                remedy="Name its key files in the template, or set gpgcheck: false for this repository.",
            )

        def verify(*, anew: bool) -> SignedContent:
            paths = self.key_files(downloader, offline=offline, anew=anew, now=now)
            keyring = read_keyring(paths, what=f"the {self.shown}")
            return self.verified(documents, where=where, keyring=keyring, fingerprints=self.fingerprints, now=now)

        by_url = any(is_url(key) for key in self.keys)
        try:
            return verify(anew=False)
        except SignatureError:
            if offline:
                raise
            # Owners sign what they have published again, with another key.
            renewed = not documents.fresh and self.renew_signature(documents, downloader)
            if not renewed and not by_url:
                raise
        # They also prolong keys and add subkeys to them: what is kept may be older than the signature.
        return verify(anew=by_url)

    def key_files(
        self, downloader: Downloader, *, offline: bool, anew: bool = False, now: int | None = None
    ) -> list[str]:
        """Return the paths of the key files; those that are named by URLs are fetched once and kept.

        :param anew: Fetch them in any case.
        :param now: Seconds since 1970 to check expiry dates against, instead of the clock.
        :raises SignatureError: A key is not there, or must not be believed.
        """
        return local_keys(
            self.keys,
            self.fingerprints,
            metadata_dir=self.metadata_dir,
            what=f"the {self.shown}",
            downloader=downloader,
            offline=offline,
            anew=anew,
            now=now,
        )

    def _check_date(self, release: ReleaseT, *, where: str, offline: bool, now: int) -> str:
        """Check that a document is neither stale nor of the future; return a warning that it will soon be too old."""
        subject = f"The {self.document} of {where}"
        if release.date > now + _CLOCK_TOLERANCE:
            raise RepositoryError(
                f"{subject} is dated {day(release.date)}, which lies in the future.",
                remedy=f"Check the clock of the build host: it says {day(now)}.",
            )
        # Offline the freshness cannot be known; what is on the disk was fresh when it came.
        if offline:
            return ""
        if release.valid_until is not None and release.valid_until < now:
            raise RepositoryError(
                f"{subject} has expired: it was valid until {day(release.valid_until)}.",
                remedy="The mirror is no longer updated, or somebody withholds updates: use another mirror, and check "
                "the clock of the build host.",
            )
        if self.max_age and release.date == 0:
            raise RepositoryError(
                f"{subject} does not say when it was published, so nobody can tell its age, and metadata of more than "
                f"{self.max_age} days are not taken (maxAge).",
                remedy="The repository's owner has to publish it with a Date. To take it as it is, give a repository "
                f"with the name {self.name} and maxAge: 0 in packageRepositories.",
            )
        age = (now - release.date) // _DAY
        if self.max_age and age > self.max_age:
            raise RepositoryError(
                f"{subject} is {age} days old, and more than {self.max_age} are not taken (maxAge).",
                remedy="The mirror is no longer updated, or somebody withholds updates: use another mirror. If the "
                f"state is old on purpose, give a repository with the name {self.name} and a larger maxAge in "
                "packageRepositories.",
            )
        if self.max_age and age > self.max_age * 3 // 4:
            return f"{subject} is {age} days old; from {self.max_age + 1} days on it is refused (maxAge)"
        return ""

    def archive(self, signed: SignedContent, release: ReleaseT) -> Memory | None:
        """Return what was seen of the same archive wherever it lay; V(None) where nobody vouches for what it is."""
        if not signed.signed_by:
            return None
        identity = self.identity(release)
        # A suite gets another name when it grows old; the archive stays the same.
        if identity.get("Codename"):
            del identity["Suite"]
        keys = sorted(self.fingerprints) or sorted(signed.signed_by)
        subject = {"name": self.name, "keys": keys, "identity": identity, "suite": self.suite.rstrip("/")}
        return Memory(self.metadata_dir, "archive", subject, shown=self.shown)

    def _check_memory(self, candidate: Candidate[ReleaseT], *, where: str) -> None:
        """Check that a document is the same repository's as before, and not older than one seen before."""
        subject = f"The {self.document} of {where}"
        release, identity = candidate.release, self.identity(candidate.release)
        seen = self.memory.recall()
        changed = self.contradictions(seen.identity, identity)
        if changed:
            before = ", ".join(f"{name} {seen.identity[name]!r}" for name in changed)
            ours = ", ".join(f"{name} {identity.get(name, '')!r}" for name in changed)
            raise RepositoryError(
                f"{subject} is that of another repository: it has {ours}, but this build host knows it with {before}.",
                remedy="The mirror gives one repository out for another: use another mirror. If the owner has renamed "
                f"the repository, or a suite such as stable has moved on to the next release, remove "
                f"{self.memory.path}.",
            )
        self.refuse_other(taken_for(candidate.digest, seen, self.memory.others()), where=where)
        memories = list(filter(None, (self.memory, self.archive(candidate.signed, release))))
        ahead = [memory for memory in memories if (release.date, release.revision) < memory.recall().latest]
        if ahead:
            latest = max(memory.recall().latest for memory in ahead)
            ours, theirs = day(release.date), day(latest[0])
            if ours == theirs:
                ours, theirs = f"{ours} (revision {release.revision})", f"{theirs} (revision {latest[1]})"
            raise RepositoryError(
                f"{subject} is dated {ours}, but this build host has seen one of {theirs} before: it is too old.",
                remedy="Use a mirror that is up to date; if the older state is really wanted, remove "
                f"{' and '.join(memory.path for memory in ahead)}.",
            )

    def refuse_other(self, other: str | None, *, where: str) -> None:
        """Refuse the document of another repository.

        :param other: That repository as messages name it; V(None) if there is none.
        :raises RepositoryError: There is one.
        """
        if other is not None:
            raise RepositoryError(
                f"The {self.document} of {where} is that of another repository: this build host knows it as that of "
                f"the {other}.",
                remedy="The mirror gives one repository out for another: use another mirror. If the two have become "
                f"one, remove {self.memory.path}.",
            )

    def remember(self, candidate: Candidate[ReleaseT], *, now: int) -> None:
        """Remember what was verified.

        :param now: The present time, in seconds since 1970.
        """
        release = candidate.release
        for memory in filter(None, (self.memory, self.archive(candidate.signed, release))):
            seen = newer(
                memory.recall(),
                date=release.date,
                revision=release.revision,
                identity=self.identity(release),
                document=candidate.digest,
                now=now,
            )
            memory.keep(seen, day=day(max(seen.date, 0)))

    # -- what is kept

    def keep(self, candidate: Candidate[ReleaseT], indexes: t.Collection[str]) -> bool:
        """Keep what was verified as the repository's state.

        :param indexes: The names of the indexes that belong to it.
        :returns: Whether it is another state than before.
        """
        os.makedirs(self.directory, exist_ok=True)
        documents = candidate.documents
        if documents.fresh:
            for name in self.kept:
                if name in documents.content:
                    write_file(self.join(name), documents.content[name])
                else:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(self.join(name))
        state = {
            "schema_version": _STATE_SCHEMA,
            "base_url": documents.base_url,
            "validators": dict(documents.validators),
            "indexes": sorted(indexes),
        }
        before = read_json(self.join("state.json"))
        if state != before:
            # Kept for a while: another build may be about to read them.
            for name in set(before.get("indexes", ())).difference(indexes):
                with contextlib.suppress(FileNotFoundError):
                    os.utime(self.join(name))
            write_json(self.join("state.json"), state)
        return state != before


class LoosePackages(t.Protocol):
    """How a family makes an index of the loose packages in a directory."""

    #: How the names of its packages end.
    suffix: str

    def check(self, config: RepositoryConfig) -> None:
        """Check what the template says about the signatures of such packages.

        :raises RepositoryError: It cannot be done.
        """

    def index(self, directory: str, names: t.Sequence[str], *, arch: str, scratch: str) -> dict[str, bytes]:
        """Return the indexes by component, the one that all need first.

        :param names: The packages, by their paths below C(directory).
        :param scratch: A directory for temporary files.
        :raises RepositoryError: A file is no package.
        """


class Guard(t.Protocol):
    """Looks at bytes as they come."""

    def feed(self, data: bytes) -> None:
        """Look at the next bytes.

        :raises ValueError: They must not be parsed.
        """


def validators_of(answer: Document) -> dict[str, str | None]:
    """Return what to ask the server with next time."""
    return {"etag": answer.etag, "last_modified": answer.last_modified}


def read_json(path: str) -> dict[str, t.Any]:
    """Read an object of our own; an empty one when there is none."""
    try:
        with open(path, encoding="utf-8") as stream:
            value = parse_json(stream.read())
    except (FileNotFoundError, ValueError):
        # What cannot be read proves nothing; it is made anew.
        return {}
    return value if isinstance(value, dict) else {}


def day(seconds: int) -> str:
    """Return a time in words."""
    try:
        return f"{datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        # A signed document may say anything.
        return f"{seconds} s after 1970"


def quote_path(path: str, *, keep: str = "") -> str:
    """Quote what must not stand in the path of a URL.

    :param keep: Characters that stay; C(%) in a path that is quoted already.
    """
    return urllib.parse.quote(path, safe=f"/~:+@=,!$&'()*;{keep}")


__all__ = (
    "Candidate",
    "Documents",
    "Guard",
    "Listed",
    "LoosePackages",
    "Release",
    "ReleaseT",
    "Repository",
    "WantedIndex",
    "day",
    "quote_path",
    "read_json",
    "validators_of",
)
