# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._disk.verity import hash_tree_size
from ansible_collections.os_image.composer.tests.unit.plugins.module_utils._checks.conftest import (
    ESP,
    ROOT,
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


VAR: Part = {"id": "var", "type": "linux-var", "fsType": "ext4", "end": "0", "mountPoint": "/var"}


def changeable(etc: str, *more: Part, **system: t.Any) -> Part:
    """A protected system in which /etc can be changed somehow."""
    part = disk(ESP, SMALL_ROOT, {"id": "roothashmap", "size": "content"}, *more)
    immutability = {"enabled": True, "etc": etc}
    return part | config(immutability=immutability, kernel={"uki": True}, **system)


def signed(*partitions: Part, keys: Part | None = None, **immutability: t.Any) -> Part:
    """A protected system whose root hash is signed by itself."""
    wanted = {"enabled": True, "rootHashSignature": "kept", **immutability}
    signing = {} if keys == {} else {"signing": {"secureBoot": keys or {"generate": True}}}
    part = disk(ESP, SMALL_ROOT, {"id": "roothashmap", "size": "content"}, *partitions) if partitions else {}
    return part | config(immutability=wanted, kernel={"uki": True}, **signing)


SIGNATURE: Part = {"id": "roothashsig", "size": "content"}

WRONG: list[tuple[Part, str]] = [
    (
        disk(ESP, SMALL_ROOT, data()) | SAFE,
        "dm-verity keeps the hashes of the root file system on a partition of its own",
    ),
    (target(imageType="initrd") | SAFE, "An initrd has no root file system on a disk"),
    (
        target(imageType="iso")
        | {"iso": {"type": "live"}}
        | config(immutability={"enabled": True}, bootloader={"provider": "systemd-boot"}),
        "A live ISO has no disk whose root file system could be protected.",
    ),
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
        disk(ESP, SMALL_ROOT, {"id": "hash", "size": "8MiB"}, partitionTableType="mbr") | SAFE,
        "disk.partitionTableType: A root file system that dm-verity protects is found by the identifiers",
    ),
    (
        disk(ESP, {**SMALL_ROOT, "fsType": "xfs"}, {"id": "hash", "size": "8MiB"}) | SAFE,
        "disk.partitions[1].fsType: A root file system of the type xfs cannot be protected by dm-verity.",
    ),
    (
        disk(ESP, {"id": "hash", "size": "8MiB"}, {**ROOT, "start": "265MiB", "growOnBoot": True}) | SAFE,
        "A root file system that dm-verity protects stays as it is, so it cannot grow.",
    ),
    (
        config(immutability={"etc": "readonly"}),
        "systemConfig.immutability.etc: immutability.etc has an effect on a protected root file system only.",
    ),
    (
        changeable("persistent"),
        "systemConfig.immutability.etc: Changes in /etc can only be kept on a partition that is mounted at /var",
    ),
    (
        protected() | config(immutability={"enabled": True}, kernel={"uki": True}, bootloader={"bootType": "hybrid"}),
        "systemConfig.bootloader.bootType: GRUB, which a BIOS starts by bootType: hybrid, reads its configuration",
    ),
    (
        changeable("readonly", security={"selinux": "enforcing"}),
        "systemConfig.security.selinux: The directories for changes in /etc and /var have no SELinux labels",
    ),
    (
        signed(SIGNATURE, enabled=False),
        "immutability.rootHashSignature has an effect on a protected root file system only.",
    ),
    (signed(SIGNATURE, keys={}), "The root hash is signed with the key for Secure Boot, and there is none."),
    (
        signed(SIGNATURE, keys={"certificate": "t.yml"}),
        "Another host has the key for Secure Boot, and only EFI programs travel to it, not the root hash.",
    ),
    (
        signed(VAR),
        "systemConfig.immutability.rootHashSignature: The signature of the root hash lies on a partition of its own",
    ),
    (
        signed(SIGNATURE, {"id": "other", "type": "root-x86-64-verity-sig", "size": "1MiB"}),
        "disk.partitions[4]: The partition 'other' is a second one for the signature of the root hash. Keep one.",
    ),
    (
        signed({**SIGNATURE, "fsType": "ext4", "mountPoint": "/sig"}),
        "disk.partitions[3].mountPoint: The partition 'roothashsig' holds a signature and no files",
    ),
    (
        signed({**SIGNATURE, "size": "8KiB"}),
        "disk.partitions[3].size: The partition 'roothashsig' has 8 KiB, but the signature of the root hash needs 16",
    ),
    (
        signed(SIGNATURE, rootHashSignature="demanded"),
        "The kernel of debian/debian12 for x86_64 is not known to verify a signature of the root hash",
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
    "hash_partition_is_large_enough": [
        protected(size="7MiB"),
        protected(size="content"),
        disk(ESP, SMALL_ROOT, {"id": "hash", "size": "1MiB"}),
    ],
    "protected_root_is_read_only": [
        protected(),
        disk(ESP, {**SMALL_ROOT, "mountOptions": "rw"}),
    ],
    "protected_root_is_found_by_its_hash": [protected(), disk(ESP, SMALL_ROOT, partitionTableType="mbr")],
    "protected_root_can_be_made_again": [
        disk(ESP, {**SMALL_ROOT, "fsType": name}, {"id": "hash", "size": "content"}) | SAFE
        for name in ("squashfs", "erofs")
    ],
    "etc_belongs_to_a_protected_root": [changeable(etc) for etc in ("readonly", "volatile")],
    "persistent_etc_has_its_partition": [changeable("persistent", VAR), changeable("volatile")],
    "root_hash_signature_has_its_key": [signed(), signed(keys={"key": "t.yml", "certificate": "t.yml"})],
    "root_hash_signature_has_its_partition": [
        signed(),
        signed(SIGNATURE),
        signed({"id": "x", "typeUUID": "41092B05-9FC8-4523-994F-2DEF0408B176", "size": "16KiB"}),
        disk(ESP, SMALL_ROOT, {"id": "roothashsig", "size": "4KiB"}, {"id": "roothashmap", "size": "content"}) | SAFE,
    ],
    "changes_have_labels": [
        changeable("readonly", VAR, security={"selinux": "enforcing"}),
        changeable("volatile", security={"selinux": "permissive"}),
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
