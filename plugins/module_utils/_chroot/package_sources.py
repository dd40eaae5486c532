# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The package sources of the image itself.

Repositories that are named by URL stay with the image, each with its own keys. A mirror is a matter of the build host:
its URL never reaches an image, so that an image whose repositories are all mirrors has no package sources. Whoever
wants some names them in the template, by C(packageRepositories) or C(additionalFiles).
"""

from __future__ import annotations

import os
import re
import typing as t
import urllib.parse

from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_file
from ansible_collections.os_image.composer.plugins.module_utils._repository.keys import armored_keys, with_kept_keys
from ansible_collections.os_image.composer.plugins.module_utils._template.provider_model import (
    DEFAULT_PRIORITY,
    Repository,
)
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles

# The highest of the priorities with which apt takes nothing.
_NEVER = -1
# What dnf takes where nothing is said; there the lowest number wins.
_DNF_PRIORITY = 99
_NO_SOURCES = (
    "# The repositories that this image was built from are mirrors of its build host, and are not listed here.\n"
    "# Put the sources of your own into /etc/apt/sources.list.d/, see sources.list(5).\n"
)
_COMPONENTS = "# Its packages are of the components {}.\n"


def public_repositories(repositories: t.Sequence[Repository]) -> list[Repository]:
    """Return the repositories that the image can use itself."""
    places = [entry.url or entry.metalink or entry.mirrorlist or "" for entry in repositories]
    return [entry for entry, place in zip(repositories, places) if place.startswith(("http://", "https://"))]


def fetched_keys(repositories: t.Sequence[Repository], *, metadata_dir: str) -> dict[str, str]:
    """Return the digests of the keys that the image gets from the network, by URL, as far as they have been fetched."""
    digests = {}
    for repository in public_repositories(repositories):
        local = with_kept_keys(repository, metadata_dir=metadata_dir)
        for key, path in zip(repository.keys, local.keys):
            if path != key and os.path.exists(path):
                digests[key] = sha256_file(path)
    return digests


def render_sources(repository: Repository, keyring: str | None) -> str:
    """Return the deb822 sources file (sources.list(5)) of a repository."""
    lines = ["Types: deb", f"URIs: {repository.url}", f"Suites: {repository.suite}"]
    if not repository.suite.endswith("/"):
        lines.append(f"Components: {' '.join(repository.components or ['main'])}")
    if keyring:
        lines.append(f"Signed-By: {keyring}")
    elif not repository.gpgcheck:
        lines.append("Trusted: yes")
    return "\n".join(lines) + "\n"


def render_preferences(repository: Repository) -> str:
    """Return the pins (apt_preferences(5)) of a repository; empty when it is like any other.

    Of several records that name a package the first one counts, and all of them before the one that names all.
    """
    pins = [(repository.exclude_packages, _NEVER), (repository.allow_packages, repository.priority)]
    general = _NEVER if repository.allow_packages else repository.priority
    if general != DEFAULT_PRIORITY:
        pins.append((("*",), general))
    origin = urllib.parse.urlsplit(repository.url or "").hostname or ""
    return "\n".join(
        f"Package: {' '.join(packages)}\nPin: origin {origin}\nPin-Priority: {pin}\n"
        for packages, pin in pins
        if packages
    )


def configure_apt(files: TreeFiles, repositories: t.Sequence[Repository]) -> None:
    """Write the image's package sources; does nothing in an image without apt.

    :param repositories: The provider's and the template's, as in C(template.json), with keys that are paths.
    :raises SignatureError: A key is not there, or not good.
    """
    if not files.exists("/etc/apt"):
        return
    public = public_repositories(repositories)
    for repository in public:
        name = _file_name(repository)
        keyring = None
        if repository.gpgcheck and repository.keys:
            keyring = f"/etc/apt/keyrings/{name}.asc"
            files.write(keyring, "".join(armored_keys(repository)))
        files.write(f"/etc/apt/sources.list.d/{name}.sources", render_sources(repository, keyring))
        preferences = render_preferences(repository)
        if preferences:
            files.write(f"/etc/apt/preferences.d/{name}", preferences)
    if (
        not public
        and not files.read("/etc/apt/sources.list").strip()
        and not files.glob("/etc/apt/sources.list.d", "*")
    ):
        components = list(dict.fromkeys(name for repository in repositories for name in repository.components))
        more = _COMPONENTS.format(" ".join(components)) if components not in ([], ["main"]) else ""
        files.write("/etc/apt/sources.list", _NO_SOURCES + more)


def render_repo(repository: Repository, keyring: str | None) -> str:
    """Return the section of a .repo file (dnf.conf(5), tdnf.conf(5)) of a repository."""
    lines = [
        f"[{_file_name(repository)}]",
        f"name={repository.name}",
        _place(repository),
        "enabled=1",
        f"gpgcheck={int(repository.gpgcheck)}",
        f"repo_gpgcheck={int(repository.gpgcheck and repository.repo_gpgcheck)}",
    ]
    if keyring:
        lines.append(f"gpgkey=file://{keyring}")
    if repository.priority != DEFAULT_PRIORITY:
        lines.append(f"priority={max(1, _DNF_PRIORITY + DEFAULT_PRIORITY - repository.priority)}")
    if repository.module_hotfixes:
        lines.append("module_hotfixes=1")
    if repository.allow_packages:
        lines.append(f"includepkgs={' '.join(repository.allow_packages)}")
    if repository.exclude_packages:
        lines.append(f"excludepkgs={' '.join(repository.exclude_packages)}")
    return "\n".join(lines) + "\n"


def _place(repository: Repository) -> str:
    if repository.metalink:
        return f"metalink={repository.metalink}"
    return f"mirrorlist={repository.mirrorlist}" if repository.mirrorlist else f"baseurl={repository.url}"


def configure_dnf(files: TreeFiles, repositories: t.Sequence[Repository]) -> None:
    """Write the image's package sources, for dnf and tdnf; does nothing in an image with neither.

    :param repositories: The provider's and the template's, as in C(template.json).
    """
    if not any(files.is_executable(f"/usr/bin/{name}") for name in ("dnf", "dnf5", "microdnf", "tdnf")):
        return
    for repository in public_repositories(repositories):
        name = _file_name(repository)
        keyring = None
        if repository.gpgcheck and repository.keys:
            keyring = f"/etc/pki/rpm-gpg/RPM-GPG-KEY-{name}"
            files.write(keyring, "".join(armored_keys(repository)))
        files.write(f"/etc/yum.repos.d/{name}.repo", render_repo(repository, keyring))


def enable_modules(files: TreeFiles, modules: t.Sequence[t.Mapping[str, t.Any]]) -> None:
    """Let dnf in the image go on with the streams that its packages are of; other ones would get no updates.

    :param modules: C(modules) of the lock.
    """
    if not files.exists("/etc/dnf"):
        return
    for module in modules:
        name = module["name"]
        lines = [f"[{name}]", f"name={name}", f"stream={module['stream']}", f"profiles={', '.join(module['profiles'])}"]
        files.write(f"/etc/dnf/modules.d/{name}.module", "\n".join([*lines, "state=enabled"]) + "\n")


def _file_name(repository: Repository) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", repository.name)


__all__ = (
    "configure_apt",
    "configure_dnf",
    "enable_modules",
    "fetched_keys",
    "public_repositories",
    "render_preferences",
    "render_repo",
    "render_sources",
)
