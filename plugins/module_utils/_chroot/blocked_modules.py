# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Kernel modules that C(systemConfig.security.hardening) keeps from being loaded, see M(_chroot.hardening)."""

from __future__ import annotations

import typing as t

#: Modules that cannot be loaded, with what they are for. What containers, cloud images and live systems need is not
#: among them: overlay, squashfs, udf, iso9660, llc, vsock; nor is USB storage, nor CAN.
BLOCKED_MODULES: t.Mapping[str, str] = {
    "adfs": "The file system of Acorn's computers.",
    "affs": "The file system of the Amiga.",
    "befs": "The file system of BeOS.",
    "bfs": "The boot file system of UnixWare.",
    "cramfs": "An old compressed file system.",
    "efs": "The file system of old SGI computers.",
    "freevxfs": "The file system of VERITAS.",
    "hfs": "The file system of the classic Mac OS.",
    "hfsplus": "The file system of Mac OS X before APFS.",
    "hpfs": "The file system of OS/2.",
    "jffs2": "An old file system for raw flash memory.",
    "jfs": "The journalled file system of IBM.",
    "minix": "The file system of Minix.",
    "nilfs2": "A log-structured file system.",
    "omfs": "The file system of some music players.",
    "qnx4": "The file system of QNX 4.",
    "qnx6": "The file system of QNX 6.",
    "sysv": "The file system of System V.",
    "ufs": "The file system of BSD and Solaris.",
    "appletalk": "AppleTalk.",
    "ax25": "Amateur packet radio.",
    "dccp": "The datagram congestion control protocol.",
    "netrom": "NET/ROM, amateur packet radio.",
    "rds": "Reliable datagram sockets, for clusters of databases.",
    "rose": "ROSE, amateur packet radio.",
    "sctp": "The stream control transmission protocol. Mobile networks and some services of Kubernetes need it.",
    "tipc": "Transparent inter-process communication, for clusters.",
    "x25": "X.25.",
}

__all__ = ("BLOCKED_MODULES",)
