# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The model of a template: a class for each of its mappings, which are read after validation.

A class has the fields of its schema, by the same words; what they mean and which defaults they have stands in
C(schema.py), which only the first stage needs: a merged template has all defaults. A field that has no default and need
not be there may be V(None). A test holds model and schema against each other. The section C(metadata) has no class: it
is published as it is written, and nothing acts on it.
"""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._template.part import Part


class Image(Part):
    """What the image is called."""

    name: str
    version: str


class Target(Part):
    """What the image is built for."""

    os: str
    dist: str
    arch: str
    image_type: str

    @property
    def provider_id(self) -> str:
        """The name that the cache and work directories use."""
        return f"{self.os}-{self.dist}-{self.arch}"


class Partition(Part):
    """A partition of the disk, as the template describes it."""

    id: str
    name: str
    index: t.Optional[int]
    type: t.Optional[str]
    mbr_type: t.Optional[str]
    type_uuid: t.Optional[str]
    fs_type: t.Optional[str]
    fs_label: str
    start: t.Optional[str]
    end: t.Optional[str]
    size: t.Optional[str]
    grow_on_boot: bool
    mkfs_options: t.Tuple[str, ...]
    mount_point: str
    mount_options: str
    flags: t.Tuple[str, ...]


class Artifact(Part):
    """A file that the build leaves, as the template describes it."""

    type: str
    compression: t.Optional[str]
    level: t.Optional[int]
    subformat: t.Optional[str]


class Mount(Part):
    """Something that is mounted beside the partitions."""

    source: t.Optional[str]
    fs_type: str
    mount_point: str
    mount_options: str
    size: t.Optional[str]
    check: t.Optional[bool]


class Disk(Part):
    """The disk section."""

    name: str
    path: t.Optional[str]
    size: t.Optional[str]
    partition_table_type: str
    artifacts: t.Tuple[Artifact, ...]
    partitions: t.Tuple[Partition, ...]
    mounts: t.Optional[t.Tuple[Mount, ...]]


class Iso(Part):
    """The iso section."""

    type: t.Optional[str]
    volume_id: t.Optional[str]
    unattended: bool
    after_install: str


class Kernel(Part):
    """The kernel."""

    name: str
    version: str
    cmdline: str
    enable_extra_modules: str
    packages: t.Tuple[str, ...]
    uki: bool


class Bootloader(Part):
    """The bootloader."""

    boot_type: str
    provider: str
    signed: bool
    timeout: t.Optional[int]
    default: str


class User(Part):
    """An account. Its password is a hash."""

    name: str
    password: t.Optional[str]
    hash_algo: t.Optional[str]
    password_max_age: t.Optional[int]
    groups: t.Tuple[str, ...]
    sudo: bool
    uid: t.Optional[int]
    home: t.Optional[str]
    shell: t.Optional[str]
    ssh_keys: t.Tuple[str, ...]
    startup_script: t.Optional[str]


class Route(Part):
    """A route of a network interface."""

    to: str
    via: str


class Interface(Part):
    """A network interface, or all those that a pattern matches."""

    name: t.Optional[str]
    match: t.Optional[str]
    dhcp4: bool
    dhcp6: bool
    addresses: t.Tuple[str, ...]
    gateway4: t.Optional[str]
    gateway6: t.Optional[str]
    routes: t.Tuple[Route, ...]
    nameservers: t.Tuple[str, ...]
    domains: t.Tuple[str, ...]


class Network(Part):
    """The network."""

    backend: str
    interfaces: t.Tuple[Interface, ...]


class Services(Part):
    """Systemd units."""

    enable: t.Tuple[str, ...]
    disable: t.Tuple[str, ...]
    mask: t.Tuple[str, ...]


class AdditionalFile(Part):
    """A file that is copied into the image; its source by its absolute path."""

    local: str
    final: str
    mode: t.Optional[str]
    owner: str
    group: str


class Configuration(Part):
    """A shell command that runs in the image."""

    cmd: str


class Script(Part):
    """A script that runs in the image."""

    name: str
    file: t.Optional[str]
    inline: t.Optional[str]
    network: bool


class Scripts(Part):
    """The scripts that run in the image, by moment."""

    pre_install: t.Tuple[Script, ...]
    post_install: t.Tuple[Script, ...]


class Initramfs(Part):
    """The initramfs."""

    generator: str
    template: t.Optional[str]


class Immutability(Part):
    """Protection of the boot chain and the root file system."""

    enabled: bool
    etc: t.Optional[str]
    root_hash_signature: t.Optional[str]
    secure_boot_db_key: t.Optional[str]
    secure_boot_db_crt: t.Optional[str]
    secure_boot_db_cer: t.Optional[str]


class Security(Part):
    """Mandatory access control, and sets of stricter settings."""

    selinux: t.Optional[str]
    apparmor: t.Optional[str]
    hardening: t.Tuple[str, ...]


class SecureBootSigning(Part):
    """The keys that sign the boot chain."""

    key: t.Optional[str]
    certificate: t.Optional[str]
    certificate_der: t.Optional[str]
    generate: t.Optional[bool]
    enrol: t.Optional[str]
    programs: t.Optional[t.Tuple[str, ...]]


class ChecksumsSigning(Part):
    """The key that signs SHA256SUMS and the manifest.

    :ivar key: A path, or a PKCS#11 URI; V(None) where there is a fingerprint.
    """

    key: t.Optional[str]
    certificate: t.Optional[str]
    fingerprint: t.Optional[str]


class Signing(Part):
    """Signatures that the build makes."""

    secure_boot: t.Optional[SecureBootSigning]
    checksums: t.Optional[ChecksumsSigning]
    provenance: t.Optional[bool]


class Sbom(Part):
    """What the bill of materials has beside the packages."""

    cyclonedx: bool
    files: bool


class SystemConfig(Part):
    """The systemConfig section: what the system in the image is."""

    name: t.Optional[str]
    description: str
    hostname: str
    timezone: str
    locale: str
    packages: t.Tuple[str, ...]
    components: t.Optional[t.Tuple[str, ...]]
    modules: t.Optional[t.Tuple[str, ...]]
    weak_dependencies: bool
    documentation: bool
    kernel: Kernel
    bootloader: Bootloader
    users: t.Tuple[User, ...]
    network: Network
    services: Services
    additional_files: t.Tuple[AdditionalFile, ...]
    configurations: t.Tuple[Configuration, ...]
    scripts: Scripts
    initramfs: Initramfs
    immutability: Immutability
    security: Security
    signing: Signing
    sbom: Sbom


class PackageRepository(Part):
    """A package repository that the template adds to the provider's, or takes of those that the provider knows."""

    name: t.Optional[str]
    codename: str
    url: t.Optional[str]
    mirror: t.Optional[str]
    path: t.Optional[str]
    metalink: t.Optional[str]
    mirrorlist: t.Optional[str]
    pkey: t.Optional[str]
    pkeys: t.Tuple[str, ...]
    fingerprints: t.Tuple[str, ...]
    gpgcheck: bool
    repo_gpgcheck: bool
    component: str
    priority: int
    allow_packages: t.Tuple[str, ...]
    exclude_packages: t.Tuple[str, ...]
    module_hotfixes: t.Optional[bool]
    max_age: t.Optional[int]

    @property
    def is_of_provider(self) -> bool:
        """Whether it is one that the provider knows."""
        return not any((self.url, self.mirror, self.path, self.metalink, self.mirrorlist))


__all__ = (
    "AdditionalFile",
    "Artifact",
    "Bootloader",
    "ChecksumsSigning",
    "Configuration",
    "Disk",
    "Image",
    "Immutability",
    "Initramfs",
    "Interface",
    "Iso",
    "Kernel",
    "Mount",
    "Network",
    "PackageRepository",
    "Partition",
    "Route",
    "Sbom",
    "Script",
    "Scripts",
    "SecureBootSigning",
    "Security",
    "Services",
    "Signing",
    "SystemConfig",
    "Target",
    "User",
)
