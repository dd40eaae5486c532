# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Host tools: the programs and Python libraries that the modules use, and the packages of build hosts with them.

This table is their only home: messages name a missing one's package by it, fingerprints ask programs for their versions
as it says, and M(build_host_info) tells the role which packages a host lacks.
"""

from __future__ import annotations

import dataclasses
import platform
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._host_tools.distribution import read_distribution

#: What packages are for: building images, booting them in virtual machines, and drawing what is worth a look.
PURPOSES: t.Tuple[str, ...] = ("build", "boot_test", "picture")


@dataclasses.dataclass(frozen=True)
class HostPackage:
    """A package of build hosts.

    :ivar debian: Debian's name of it.
    :ivar elsewhere: The name by family, or by family and machine (V(azurelinux-aarch64)), where it is another than
        Debian's; V(None) where there is no such package, or only one that is too old to be of use.
    :ivar purpose: One of :data:`PURPOSES`.
    :ivar machine: Wanted on machines of this architecture only.
    :ivar foreign: Wanted on other machines than those of this architecture, and only where images are built for it.
        With C(machine) beside it, either will do.
    """

    debian: str
    elsewhere: t.Mapping[str, t.Optional[str]] = dataclasses.field(default_factory=dict)
    purpose: str = "build"
    machine: str = ""
    foreign: str = ""

    def name(self, family: str, machine: str = "") -> str | None:
        """Return what a family of distributions calls it; V(None) where it has none that is of use.

        :param machine: The host's architecture, as C(uname -m) shows it.
        """
        return self.elsewhere.get(f"{family}-{machine}", self.elsewhere.get(family, self.debian))

    def names(self) -> t.List[str]:
        """Return what distributions call it, Debian's name first."""
        return list(dict.fromkeys([self.debian, *(name for name in self.elsewhere.values() if name is not None)]))

    def is_wanted(self, machine: str, foreign: t.Container[str]) -> bool:
        """Whether a host should have it, as far as that depends on architectures.

        :param machine: The host's.
        :param foreign: Those that images shall be built for; its own does not count.
        """
        if not self.machine and not self.foreign:
            return True
        return machine == self.machine or (self.foreign != machine and self.foreign in foreign)


@dataclasses.dataclass(frozen=True)
class HostTool:
    """A program of build hosts.

    :ivar package: The package that has it.
    :ivar version_arguments: What it prints its version for.
    :ivar versioned_by: The program of the same package that tells the version, where this one does not in all releases.
    :ivar other_names: What some distributions call it.
    """

    name: str
    package: HostPackage
    version_arguments: t.Tuple[str, ...] = ("--version",)
    other_names: t.Tuple[str, ...] = ()
    versioned_by: str = ""


@dataclasses.dataclass(frozen=True)
class HostLibrary:
    """A Python library of build hosts.

    :ivar name: The name that it is imported by.
    :ivar package: The package that has it.
    :ivar project: What PyPI calls it, where that is another name.
    :ivar feature: What versions lack that are too old.
    """

    name: str
    package: HostPackage
    project: str = ""
    feature: str = ""


# Names are Fedora's for the family redhat; Enterprise Linux has some of the packages in EPEL. What Azure Linux has of
# jsonschema is too old, and its emulators of programs are not static, so they would not run in a root tree.
_BOTH_UTIL_LINUX: t.Mapping[str, t.Optional[str]] = {"redhat": "util-linux", "azurelinux": "util-linux"}
_COREUTILS = HostPackage("coreutils")
_DPKG = HostPackage("dpkg", {"azurelinux": None})
_E2FSPROGS = HostPackage("e2fsprogs")
_EROFS_UTILS = HostPackage("erofs-utils")
_MOUNT = HostPackage("mount", _BOTH_UTIL_LINUX)
_MTOOLS = HostPackage("mtools")
_RPM = HostPackage("rpm")
_SBSIGNTOOL = HostPackage("sbsigntool", {"redhat": "sbsigntools", "azurelinux": None})
_SQUASHFS_TOOLS = HostPackage("squashfs-tools")
_UTIL_LINUX = HostPackage("util-linux")


def _emulated_machine(debian: str, program: str, arch: str) -> HostTool:
    elsewhere = {"redhat": f"{program}-core", "azurelinux": f"{program}-core"}
    return HostTool(f"qemu-system-{arch}", HostPackage(debian, elsewhere, "boot_test", machine=arch, foreign=arch))


