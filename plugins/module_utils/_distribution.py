# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The build host's distribution, and what it calls the packages that the stages need."""

from __future__ import annotations

import contextlib
import typing as t

# Distributions that are built and used like one of these.
_FAMILIES: t.Mapping[str, str] = {
    "azurelinux": "azurelinux",
    "debian": "debian",
    "fedora": "redhat",
    "rhel": "redhat",
    "ubuntu": "debian",
}

# Debian's name of a package -> the family's, where it is another; V(None) where the family has no such package, or
# only one that is too old to be of use.
_OTHER_NAMES: t.Mapping[str, t.Mapping[str, t.Optional[str]]] = {
    "redhat": {
        "createrepo-c": "createrepo_c",
        "dash": "bash",
        "fdisk": "util-linux",
        "gnupg": "gnupg2",
        "grub-common": "grub2-tools",
        "grub-efi-amd64-bin": "grub2-efi-x64-modules",
        "grub-efi-arm64-bin": "grub2-efi-aa64-modules",
        "grub-pc-bin": "grub2-pc-modules",
        "libzstd1": "libzstd",
        "mount": "util-linux",
        "ovmf": "edk2-ovmf",
        "python3-yaml": "python3-pyyaml",
        "qemu-efi-aarch64": "edk2-aarch64",
        "qemu-system-arm": "qemu-system-aarch64-core",
        "qemu-system-x86": "qemu-system-x86-core",
        "qemu-utils": "qemu-img",
        "sbsigntool": "sbsigntools",
        "xz-utils": "xz",
    },
    "azurelinux": {
        "createrepo-c": "createrepo_c",
        "dash": "bash",
        "dpkg": None,
        "fdisk": "util-linux",
        "gnupg": "gnupg2",
        "grub-common": "grub2",
        "grub-efi-amd64-bin": "grub2-efi",
        "grub-efi-arm64-bin": "grub2-efi",
        "grub-pc-bin": "grub2-pc",
        "libzstd1": "zstd-libs",
        "mount": "util-linux",
        "osslsigncode": None,
        "ovmf": "edk2-ovmf",
        "python3-gnupg": None,
        "python3-jsonschema": None,
        "python3-solv": None,
        "python3-yaml": "PyYAML",
        "qemu-efi-aarch64": None,
        "qemu-system-arm": "qemu-system-aarch64-core",
        "qemu-system-x86": "qemu-system-x86-core",
        "qemu-utils": "qemu-img",
        "sbsigntool": None,
        "xz-utils": "xz",
    },
}


def read_distribution(path: str = "/etc/os-release") -> t.Dict[str, str]:
    """Return what the host's C(os-release) says: C(id), C(version), C(name), and the C(family) it is handled as."""
    values: t.Dict[str, str] = {}
    with contextlib.suppress(OSError), open(path, encoding="utf-8") as stream:
        for line in stream:
            name, equals, value = line.strip().partition("=")
            if equals:
                values[name] = value.strip("\"'")
    own = values.get("ID", "")
    likes = values.get("ID_LIKE", "").split()
    family = next((_FAMILIES[name] for name in (own, *likes) if name in _FAMILIES), "")
    return {
        "id": own,
        "version": values.get("VERSION_ID", ""),
        "name": values.get("PRETTY_NAME", own),
        "family": family,
    }


def package_name(package: str, *, family: str) -> str | None:
    """Return what a family of distributions calls a package; V(None) where it has none that is of use.

    :param package: Debian's name.
    """
    return _OTHER_NAMES.get(family, {}).get(package, package)


def package_names(package: str) -> t.List[str]:
    """Return what distributions call a package, Debian's name first."""
    names = (package_name(package, family=family) for family in ("debian", *_OTHER_NAMES))
    return list(dict.fromkeys(name for name in names if name is not None))


def install_remedy(package: str, *, otherwise: str = "Build on a host with Debian, Ubuntu or Fedora.") -> str:
    """Return the sentence that tells how the build host gets a package.

    :param package: Debian's name.
    :param otherwise: What to do where the distribution has no such package: a full sentence.
    """
    distribution = read_distribution()
    name = package_name(package, family=distribution["family"])
    if name is None:
        return f"{distribution['name']} has no package with it that could be used. {otherwise}"
    return f"Install the package {name!r} there, or apply the role os_image.composer.build_host."


__all__ = ("install_remedy", "package_name", "package_names", "read_distribution")
