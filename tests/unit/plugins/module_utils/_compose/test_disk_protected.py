# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Composed disks whose root file system dm-verity protects, judged by veritysetup."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import DiskError
from ansible_collections.os_image.composer.plugins.module_utils._image.inspection import inspect_image
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_file
from ansible_collections.os_image.composer.plugins.module_utils._template.immutability import Protection
from ansible_collections.os_image.composer.tests.support.disk_judges import partition_table
from ansible_collections.os_image.composer.tests.support.disk_tree import (
    ESP,
    ROOT,
    Composed,
    compose,
    make_tree,
)
from ansible_collections.os_image.composer.tests.support.shim_program import make_shim

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")

VOLATILE = Protection("volatile", "volatile")
HASHES: t.Mapping[str, t.Any] = {"id": "roothashmap", "size": "content"}
SMALL_ESP: t.Mapping[str, t.Any] = {
    **{key: value for key, value in ESP.items() if key not in ("start", "end")},
    "size": "content",
}


def fitted(fs_type: str) -> t.Dict[str, t.Any]:
    """A disk without anything to spare."""
    root = {"id": "rootfs", "fsType": fs_type, "size": "content", "mountPoint": "/"}
    return {"size": "content", "partitions": [SMALL_ESP, HASHES, root]}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    made = make_tree(tmp_path_factory.mktemp("protected") / "tree")
    make_shim(made / "usr/lib/shim/shimx64.efi")
    return made


@pytest.fixture(scope="module", params=["ext4", "squashfs", "erofs", "erofs, GRUB behind a shim"])
def protected(request: pytest.FixtureRequest, tree: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Composed:
    directory = tmp_path_factory.mktemp("composed")
    fs_type, _comma, grub = request.param.partition(", ")
    loader: t.Dict[str, t.Any] = {"provider": "grub", "is_signed": True} if grub else {}
    return compose(tree, directory, fitted(fs_type), use_uki=True, protection=VOLATILE, **loader)


def cut_out(image: Composed, name: str, directory: pathlib.Path) -> pathlib.Path:
    """Copy a partition into a file."""
    partition = next(partition for partition in image.layout.partitions if partition.id == name)
    path = directory / name
    with open(image.image, "rb") as stream:
        stream.seek(partition.offset)
        path.write_bytes(stream.read(partition.size))
    return path


def command_line(image: Composed) -> str:
    """Return the command line in the UKI on the ESP."""
    listed = subprocess.run(
        ["mdir", "-b", "-i", image.esp(), "::EFI/Linux"], check=True, capture_output=True, text=True
    )
    uki = image.read_esp(listed.stdout.strip().replace("::", ""))
    found = re.search(rb"root=/dev/mapper/root [^\0]*", uki)
    assert found is not None
    return found.group().decode("ascii")


def root_hash_of(image: Composed) -> str:
    found = re.search(r"(?:^| )roothash=([0-9a-f]{64})(?: |$)", command_line(image))
    assert found is not None
    return found.group(1)


def test_veritysetup_verifies_the_root_by_the_hash_in_the_uki(protected: Composed, tmp_path: pathlib.Path) -> None:
    data, hashes = (cut_out(protected, name, tmp_path) for name in ("rootfs", "roothashmap"))
    command = ["veritysetup", "verify", data, hashes, root_hash_of(protected)]
    assert subprocess.run(command, check=False).returncode == 0
    with open(data, "r+b") as stream:
        stream.seek(5000)
        byte = stream.read(1)
        stream.seek(5000)
        stream.write(bytes([byte[0] ^ 1]))
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, "Verification failed at position 4096" in done.stderr) == (2, True), done.stderr


def test_the_partitions_are_found_by_the_root_hash(protected: Composed) -> None:
    table = {item["name"]: item for item in partition_table(protected.image)["partitions"]}
    root, hashes = table["rootfs"], table["roothashmap"]
    assert (root["uuid"] + hashes["uuid"]).replace("-", "").lower() == root_hash_of(protected)
    assert root["type"] == "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"
    assert hashes["type"] == "2C7357ED-EBD2-46D9-AEC1-23D437EC2BF5"
    assert root["attrs"] == hashes["attrs"] == "GUID:60"


def test_a_machine_that_finds_damage_starts_again(protected: Composed) -> None:
    words = command_line(protected).split()
    assert {"ro", "panic=5", "rd.shell=0", "rd.emergency=reboot"} <= set(words)
    assert "systemd.verity_root_options=panic-on-corruption" in words
    assert protected.boot.cmdline == " ".join(words)


