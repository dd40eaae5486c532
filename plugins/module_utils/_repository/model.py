# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""Verified repository metadata, as the resolver gets it."""

from __future__ import annotations

import dataclasses
import typing as t


@dataclasses.dataclass(frozen=True)
class PackageIndex:
    """One decompressed package index on disk whose digest chains to the repository's signature.

    :ivar path: Absolute path of the decompressed C(Packages) file.
    :ivar sha256: Digest of that file, 64 hexadecimal digits.
    :ivar component: For example C(main); empty in a flat repository.
    :ivar arch: The architecture of the index, for example C(amd64) or C(all).
    :ivar size: Bytes of that file.
    """

    path: str
    sha256: str
    component: str
    arch: str
    size: int


@dataclasses.dataclass(frozen=True)
class RepositoryMetadata:
    """One repository, its metadata verified.

    :ivar name: As the provider or the template names it.
    :ivar base_url: Packages lie at C({base_url}/{Filename}); without a trailing slash.
    :ivar mirrors: The base URLs of other places where the same packages lie, the best first.
    :ivar suite: As it was asked for, for example C(bookworm-security).
    :ivar components: As they were asked for.
    :ivar priority: As in apt's pins; the larger one wins.
    :ivar allow_packages: Globs of the only packages that may come from here; empty for all.
    :ivar exclude_packages: Globs of packages that may not, whatever C(allow_packages) says.
    :ivar gpgcheck: V(False) when the template gave up the signature of this repository.
    :ivar signed_by: Fingerprints of the keys that signed; empty without C(gpgcheck).
    :ivar metadata_digest: SHA-256 of the signed content of the Release file.
    :ivar date: When the repository was published, in seconds since 1970.
    :ivar valid_until: When the metadata ceases to be valid, or V(None).
    :ivar indexes: The package indexes, in the order of the components.
    :ivar suite_names: What its suite calls itself: C(stable), C(bookworm), C(12.5).
    :ivar module_hotfixes: Its packages are taken whichever streams of modules are active.
    :ivar foreign: Whether it is somebody else's than the provider's.
    :ivar other_components: What the repository has beside its components: functions that return the indexes of each,
        verified.
    :ivar further: Returns another index of the same repository, verified, that only few resolutions need; V(None) when
        the repository has no such index.
    """

    name: str
    base_url: str
    suite: str
    components: tuple[str, ...]
    priority: int
    allow_packages: tuple[str, ...]
    exclude_packages: tuple[str, ...]
    gpgcheck: bool
    signed_by: tuple[str, ...]
    metadata_digest: str
    date: int
    valid_until: int | None
    indexes: tuple[PackageIndex, ...]
    suite_names: tuple[str, ...] = ()
    module_hotfixes: bool = False
    foreign: bool = False
    mirrors: tuple[str, ...] = ()
    other_components: t.Mapping[str, t.Callable[[], tuple[PackageIndex, ...]]] = dataclasses.field(
        default_factory=dict, compare=False
    )
    further: t.Callable[[str], PackageIndex | None] | None = dataclasses.field(default=None, compare=False)

    @property
    def is_outsider(self) -> bool:
        """Whether it may only add packages: it is foreign, and the template allows no certain packages of it."""
        return self.foreign and not self.allow_packages

    def fingerprint(self) -> dict[str, t.Any]:
        """Return what of this repository shapes a resolution: digests, never URLs, paths or times."""
        return {
            "metadata": self.metadata_digest,
            "indexes": [index.sha256 for index in self.indexes],
            "priority": self.priority,
            "allow_packages": list(self.allow_packages),
            "exclude_packages": list(self.exclude_packages),
            **({"foreign": True} if self.foreign else {}),
            **({"module_hotfixes": True} if self.module_hotfixes else {}),
        }


def metadata_fingerprint(repositories: t.Iterable[RepositoryMetadata]) -> dict[str, t.Any]:
    """Return the fingerprints of all repositories by name, for a stage's inputs."""
    return {repository.name: repository.fingerprint() for repository in repositories}


__all__ = ("PackageIndex", "RepositoryMetadata", "metadata_fingerprint")
