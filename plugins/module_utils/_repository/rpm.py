# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Repositories of the RPM family: from a signature to package indexes that can be believed.

The chain is: the repository's own keys -> C(repomd.xml.asc) -> C(repomd.xml) -> the digest of C(primary) and
C(filelists), and of C(modules) -> the digest of each package. Comps and updateinfo are not looked at.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import os
import re
import typing as t
import urllib.parse
import xml.etree.ElementTree as ET

from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool
from ansible_collections.os_image.composer.plugins.module_utils._download.downloader import Downloader
from ansible_collections.os_image.composer.plugins.module_utils._download.url import redact
from ansible_collections.os_image.composer.plugins.module_utils._errors import RepositoryError, SignatureError
from ansible_collections.os_image.composer.plugins.module_utils._io import has_digest, write_file
from ansible_collections.os_image.composer.plugins.module_utils._repository.mirror_list import (
    LIST_LIMIT,
    MirrorList,
    read_mirror_list,
)
from ansible_collections.os_image.composer.plugins.module_utils._repository.repository import (
    Candidate,
    Documents,
    Listed,
    Release,
    Repository,
    WantedIndex,
    quote_path,
    read_json,
    validators_of,
)
from ansible_collections.os_image.composer.plugins.module_utils._repository.signature import (
    SignedContent,
    verify_detached,
)
from ansible_collections.os_image.composer.plugins.module_utils._repository.web_page import refuse_page
from ansible_collections.os_image.composer.plugins.module_utils._repository.xml_guard import XmlGuard
from ansible_collections.os_image.composer.plugins.module_utils._template.provider_model import (
    Repository as RepositoryConfig,
)

# A repomd.xml has 10 kB; more than this is an attack or an error.
_REPOMD_LIMIT = 4 << 20
_SIGNATURE_LIMIT = 1 << 20
# The largest file lists of today have 800 MB.
_LIST_LIMIT = 2 << 30
_NAMESPACE = "{http://linux.duke.edu/metadata/repo}"
# The indexes that are read; groups of packages, advisories and databases are not.
_USED = ("primary", "filelists", "modules")
_PLAIN = (".xml", ".yaml")
_COMPRESSIONS = (*_PLAIN, ".gz", ".xz", ".zst", ".bz2")
#: Hashes that do not protect against collisions any more, and what createrepo_c calls them.
_WEAK_CHECKSUMS: t.Mapping[str, str] = {"md5": "MD5", "sha": "SHA-1", "sha1": "SHA-1"}


@dataclasses.dataclass(frozen=True)
class _Data:
    """One index that a repomd.xml names.

    :ivar path: Below the base URL.
    :ivar plain: The decompressed file, if it is described.
    """

    path: str
    listed: Listed
    plain: Listed | None


@dataclasses.dataclass(frozen=True)
class Repomd(Release):
    """The parsed content of a repomd.xml.

    :ivar data: Its indexes by type; those that cannot be used have the reason instead.
    :ivar tags: What the repository says of itself (createrepo_c's C(--distro), C(--content) and C(--repo)).
    """

    data: t.Mapping[str, _Data | str]
    tags: t.Mapping[str, str]


class LooseRpms:
    """Makes the metadata of loose packages by createrepo_c."""

    suffix = ".rpm"

    def check(self, config: RepositoryConfig) -> None:
        """Do nothing: packages have signatures of their own."""

    def index(self, directory: str, names: t.Sequence[str], *, arch: str, scratch: str) -> dict[str, bytes]:  # noqa: ARG002
        """Return C(primary) and C(filelists)."""
        listing = os.path.join(scratch, "packages")
        write_file(listing, "".join(f"{name}\n" for name in names).encode("utf-8", errors="surrogateescape"))
        program = find_tool("createrepo_c")
        # No time of the build host, so that equal packages give equal metadata.
        fixed = ("--revision", "1", "--set-timestamp-to-revision")
        # From version 1.0 on it would take zstd, and the distribution may have chosen another default.
        form = ("--no-database", "--general-compress-type", "gz")
        done = CommandRunner().run(
            [program, *form, *fixed, "--pkglist", listing, "--outputdir", scratch, directory],
            merge_output=True,
            check=False,
        )
        described = _indexes_in(os.path.join(scratch, "repodata"), ("primary", "filelists")) if not done.rc else {}
        # It warns of what is no package, and goes on.
        if done.rc or described["primary"].count(b"<package type=") != len(names):
            lines = [line.strip() for line in done.text.splitlines() if line.strip()]
            bad = [line.partition("Cannot read package: ")[2] for line in lines if "Cannot read package: " in line]
            words = "; ".join(bad or lines[-1:]) or "it does not say why"
            raise RepositoryError(
                f"createrepo_c cannot read all packages in the directory {directory}: {words}.",
                remedy="Remove the files that are no packages, or replace the damaged ones.",
            )
        return described


