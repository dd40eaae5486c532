# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small package repositories, written by hand."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import textwrap
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._repository.model import (
    PackageIndex,
    RepositoryMetadata,
)
from ansible_collections.os_image.composer.plugins.module_utils._resolver.deb_pool import DebPool

_DEFAULTS = {"Version": "1.0-1", "Architecture": "amd64", "Priority": "optional"}


def index_text(stanzas: str) -> str:
    """Complete stanzas that say only what matters.

    :param stanzas: Stanzas of deb822 with an empty line between them, indented at will. One line with a name alone
        stands for C(Package).
    """
    texts = []
    for stanza in textwrap.dedent(stanzas).strip().split("\n\n"):
        lines = stanza.strip().split("\n")
        if ":" not in lines[0]:
            lines[0] = f"Package: {lines[0].strip()}"
        fields = dict(line.strip().split(": ", 1) for line in lines)
        fields = {"Package": fields.pop("Package"), **_DEFAULTS, **fields}
        name = fields["Package"]
        sha256 = hashlib.sha256(f"{name} {fields['Version']}".encode()).hexdigest()
        fields.setdefault("Filename", f"pool/{name}_{fields['Version'].partition(':')[2] or fields['Version']}.deb")
        fields.setdefault("Size", "1000")
        fields.setdefault("Installed-Size", "10")
        if "SHA512" not in fields:
            fields.setdefault("SHA256", sha256)
        texts.append("".join(f"{key}: {value}\n" for key, value in fields.items()))
    return "\n".join(texts)


def repository(
    directory: pathlib.Path,
    stanzas: str | bytes,
    *,
    name: str = "stable",
    priority: int = 500,
    allow_packages: t.Sequence[str] = (),
    exclude_packages: t.Sequence[str] = (),
    foreign: bool = False,
    base_url: str = "http://mirror.example.org/debian",
    date: int = 1_700_000_000,
) -> RepositoryMetadata:
    """Make a repository with one index.

    :param stanzas: Its packages, see :func:`index_text`; or the bytes of the index as they are.
    """
    data = stanzas if isinstance(stanzas, bytes) else index_text(stanzas).encode()
    path = directory / f"{name}.Packages"
    path.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    return RepositoryMetadata(
        name=name,
        base_url=base_url,
        suite=name,
        components=("main",),
        priority=priority,
        allow_packages=tuple(allow_packages),
        exclude_packages=tuple(exclude_packages),
        foreign=foreign,
        gpgcheck=True,
        signed_by=("A" * 40,),
        metadata_digest=hashlib.sha256(digest.encode()).hexdigest(),
        date=date,
        valid_until=None,
        indexes=(PackageIndex(path=str(path), sha256=digest, component="main", arch="amd64", size=len(data)),),
    )


def with_components(metadata: RepositoryMetadata, directory: pathlib.Path, **components: str) -> RepositoryMetadata:
    """Let a repository have components that are not enabled.

    :param components: Stanzas by the name of the component, with underscores in the place of hyphens.
    """
    others = {}
    for key, stanzas in components.items():
        name = key.replace("_", "-")
        (index,) = repository(directory, stanzas, name=f"{metadata.name}-{name}").indexes
        others[name] = lambda index=index: (index,)
    return dataclasses.replace(metadata, other_components=others)


def pool_of(*repositories: RepositoryMetadata, cache_dir: pathlib.Path | None = None) -> DebPool:
    """Load repositories into a pool."""
    pool = DebPool(arch="amd64", cache_dir=None if cache_dir is None else str(cache_dir))
    pool.load(repositories)
    return pool
