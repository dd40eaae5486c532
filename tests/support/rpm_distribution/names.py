# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of the packages of Debian 13 that the distribution is made of, and what it calls them."""

from __future__ import annotations

import re
import typing as t

#: What is asked of Debian; the distribution is what these need.
WANTED: t.Sequence[str] = (
    "bash",
    "ca-certificates",
    "cloud-guest-utils",
    "coreutils",
    "cpio",
    "cronie",
    "cryptsetup-bin",
    "curl",
    "dbus",
    "diffutils",
    "dnf",
    "dosfstools",
    "dracut",
    "dracut-live",
    "e2fsprogs",
    "efibootmgr",
    "findutils",
    "gawk",
    "gnu-which",
    "grep",
    "grub-efi-amd64-bin",
    "grub-pc-bin",
    "gzip",
    "hostname",
    "hyperv-daemons",
    "iproute2",
    "iputils-ping",
    "kmod",
    "less",
    "libpam-systemd",
    "login",
    "logrotate",
    "network-manager",
    "nftables",
    "openssh-client",
    "openssh-server",
    "openssl",
    "passwd",
    "policycoreutils",
    "procps",
    "python3-pefile",
    "rpm",
    "sed",
    "selinux-utils",
    "shim-unsigned",
    "sudo",
    "systemd",
    "systemd-boot-efi",
    "systemd-cryptsetup",
    "systemd-resolved",
    "systemd-sysv",
    "systemd-timesyncd",
    "systemd-ukify",
    "tar",
    "tzdata",
    "udev",
    "util-linux",
    "vim-tiny",
    "xfsprogs",
    "xz-utils",
    "zstd",
)

#: The kernel of clouds is small, and has all drivers of virtual machines.
KERNEL = "linux-image-cloud-amd64"

#: What else is asked of Debian, by itself: Debian refuses to install it together with something above.
WANTED_APART: t.Sequence[str] = ("chrony",)

#: What only Debian needs, or what this distribution has its own package for. The names that these provide go with them.
DROPPED: t.Collection[str] = frozenset(
    (
        "adduser",
        "apt",
        "base-files",
        "base-passwd",
        "dash",
        "debconf",
        "debian-archive-keyring",
        "debugedit",
        "default-logind",
        "dpkg",
        "eject",
        "gettext-base",
        "grub-common",
        "grub2-common",
        "init-system-helpers",
        "initramfs-tools",
        "initramfs-tools-bin",
        "initramfs-tools-core",
        "klibc-utils",
        "libapt-pkg7.0",
        "libdebconfclient0",
        "libdpkg-perl",
        "libklibc",
        "linux-base",
        KERNEL,
        "locales",
        "lsb-base",
        "lsb-release",
        "mawk",
        "media-types",
        "netbase",
        "perl",
        "perl-base",
        "perl-modules-5.40",
        "perlapi-5.40.0",
        "perl-openssl-defaults",
        "runit-helper",
        "sensible-utils",
        "sqv",
        "systemd-boot",
        "systemd-boot-tools",
        "sysvinit-utils",
        "ucf",
        "usr-is-merged",
    )
)

#: RPM names by Debian names; the others keep theirs, but for what :func:`rpm_name` does to all.
NAMES: t.Mapping[str, str] = {
    "bsdutils": "util-linux-bsd",
    "cloud-guest-utils": "cloud-utils-growpart",
    "cron-daemon-common": "crontabs",
    "cryptsetup-bin": "cryptsetup",
    "dbus-bin": "dbus-tools",
    "dmsetup": "device-mapper",
    "fdisk": "util-linux-fdisk",
    "gnu-which": "which",
    "grub-efi-amd64-bin": "grub2-efi",
    "grub-efi-amd64-unsigned": "grub2-efi-binary",
    "grub-pc-bin": "grub2-pc",
    "iproute2": "iproute",
    "iputils-ping": "iputils",
    "libaudit1": "audit-libs",
    "libblkid1": "libblkid",
    "libbz2-1.0": "bzip2-libs",
    "libc-bin": "glibc-common",
    "libc6": "glibc",
    "libcap2-bin": "libcap-utils",
    "libcom-err2": "libcom_err",
    "libcrypt1": "libxcrypt",
    "libcryptsetup12": "cryptsetup-libs",
    "libcurl3t64-gnutls": "libcurl-gnutls",
    "libcurl4t64": "libcurl",
    "libdb5.3t64": "libdb",
    "libdbus-1-3": "dbus-libs",
    "libdevmapper1.02.1": "device-mapper-libs",
    "libelf1t64": "elfutils-libelf",
    "libdw1t64": "elfutils-libs",
    "libexpat1": "expat",
    "libext2fs2t64": "e2fsprogs-libs",
    "libgcc-s1": "libgcc",
    "libglib2.0-0t64": "glib2",
    "libgmp10": "gmp",
    "libgnutls30t64": "gnutls",
    "libgssapi-krb5-2": "krb5-libs-gssapi",
    "libkmod2": "kmod-libs",
    "libkrb5-3": "krb5-libs",
    "libldap2": "openldap",
    "liblz4-1": "lz4-libs",
    "liblzma5": "xz-libs",
    "libnm0": "NetworkManager-libnm",
    "libncursesw6": "ncurses-libs",
    "libpam-modules": "pam-modules",
    "libpam-runtime": "pam",
    "libpam-systemd": "systemd-pam",
    "libpam0g": "pam-libs",
    "libpcre2-8-0": "pcre2",
    "libpopt0": "popt",
    "libproc2-0": "procps-ng-libs",
    "libreadline8t64": "readline",
    "librpm10": "rpm-libs",
    "libsqlite3-0": "sqlite-libs",
    "libssl3t64": "openssl-libs",
    "libsystemd-shared": "systemd-shared",
    "libsystemd0": "systemd-libs",
    "libtinfo6": "ncurses-tinfo",
    "libudev1": "systemd-libudev",
    "libuuid1": "libuuid",
    "mount": "util-linux-mount",
    "ncurses-bin": "ncurses",
    "network-manager": "NetworkManager",
    "openssh-client": "openssh-clients",
    "passwd": "shadow-utils",
    "procps": "procps-ng",
    "selinux-utils": "libselinux-utils",
    "shim-unsigned": "shim",
    "systemd-boot-efi": "systemd-boot",
    "udev": "systemd-udev",
    "vim-tiny": "vim-minimal",
    "xz-utils": "xz",
    "zlib1g": "zlib",
}

_KERNEL = re.compile(r"linux-image-[0-9].*")
_LIBRARY = re.compile(r"(lib.*?[a-z0-9+])-[0-9][0-9.]*(?:t64)?|(lib.*?[a-z+])[0-9][0-9.]*(?:t64)?")


def rpm_name(name: str) -> str:
    """Return what the distribution calls a package of Debian.

    Debian's libraries carry the number of their interface, and since 2024 that of their time; these do not.
    """
    if name in NAMES:
        return NAMES[name]
    if _KERNEL.fullmatch(name):
        return "kernel"
    match = _LIBRARY.fullmatch(name)
    return (match[1] or match[2]) if match else name


__all__ = ("DROPPED", "KERNEL", "NAMES", "WANTED", "WANTED_APART", "rpm_name")