#: Programs by name.
HOST_TOOLS: t.Mapping[str, HostTool] = {
    tool.name: tool
    for tool in (
        HostTool("blkid", _UTIL_LINUX),
        HostTool("chroot", _COREUTILS),
        HostTool("cp", _COREUTILS),
        HostTool("createrepo_c", HostPackage("createrepo-c", {"redhat": "createrepo_c", "azurelinux": "createrepo_c"})),
        HostTool("debugfs", _E2FSPROGS, ("-V",)),
        HostTool("dot", HostPackage("graphviz", purpose="picture"), ("-V",)),
        HostTool("dpkg-deb", _DPKG),
        HostTool("dpkg-query", _DPKG),
        HostTool("e2fsck", _E2FSPROGS, ("-V",)),
        HostTool("fsck.erofs", _EROFS_UTILS, ("-V",)),
        HostTool("gpg", HostPackage("gnupg", {"redhat": "gnupg2", "azurelinux": "gnupg2"})),
        HostTool(
            "grub-mkimage",
            HostPackage("grub-common", {"redhat": "grub2-tools", "azurelinux": "grub2"}),
            other_names=("grub2-mkimage",),
        ),
        HostTool("gzip", HostPackage("gzip")),
        HostTool("ip", HostPackage("iproute2", {"redhat": "iproute"}), ("-Version",)),
        HostTool("mcopy", _MTOOLS),
        HostTool("mdir", _MTOOLS),
        HostTool("mke2fs", _E2FSPROGS, ("-V",)),
        HostTool("mkfs.btrfs", HostPackage("btrfs-progs")),
        HostTool("mkfs.erofs", _EROFS_UTILS, versioned_by="fsck.erofs"),
        # It tells its version only when it begins to write; there is no such file, and none can be made.
        HostTool("mkfs.vfat", HostPackage("dosfstools"), ("/dev/null/none",)),
        HostTool("mkfs.xfs", HostPackage("xfsprogs"), ("-V",)),
        HostTool("mksquashfs", _SQUASHFS_TOOLS, ("-version",)),
        HostTool("mkswap", _UTIL_LINUX),
        HostTool("mmd", _MTOOLS),
        HostTool("mount", _MOUNT),
        HostTool("openssl", HostPackage("openssl"), ("version",)),
        HostTool("osslsigncode", HostPackage("osslsigncode", {"azurelinux": None})),
        HostTool("qemu-img", HostPackage("qemu-utils", {"redhat": "qemu-img", "azurelinux": "qemu-img"})),
        _emulated_machine("qemu-system-arm", "qemu-system-aarch64", "aarch64"),
        _emulated_machine("qemu-system-x86", "qemu-system-x86", "x86_64"),
        HostTool("rpm", _RPM),
        HostTool("rpmdb", _RPM),
        HostTool("rpmkeys", _RPM),
        HostTool("sbsign", _SBSIGNTOOL),
        HostTool("sbverify", _SBSIGNTOOL),
        HostTool("setpriv", _UTIL_LINUX),
        HostTool("sfdisk", HostPackage("fdisk", _BOTH_UTIL_LINUX)),
        HostTool("slirp4netns", HostPackage("slirp4netns")),
        HostTool("tar", HostPackage("tar")),
        HostTool("umount", _MOUNT),
        HostTool("unshare", _UTIL_LINUX),
        HostTool("unsquashfs", _SQUASHFS_TOOLS, ("-version",)),
        HostTool("veritysetup", HostPackage("cryptsetup-bin", {"redhat": "veritysetup", "azurelinux": "veritysetup"})),
        HostTool("xorriso", HostPackage("xorriso"), ("-version",)),
        HostTool("xz", HostPackage("xz-utils", {"redhat": "xz", "azurelinux": "xz"})),
        HostTool("zstd", HostPackage("zstd")),
    )
}

#: Python libraries by name.
HOST_LIBRARIES: t.Mapping[str, HostLibrary] = {
    library.name: library
    for library in (
        HostLibrary("gnupg", HostPackage("python3-gnupg", {"azurelinux": None}), project="python-gnupg"),
        HostLibrary(
            "jsonschema",
            HostPackage("python3-jsonschema", {"azurelinux": None}),
            feature="Draft202012Validator",
        ),
        HostLibrary("networkx", HostPackage("python3-networkx")),
        HostLibrary("requests", HostPackage("python3-requests")),
        HostLibrary("solv", HostPackage("python3-solv", {"azurelinux": None})),
        HostLibrary("urllib3", HostPackage("python3-urllib3")),
        HostLibrary(
            "yaml",
            HostPackage("python3-yaml", {"redhat": "python3-pyyaml", "azurelinux": "PyYAML"}),
            project="PyYAML",
        ),
    )
}

