# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Repositories of the DEB family: from a signature to package indexes that can be believed.

The chain is: the repository's own keys -> C(InRelease) (or C(Release) with C(Release.gpg)) -> the digest of each
C(Packages) file -> the digest of each package. See Debian's wiki page DebianRepository/Format.
"""

from __future__ import annotations

import dataclasses
import datetime
import email.utils
import os
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool
from ansible_collections.os_image.composer.plugins.module_utils._download.downloader import Downloader
from ansible_collections.os_image.composer.plugins.module_utils._download.url import redact
from ansible_collections.os_image.composer.plugins.module_utils._errors import RepositoryError, SignatureError
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_bytes, sha256_file
from ansible_collections.os_image.composer.plugins.module_utils._parallel import run_parallel
from ansible_collections.os_image.composer.plugins.module_utils._repository.deb822 import (
    canonical,
    is_true,
    read_paragraph,
)
from ansible_collections.os_image.composer.plugins.module_utils._repository.mirrors import Mirrors
from ansible_collections.os_image.composer.plugins.module_utils._repository.repository import (
    Candidate,
    Documents,
    Listed,
    Release,
    Repository,
    WantedIndex,
    quote_path,
    validators_of,
)
from ansible_collections.os_image.composer.plugins.module_utils._repository.signature import (
    SignedContent,
    verify_clearsigned,
    verify_detached,
)
from ansible_collections.os_image.composer.plugins.module_utils._repository.web_page import refuse_page
from ansible_collections.os_image.composer.plugins.module_utils._template.provider_model import DEFAULT_PRIORITY
from ansible_collections.os_image.composer.plugins.module_utils._template.provider_model import (
    Repository as RepositoryConfig,
)

# The largest Release files of today have 0.3 MB; more than this is an attack or an error.
_RELEASE_LIMIT = 16 << 20
_CLEARSIGNED = re.compile(rb"^-----BEGIN PGP SIGNED MESSAGE-----\r?\n(?:[^\r\n]+\r?\n)*\r?\n", re.MULTILINE)
_SIGNATURE = b"\n-----BEGIN PGP SIGNATURE-----"
# It is read into memory first; who has more publishes a Release.
_LONE_INDEX_LIMIT = 64 << 20
# The priorities of suites whose packages are not installed unasked, and of those that are upgraded nevertheless.
_NOT_AUTOMATIC = 1
_UPGRADES = 100
#: The lists of files that are believed, by the number of hexadecimal digits; the first one that is there counts.
_DIGESTS: t.Mapping[str, int] = {"SHA256": 64, "SHA512": 128}
# More components than these are nobody's, and would take long to look through.
_OTHERS = 32
_OF_COMPONENT = re.compile(r"(.+)/binary-[^/]+/Packages(?:\.[a-z0-9]+)?")
# Smallest transfer first.
_COMPRESSIONS = (".xz", ".zst", ".lzma", ".gz", ".bz2", "")
_SUPPORTED = ", ".join(f"Packages{suffix}" for suffix in _COMPRESSIONS)


@dataclasses.dataclass(frozen=True)
class DebRelease(Release):
    """The parsed content of a Release file.

    :ivar files: What it lists, by path beside it.
    """

    fields: t.Mapping[str, str]
    files: t.Mapping[str, Listed]

    def words(self, name: str) -> list[str]:
        """Return a field's words; none when it is absent."""
        return self.fields.get(name, "").split()


DebCandidate = Candidate[DebRelease]


class LooseDebs:
    """Makes the index of loose packages from what dpkg-deb reads of each."""

    suffix = ".deb"

    def check(self, config: RepositoryConfig) -> None:
        """Demand that the template gives up signatures: such packages have none of their own."""
        if config.gpgcheck:
            raise SignatureError(
                f"The packages in the directory {config.path} of the repository {config.name!r} have no "
                "signatures that could be checked.",
                remedy="Set gpgcheck: false for this repository to trust the directory, or publish it as a signed "
                "repository.",
            )

    def index(self, directory: str, names: t.Sequence[str], *, arch: str, scratch: str) -> dict[str, bytes]:  # noqa: ARG002
        """Return a Packages file of the packages that the architecture can have."""
        program = find_tool("dpkg-deb")
        runner = CommandRunner()

        def stanza(name: str) -> str:
            path = os.path.join(directory, name)
            done = runner.run([program, "--field", path], check=False)
            fields = b"".join(canonical([done.stdout])).decode("utf-8").strip("\n")
            match = re.search(r"^Architecture: *(\S+)$", fields, re.MULTILINE)
            if done.rc or match is None or "\n\n" in fields:
                reason = done.error_text.strip().rpartition("error: ")[2] or "it has no Architecture"
                raise RepositoryError(
                    f"The file {path} is not a package: {reason}.", remedy="Remove the file, or replace it."
                )
            if match[1] not in (arch, "all"):
                return ""
            more = f"Filename: {quote_path(name)}\nSize: {os.path.getsize(path)}\nSHA256: {sha256_file(path)}\n"
            own = re.sub(r"^(?:Filename|Size|SHA256|MD5sum|SHA1): .*\n?", "", fields, flags=re.MULTILINE)
            return f"{own.rstrip()}\n{more}\n"

        stanzas = run_parallel(stanza, list(names), workers=os.cpu_count() or 1)
        return {"packages": "".join(stanzas).encode("utf-8")}


