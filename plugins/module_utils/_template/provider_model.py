# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The model of a provider: a class for each mapping of C(provider) in C(template.json).

The first stage writes it, so its form stands here alone. What a repository may leave out has a default.
"""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._template.part import Part

#: The priority of a repository that has none, or 0.
DEFAULT_PRIORITY = 500


class Essential(Part):
    """What the chroot environment begins with: packages by Debian's priorities, and by name."""

    priorities: t.Tuple[str, ...]
    packages: t.Tuple[str, ...]


class ProviderInitramfs(Part):
    """What makes the initramfs where the template leaves that open."""

    generator: str


class Repository(Part):
    """A package repository of the provider or of the template.

    :ivar mirror: The name of the mirror that has it; there is either that, a URL, or a path of loose packages.
    :ivar metalink: The URL of a list of mirrors with the digest of their metadata, in the place of all these.
    :ivar mirrorlist: The URL of a list of mirrors alone, likewise.
    :ivar components: Components of a Debian repository; none for a flat one, and for one of RPM packages.
    :ivar keys: Absolute paths and URLs of the keys that sign it.
    :ivar fingerprints: The keys that may sign it, in upper case; without any, all that the files hold.
    :ivar module_hotfixes: Its packages are taken whichever streams of modules are active.
    :ivar max_age: How many days old its metadata may be; 0 for any.
    :ivar foreign: Whether the template adds it, and it is somebody else's than the provider's.
    """

    name: str
    mirror: t.Optional[str]
    url: t.Optional[str]
    path: t.Optional[str]
    suite: str = ""
    components: t.Tuple[str, ...]
    priority: int
    allow_packages: t.Tuple[str, ...]
    exclude_packages: t.Tuple[str, ...]
    gpgcheck: bool
    repo_gpgcheck: bool
    keys: t.Tuple[str, ...]
    fingerprints: t.Tuple[str, ...]
    module_hotfixes: t.Optional[bool] = None
    metalink: t.Optional[str] = None
    mirrorlist: t.Optional[str] = None
    max_age: int = 0
    foreign: bool = False


class Provider(Part):
    """The provider of an image: a release of an operating system for one architecture.

    :ivar arch: The architecture as the template names it, C(x86_64) for example.
    :ivar package_arch: The same as its packages do, C(amd64) for example.
    :ivar optional_repositories: What it knows beside its repositories, and the template does not use.
    :ivar family: The form of its packages, C(deb) or C(rpm).
    """

    os: str
    dist: str
    arch: str
    package_arch: str
    family: str
    release_version: str
    codename: str
    essential: Essential
    initramfs: ProviderInitramfs
    repositories: t.Tuple[Repository, ...]
    bootloader_packages: t.Tuple[str, ...]
    optional_repositories: t.Tuple[Repository, ...] = ()


__all__ = ("DEFAULT_PRIORITY", "Essential", "Provider", "ProviderInitramfs", "Repository")
