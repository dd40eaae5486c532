# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Providers: what C(config/osv/{os}/{dist}/) says about a release of an operating system.

A provider is data. C(config.yml) names, per architecture, the other files; C(providerconfigs/) has the repositories,
C(chrootenvconfigs/) the chroot environment, C(imageconfigs/defaultconfigs/) the default templates. What several of
these have in common lies in the directory of the operating system, or in C(config/osv/common/), which all share.
"""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._bootloader import (
    BIOS_BOOTLOADER,
    BOOT_TYPES,
    is_shim_grub,
)
from ansible_collections.os_image.composer.plugins.module_utils._errors import TemplateError
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_file
from ansible_collections.os_image.composer.plugins.module_utils._template.loader import load_yaml
from ansible_collections.os_image.composer.plugins.module_utils._template.located import LocatedMapping, origin_of
from ansible_collections.os_image.composer.plugins.module_utils._template.model import SystemConfig, Target
from ansible_collections.os_image.composer.plugins.module_utils._template.problems import Problem, template_error
from ansible_collections.os_image.composer.plugins.module_utils._template.provider_model import DEFAULT_PRIORITY
from ansible_collections.os_image.composer.plugins.module_utils._template.provider_schema import (
    CHROOTENV_SCHEMA,
    CONFIG_SCHEMA,
    REPOSITORIES_SCHEMA,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.references import find_file
from ansible_collections.os_image.composer.plugins.module_utils._template.schema import Schema
from ansible_collections.os_image.composer.plugins.module_utils._template.validation import (
    fill_defaults,
    nearest,
    validate,
)

#: The names that each architecture has in the packages of a family.
PACKAGE_ARCHITECTURES: t.Mapping[str, t.Mapping[str, str]] = {
    "deb": {"x86_64": "amd64", "aarch64": "arm64"},
    "rpm": {"x86_64": "x86_64", "aarch64": "aarch64"},
}

# The directory below osv/ that belongs to no operating system.
_SHARED = "common"


@dataclasses.dataclass(frozen=True)
class ProviderConfig:
    """What the configuration says about the provider of one target.

    :ivar data: The C(provider) of C(template.json), without what depends on the template.
    :ivar optional: Repositories that are used where a template names them, in the form of those of C(data).
    :ivar components: The components that each repository has, by its name, those that are taken by default first.
    :ivar bootloader_packages: The packages that each bootloader needs.
    :ivar bios_bootloader_packages: Those that it needs in their place where a BIOS starts it.
    :ivar signed_bootloader_packages: Those that it needs beside them where the distribution's signed one is wanted.
    :ivar shim_bootloader_packages: Those of GRUB behind a shim, which the build signs; empty when it can have none.
    :ivar verity_packages: The packages that open a root file system that dm-verity protects.
    :ivar verifies_root_hash: Whether its kernels take a signature of the root hash by a certificate of the firmware.
    :ivar default_template_path: The default template of the target's image type.
    :ivar directories: Where the files lie that the default template may extend.
    :ivar sources: The configuration files that were read.
    :ivar files: Absolute paths of key files with their digests.
    """

    target: Target
    data: t.Dict[str, t.Any]
    optional: t.Sequence[t.Dict[str, t.Any]]
    components: t.Mapping[str, t.Sequence[str]]
    bootloader_packages: t.Mapping[str, t.Sequence[str]]
    bios_bootloader_packages: t.Mapping[str, t.Sequence[str]]
    signed_bootloader_packages: t.Mapping[str, t.Sequence[str]]
    shim_bootloader_packages: t.Sequence[str]
    verity_packages: t.Sequence[str]
    verifies_root_hash: bool
    default_template_path: str
    directories: t.Tuple[str, ...]
    sources: t.Tuple[str, ...]
    files: t.Mapping[str, str]

    def with_components(
        self, repositories: t.Sequence[t.Dict[str, t.Any]], components: t.Sequence[str]
    ) -> t.List[t.Dict[str, t.Any]]:
        """Return some of the provider's repositories with some components; without any, with those of the default."""
        return [
            {**entry, "components": [name for name in components if name in self.components[entry["name"]]]}
            if components
            else entry
            for entry in repositories
        ]

    def packages_for(self, system: SystemConfig) -> t.List[str]:
        """Return the packages that an image needs for its bootloader."""
        bootloader = system.bootloader
        if is_shim_grub(
            bootloader.boot_type,
            bootloader.provider,
            use_uki=system.kernel.uki,
            use_signed=bootloader.signed,
            is_signed=system.signing.secure_boot is not None,
        ):
            return list(self.shim_bootloader_packages)
        name, boot_type = bootloader.provider, BOOT_TYPES[bootloader.boot_type]
        packages: t.List[str] = []
        if boot_type.needs_esp:
            packages += self.bootloader_packages[name]
            packages += self.signed_bootloader_packages[name] if bootloader.signed else ()
        if boot_type.needs_bios:
            loader = BIOS_BOOTLOADER if boot_type.needs_esp else name
            packages += self.bios_bootloader_packages.get(loader, self.bootloader_packages[loader])
        return list(dict.fromkeys(packages))


