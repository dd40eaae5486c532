# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Mirrors: where a distribution's archive can be had from this build host.

No public mirror of Debian is written into this collection. A repository names a mirror (C(debian),
C(debian-security), C(ubuntu), ...); its URL comes from the O(mirrors) option, else from the package sources of the
build host (see sources.list(5)), with the proxy that apt uses for it. On build hosts of the RPM family a mirror is a
repository of C(/etc/yum.repos.d) by its id.
"""

from __future__ import annotations

import dataclasses
import glob
import os
import re
import subprocess
import typing as t
import urllib.parse

from ansible_collections.os_image.composer.plugins.module_utils._errors import RepositoryError
from ansible_collections.os_image.composer.plugins.module_utils._repository.yum_sources import (
    YumSource,
    read_yum_sources,
)

_SECURITY = "-security"
_REMEDY = (
    "Name its URL in the option mirrors (the role variable image_build_mirrors), for example "
    '{{"{name}": "https://mirror.example/{name}"}}.'
)


@dataclasses.dataclass(frozen=True)
class AptSource:
    """One entry of the build host's package sources.

    :ivar uri: Base URL of the archive, without a trailing slash.
    :ivar suites: For example C(bookworm) and C(bookworm-updates).
    :ivar components: For example C(main).
    :ivar signed_by: Path of the keyring that the entry names, or empty.
    :ivar path: The file that has the entry.
    """

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str
    path: str


def read_apt_sources(directory: str = "/etc/apt") -> list[AptSource]:
    """Read the enabled binary package sources of a host, of both forms, in apt's order.

    What cannot be understood is left out: it is apt's business to complain about it.
    """
    entries: list[AptSource] = []
    paths = [os.path.join(directory, "sources.list")]
    for pattern in ("*.list", "*.sources"):
        paths += sorted(glob.glob(os.path.join(directory, "sources.list.d", pattern)))
    for path in paths:
        try:
            with open(path, encoding="utf-8", errors="replace") as stream:
                text = stream.read()
        except OSError:
            continue
        entries += _read_deb822(text, path) if path.endswith(".sources") else _read_one_line(text, path)
    return entries


def _read_one_line(text: str, path: str) -> t.Iterator[AptSource]:
    for line in text.splitlines():
        match = re.fullmatch(
            r"\s*deb\s+(?:\[(?P<options>[^\]]*)\]\s*)?(?P<uri>\S+)\s+(?P<suite>[^\s#]+)(?P<components>[^#]*)(?:#.*)?",
            line,
        )
        if match is None:
            continue
        signed_by = re.search(r"(?:^|\s)signed-by=(\S+)", match["options"] or "", re.IGNORECASE)
        for uri in _expand(match["uri"], path):
            yield AptSource(
                uri=uri,
                suites=(match["suite"],),
                components=tuple(match["components"].split()),
                signed_by=signed_by[1] if signed_by else "",
                path=path,
            )


def _read_deb822(text: str, path: str) -> t.Iterator[AptSource]:
    for stanza in re.split(r"\n[ \t]*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in (" ", "\t"):
                fields[name] = f"{fields.get(name, '')}\n{line.strip()}"
                continue
            name, _colon, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
        if fields.get("enabled", "yes").lower() in ("no", "false", "0", "off", "without", "disable"):
            continue
        if "deb" not in fields.get("types", "").split():
            continue
        signed_by = fields.get("signed-by", "")
        for address in fields.get("uris", "").split():
            for uri in _expand(address, path):
                yield AptSource(
                    uri=uri,
                    suites=tuple(fields.get("suites", "").split()),
                    components=tuple(fields.get("components", "").split()),
                    # A key may stand in the entry itself.
                    signed_by="" if "\n" in signed_by else signed_by,
                    path=path,
                )


def _expand(uri: str, path: str) -> t.Iterator[str]:
    """Yield the URLs that can be fetched; C(mirror+file:) names a list of mirrors, as Debian's cloud images do."""
    if uri.startswith(("mirror+file:", "mirror:file:")):
        listing = urllib.parse.urlsplit(uri.partition(":")[2] if uri.startswith("mirror:") else uri[len("mirror+") :])
        try:
            with open(listing.path, encoding="utf-8", errors="replace") as stream:
                lines = [line.split("#")[0].split() for line in stream]
        except OSError:
            return
        for words in lines:
            if words:
                yield from _expand(words[0], path)
        return
    if uri.startswith("copy:"):
        uri = "file:" + uri[len("copy:") :]
    if uri.startswith(("http://", "https://", "file:/")):
        yield uri.rstrip("/")


def _host_distribution(os_release: str) -> str:
    try:
        with open(os_release, encoding="utf-8", errors="replace") as stream:
            match = re.search(r"^ID=[\"']?([\w.-]+)", stream.read(), re.MULTILINE)
    except OSError:
        return ""
    return match[1] if match else ""


