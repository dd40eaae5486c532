# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The hash tree of dm-verity: its partition, its size, and how it is made.

The hashes of all blocks of the root partition are hashed in turn, level by level; the hash of the last level, the root
hash, stands for all of them. Partitions are found by it, as the Discoverable Partitions Specification has it.
"""

from __future__ import annotations

import dataclasses
import typing as t
import uuid

from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool
from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import DiskLayout, Partition
from ansible_collections.os_image.composer.plugins.module_utils._errors import DiskError
from ansible_collections.os_image.composer.plugins.module_utils._partition_type import (
    PARTITION_FLAGS,
    SIGNATURE_TYPES,
    VERITY_TYPES,
    holds_root_hash_signature,
    holds_root_hashes,
    type_guid,
)

#: In place of a root hash that nobody knows yet, as long as one.
UNKNOWN_HASH = "0" * 64

#: The bytes that a partition needs for the signature of the root hash, with room for long keys and their certificates.
SIGNATURE_SIZE = 16 << 10

_BLOCK = 4096
# SHA-256 hashes in a block.
_HASHES = _BLOCK // 32


def hash_tree_size(size: int) -> int:
    """Return the bytes that dm-verity needs for the hashes of a device: its superblock, and levels of blocks."""
    total, blocks = 1, -(-size // _BLOCK)
    while blocks > 1:
        blocks = -(-blocks // _HASHES)
        total += blocks
    return total * _BLOCK


def hash_partition(layout: DiskLayout) -> Partition | None:
    """Return the partition for the hashes of the root file system."""
    return next((item for item in layout.partitions if holds_root_hashes(item.id, item.type_guid)), None)


def signature_partition(layout: DiskLayout) -> Partition | None:
    """Return the partition for the signature of the root hash."""
    return next((item for item in layout.partitions if holds_root_hash_signature(item.id, item.type_guid)), None)


def protected_layout(layout: DiskLayout, arch: str, *, is_signed: bool = False) -> DiskLayout:
    """Return a layout whose root partition, that of its hashes, and that of the signature say that they are that.

    :param arch: The architecture, as C(uname -m) shows it.
    :param is_signed: Whether there is a signature of the root hash.
    :raises DiskError: There is none for the hashes, or for the signature.
    """
    root, hashes = layout.root, hash_partition(layout)
    if root is None or hashes is None:
        raise DiskError(
            "The disk has no partition for the hashes of the root file system.",
            remedy="Add one with id: roothashmap and size: content.",
        )
    signature = signature_partition(layout) if is_signed else None
    if is_signed and signature is None:
        raise DiskError(
            "The disk has no partition for the signature of the root hash.",
            remedy="Add one with id: roothashsig and size: content.",
        )
    root_type, hash_type = (type_guid(name) for name in VERITY_TYPES[arch])
    marked = [(root, root_type), (hashes, hash_type)]
    if signature is not None:
        marked.append((signature, type_guid(SIGNATURE_TYPES[arch])))
    read_only = str(PARTITION_FLAGS["read-only"])
    changed = {
        item.id: dataclasses.replace(
            item, type_guid=kind, attributes=tuple(dict.fromkeys([*item.attributes, read_only]))
        )
        for item, kind in marked
    }
    # Their file systems, which the original tool gives the hashes, would be overwritten.
    for item, _kind in marked[1:]:
        changed[item.id] = dataclasses.replace(changed[item.id], fs_type="", mount_point=None)
    return dataclasses.replace(layout, partitions=tuple(changed.get(item.id, item) for item in layout.partitions))


def partition_uuids(root_hash: str) -> t.Tuple[str, str]:
    """Return the PARTUUIDs of the root partition and of its hashes: the two halves of the root hash."""
    return str(uuid.UUID(hex=root_hash[:32])), str(uuid.UUID(hex=root_hash[-32:]))


def make_hash_tree(data: str, hashes: str, *, salt: str, identifier: str, runner: CommandRunner) -> str:
    """Write the hashes of the file C(data) to the new file C(hashes); the same bytes for the same data.

    :param salt: 64 hexadecimal digits.
    :param identifier: The UUID of the hashes.
    :returns: The root hash.
    """
    command = [find_tool("veritysetup"), "format", f"--salt={salt}", f"--uuid={identifier}", "--hash=sha256"]
    command += [f"--data-block-size={_BLOCK}", f"--hash-block-size={_BLOCK}", f"--root-hash-file={hashes}.root"]
    runner.run([*command, data, hashes], what="Making the hash tree of the root file system")
    with open(f"{hashes}.root", encoding="ascii") as stream:
        return stream.read().strip()


__all__ = (
    "SIGNATURE_SIZE",
    "UNKNOWN_HASH",
    "hash_partition",
    "hash_tree_size",
    "make_hash_tree",
    "partition_uuids",
    "protected_layout",
    "signature_partition",
)
