# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._checks.immutability import hash_tree_size
from ansible_collections.os_image.composer.tests.unit.plugins.module_utils._checks.conftest import (
    ESP,
    SMALL_ROOT,
    Approve,
    Judge,
    Part,
    Right,
    config,
    data,
    disk,
    neighbours,
    target,
)

SAFE = config(immutability={"enabled": True}, kernel={"uki": True})


def protected(**values: str) -> Part:
    """A disk with a partition for hashes."""
    return disk(ESP, SMALL_ROOT, {"id": "roothashmap", "size": "8MiB", **values}) | SAFE


WRONG: list[tuple[Part, str]] = [
    (
        disk(ESP, SMALL_ROOT, data()) | SAFE,
        "dm-verity keeps the hashes of the root file system on a partition of its own",
    ),
    (target(imageType="initrd") | SAFE, "An initrd has no root file system on a disk"),
    (
        disk(ESP, SMALL_ROOT, {"id": "hash", "size": "8MiB"}, {"id": "roothashmap", "end": "0"}) | SAFE,
        "disk.partitions[3]: The partition 'roothashmap' is a second one for the hashes",
    ),
    (protected(fsType="ext4", mountPoint="/hash"), "The partition 'roothashmap' holds hashes and no files"),
    (protected(size="6MiB"), "has 6 MiB, but the hashes of a root partition of 767 MiB need 6.0 MiB."),
    (
        disk(ESP, {**SMALL_ROOT, "mountOptions": "rw"}, {"id": "hash", "size": "8MiB"}) | SAFE,
        "disk.partitions[1].mountOptions: A root file system that dm-verity protects cannot be written",
    ),
    (
        protected() | config(immutability={"enabled": True}, bootloader={"provider": "grub"}),
        "GRUB reads its configuration from the root file system",
    ),
    (
        protected() | config(immutability={"enabled": True}),
        "Without a unified kernel image, the root hash stands in a text file",
    ),
]

RIGHT: Right = {
    "verity_has_its_hash_partition": [
        protected(),
        protected(id="x", type="root-x86-64-verity"),
        protected(id="x", typeUUID="2C7357ED-EBD2-46D9-AEC1-23D437EC2BF5"),
        target(imageType="initrd") | config(immutability={"enabled": False}),
        {},
    ],
    "hash_partition_is_left_alone": [
        # As the original tool's default templates have it.
        protected(type="linux", fsType="ext4", mountPoint="none"),
        disk(ESP, SMALL_ROOT, data(id="hash", mountPoint="/hash")),
    ],
    "hash_partition_is_large_enough": [protected(size="7MiB"), disk(ESP, SMALL_ROOT, {"id": "hash", "size": "1MiB"})],
    "protected_root_is_read_only": [
        protected(),
        disk(ESP, {**SMALL_ROOT, "mountOptions": "rw"}),
    ],
    "verity_has_its_bootloader": [protected(), config(bootloader={"provider": "grub"})],
    "root_hash_is_part_of_the_kernel_image": [protected(), {}],
}


@pytest.mark.parametrize(("part", "expected"), WRONG, ids=[text[:60] for _part, text in WRONG])
def test_wrong(part: Part, expected: str, judge: Judge) -> None:
    found = judge(part)
    assert any(expected in line for line in found), found


@pytest.mark.parametrize(("name", "part"), neighbours(RIGHT))
def test_right(name: str, part: Part, approve: Approve) -> None:
    approve(name, part)


@pytest.mark.parametrize(
    ("size", "expected"),
    # The superblock, then as veritysetup counts: ceil(blocks / 128) per level, up to one block.
    [(4096, 4096), (8192, 2 * 4096), (128 * 4096, 2 * 4096), (129 * 4096, 4 * 4096), (1 << 30, 8462336)],
)
def test_hash_tree_size(size: int, expected: int) -> None:
    assert hash_tree_size(size) == expected