def known_systems(config_dir: str) -> t.List[str]:
    """Return the names of the operating systems that a configuration directory has providers for."""
    return [name for name in _folders(os.path.join(config_dir, "osv")) if name != _SHARED]


def system_directories(config_dir: str, os_name: str) -> t.Tuple[str, ...]:
    """Return the directories that hold everything of an operating system: its own, and the one that all share."""
    return tuple(os.path.join(config_dir, "osv", name) for name in (os_name, _SHARED))


def _folders(directory: str) -> t.List[str]:
    """Return the names of the subdirectories of a directory; none when it does not exist."""
    try:
        with os.scandir(directory) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return []


def _known_dists(providers: str, os_name: str) -> t.List[str]:
    return [name for name in _folders(os.path.join(providers, os_name)) if _is_provider(providers, os_name, name)]


def _is_provider(providers: str, os_name: str, dist: str) -> bool:
    return os.path.isfile(os.path.join(providers, os_name, dist, "config.yml"))


def _unknown(template: LocatedMapping, key: str, message: str) -> TemplateError:
    origin = origin_of(template, ("target", key))
    return template_error(f"The target of {origin.file}", [Problem(origin, message)])


def _read(path: str, schema: Schema) -> LocatedMapping:
    data = load_yaml(path, what="The provider configuration")
    problems = validate(data, schema)
    if problems:
        raise template_error(f"The provider configuration {path}", problems)
    fill_defaults(data, schema)
    return data


def _locate(config_dir: str, template: LocatedMapping, target: Target) -> str:
    """Return the provider's directory.

    :raises TemplateError: There is none; the message lists what there is.
    """
    providers = os.path.join(config_dir, "osv")
    systems = known_systems(config_dir)
    if not systems:
        raise TemplateError(
            f"The configuration directory {config_dir} holds no providers.",
            remedy="Let config_dir name a directory with osv/{os}/{dist}/config.yml below it.",
        )
    if target.os not in systems:
        raise _unknown(
            template, "os", f"The operating system {target.os!r} is not known. {nearest(target.os, systems)}"
        )
    dists = _known_dists(providers, target.os)
    if target.dist not in dists:
        raise _unknown(
            template, "dist", f"The release {target.dist!r} of {target.os} is not known. Known are: {', '.join(dists)}."
        )
    return os.path.join(providers, target.os, target.dist)


def load_provider(config_dir: str, template: LocatedMapping, target: Target) -> ProviderConfig:
    """Read the provider of a target.

    :param template: What names the target, for the lines in error messages.
    :raises TemplateError: It does not exist, or its configuration is not valid.
    """
    config_dir = os.path.abspath(config_dir)
    directory = _locate(config_dir, template, target)
    config_path = os.path.join(directory, "config.yml")
    config = _read(config_path, CONFIG_SCHEMA)
    if target.arch not in config:
        raise _unknown(
            template,
            "arch",
            f"The architecture {target.arch!r} is not known to {target.os}/{target.dist}. "
            f"Known are: {', '.join(config)}.",
        )
    settings = config[target.arch]
    family = settings["pkgType"]
    package_arch = PACKAGE_ARCHITECTURES[family][target.arch]
    chrootenv_path = os.path.join(directory, settings["chrootenvConfigFile"])
    chrootenv = _read(chrootenv_path, CHROOTENV_SCHEMA)
    repositories_path = os.path.join(directory, "providerconfigs", f"{package_arch}_repo.yml")
    described = _read(repositories_path, REPOSITORIES_SCHEMA)
    repositories, optional = described["repositories"], described["optionalRepositories"]
    files: t.Dict[str, str] = {}
    data = {
        "os": target.os,
        "dist": target.dist,
        "arch": target.arch,
        "package_arch": package_arch,
        "family": family,
        "release_version": settings["releaseVersion"],
        "codename": settings["codename"],
        "essential": dict(chrootenv["essential"]),
        "initramfs": dict(settings["initramfs"]),
        "repositories": [
            _repository(repository, repositories_path, config_dir=config_dir, files=files)
            for repository in repositories
        ],
    }
    return ProviderConfig(
        target=target,
        data=data,
        optional=[
            _repository(repository, repositories_path, config_dir=config_dir, files=files) for repository in optional
        ],
        components={
            entry["name"]: [*entry["components"], *entry["otherComponents"]] for entry in (*repositories, *optional)
        },
        bootloader_packages=dict(settings["bootloaderPackages"]),
        bios_bootloader_packages=dict(settings["biosBootloaderPackages"]),
        signed_bootloader_packages=dict(settings["signedBootloaderPackages"]),
        shim_bootloader_packages=tuple(settings["shimBootloaderPackages"]),
        verity_packages=tuple(settings["verityPackages"]),
        verifies_root_hash=settings["kernelVerifiesRootHash"],
        default_template_path=_default_template(directory, template, target),
        directories=system_directories(config_dir, target.os),
        sources=(config_path, chrootenv_path, repositories_path),
        files=files,
    )