def _indexes_in(directory: str, kinds: t.Sequence[str]) -> dict[str, bytes]:
    indexes = {}
    for kind in kinds:
        (name,) = (name for name in os.listdir(directory) if name.endswith(f"-{kind}.xml.gz"))
        with gzip.open(os.path.join(directory, name)) as stream:
            indexes[kind] = stream.read()
    return indexes


class RpmRepository(Repository[Repomd]):
    """A repository with a repomd.xml."""

    document = "repomd.xml"
    kept = ("repomd.xml", "repomd.xml.asc")
    loose = LooseRpms()

    def _listed(self, downloader: Downloader) -> MirrorList | None:
        """Return what the list of mirrors says; V(None) where a URL is named, by the template or by the build host."""
        url = self.list_url or (self._mirrors.list_url(self._mirror) if self._mirror else "")
        if not url or self._mirrors.is_given(self.name):
            return None
        answer = downloader.get(
            url, limit=LIST_LIMIT, what=f"the list of mirrors of the {self.shown}", refuse=refuse_page
        )
        data = b"" if answer is None or answer.data is None else answer.data
        return read_mirror_list(
            data,
            url=url,
            what=self.shown,
            package_arch=self.package_arch,
            demands_digest=not self.signed_metadata,
            demands_tls=not self.gpgcheck,
        )

    def _ask_mirrors(self, listed: MirrorList, downloader: Downloader) -> Documents:
        """Get the signed documents from the first mirror that has those of the list."""
        stored, _validators = self.known("")
        known = stored.get("repomd.xml")
        before = str(read_json(self.join("state.json")).get("base_url"))
        # The mirror of the last run, as long as there is nothing new: lists are sorted otherwise each time.
        stays = before in listed.base_urls and known is not None
        if stays and known is not None and listed.digests and has_digest(known, listed.digests[:1]):
            base_url, data = before, known
        else:
            urls = [f"{base}/repodata/repomd.xml" for base in listed.base_urls]
            answer = downloader.get(
                urls[0],
                others=urls[1:],
                refuse=listed.refuse,
                limit=_REPOMD_LIMIT,
                what=f"the repomd.xml of the {self.shown}",
            )
            data = b"" if answer is None or answer.data is None else answer.data
            place = urls[0] if answer is None else answer.url
            base_url = before if stays and data == known else listed.base_urls[urls.index(place)]
        documents = Documents(base_url, {"repomd.xml": data}, {}, fresh=data != known)
        documents.mirrors = tuple(base for base in listed.base_urls if base != base_url)
        return self._with_signature(documents, stored, downloader)

    def ask(self, downloader: Downloader) -> Documents:
        listed = self._listed(downloader)
        if listed is not None:
            return self._ask_mirrors(listed, downloader)
        base_url = self.resolve()
        stored, validators = self.known(base_url)
        known = stored.get("repomd.xml")
        url = f"{base_url}/repodata/repomd.xml"
        answer = downloader.get(
            url,
            limit=_REPOMD_LIMIT,
            what=f"the repomd.xml of the {self.shown}",
            etag=validators.get("etag") if known is not None else None,
            last_modified=validators.get("last_modified") if known is not None else None,
            missing_ok=True,
            refuse=refuse_page,
        )
        if answer is None:
            raise RepositoryError(
                f"There is no repository at {redact(base_url)}: it has no repodata/repomd.xml ({self.shown}).",
                remedy="Check the URL of the repository, or use another mirror.",
            )
        if answer.data is None and known is not None:
            documents, asked = {"repomd.xml": known}, validators
        else:
            documents, asked = {"repomd.xml": answer.data or b""}, validators_of(answer)
        fresh = documents["repomd.xml"] != known
        return self._with_signature(Documents(base_url, documents, asked, fresh=fresh), stored, downloader)

    def _with_signature(self, documents: Documents, stored: t.Mapping[str, bytes], downloader: Downloader) -> Documents:
        """Add the signature, where one is needed; the one that was kept, as long as there is nothing else to sign."""
        if self.signed_metadata and not documents.fresh and "repomd.xml.asc" in stored:
            documents.content["repomd.xml.asc"] = stored["repomd.xml.asc"]
        elif self.signed_metadata:
            signature = self._signature(documents.base_url, documents.mirrors, downloader)
            if signature is not None:
                documents.content["repomd.xml.asc"] = signature
            documents.fresh = True
        return documents

    def _signature(self, base_url: str, mirrors: t.Sequence[str], downloader: Downloader) -> bytes | None:
        document = downloader.get(
            f"{base_url}/repodata/repomd.xml.asc",
            others=[f"{mirror}/repodata/repomd.xml.asc" for mirror in mirrors],
            limit=_SIGNATURE_LIMIT,
            what=f"the repomd.xml.asc of the {self.shown}",
            missing_ok=True,
            refuse=refuse_page,
        )
        return None if document is None else document.data

    def renew_signature(self, documents: Documents, downloader: Downloader) -> bool:
        signature = self._signature(documents.base_url, documents.mirrors, downloader)
        if signature in (None, documents.content.get("repomd.xml.asc")):
            return False
        documents.content["repomd.xml.asc"] = signature
        documents.fresh = True
        return True

    def verified(
        self, documents: Documents, *, where: str, keyring: bytes, fingerprints: t.Sequence[str], now: int | None
    ) -> SignedContent:
        content = documents.content
        if "repomd.xml.asc" not in content:
            raise SignatureError(
                f"{where[:1].upper()}{where[1:]} is not signed: it has no repodata/repomd.xml.asc file.",
                remedy="Check the URL. Where the vendor signs packages only, name the repository in the template with "
                "repoGpgcheck: false; one without any signatures needs gpgcheck: false.",
            )
        return verify_detached(
            content["repomd.xml"],
            content["repomd.xml.asc"],
            keyring=keyring,
            fingerprints=fingerprints,
            what=f"The repomd.xml of {where}",
            now=now,
        )

    def unsigned(self, documents: Documents) -> bytes:
        return documents.content["repomd.xml"]

    def parse(self, content: bytes, *, where: str) -> Repomd:
        try:
            XmlGuard().feed(content)
            root = ET.fromstring(content)  # noqa: S314
            if root.tag != f"{_NAMESPACE}repomd":
                raise ValueError(f"its root element is {root.tag.rpartition('}')[2]!r}")
            data = {}
            dates = []
            for element in root.findall(f"{_NAMESPACE}data"):
                kind = element.get("type", "")
                if kind in _USED:
                    dates.append(_number(element, "timestamp") or 0)
                    data[kind] = _data(element)
                else:
                    # Whatever is wrong with what nobody reads does no harm.
                    with contextlib.suppress(ValueError):
                        dates.append(_number(element, "timestamp") or 0)
            tags = _tags(root)
            text = root.findtext(f"{_NAMESPACE}revision", "").strip()
            revision = int(text) if re.fullmatch(r"[0-9]{1,18}", text) else 0
        except (ValueError, ET.ParseError) as exc:
            raise RepositoryError(
                f"The repomd.xml of {where} cannot be understood: {exc}.",
                remedy="Check the URL; the repository's owner has to publish metadata as createrepo_c makes it.",
            ) from exc
        return Repomd(date=max(dates, default=0) or revision, valid_until=None, revision=revision, data=data, tags=tags)

    def wanted(self, candidate: Candidate[Repomd], package_arch: str) -> list[WantedIndex]:  # noqa: ARG002
        data = candidate.release.data.get("primary", "it is not listed")
        if isinstance(data, str):
            raise RepositoryError(
                f"The repomd.xml of the {self.shown} ({candidate.base_url}) lists no usable primary index: {data}.",
                remedy="The repository's owner has to publish metadata as createrepo_c makes it, with SHA-256 digests.",
            )
        modules = candidate.release.data.get("modules")
        if isinstance(modules, str):
            # Without them, packages would be taken that nobody wants.
            raise RepositoryError(
                f"The repomd.xml of the {self.shown} ({candidate.base_url}) lists no usable module metadata: "
                f"{modules}.",
                remedy="The repository's owner has to publish metadata as createrepo_c makes it, with SHA-256 digests.",
            )
        return [self._index(candidate, "primary", data)]

    def optional(self, candidate: Candidate[Repomd], package_arch: str) -> list[WantedIndex]:
        """Return the file lists, as few packages need a file that C(primary) does not name, and the modules."""
        found = [(kind, candidate.release.data.get(kind)) for kind in ("filelists", "modules")]
        return [self._index(candidate, kind, data) for kind, data in found if isinstance(data, _Data)]

    def identity(self, release: Repomd) -> dict[str, str]:
        return dict(release.tags)

    def largest(self, component: str) -> int:
        """Let file lists be larger: they are searched piece by piece."""
        return _LIST_LIMIT if component == "filelists" else super().largest(component)

    def guard(self, component: str = "") -> XmlGuard | None:
        """Return what refuses document types before libsolv sees them; module metadata are YAML."""
        return None if component == "modules" else XmlGuard()

    def _index(self, candidate: Candidate[Repomd], kind: str, data: _Data) -> WantedIndex:
        url = f"{candidate.base_url}/{quote_path(data.path)}"
        return WantedIndex(
            component=kind,
            arch="",
            path=data.path,
            label=kind,
            urls=(url, *(f"{base}/{quote_path(data.path)}" for base in candidate.documents.mirrors)),
            listed=data.listed,
            plain=data.plain,
        )


