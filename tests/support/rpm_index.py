# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Metadata of small RPM repositories, written by hand; for real packages see M(rpm_repository)."""

from __future__ import annotations

import hashlib
import pathlib
import re
import textwrap
import typing as t
from xml.sax.saxutils import escape, quoteattr

from ansible_collections.os_image.composer.plugins.module_utils._repository.model import (
    PackageIndex,
    RepositoryMetadata,
)
from ansible_collections.os_image.composer.plugins.module_utils._resolver.rpm import RpmResolver

_RELATIONS = ("Provides", "Requires", "Conflicts", "Obsoletes", "Recommends", "Suggests", "Supplements", "Enhances")
_FLAGS: t.Mapping[str, str] = {"=": "EQ", "<": "LT", ">": "GT", "<=": "LE", ">=": "GE"}
_PRIMARY = re.compile(r"/etc/|.*bin/|/usr/lib/sendmail$")


class _Package:
    """A package from its lines."""

    def __init__(self, text: str) -> None:
        head, *lines = (line.strip() for line in text.strip().split("\n"))
        self.name, self.evr, self.arch = (*head.split(), *("1.0-1", "noarch")[len(head.split()) - 1 :])
        self.fields = dict(line.split(": ", 1) for line in lines)
        self.files = self.fields.get("Files", "").split()
        self.digest = hashlib.sha256(f"{self.name} {self.evr} {self.arch}".encode()).hexdigest()

    @property
    def location(self) -> str:
        return f"Packages/{self.name}-{self.evr.rpartition(':')[2]}.{self.arch}.rpm"

    def version(self) -> str:
        return f"<version {_evr(self.evr)}/>"

    def primary(self) -> str:
        relations = ""
        for relation in _RELATIONS:
            entries = [_entry(text, pre=False) for text in _listed(self.fields.get(relation, ""))]
            if relation == "Provides":
                entries.append(_entry(f"{self.name} = {self.evr}", pre=False))
            if relation == "Requires":
                entries += [_entry(text, pre=True) for text in _listed(self.fields.get("Requires(pre)", ""))]
            if entries:
                relations += f"<rpm:{relation.lower()}>{''.join(entries)}</rpm:{relation.lower()}>"
        files = "".join(f"<file>{escape(name)}</file>" for name in self.files if _PRIMARY.match(name))
        kind = self.fields.get("Checksum", "sha256")
        built = self.fields.get("Built", "1700000000")
        return (
            f'<package type="rpm"><name>{escape(self.name)}</name><arch>{self.arch}</arch>{self.version()}'
            f'<checksum type="{kind}" pkgid="YES">{self.digest[: 40 if kind == "sha" else 64]}</checksum>'
            f"<summary>test</summary><description>test</description><url>http://example.org/{self.name}</url>"
            f'<time file="{built}" build="{built}"/><size package="{self.fields.get("Size", "1000")}" '
            f'installed="2000" archive="3000"/><location href={quoteattr(self.location)}/><format>'
            f"<rpm:license>{escape(self.fields.get('License', 'MIT'))}</rpm:license>"
            f"<rpm:sourcerpm>{self.name}-{self.evr.rpartition(':')[2]}.src.rpm</rpm:sourcerpm>"
            f"{relations}{files}</format></package>\n"
        )

    def file_list(self) -> str:
        files = "".join(f"  <file>{escape(name)}</file>\n" for name in self.files)
        name = quoteattr(self.name)
        return (
            f'<package pkgid="{self.digest}" name={name} arch="{self.arch}">\n  {self.version()}\n{files}</package>\n'
        )


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _evr(text: str) -> str:
    epoch, _colon, rest = text.rpartition(":")
    version, dash, release = rest.partition("-")
    return f'epoch="{epoch or 0}" ver="{version}"' + (f' rel="{release}"' if dash else "")


def _entry(text: str, *, pre: bool) -> str:
    more = ' pre="1"' if pre else ""
    if text.startswith("("):
        return f"<rpm:entry name={quoteattr(text)}{more}/>"
    name, operator, version = (*text.split(), "", "")[:3]
    if operator:
        more = f' flags="{_FLAGS[operator]}" {_evr(version)}{more}'
    return f"<rpm:entry name={quoteattr(name)}{more}/>"


def index_texts(packages: str) -> dict[str, str]:
    """Return the indexes C(primary) and C(filelists).

    :param packages: Packages with an empty line between them, indented at will. The first line of each is its name,
        and at will its version and architecture; then fields as in a spec file: relations with commas between them,
        C(Requires(pre)), C(Files) with blanks between them, C(Built), C(License), C(Size), C(Checksum).
    """
    items = [_Package(text) for text in textwrap.dedent(packages).strip().split("\n\n")]
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    namespace = "http://linux.duke.edu/metadata/"
    return {
        "primary": f'{head}<metadata xmlns="{namespace}common" xmlns:rpm="{namespace}rpm" packages="{len(items)}">\n'
        f"{''.join(item.primary() for item in items)}</metadata>\n",
        "filelists": f'{head}<filelists xmlns="{namespace}filelists" packages="{len(items)}">\n'
        f"{''.join(item.file_list() for item in items)}</filelists>\n",
    }


def rpm_repository(
    directory: pathlib.Path,
    packages: str,
    *,
    name: str = "base",
    priority: int = 500,
    allow_packages: t.Sequence[str] = (),
    exclude_packages: t.Sequence[str] = (),
    foreign: bool = False,
    base_url: str = "http://mirror.example.org/rpm",
    date: int = 1_700_000_000,
    asked: list[str] | None = None,
    modules: str | None = None,
    module_hotfixes: bool = False,
    primary: str | None = None,
) -> RepositoryMetadata:
    """Make a repository.

    :param asked: Gets the name of each further index that somebody asks for.
    :param modules: The content of its modules.yaml.
    :param primary: The content of its primary index, in the place of what C(packages) gives.
    """
    indexes = {}
    others = {kind: text for kind, text in (("modules", modules), ("primary", primary)) if text is not None}
    for kind, text in {**index_texts(packages), **others}.items():
        path = directory / f"{name}.{kind}"
        path.write_text(text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        indexes[kind] = PackageIndex(path=str(path), sha256=digest, component=kind, arch="", size=len(text.encode()))

    def further(kind: str) -> PackageIndex | None:
        if asked is not None and kind in indexes:
            asked.append(f"{name} {kind}")
        return indexes.get(kind)

    return RepositoryMetadata(
        name=name,
        base_url=base_url,
        suite="",
        components=(),
        priority=priority,
        allow_packages=tuple(allow_packages),
        exclude_packages=tuple(exclude_packages),
        foreign=foreign,
        gpgcheck=True,
        signed_by=("A" * 40,),
        metadata_digest=hashlib.sha256("".join(index.sha256 for index in indexes.values()).encode()).hexdigest(),
        date=date,
        valid_until=None,
        indexes=(indexes["primary"],),
        further=further,
        module_hotfixes=module_hotfixes,
    )


def resolver_of(
    *repositories: RepositoryMetadata,
    cache_dir: pathlib.Path | None = None,
    arch: str = "x86_64",
    weak: bool = False,
    modules: t.Sequence[str] = (),
) -> RpmResolver:
    """Load repositories into a resolver."""
    cache = None if cache_dir is None else str(cache_dir)
    resolver = RpmResolver(arch=arch, cache_dir=cache, weak=weak, modules=modules)
    resolver.pool.load(repositories)
    return resolver


__all__ = ("index_texts", "resolver_of", "rpm_repository")