def test_the_same_disk_twice(protected: Composed, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    root = protected.layout.root
    assert root is not None
    loader: t.Dict[str, t.Any] = {"provider": "grub", "is_signed": True} if protected.boot.loader == "grub" else {}
    again = compose(tree, tmp_path / "again", fitted(root.fs_type), use_uki=True, protection=VOLATILE, **loader)
    assert sha256_file(again.image) == sha256_file(protected.image)
    other = compose(
        tree, tmp_path / "other", fitted(root.fs_type), use_uki=True, protection=VOLATILE, build_digest="ab" * 32
    )
    assert root_hash_of(other) != root_hash_of(protected)


def test_image_info_checks_the_root(protected: Composed, tmp_path: pathlib.Path) -> None:
    def verity(path: str) -> t.Dict[str, t.Any]:
        with inspect_image(path, temp_dir=str(tmp_path)) as inspection:
            facts = inspection.verity
            assert facts is not None
            (found,) = facts["root_hashes"]
            return dict(found)

    facts = verity(protected.image)
    assert (facts["root_hash"], facts["found_by_uuid"]) == (root_hash_of(protected), True)
    assert (facts["intact"], facts["damage"]) == (True, "")
    root = protected.layout.root
    assert root is not None
    damaged = tmp_path / "damaged"
    subprocess.run(["cp", "--sparse=always", protected.image, damaged], check=True)
    with open(damaged, "r+b") as stream:
        # A byte of the last block, which may well be a hole.
        stream.seek(root.offset + root.size - 1)
        stream.write(b"x")
    facts = verity(str(damaged))
    assert (facts["intact"], facts["damage"]) == (False, f"block {root.size // 4096 - 1} of the data")


SIGNATURE: t.Mapping[str, t.Any] = {"id": "roothashsig", "size": "content"}


@pytest.mark.parametrize("form", ["kept", "demanded"])
def test_the_signature_of_the_root_hash_has_its_place(tree: pathlib.Path, tmp_path: pathlib.Path, form: str) -> None:
    disk = fitted("erofs")
    disk["partitions"].insert(2, SIGNATURE)
    composed = compose(tree, tmp_path, disk, use_uki=True, protection=Protection("volatile", "volatile", form))
    table = {item["name"]: item for item in partition_table(composed.image)["partitions"]}
    place = table["roothashsig"]
    assert (place["type"], place["attrs"]) == ("41092B05-9FC8-4523-994F-2DEF0408B176", "GUID:60")
    assert place["size"] * 512 >= 16 << 10
    words = command_line(composed).split()
    if form == "kept":
        assert "systemd.verity_root_options=panic-on-corruption" in words
        assert not any("roothashsig" in word for word in words)
    else:
        options = "panic-on-corruption,root-hash-signature=/run/root-hash.p7s"
        assert f"systemd.verity_root_options={options}" in words
        assert f"rd.roothashsig={place['uuid'].lower()}" in words


def test_a_signature_without_a_place(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    protection = Protection("volatile", "volatile", "kept")
    with pytest.raises(DiskError, match="no partition for the signature of the root hash"):
        compose(tree, tmp_path, fitted("erofs"), use_uki=True, protection=protection)


def test_fstab_and_what_is_on_other_partitions(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    var = {"id": "var", "fsType": "ext4", "size": "8MiB", "mountPoint": "/var"}
    root = {**ROOT, "end": "80MiB"}
    disk = {"size": "112MiB", "partitions": [ESP, root, {**HASHES, "size": "2MiB"}, var]}
    composed = compose(tree, tmp_path, disk, use_uki=True, protection=Protection("persistent", "persistent"))
    shown = composed.debugfs("rootfs", "cat /etc/fstab").splitlines()
    assert shown[1:] == [
        "/dev/mapper/root / ext4 defaults 0 0",
        f"PARTUUID={composed.identity.partitions['boot']} /boot/efi vfat umask=0077 0 2",
        f"PARTUUID={composed.identity.partitions['var']} /var ext4 defaults,x-initrd.mount 0 0",
        "tmpfs /tmp tmpfs mode=1777,nosuid,nodev 0 0",
    ]
    assert "log" in composed.debugfs("var", "ls /")
    assert "log" not in composed.debugfs("rootfs", "ls /var")
    # Nothing of the ESP is part of what is hashed.
    assert "EFI" not in composed.debugfs("rootfs", "ls /boot/efi")


def test_a_root_that_takes_the_rest_leaves_room_for_its_hashes(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    root = {"id": "rootfs", "fsType": "ext4", "end": "0", "mountPoint": "/"}
    disk = {"size": "256MiB", "partitions": [SMALL_ESP, HASHES, root]}
    composed = compose(tree, tmp_path, disk, use_uki=True, protection=VOLATILE)
    data, hashes = (cut_out(composed, name, tmp_path) for name in ("rootfs", "roothashmap"))
    assert hashes.stat().st_size == 2 << 20
    subprocess.run(["veritysetup", "verify", data, hashes, root_hash_of(composed)], check=True)


def test_hashes_that_have_no_room(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    disk = {"size": "400MiB", "partitions": [ESP, {**ROOT, "end": "300MiB"}, {**HASHES, "size": "1MiB"}]}
    with pytest.raises(DiskError, match=r"'roothashmap' has 1 MiB, but the hashes of 'rootfs' need 2\.\d MiB"):
        compose(tree, tmp_path, disk, use_uki=True, protection=VOLATILE)


def test_a_disk_without_a_place_for_hashes(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with pytest.raises(DiskError, match="no partition for the hashes"):
        compose(tree, tmp_path, use_uki=True, protection=VOLATILE)