def _repository(
    repository: LocatedMapping, path: str, *, config_dir: str, files: t.Dict[str, str]
) -> t.Dict[str, t.Any]:
    """Return a provider's repository in the form of C(template.json), and note the digests of its keys."""
    keys = []
    for key in repository["keys"]:
        if "url" in key:
            keys.append(key["url"])
            continue
        try:
            found = find_file(key["file"], directory=os.path.dirname(path), root=config_dir)
        except TemplateError as exc:
            problem = Problem(key.origins["file"], str(exc))
            raise template_error(f"The provider configuration {path}", [problem]) from exc
        files[found] = sha256_file(found)
        keys.append(found)
    if repository["gpgcheck"] and not keys:
        problem = Problem(
            repository.origin, "The repository has no keys. Add keys, or say gpgcheck: false to trust it without."
        )
        raise template_error(f"The provider configuration {path}", [problem])
    entry: t.Dict[str, t.Any] = {"name": repository["name"]}
    entry.update(
        {key: repository[key] for key in ("mirror", "url", "metalink", "mirrorlist", "suite") if key in repository}
    )
    entry.update(
        components=list(repository["components"]),
        priority=repository["priority"] or DEFAULT_PRIORITY,
        allow_packages=[],
        exclude_packages=[],
        gpgcheck=repository["gpgcheck"],
        repo_gpgcheck=repository["repoGpgcheck"],
        keys=sorted(set(keys)),
        fingerprints=sorted({key["fingerprint"] for key in repository["keys"]}),
        **({"module_hotfixes": repository["moduleHotfixes"]} if "moduleHotfixes" in repository else {}),
        **({"max_age": repository["maxAge"]} if "maxAge" in repository else {}),
    )
    return entry


def expand_url(url: str, provider: t.Mapping[str, t.Any]) -> str:
    """Fill the architecture and the release into the URL of a repository.

    :param url: May hold C({arch}) (the original tool's) and dnf's C($basearch) and C($releasever).
    :param provider: C(provider) of C(template.json).
    """
    words = {
        "{arch}": provider["package_arch"],
        "$basearch": provider["package_arch"],
        "$releasever": provider["release_version"],
    }
    for word, value in words.items():
        url = url.replace(word, value)
    return url


def _default_template(directory: str, template: LocatedMapping, target: Target) -> str:
    """Return the path of the default template.

    :raises TemplateError: The provider has none for this image type and architecture.
    """
    folder = os.path.join(directory, "imageconfigs", "defaultconfigs")
    path = os.path.join(folder, f"default-{target.image_type}-{target.arch}.yml")
    if not os.path.isfile(path):
        known = sorted(name for name in os.listdir(folder) if name.endswith(".yml")) if os.path.isdir(folder) else []
        raise _unknown(
            template,
            "imageType",
            f"{target.os}/{target.dist} has no default template {os.path.basename(path)}. "
            f"There are: {', '.join(known) or 'none'}.",
        )
    return path


__all__ = (
    "PACKAGE_ARCHITECTURES",
    "ProviderConfig",
    "expand_url",
    "known_systems",
    "load_provider",
    "system_directories",
)