def _tags(root: ET.Element) -> dict[str, str]:
    """Return what a repository says of itself; nothing that changes with the next minor release."""
    found: dict[str, set[str]] = {}
    for element in root.iterfind(f"{_NAMESPACE}tags/*"):
        kind, text = element.tag.rpartition("}")[2], (element.text or "").strip()
        if kind == "distro":
            # cpe:/o:vendor:product:version
            text = ":".join(element.get("cpeid", "").split(":")[:4])
        if text:
            found.setdefault(kind, set()).add(text)
    return {kind: " ".join(sorted(texts)) for kind, texts in found.items()}


def _data(element: ET.Element) -> _Data | str:
    """Read one entry of a repomd.xml; the reason when it cannot be used."""
    location = element.find(f"{_NAMESPACE}location")
    path = "" if location is None else location.get("href", "")
    if not path or urllib.parse.urlsplit(path).scheme or ".." in path.split("/") or path.startswith("/"):
        return f"its location is {path!r}"
    if not path.endswith(_COMPRESSIONS):
        return f"{path} is compressed in a way that is not known"
    listed = _listed(element, "checksum", "size")
    if isinstance(listed, str):
        return listed
    plain = _listed(element, "open-checksum", "open-size")
    if not isinstance(plain, str):
        return _Data(path, listed, plain)
    # Without compression, or by an old createrepo, there is none.
    return _Data(path, listed, listed if path.endswith(_PLAIN) else None)


def _listed(element: ET.Element, checksum: str, size: str) -> Listed | str:
    found = element.find(f"{_NAMESPACE}{checksum}")
    kind, digest = ("", "") if found is None else (found.get("type", ""), (found.text or "").strip().lower())
    if kind in _WEAK_CHECKSUMS:
        return f"its checksum is of the kind {_WEAK_CHECKSUMS[kind]}, which is broken"
    if kind != "sha256" or not re.fullmatch(r"[0-9a-f]{64}", digest):
        return "it has no SHA-256 checksum"
    return Listed(digest, _number(element, size))


def _number(element: ET.Element, name: str) -> int | None:
    text = element.findtext(f"{_NAMESPACE}{name}", "").strip()
    if not text:
        return None
    # Old versions of createrepo wrote times with fractions.
    if not re.fullmatch(r"[0-9]{1,18}(?:\.[0-9]+)?", text):
        raise ValueError(f"its {name} is {text!r}")
    return int(text.partition(".")[0])


__all__ = ("RpmRepository",)
