# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""dm-verity: what protects a partition, and whether the parts belong together."""

from __future__ import annotations

import dataclasses
import hashlib
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


class HashTree:
    """The hashes of a device: blocks of hashes in levels, the one block of the uppermost first.

    :param raw: The image.
    :param superblock: What tells their form.
    :param data: The partition that they protect.
    :param hashes: The partition that has them.
    """

    def __init__(self, raw: str, superblock: VeritySuperblock, data: TablePartition, hashes: TablePartition) -> None:
        self._raw = raw
        self._superblock = superblock
        self._data = data
        self._hashes = hashes
        self._salt = bytes.fromhex(superblock.salt)
        self._size = hashlib.new(superblock.algorithm).digest_size if self.can_be_read(superblock) else 1
        # The least power of two that holds a hash.
        self._room = 1 << (self._size - 1).bit_length()

    @staticmethod
    def can_be_read(superblock: VeritySuperblock) -> bool:
        """Whether its form is one that is known here."""
        sizes = (superblock.data_block_size, superblock.hash_block_size)
        known = superblock.hash_type == 1 and superblock.algorithm in ("sha256", "sha512")
        return known and all(size in (512, 1024, 2048, 4096) for size in sizes)

    def damage(self, root_hash: str) -> str:
        """Tell in words what does not have the hash that it should; empty when all that is protected has.

        :param root_hash: What stands for all of it.
        """
        form = self._superblock
        each, per_block = form.hash_block_size, form.hash_block_size // self._room
        blocks = form.data_size // form.data_block_size
        counts: t.List[int] = []
        count = blocks
        while count > 1:
            count = -(-count // per_block)
            counts.append(count)
        if form.data_size > self._data.size or (1 + sum(counts)) * each > self._hashes.size:
            return "the partitions are smaller than their hashes say"
        expected = bytes.fromhex(root_hash)
        place = self._hashes.start + each
        with open(self._raw, "rb") as stream:
            for count in reversed(counts):
                stream.seek(place)
                level = stream.read(count * each)
                for index in range(count):
                    block = level[index * each : (index + 1) * each]
                    if self._hash(block) != self._entry(expected, index):
                        return f"block {(place - self._hashes.start) // each + index} of the hashes"
                expected = level
                place += count * each
            return self._data_damage(stream, blocks, expected)

    def _data_damage(self, stream: t.BinaryIO, blocks: int, expected: bytes) -> str:
        each = self._superblock.data_block_size
        empty = bytes(each)
        hash_of_empty = self._hash(empty)
        stream.seek(self._data.start)
        for index in range(blocks):
            block = stream.read(each)
            if (hash_of_empty if block == empty else self._hash(block)) != self._entry(expected, index):
                return f"block {index} of the data"
        return ""

    def _entry(self, level: bytes, index: int) -> bytes:
        start = index * self._room
        return level[start : start + self._size]

    def _hash(self, block: bytes) -> bytes:
        return hashlib.new(self._superblock.algorithm, self._salt + block).digest()


def verity_facts(
    superblocks: t.Sequence[VeritySuperblock],
    cmdlines: t.Iterable[str],
    partitions: t.Sequence[TablePartition],
    raw: str,
    signatures: t.Sequence[t.Mapping[str, t.Any]] = (),
) -> t.Dict[str, t.Any] | None:
    """Return what is known of dm-verity, with the data checked against it; V(None) when nothing of it is there.

    The Discoverable Partitions Specification finds the two partitions by the root hash: the PARTUUID of the data is its
    first half, that of the hashes is its second (of 256 bits; of longer ones the first and last 128 bits).

    :param signatures: What is known of signatures of root hashes.
    """
    demanded = root_hashes(cmdlines)
    if not demanded and not superblocks and not signatures:
        return None
    by_uuid = {partition.uuid: partition for partition in partitions if partition.uuid}
    roots = []
    for target, root_hash in demanded:
        data, hashes = (by_uuid.get(str(uuid.UUID(hex=half))) for half in (root_hash[:32], root_hash[-32:]))
        roots.append(
            {
                "target": target,
                "root_hash": root_hash,
                "data_partition": data.number if data else None,
                "hash_partition": hashes.number if hashes else None,
                "found_by_uuid": data is not None and hashes is not None,
                **_check(raw, superblocks, root_hash, data, hashes),
            }
        )
    return {
        "superblocks": [superblock.as_facts() for superblock in superblocks],
        "root_hashes": roots,
        "signatures": [dict(signature) for signature in signatures],
    }


def _check(
    raw: str,
    superblocks: t.Sequence[VeritySuperblock],
    root_hash: str,
    data: TablePartition | None,
    hashes: TablePartition | None,
) -> t.Dict[str, t.Any]:
    """Check the partitions of a root hash."""
    form = next((item for item in superblocks if hashes is not None and item.partition == hashes.number), None)
    if data is None or hashes is None or form is None or not HashTree.can_be_read(form):
        return {"intact": None, "damage": ""}
    damage = HashTree(raw, form, data, hashes).damage(root_hash)
    return {"intact": not damage, "damage": damage}


__all__ = ("HashTree", "VeritySuperblock", "read_superblock", "root_hashes", "verity_facts")
