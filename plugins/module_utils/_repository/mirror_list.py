# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Lists of mirrors that a repository names in the place of a URL: metalinks and mirrorlists, as dnf reads them.

A metalink (version 3 of the format, as MirrorManager writes it, or RFC 5854) also tells the digest of the repomd.xml,
so that no mirror can give out another. A mirrorlist is a text with one URL in each line.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t
import urllib.parse
import xml.etree.ElementTree as ET

from ansible_collections.os_image.composer.plugins.module_utils._download.problem import Refused
from ansible_collections.os_image.composer.plugins.module_utils._download.url import redact
from ansible_collections.os_image.composer.plugins.module_utils._errors import RepositoryError
from ansible_collections.os_image.composer.plugins.module_utils._io import has_digest
from ansible_collections.os_image.composer.plugins.module_utils._repository.memory import same_place
from ansible_collections.os_image.composer.plugins.module_utils._repository.web_page import refuse_page
from ansible_collections.os_image.composer.plugins.module_utils._repository.xml_guard import XmlGuard

#: More is an attack or an error: the list of all of Fedora's mirrors has 100 kB.
LIST_LIMIT = 4 << 20
# That many are tried, and named in a lock.
_MIRRORS = 20
_DOCUMENT = "/repodata/repomd.xml"
_KINDS: t.Mapping[str, int] = {"sha512": 128, "sha256": 64}


@dataclasses.dataclass(frozen=True)
class MirrorList:
    """What a list says.

    :ivar base_urls: Of the mirrors, the best first, without a slash at the end.
    :ivar digests: Those of the documents that a mirror may have, the present one first; none in a mirrorlist.
    """

    base_urls: tuple[str, ...]
    digests: tuple[str, ...] = ()

    def refuse(self, data: bytes) -> None:
        """Refuse what a mirror sends in the place of a document of the list.

        :raises Refused: It is something else.
        """
        refuse_page(data)
        if self.digests and not has_digest(data, self.digests):
            raise Refused(
                "it is not what the metalink describes, by its digest",
                "The mirrors may be in the middle of an update: try again in some minutes, or name one by url.",
            )


def list_place(url: str) -> str:
    """Return what all spellings of the URL of a list have in common; which list it is stands in the query."""
    query = "&".join(sorted(urllib.parse.urlsplit(url).query.split("&")))
    return f"list:{same_place(url)}?{query}"


def read_mirror_list(
    data: bytes, *, url: str, what: str, package_arch: str, demands_digest: bool, demands_tls: bool
) -> MirrorList:
    """Read a list of mirrors, of whichever form.

    :param url: Where it lies, for messages.
    :param what: The repository, as messages name it.
    :param package_arch: Is filled in for C($basearch), as some lists have it.
    :param demands_digest: A metalink has to tell a digest: nothing else vouches for the metadata.
    :param demands_tls: Mirrors count by https only: nothing vouches for what they send.
    :raises RepositoryError: It cannot be understood, or names no mirror.
    """
    text = data.decode("utf-8", errors="replace").lstrip("\ufeff \t\r\n")
    try:
        found = _metalink(data) if text.startswith("<") else _mirrorlist(text)
        if demands_digest and text.startswith("<") and not found.digests:
            raise ValueError("it tells no SHA-256 or SHA-512 digest of the repomd.xml, whose signature is not checked")
        urls = [re.sub(r"\$(?:basearch|arch)\b", package_arch, base).rstrip("/") for base in found.base_urls]
        urls = [base[: -len(_DOCUMENT)] if base.endswith(_DOCUMENT) else base for base in urls]
        # Nobody can tell what a mirror by http or ftp has changed when neither a digest nor a signature is there.
        schemes = ("https",) if demands_tls and not found.digests else ("http", "https", "file")
        known = [base for base in urls if base.lower().partition("://")[0] in schemes and "$" not in base]
        # Their credentials would end up in the lock.
        known = [base for base in dict.fromkeys(known) if "@" not in urllib.parse.urlsplit(base).netloc]
        if not known:
            raise ValueError(f"it names no mirror by {' or '.join(schemes)}")
    except (ValueError, ET.ParseError) as exc:
        raise RepositoryError(
            f"The list of mirrors of the {what} ({redact(url)}) cannot be used: {exc}.",
            remedy="Check the URL, and what its query asks for; or name one mirror by url.",
        ) from exc
    return MirrorList(tuple(known[:_MIRRORS]), found.digests)


def _mirrorlist(text: str) -> MirrorList:
    lines = [line.strip() for line in text.splitlines()]
    urls = [line for line in lines if line and not line.startswith("#")]
    wrong = [line for line in urls if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://\S+\Z", line)]
    if wrong:
        raise ValueError(f"{wrong[0][:80]!r} is no URL")
    return MirrorList(tuple(urls))


def _metalink(data: bytes) -> MirrorList:
    XmlGuard().feed(data)
    root = ET.fromstring(data)  # noqa: S314
    if _name(root) != "metalink":
        raise ValueError(f"it is no metalink: its root element is {_name(root)!r}")
    files = [item for item in root.iter() if _name(item) == "file" and item.get("name") == "repomd.xml"]
    if not files:
        raise ValueError("it does not list a repomd.xml")
    places = [item for item in files[0].iter() if _name(item) == "url"]
    # Equal ones in the order of the list; the highest preference first (3), or the lowest priority (RFC 5854).
    ranks = [(-_number(item.get("preference")), _number(item.get("priority"))) for item in places]
    order = sorted(range(len(places)), key=lambda index: ranks[index])
    urls = [(places[index].text or "").strip() for index in order]
    return MirrorList(tuple(url for url in urls if url.endswith(_DOCUMENT)), _digests(files[0]))


def _digests(file: ET.Element) -> tuple[str, ...]:
    """Return the digests of a file: its own first, then those of older ones that mirrors may still have."""
    found = []
    alternates = [item for item in file.iter() if _name(item) == "alternate"]
    inner = {id(item) for alternate in alternates for item in alternate.iter()}
    own = [item for item in file.iter() if id(item) not in inner]
    for elements in (own, *(list(alternate.iter()) for alternate in alternates)):
        hashes = {
            (item.get("type") or "").replace("-", "").lower(): (item.text or "").strip().lower()
            for item in elements
            if _name(item) == "hash"
        }
        kind = next((kind for kind in _KINDS if kind in hashes), None)
        if kind is None:
            continue
        if not re.fullmatch(rf"[0-9a-f]{{{_KINDS[kind]}}}", hashes[kind]):
            raise ValueError(f"{hashes[kind][:150]!r} is no {kind} digest")
        found.append(hashes[kind])
    return tuple(dict.fromkeys(found))


def _name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _number(text: t.Optional[str]) -> int:
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,9}", text) else 0


__all__ = ("LIST_LIMIT", "MirrorList", "list_place", "read_mirror_list")