class Mirrors:
    """Knows the mirrors of this build host.

    :param mirrors: The option: mirror names and their URLs; these come first.
    :param apt_directory: Where the host keeps its package sources.
    :param os_release: The file that says what the host is.
    :param yum_root: The root directory of the host, whose C(.repo) files are read.
    """

    def __init__(
        self,
        mirrors: t.Mapping[str, str] | None = None,
        *,
        apt_directory: str = "/etc/apt",
        os_release: str = "/etc/os-release",
        yum_root: str = "/",
    ) -> None:
        self._given = dict(mirrors or {})
        self._apt_directory = apt_directory
        self._os_release = os_release
        self._yum_root = yum_root
        self._sources: list[AptSource] | None = None
        self._yum_sources: list[YumSource] | None = None
        self._apt_options: dict[str, str] | None = None

    def is_given(self, name: str) -> bool:
        """Tell whether the option names a URL for a mirror or a repository."""
        return bool(self._given.get(name))

    def url(self, name: str) -> str:
        """Return the base URL of a mirror, without a trailing slash.

        :raises RepositoryError: Neither the option nor the host knows it.
        """
        given = self._given.get(name)
        if given:
            if not given.startswith(("http://", "https://", "file:/")):
                raise RepositoryError(
                    f"The mirror {name!r} has the URL {given!r}, which cannot be fetched.",
                    remedy="Use an http, https or file URL in the option mirrors.",
                )
            return given.rstrip("/")
        ranked = [(self._rank(source, name), -number) for number, source in enumerate(self.sources)]
        best = max(ranked, default=(0, 0))
        if best[0] > 0:
            return self.sources[-best[1]].uri
        same = [source for source in self.yum_sources if source.name == name]
        if same and same[0].url:
            return same[0].url
        what = f"neither do the package sources of the build host in {self._apt_directory}"
        if same:
            what = "the repository of the build host that is called so names only a list of mirrors"
        elif self.yum_sources:
            what = f"no repository of the build host in {os.path.join(self._yum_root, 'etc/yum.repos.d')} is called so"
        raise RepositoryError(
            f"No mirror is known for {name!r}: the option mirrors does not name it, and {what}.",
            remedy=_REMEDY.format(name=name),
        )

    def list_url(self, name: str) -> str:
        """Return the URL of a list of mirrors, where that is all that the build host has; empty otherwise."""
        same = [] if self.is_given(name) else [source for source in self.yum_sources if source.name == name]
        return same[0].list_url if same and not same[0].url else ""

    @property
    def sources(self) -> list[AptSource]:
        """The package sources of the build host."""
        if self._sources is None:
            self._sources = read_apt_sources(self._apt_directory)
        return self._sources

    @property
    def yum_sources(self) -> list[YumSource]:
        """The repositories of a build host of the RPM family."""
        if self._yum_sources is None:
            self._yum_sources = read_yum_sources(self._yum_root)
        return self._yum_sources

    def _rank(self, source: AptSource, name: str) -> int:
        """Tell how surely a package source of the host is a mirror of the distribution; 0 when it is none.

        Third parties use the distribution's suite names too, and even paths that end in its name; so no single sign is
        enough to come before the archive itself, which has a sibling C(-updates), the distribution's keyring, or a
        place in the files that the installer writes.
        """
        distribution = name[: -len(_SECURITY)] if name.endswith(_SECURITY) else name
        wants_security = name.endswith(_SECURITY)
        suites = [suite for suite in source.suites if suite.endswith((_SECURITY, "/updates")) == wants_security]
        if not suites or "main" not in source.components:
            return 0
        has_keyring = f"{distribution}-archive-keyring" in os.path.basename(source.signed_by)
        has_path = urllib.parse.urlsplit(source.uri).path.rstrip("/").rpartition("/")[2] in (distribution, name)
        is_own = _host_distribution(self._os_release) == distribution
        if not (is_own or has_keyring or has_path):
            return 0
        siblings = {suite for other in self.sources if other.uri == source.uri for suite in other.suites}
        has_siblings = wants_security or any(f"{suite}-updates" in siblings for suite in suites)
        file = os.path.basename(source.path)
        in_own_file = is_own and file in ("sources.list", f"{distribution}.sources", f"{distribution}.list")
        return 4 * has_siblings + 3 * has_keyring + 2 * in_own_file + has_path

    def proxies(self, url: str) -> t.Mapping[str, str | None] | None:
        """Return the proxies that the host's package manager uses for a URL below one of its package sources.

        :returns: In the form of C(requests); V(None) leaves it to the environment.
        """
        for yum in self.yum_sources:
            if yum.url and yum.proxy and (url == yum.url or url.startswith(f"{yum.url}/")):
                return {urllib.parse.urlsplit(url).scheme: yum.proxy}
        if not any(url == source.uri or url.startswith(f"{source.uri}/") for source in self.sources):
            return None
        parts = urllib.parse.urlsplit(url)
        options = self._apt()
        for option in (f"acquire::{parts.scheme}::proxy::{parts.hostname}", f"acquire::{parts.scheme}::proxy"):
            value = options.get(option)
            if value:
                return {parts.scheme: None if value.upper() == "DIRECT" else value}
        return None

    def _apt(self) -> dict[str, str]:
        if self._apt_options is None:
            self._apt_options = _read_apt_options(self._apt_directory)
        return self._apt_options


def _mentions_proxy(path: str) -> bool:
    try:
        with open(path, "rb") as stream:
            return b"proxy" in stream.read().lower()
    except OSError:
        return False


def _read_apt_options(directory: str) -> dict[str, str]:
    """Read apt's configuration; names in lower case, as apt does not distinguish them."""
    paths = [os.path.join(directory, "apt.conf"), *glob.glob(os.path.join(directory, "apt.conf.d", "*"))]
    if "APT_CONFIG" in os.environ:
        paths.append(os.environ["APT_CONFIG"])
    if not any(_mentions_proxy(path) for path in paths):
        # Most hosts: the program need not be asked.
        return {}
    try:
        done = subprocess.run(
            ["apt-config", "dump", "Acquire"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    pairs = re.findall(r'^(\S+) "(.*)";$', done.stdout.decode("utf-8", errors="replace"), re.MULTILINE)
    return {name.lower(): value for name, value in pairs}


def resolve_mirror(name: str, mirrors: t.Mapping[str, str] | None = None) -> str:
    """Return the base URL of a mirror; see :meth:`Mirrors.url`."""
    return Mirrors(mirrors).url(name)


__all__ = ("AptSource", "Mirrors", "read_apt_sources", "resolve_mirror")