class DebRepository(Repository[DebRelease]):
    """A repository with a Release file."""

    document = "Release"
    kept = ("InRelease", "Release", "Release.gpg")
    loose = LooseDebs()

    def __init__(
        self, config: RepositoryConfig, *, metadata_dir: str, mirrors: Mirrors, package_arch: str = ""
    ) -> None:
        super().__init__(config, metadata_dir=metadata_dir, mirrors=mirrors, package_arch=package_arch)
        if not config.repo_gpgcheck:
            raise RepositoryError(
                f"repoGpgcheck: false has no meaning for the {self.shown}: DEB packages have no signatures of their "
                "own, so that nothing would be left to trust.",
                remedy="Remove it, or set gpgcheck: false to trust a repository of your own without signatures.",
            )

    @property
    def is_flat(self) -> bool:
        """Whether the repository has no components."""
        return self.suite.endswith("/")

    def release_url(self, base_url: str, name: str) -> str:
        """Return the URL of a file that lies beside the Release."""
        place = self.suite.strip("/") if self.is_flat else f"dists/{self.suite.strip('/')}"
        # A flat repository may be the base URL itself ("./").
        place = "/".join(part for part in place.split("/") if part not in ("", "."))
        return "/".join(part for part in (base_url, place, quote_path(name)) if part)

    def ask(self, downloader: Downloader) -> Documents:
        base_url = self.resolve()
        stored, validators = self.known(base_url)
        known = "InRelease" in stored
        answer = downloader.get(
            self.release_url(base_url, "InRelease"),
            limit=_RELEASE_LIMIT,
            what=f"the InRelease of the {self.shown}",
            etag=validators.get("etag") if known else None,
            last_modified=validators.get("last_modified") if known else None,
            missing_ok=True,
            refuse=refuse_page,
        )
        if answer is not None:
            if answer.data is None:
                return Documents(base_url, {"InRelease": stored["InRelease"]}, validators, fresh=False)
            fresh = answer.data != stored.get("InRelease")
            return Documents(base_url, {"InRelease": answer.data}, validators_of(answer), fresh=fresh)
        documents: dict[str, bytes] = {}
        for name in ("Release", "Release.gpg"):
            document = downloader.get(
                self.release_url(base_url, name),
                limit=_RELEASE_LIMIT,
                what=f"the {name} of the {self.shown}",
                missing_ok=True,
                refuse=refuse_page,
            )
            if document is not None and document.data is not None:
                documents[name] = document.data
        if not documents and self.is_flat and not self.signed_metadata:
            documents = self._listing_of_index(base_url, downloader)
        if "Release" not in documents:
            raise RepositoryError(
                f"There is no repository at {redact(self.release_url(base_url, ''))}: it has neither an InRelease nor "
                f"a Release file ({self.shown}).",
                remedy="Check the URL and the suite of the repository, or use another mirror.",
            )
        fresh = any(documents[name] != stored.get(name) for name in documents)
        return Documents(base_url, documents, {}, fresh=fresh)

    def _listing_of_index(self, base_url: str, downloader: Downloader) -> dict[str, bytes]:
        """Return the Release that a directory of packages would have, which has an index alone.

        It is what C(dpkg-scanpackages) leaves. As apt does, it is believed where nobody wants to see a signature.
        """
        for suffix in _COMPRESSIONS:
            name = f"Packages{suffix}"
            answer = downloader.get(
                self.release_url(base_url, name),
                limit=_LONE_INDEX_LIMIT,
                what=f"the {name} of the {self.shown}",
                missing_ok=True,
            )
            if answer is not None and answer.data is not None:
                return {"Release": f"SHA256:\n {sha256_bytes(answer.data)} {len(answer.data)} {name}\n".encode()}
        return {}

    def verified(
        self, documents: Documents, *, where: str, keyring: bytes, fingerprints: t.Sequence[str], now: int | None
    ) -> SignedContent:
        content = documents.content
        if "InRelease" in content:
            return verify_clearsigned(
                content["InRelease"],
                keyring=keyring,
                fingerprints=fingerprints,
                what=f"The InRelease of {where}",
                now=now,
            )
        if "Release.gpg" not in content:
            raise SignatureError(
                f"{where[:1].upper()}{where[1:]} is not signed: it has neither an InRelease nor a Release.gpg file.",
                remedy="Check the URL; a repository without signatures needs gpgcheck: false in the template.",
            )
        return verify_detached(
            content["Release"],
            content["Release.gpg"],
            keyring=keyring,
            fingerprints=fingerprints,
            what=f"The Release of {where}",
            now=now,
        )

    def unsigned(self, documents: Documents) -> bytes:
        data = documents.content.get("InRelease")
        if data is None:
            return documents.content["Release"]
        match = _CLEARSIGNED.search(data)
        end = -1 if match is None else data.find(_SIGNATURE, match.end() - 1)
        if match is None or end < 0:
            return data
        return re.sub(rb"^- ", b"", data[match.end() : end + 1], flags=re.MULTILINE)

    def parse(self, content: bytes, *, where: str) -> DebRelease:
        try:
            fields = read_paragraph(content)
            files = _listed_files(fields)
            try:
                date = _seconds(fields.get("Date")) or 0
            except ValueError:
                # As for apt, it is as good as none.
                date = 0
            return DebRelease(date, _seconds(fields.get("Valid-Until")), 0, fields, files)
        except ValueError as exc:
            raise RepositoryError(
                f"The Release of {where} cannot be understood: {exc}.",
                remedy="Check the URL; the repository's owner has to publish a Release file with SHA256 or SHA512 "
                "digests.",
            ) from exc

    def check_release(self, release: DebRelease, *, where: str) -> None:
        """Check the suite."""
        names = {release.fields[name] for name in ("Suite", "Codename") if release.fields.get(name)}
        wanted = {self.suite.strip("/")}
        if self.suite.endswith("/updates"):
            # The security archive before Debian 11.
            wanted |= {self.suite[: -len("/updates")], self.suite.replace("/updates", "-security")}
        if names and not self.is_flat and not names & wanted:
            raise RepositoryError(
                f"At {where} lies the suite {' / '.join(sorted(names))}, but {self.suite} was asked for.",
                remedy="Correct the suite in the template; if it is right, the mirror serves a wrong file: use "
                "another.",
            )

    def identity(self, release: DebRelease) -> dict[str, str]:
        return {name: release.fields.get(name, "") for name in ("Origin", "Label", "Suite", "Codename")}

    def suite_names(self, release: DebRelease) -> tuple[str, ...]:
        return tuple(release.fields[key] for key in ("Suite", "Codename", "Version") if release.fields.get(key))

    def rank(self, release: DebRelease) -> int:
        """Return the priority: of a suite that nobody shall get unasked, apt's for such a one.

        See apt_preferences(5). What the template says holds, unless it is what all other suites have.
        """
        if self.priority != DEFAULT_PRIORITY or not is_true(release.fields.get("NotAutomatic", "")):
            return self.priority
        return _UPGRADES if is_true(release.fields.get("ButAutomaticUpgrades", "")) else _NOT_AUTOMATIC

    def contradictions(self, before: t.Mapping[str, str], identity: t.Mapping[str, str]) -> list[str]:
        changed = super().contradictions(before, identity)
        # The suite of a release becomes another when the next one is out; the code name stays.
        if before.get("Codename") and "Codename" not in changed:
            changed = [name for name in changed if name != "Suite"]
        return changed

    def normalised(self, chunks: t.Iterable[bytes], component: str) -> t.Iterable[bytes]:  # noqa: ARG002
        """Bring the stanzas of whatever has written them into the form that the resolver reads."""
        return canonical(chunks)

    def wanted(self, candidate: DebCandidate, package_arch: str) -> list[WantedIndex]:
        """Choose the index files to use, one for each component and architecture."""
        if self.is_flat:
            found = self._choose(candidate, "Packages", "", package_arch) or self._choose(
                candidate, "./Packages", "", package_arch
            )
            here = [path for path in candidate.release.files if re.fullmatch(r"(?:\./)?Packages\.[^/.]+", path)]
            if found is None and here:
                raise self._unreadable(candidate, "its index", here)
            if found is None:
                raise RepositoryError(
                    f"The Release of the {self.shown} ({candidate.base_url}) lists no Packages file.",
                    remedy="Check the URL and the suite: a suite that ends in '/' means a repository without "
                    "components.",
                )
            return [found]
        result = []
        for component in self.components:
            present = self._of_component(candidate, component, package_arch)
            if not present:
                raise self._no_index(candidate, component, package_arch)
            result += present
        return result

    def _of_component(self, candidate: DebCandidate, component: str, package_arch: str) -> list[WantedIndex]:
        release = candidate.release
        architectures = [package_arch]
        # Without this word the indexes of the other architectures have the packages of "all" too.
        if "all" in release.words("Architectures") and "Packages" not in release.words(
            "No-Support-for-Architecture-all"
        ):
            architectures.append("all")
        indexes = [
            self._choose(candidate, f"{component}/binary-{arch}/Packages", component, arch) for arch in architectures
        ]
        return [index for index in indexes if index is not None]

    def other_components(self, candidate: DebCandidate, package_arch: str) -> list[str]:
        if self.is_flat:
            return []
        found = {match[1] for path in candidate.release.files if (match := _OF_COMPONENT.fullmatch(path))}
        # What Debian's installer is made of is for no installed system.
        wanted = (name for name in found if name not in self.components and not name.endswith("/debian-installer"))
        return sorted(name for name in wanted if self._of_component(candidate, name, package_arch))[:_OTHERS]

    def optional(self, candidate: DebCandidate, package_arch: str) -> list[WantedIndex]:
        """Return the indexes of the components that nobody asked for, to tell which of them has a package."""
        names = self.other_components(candidate, package_arch)
        return [index for name in names for index in self._of_component(candidate, name, package_arch)]

    def _choose(self, candidate: DebCandidate, path: str, component: str, arch: str) -> WantedIndex | None:
        release = candidate.release
        for suffix in _COMPRESSIONS:
            listed = release.files.get(path + suffix)
            if listed is not None:
                label = "_".join(part.replace("/", "_") for part in (component, arch) if part)
                return WantedIndex(
                    component=component,
                    arch=arch,
                    path=path + suffix,
                    label=f"{label}_Packages",
                    urls=self._index_urls(candidate, path + suffix, listed),
                    listed=listed,
                    plain=release.files.get(path),
                )
        return None

    def _index_urls(self, candidate: DebCandidate, path: str, listed: Listed) -> tuple[str, ...]:
        url = self.release_url(candidate.base_url, path)
        if candidate.release.fields.get("Acquire-By-Hash", "").lower() != "yes":
            return (url,)
        kind = next(name for name, length in _DIGESTS.items() if length == len(listed.digest))
        by_hash = "/".join(part for part in (os.path.dirname(path), f"by-hash/{kind}", listed.digest) if part)
        return (self.release_url(candidate.base_url, by_hash), url)

    def _unreadable(self, candidate: DebCandidate, what: str, here: t.Sequence[str]) -> RepositoryError:
        return RepositoryError(
            f"The {self.shown} ({candidate.base_url}, suite {self.suite}) has {what} only as {' and '.join(here)}, "
            "which cannot be read.",
            remedy=f"The repository's owner has to publish it in one of the forms that are supported: {_SUPPORTED}.",
        )

    def _no_index(self, candidate: DebCandidate, component: str, arch: str) -> RepositoryError:
        files = candidate.release.files
        paths = [match for path in files if (match := re.fullmatch(r"(.+)/binary-([^/]+)/Packages.*", path))]
        components = sorted({match[1] for match in paths})
        architectures = sorted({match[2] for match in paths if match[1] == component})
        here = sorted(os.path.basename(m[0]) for m in paths if m[1] == component and m[2] in (arch, "all"))
        if here:
            return self._unreadable(candidate, f"the index of {component!r} for {arch}", here)
        if architectures:
            what = f"has no packages of {component!r} for {arch}, only for {', '.join(architectures)}"
        else:
            what = f"has no component {component!r}, only {', '.join(components) or 'none at all'}"
        return RepositoryError(
            f"The {self.shown} ({candidate.base_url}, suite {self.suite}) {what}.",
            remedy="Correct the repository's components in the template.",
        )


def _listed_files(fields: t.Mapping[str, str]) -> dict[str, Listed]:
    """Return the files of a Release by their paths beside it, with the digests that apt would take of two."""
    for name, length in _DIGESTS.items():
        rows = fields.get(name, "").split("\n")[1:]
        files = {}
        for row in rows:
            words = row.split()
            if not words:
                continue
            if len(words) != 3 or not re.fullmatch(rf"[0-9a-fA-F]{{{length}}}", words[0]) or not words[1].isdecimal():
                raise ValueError(f"bad line {row[:200]!r}")
            files[words[2]] = Listed(words[0].lower(), int(words[1]))
        if files:
            return files
    if not any(name in fields for name in _DIGESTS):
        raise ValueError(f"it lists no {' or '.join(_DIGESTS)} digests")
    return {}


def _seconds(value: str | None) -> int | None:
    if not value:
        return None
    try:
        when = email.utils.parsedate_to_datetime(value)
        if when.tzinfo is None:
            when = when.replace(tzinfo=datetime.timezone.utc)
        return int(when.timestamp())
    except (TypeError, ValueError, OverflowError) as exc:
        raise ValueError(f"bad date {value[:80]!r}") from exc


__all__ = ("DebRepository",)