#: GRUB's modules by the name that GRUB has for the platform.
GRUB_MODULES: t.Mapping[str, HostPackage] = {
    "arm64-efi": HostPackage(
        "grub-efi-arm64-bin", {"redhat": "grub2-efi-aa64-modules", "azurelinux": "grub2-efi"}, machine="aarch64"
    ),
    "i386-pc": HostPackage("grub-pc-bin", {"redhat": "grub2-pc-modules", "azurelinux": "grub2-pc"}, machine="x86_64"),
    "x86_64-efi": HostPackage(
        "grub-efi-amd64-bin", {"redhat": "grub2-efi-x64-modules", "azurelinux": "grub2-efi"}, machine="x86_64"
    ),
}

#: Firmware for virtual machines by architecture.
UEFI_FIRMWARE: t.Mapping[str, HostPackage] = {
    "aarch64": HostPackage(
        "qemu-efi-aarch64",
        {"redhat": "edk2-aarch64", "azurelinux": None},
        purpose="boot_test",
        machine="aarch64",
        foreign="aarch64",
    ),
    "x86_64": HostPackage(
        "ovmf",
        {"redhat": "edk2-ovmf", "azurelinux": "edk2-ovmf", "azurelinux-aarch64": None},
        purpose="boot_test",
        machine="x86_64",
        foreign="x86_64",
    ),
}

#: Emulators of programs by architecture.
EMULATORS: t.Mapping[str, HostPackage] = {
    "aarch64": HostPackage(
        "qemu-user-static", {"redhat": "qemu-user-static-aarch64", "azurelinux": None}, foreign="aarch64"
    ),
    "x86_64": HostPackage("qemu-user-static", {"redhat": "qemu-user-static-x86", "azurelinux": None}, foreign="x86_64"),
}

#: The library that makes filters of system calls.
LIBSECCOMP = HostPackage("libseccomp2", {"redhat": "libseccomp", "azurelinux": "libseccomp"})

#: What lets OpenSSL use keys on PKCS#11 tokens. Wanted by those alone who have one.
PKCS11_ENGINE = HostPackage("libengine-pkcs11-openssl", {"redhat": "openssl-pkcs11", "azurelinux": "openssl-pkcs11"})

#: The compression library.
LIBZSTD = HostPackage("libzstd1", {"redhat": "libzstd", "azurelinux": "zstd-libs"})

# What no message names.
_OTHERS: t.Tuple[HostPackage, ...] = (
    HostPackage("ca-certificates"),
    HostPackage("cpio"),
    HostPackage("kmod"),
    HostPackage("python3"),
    HostPackage("systemd-boot-efi", {"redhat": "systemd-boot-unsigned", "azurelinux": None}),
)

#: All packages of build hosts.
HOST_PACKAGES: t.Tuple[HostPackage, ...] = (
    *(tool.package for tool in HOST_TOOLS.values()),
    *(library.package for library in HOST_LIBRARIES.values()),
    *GRUB_MODULES.values(),
    *UEFI_FIRMWARE.values(),
    *EMULATORS.values(),
    LIBSECCOMP,
    LIBZSTD,
    *_OTHERS,
)


def packages_for(
    purposes: t.Container[str], *, family: str, machine: str, foreign: t.Container[str] = ()
) -> t.Set[str]:
    """Return the names of the packages that a host should have.

    :param purposes: Of :data:`PURPOSES`.
    :param family: The family of the host's distribution, see :func:`read_distribution`.
    :param machine: The host's architecture, as C(uname -m) shows it.
    :param foreign: Those that images shall be built for, beside it.
    """
    wanted = (package for package in HOST_PACKAGES if package.purpose in purposes)
    names = (package.name(family, machine) for package in wanted if package.is_wanted(machine, foreign))
    return {name for name in names if name is not None}


def install_remedy(package: HostPackage, *, otherwise: str = "Build on a host with Debian, Ubuntu or Fedora.") -> str:
    """Return the sentence that tells how the build host gets a package.

    :param otherwise: What to do where the distribution has no such package: a full sentence.
    """
    distribution = read_distribution()
    name = package.name(distribution["family"], platform.machine())
    if name is None:
        return f"{distribution['name']} has no package with it that could be used. {otherwise}"
    return f"Install the package {name!r} there, or apply the role os_image.composer.build_host."


__all__ = (
    "EMULATORS",
    "GRUB_MODULES",
    "HOST_LIBRARIES",
    "HOST_PACKAGES",
    "HOST_TOOLS",
    "LIBSECCOMP",
    "LIBZSTD",
    "PKCS11_ENGINE",
    "PURPOSES",
    "UEFI_FIRMWARE",
    "HostLibrary",
    "HostPackage",
    "HostTool",
    "install_remedy",
    "packages_for",
)
