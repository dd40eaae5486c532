# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Partition types: the names that templates use, and their GUIDs.

The GUIDs are those of the Discoverable Partitions Specification
(U(https://uapi-group.org/specifications/specs/discoverable_partitions_specification/)), the UEFI specification and the
Linux userland; the names are the original tool's and the specification's.
"""

from __future__ import annotations

import re
import typing as t

ESP = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
XBOOTLDR = "bc13c2ff-59e6-4262-a352-b275fd6f7172"
BIOS_BOOT = "21686148-6449-6e6f-744e-656564454649"
LINUX = "0fc63daf-8483-4772-8e79-3d69d8477de4"
SWAP = "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f"

# UEFI specification, table "Defined GPT Partition Entry - Partition Type GUIDs".
_UNUSED = "00000000-0000-0000-0000-000000000000"
_ROOT_X86_64 = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"
_ROOT_ARM64 = "b921b045-1df0-41c3-af44-4c6f280d3fae"
_HOME = "933ac7e1-2eb4-4f13-b844-0e14e2aef915"
_SRV = "3b8f8425-20e0-4f3b-907f-1a25a76f98e8"
_VAR = "4d21b016-b534-45c2-a9fb-5c16e091fd2d"
_TMP = "7ec6f557-3bc5-4aca-b293-16ef5df639d1"

#: Type name -> GUID.
PARTITION_TYPES: t.Mapping[str, str] = {
    # The original tool's names.
    "linux": LINUX,
    "bios": BIOS_BOOT,
    "esp": ESP,
    "xbootldr": XBOOTLDR,
    "linux-root-amd64": _ROOT_X86_64,
    "linux-root-arm64": _ROOT_ARM64,
    "linux-swap": SWAP,
    "linux-home": _HOME,
    "linux-srv": _SRV,
    "linux-var": _VAR,
    "linux-tmp": _TMP,
    "linux-lvm": "e6d6d379-f507-44c2-a23c-238f2a3df928",
    "linux-raid": "a19d880f-05fc-4d3b-a006-743f0f84911e",
    "linux-luks": "ca7d7ccb-63ed-4c53-861c-1742536059cc",
    "linux-dm-crypt": "7ffec5c9-2d00-49b7-8941-3ea10a5586b7",
    # The specification's names.
    "linux-generic": LINUX,
    "bios-boot": BIOS_BOOT,
    "swap": SWAP,
    "home": _HOME,
    "srv": _SRV,
    "var": _VAR,
    "tmp": _TMP,
    "root-x86-64": _ROOT_X86_64,
    "root-x86-64-verity": "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5",
    "root-x86-64-verity-sig": "41092b05-9fc8-4523-994f-2def0408b176",
    "root-arm64": _ROOT_ARM64,
    "root-arm64-verity": "df3300ce-d69f-4c92-978c-9bfb0f38d820",
    "root-arm64-verity-sig": "6db69de6-29f4-4758-a7a5-962190f00ce3",
    "usr-x86-64": "8484680c-9521-48c6-9c11-b0720656f69e",
    "usr-x86-64-verity": "77ff5f63-e7b6-4633-acf4-1565b864c0e6",
    "usr-x86-64-verity-sig": "e7bb33fb-06cf-4e81-8273-e543b413e2e2",
    "usr-arm64": "b0e01050-ee5f-4390-949a-9101b17104e9",
    "usr-arm64-verity": "6e11a4e7-fbca-4ded-b9e9-e1a512bb664e",
    "usr-arm64-verity-sig": "c23ce4ff-44bd-4b00-b2d4-b41b3419e02a",
}

#: Architecture -> the type of its root partition, and that of the partition with the hashes that dm-verity has of it.
VERITY_TYPES: t.Mapping[str, t.Tuple[str, str]] = {
    "x86_64": ("root-x86-64", "root-x86-64-verity"),
    "aarch64": ("root-arm64", "root-arm64-verity"),
}

#: Architecture -> the type of the partition with the signature of the root hash.
SIGNATURE_TYPES: t.Mapping[str, str] = {"x86_64": "root-x86-64-verity-sig", "aarch64": "root-arm64-verity-sig"}

# What the original tool calls the partition with the hashes.
_HASH_IDS = ("roothashmap", "hash")
_SIGNATURE_ID = "roothashsig"

_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

#: Flag of a template -> attribute in the words of sfdisk, or V(None) for a flag that the partition's type says already.
PARTITION_FLAGS: t.Mapping[str, t.Optional[str]] = {
    "boot": None,
    "esp": None,
    "bios_grub": None,
    "swap": None,
    "root": None,
    "required": "RequiredPartition",
    "legacy_boot": "LegacyBIOSBootable",
    "grow": "GUID:59",
    "read-only": "GUID:60",
    "no-auto": "GUID:63",
}


#: The flags that have a meaning on an MBR disk.
MBR_FLAGS = frozenset(("boot", "esp", "swap", "root"))

#: The type of an EFI system partition on an MBR disk.
MBR_ESP = 0xEF
#: That of swap space.
MBR_SWAP = 0x82
#: That of everything that has none of its own.
MBR_LINUX = 0x83

# Type name -> number on an MBR disk; all others are Linux.
_MBR_TYPES: t.Mapping[str, int] = {
    "esp": MBR_ESP,
    "xbootldr": 0xEA,
    "linux-swap": MBR_SWAP,
    "swap": MBR_SWAP,
    "linux-lvm": 0x8E,
    "linux-raid": 0xFD,
    "linux-luks": 0xE8,
}


def mbr_type(name: str, flags: t.Collection[str], default: int) -> int:
    """Return the number that a type name has on an MBR disk.

    :param name: Empty when the template names none: then the flags tell.
    :param default: What it is when they do not.
    :raises ValueError: An MBR has nothing of that kind; the message is for the user.
    """
    if name in ("bios", "bios-boot"):
        raise ValueError(
            "An MBR disk has no BIOS boot partition: GRUB lies before the first partition. Remove the partition."
        )
    if name:
        return _MBR_TYPES.get(name, MBR_LINUX)
    if "esp" in flags:
        return MBR_ESP
    return default


def holds_root_hashes(identifier: str, guid: str) -> bool:
    """Tell whether a partition is the one for dm-verity's hashes of the root file system.

    :param identifier: The template's id of it.
    :param guid: Its type.
    """
    return identifier in _HASH_IDS or guid in [PARTITION_TYPES[hashes] for _root, hashes in VERITY_TYPES.values()]


def holds_root_hash_signature(identifier: str, guid: str) -> bool:
    """Tell whether a partition is the one for the signature of the root hash.

    :param identifier: The template's id of it.
    :param guid: Its type.
    """
    return identifier == _SIGNATURE_ID or guid in [PARTITION_TYPES[name] for name in SIGNATURE_TYPES.values()]


def type_guid(name: str) -> str:
    """Return the GUID (lower case) of a type name, or of what is a GUID already.

    :raises ValueError: There is no such type; the message is for the user.
    """
    if name in PARTITION_TYPES:
        return PARTITION_TYPES[name]
    if name == _UNUSED:
        raise ValueError(f"The type {name} marks entries of the table that stand for no partition. Give another one.")
    if _GUID.fullmatch(name):
        return name.lower()
    known = ", ".join(sorted(PARTITION_TYPES))
    raise ValueError(f"There is no partition type {name!r}. Use one of {known}, or give a GUID as typeUUID.")


__all__ = (
    "BIOS_BOOT",
    "ESP",
    "LINUX",
    "MBR_ESP",
    "MBR_FLAGS",
    "MBR_LINUX",
    "MBR_SWAP",
    "PARTITION_FLAGS",
    "PARTITION_TYPES",
    "SIGNATURE_TYPES",
    "SWAP",
    "VERITY_TYPES",
    "XBOOTLDR",
    "holds_root_hash_signature",
    "holds_root_hashes",
    "mbr_type",
    "type_guid",
)
