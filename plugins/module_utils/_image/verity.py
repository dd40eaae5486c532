# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""dm-verity: what protects a partition, and whether the parts belong together."""

from __future__ import annotations

import dataclasses
import os
import re
import struct
import typing as t
import uuid

from ansible_collections.os_image.composer.plugins.module_utils._image.table import TablePartition

# U(https://gitlab.com/cryptsetup/cryptsetup/-/wikis/DMVerity): the superblock of the hash device, version 1.
_SUPERBLOCK = struct.Struct("<8sII16s32sIIQH6x256s")
_MAGIC = b"verity\0\0"
_ROOT_HASH = re.compile(r"(?:^|\s)(?P<usr>usr|root)hash=(?P<hash>[0-9a-fA-F]{40,128})(?=\s|$)")


@dataclasses.dataclass(frozen=True)
class VeritySuperblock:
    """The superblock of hashes.

    :ivar partition: The number of the partition that holds them.
    :ivar data_size: How many bytes they protect.
    :ivar salt: Hexadecimal digits.
    """

    partition: int
    uuid: str
    hash_type: int
    algorithm: str
    data_block_size: int
    hash_block_size: int
    data_size: int
    salt: str

    def as_facts(self) -> t.Dict[str, t.Any]:
        """Return the form of results."""
        return dataclasses.asdict(self)


def read_superblock(raw: str, partition: TablePartition) -> VeritySuperblock | None:
    """Return the superblock at the beginning of a partition; V(None) when there is none."""
    with open(raw, "rb") as stream:
        if partition.start >= stream.seek(0, os.SEEK_END):
            return None
        stream.seek(partition.start)
        data = stream.read(_SUPERBLOCK.size)
    if len(data) < _SUPERBLOCK.size or not data.startswith(_MAGIC):
        return None
    _magic, version, hash_type, identifier, algorithm, data_block, hash_block, blocks, salt_size, salt = (
        _SUPERBLOCK.unpack(data)
    )
    if version != 1:
        return None
    return VeritySuperblock(
        partition=partition.number,
        uuid=str(uuid.UUID(bytes=identifier)),
        hash_type=hash_type,
        algorithm=algorithm.rstrip(b"\0").decode("ascii", errors="replace"),
        data_block_size=data_block,
        hash_block_size=hash_block,
        data_size=blocks * data_block,
        salt=salt[: min(salt_size, 256)].hex(),
    )


def root_hashes(cmdlines: t.Iterable[str]) -> t.List[t.Tuple[str, str]]:
    """Return what command lines demand: (C(root) or C(usr), root hash in lower case), each once."""
    found = [(match["usr"], match["hash"].lower()) for line in cmdlines for match in _ROOT_HASH.finditer(line)]
    return list(dict.fromkeys(found))


def verity_facts(
    superblocks: t.Sequence[VeritySuperblock],
    cmdlines: t.Iterable[str],
    partitions: t.Sequence[TablePartition],
) -> t.Dict[str, t.Any] | None:
    """Return what is known of dm-verity; V(None) when nothing of it is there.

    The Discoverable Partitions Specification finds the two partitions by the root hash: the PARTUUID of the data is its
    first half, that of the hashes is its second (of 256 bits; of longer ones the first and last 128 bits).
    """
    demanded = root_hashes(cmdlines)
    if not demanded and not superblocks:
        return None
    by_uuid = {partition.uuid: partition.number for partition in partitions if partition.uuid}
    roots = []
    for target, root_hash in demanded:
        data, hashes = (str(uuid.UUID(hex=half)) for half in (root_hash[:32], root_hash[-32:]))
        roots.append(
            {
                "target": target,
                "root_hash": root_hash,
                "data_partition": by_uuid.get(data),
                "hash_partition": by_uuid.get(hashes),
                "found_by_uuid": data in by_uuid and hashes in by_uuid,
            }
        )
    return {"superblocks": [superblock.as_facts() for superblock in superblocks], "root_hashes": roots}


__all__ = ("VeritySuperblock", "read_superblock", "root_hashes", "verity_facts")
