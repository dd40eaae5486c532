# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""The package sources of build hosts of the RPM family: C(.repo) files, as dnf reads them (dnf.conf(5))."""

from __future__ import annotations

import configparser
import dataclasses
import glob
import os
import platform
import re
import typing as t

_FALSE = ("0", "no", "false", "off")
_VARIABLE = re.compile(r"\$(?:\{(?P<braced>\w+)\}|(?P<plain>\w+))")
_BASE_ARCHITECTURES: t.Mapping[str, str] = {"armv7l": "armhfp", "i686": "i386"}


@dataclasses.dataclass(frozen=True)
class YumSource:
    """One enabled repository of the build host.

    :ivar name: Its id.
    :ivar url: Its first base URL, variables filled in, without a trailing slash; empty where only a list of mirrors is
        named.
    :ivar list_url: The URL of its list of mirrors, metalink before mirrorlist; empty where it names none.
    :ivar proxy: The proxy that dnf uses for it, or empty.
    """

    name: str
    url: str
    list_url: str
    proxy: str


def read_yum_sources(host: str = "/") -> list[YumSource]:
    """Read the enabled repositories of a host.

    What cannot be understood is left out: it is dnf's business to complain about it.

    :param host: The host's root directory.
    """
    variables = _variables(host)
    main = _read(os.path.join(host, "etc/dnf/dnf.conf")).get("main", {})
    sources = []
    for path in sorted(glob.glob(os.path.join(host, "etc/yum.repos.d", "*.repo"))):
        for name, options in _read(path).items():
            if options.get("enabled", "1").lower() in _FALSE:
                continue
            urls = _expand(options.get("baseurl", ""), variables).replace(",", " ").split()
            url = next((url for url in urls if url.startswith(("http://", "https://", "file:/"))), "")
            lists = [_expand(options.get(key, ""), variables).strip() for key in ("metalink", "mirrorlist")]
            list_url = next((place for place in lists if place.startswith(("http://", "https://", "file:/"))), "")
            proxy = options.get("proxy", main.get("proxy", ""))
            sources.append(YumSource(name, url.rstrip("/"), list_url, "" if proxy == "_none_" else proxy))
    return sources


def _read(path: str) -> t.Dict[str, t.Dict[str, str]]:
    parser = configparser.ConfigParser(interpolation=None, strict=False, default_section="")
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            parser.read_file(stream)
    except (OSError, configparser.Error):
        return {}
    return {name: dict(parser[name]) for name in parser.sections()}


def _variables(host: str) -> t.Dict[str, str]:
    """Return the variables that stand in URLs."""
    machine = platform.machine()
    variables = {"arch": machine, "basearch": _BASE_ARCHITECTURES.get(machine, machine)}
    try:
        with open(os.path.join(host, "etc/os-release"), encoding="utf-8", errors="replace") as stream:
            release = dict(re.findall(r"^(\w+)=[\"']?([^\"'\n]*)", stream.read(), re.MULTILINE))
    except OSError:
        release = {}
    version = release.get("VERSION_ID", "")
    # Enterprise Linux counts its repositories by the major version.
    like = f"{release.get('ID', '')} {release.get('ID_LIKE', '')}".split()
    variables["releasever"] = version.partition(".")[0] if {"rhel", "centos"}.intersection(like) else version
    for path in (*glob.glob(os.path.join(host, "etc/yum/vars/*")), *glob.glob(os.path.join(host, "etc/dnf/vars/*"))):
        try:
            with open(path, encoding="utf-8", errors="replace") as stream:
                variables[os.path.basename(path)] = stream.readline().strip()
        except OSError:
            continue
    return variables


def _expand(text: str, variables: t.Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda match: variables.get(match["braced"] or match["plain"], match[0]), text)


__all__ = ("YumSource", "read_yum_sources")
