# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inspection of images, compared with how they were made."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import shutil
import struct
import subprocess
import time
import typing as t
import uuid

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._artifact.formats import convert
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._errors import CommandError
from ansible_collections.os_image.composer.plugins.module_utils._image.boot_entry import grub_entries, loader_entry
from ansible_collections.os_image.composer.plugins.module_utils._image.inspection import inspect_image
from ansible_collections.os_image.composer.plugins.module_utils._image.packages import read_packages
from ansible_collections.os_image.composer.plugins.module_utils._image.sandbox import ParserSandbox
from ansible_collections.os_image.composer.tests.support.disk_tree import (
    ESP,
    KERNEL,
    ROOT,
    Composed,
    compose,
    make_tree,
)

Facts = t.Dict[str, t.Any]


def _facts(path: str | pathlib.Path, temp_dir: str) -> Facts:
    with inspect_image(str(path), temp_dir=temp_dir) as inspection:
        return inspection.as_facts()


def test_a_disk_with_loader_entries(loader_image: Composed, temp_dir: str) -> None:
    facts = _facts(loader_image.image, temp_dir)
    identity = loader_image.identity
    assert facts["image"]["virtual_size"] == 96 << 20
    assert facts["partition_table"] == {"type": "gpt", "id": identity.disk, "sector_size": 512, "warnings": []}
    assert facts["firmware"] == ["uefi"]
    esp, root = facts["partitions"]
    assert (esp["number"], esp["start"], esp["size"], esp["type_name"]) == (1, 1 << 20, 40 << 20, "esp")
    assert (esp["uuid"], esp["mount_point"]) == (identity.partitions["boot"], "/boot/efi")
    assert esp["file_system"]["label"] == "ESP"
    assert root["file_system"] == {
        "type": "ext4",
        "label": "root",
        "uuid": identity.file_systems["rootfs"],
        "version": "1.0",
    }
    assert (root["name"], root["type_name"], root["mount_point"]) == ("rootfs", "linux-root-amd64", "/")
    (entry,) = facts["boot_entries"]
    assert entry == {
        "type": "loader",
        "path": f"/loader/entries/debian-{KERNEL}.conf",
        "partition": 1,
        "title": "Debian GNU/Linux 12 (bookworm)",
        "version": KERNEL,
        "linux": f"/debian/{KERNEL}/linux",
        "initrd": [f"/debian/{KERNEL}/initrd.img-{KERNEL}"],
        "cmdline": loader_image.boot.cmdline,
    }
    assert [program["path"] for program in facts["efi_programs"]] == [
        "/EFI/BOOT/BOOTX64.EFI",
        "/EFI/systemd/systemd-bootx64.efi",
    ]
    program = facts["efi_programs"][0]
    data = loader_image.read_esp("EFI/BOOT/BOOTX64.EFI")
    assert (program["sha256"], program["size"]) == (hashlib.sha256(data).hexdigest(), len(data))
    assert (program["kind"], program["signatures"]) == ("program", [])
    assert facts["os_release"] == {"ID": "debian", "PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)"}
    assert facts["packages"] == [
        {"name": "adduser", "version": "3.134", "arch": "all"},
        {"name": "bash", "version": "5.2.15-2+b7", "arch": "amd64"},
    ]
    (sbom,) = facts["sboms"]
    assert (sbom["path"], sbom["format"], sbom["packages"]) == ("/usr/share/sbom/image-1.0.spdx.json", "spdx", 1)
    assert (facts["verity"], facts["iso"], facts["notes"]) == (None, None, [])
    json.dumps(facts)


def test_other_formats_tell_the_same(loader_image: Composed, tmp_path: pathlib.Path, temp_dir: str) -> None:
    raw = _facts(loader_image.image, temp_dir)
    del raw["image"]
    path = tmp_path / "image.qcow2"
    convert(
        loader_image.image, str(path), "qcow2", runner=CommandRunner(), build_digest="ab" * 32, epoch=0, compact=True
    )
    other = _facts(path, temp_dir)
    assert other.pop("image")["format"] == "qcow2"
    assert other == raw


def test_what_both_kinds_of_firmware_start(tmp_path: pathlib.Path, temp_dir: str) -> None:
    esp = {**{key: value for key, value in ESP.items() if key not in ("start", "end")}, "size": "40MiB"}
    root = {**{key: value for key, value in ROOT.items() if key not in ("start", "end")}, "size": "40MiB"}
    disk = {"size": "96MiB", "partitions": [{"id": "bios", "type": "bios", "size": "1MiB"}, esp, root]}
    tree = make_tree(tmp_path / "tree")
    image = compose(tree, tmp_path / "out", disk, boot_type="hybrid", provider="systemd-boot").image
    facts = _facts(image, temp_dir)
    assert facts["firmware"] == ["bios", "uefi"]
    assert {entry["type"] for entry in facts["boot_entries"]} == {"grub", "loader"}


def test_a_unified_kernel_image(uki_image: Composed, temp_dir: str) -> None:
    facts = _facts(uki_image.image, temp_dir)
    (uki,) = [program for program in facts["efi_programs"] if program["kind"] == "uki"]
    assert uki["path"] == f"/EFI/Linux/debian-{KERNEL}.efi"
    assert {".linux", ".initrd", ".cmdline", ".osrel", ".uname"} <= set(uki["sections"])
    assert (uki["cmdline"], uki["kernel_version"]) == (uki_image.boot.cmdline, KERNEL)
    assert uki["os_release"]["ID"] == "debian"
    (entry,) = facts["boot_entries"]
    assert (entry["type"], entry["version"], entry["cmdline"]) == ("uki", KERNEL, uki_image.boot.cmdline)


def test_who_signed_is_told(uki_image: Composed, tmp_path: pathlib.Path, temp_dir: str) -> None:
    image, key, certificate = (tmp_path / name for name in ("image", "key", "certificate"))
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/O=Example/CN=Test db"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    subprocess.run(["cp", "--sparse=always", uki_image.image, image], check=True)
    assert uki_image.layout.esp is not None
    address = f"{image}@@{uki_image.layout.esp.offset}"
    (tmp_path / "unsigned").write_bytes(uki_image.read_esp("EFI/BOOT/BOOTX64.EFI"))
    command = ["sbsign", "--key", key, "--cert", certificate, "--output", tmp_path / "signed", tmp_path / "unsigned"]
    subprocess.run(command, check=True, capture_output=True)
    subprocess.run(["mcopy", "-o", "-i", address, tmp_path / "signed", "::EFI/BOOT/BOOTX64.EFI"], check=True)
    (tmp_path / "damaged").write_bytes(b"MZ" + bytes(100))
    subprocess.run(["mcopy", "-i", address, tmp_path / "damaged", "::EFI/damaged.efi"], check=True)
    programs = {program["path"]: program for program in _facts(image, temp_dir)["efi_programs"]}
    (signature,) = programs["/EFI/BOOT/BOOTX64.EFI"]["signatures"]
    assert "Test db" in signature["subject"]
    assert signature["issuer"] == signature["subject"]
    assert programs["/EFI/systemd/systemd-bootx64.efi"]["signatures"] == []
    assert (programs["/EFI/damaged.efi"]["sections"], programs["/EFI/damaged.efi"]["signatures"]) == ([], [])


def test_grub(tree: pathlib.Path, tmp_path: pathlib.Path, temp_dir: str) -> None:
    own = tmp_path / "tree"
    subprocess.run(["cp", "-a", tree, own], check=True)
    (own / "usr/lib/grub/x86_64-efi").unlink()
    (own / "usr/lib/grub/x86_64-efi").symlink_to("../grub-modules")
    shutil.copytree("/usr/lib/grub/x86_64-efi", own / "usr/lib/grub-modules")
    image = compose(own, tmp_path / "disk", provider="grub")
    (entry,) = _facts(image.image, temp_dir)["boot_entries"]
    assert (entry["type"], entry["path"], entry["partition"]) == ("grub", "/boot/grub/grub.cfg", 2)
    assert (entry["linux"], entry["cmdline"]) == (f"/boot/vmlinuz-{KERNEL}", image.boot.cmdline)


def test_files_are_found_on_the_partition_that_has_them(
    tree: pathlib.Path, tmp_path: pathlib.Path, temp_dir: str
) -> None:
    var = {**ROOT, "id": "var", "type": "linux-var", "fsLabel": "var", "start": "81MiB", "end": "110MiB"}
    disk = {"size": "128MiB", "partitions": [ESP, ROOT, {**var, "mountPoint": "/var"}]}
    facts = _facts(compose(tree, tmp_path / "disk", disk).image, temp_dir)
    assert [partition["mount_point"] for partition in facts["partitions"]] == ["/boot/efi", "/", "/var"]
    assert facts["package_count"] == 2


def _empty(path: pathlib.Path, size: int) -> pathlib.Path:
    with open(path, "wb") as stream:
        stream.truncate(size)
    return path


def test_an_mbr_and_what_cannot_be_read(tmp_path: pathlib.Path, temp_dir: str) -> None:
    image, file_system = _empty(tmp_path / "disk", 400 << 20), _empty(tmp_path / "xfs", 320 << 20)
    script = "label: dos\nlabel-id: 0x12345678\nstart=2048, size=655360, type=83, bootable\nsize=2048, type=82\n"
    subprocess.run(["sfdisk", "-q", image], input=script.encode(), check=True)
    subprocess.run(["mkfs.xfs", "-q", "-L", "a b", file_system], check=True)
    command = ["dd", f"if={file_system}", f"of={image}", "bs=1M", "seek=1", "conv=notrunc,sparse", "status=none"]
    subprocess.run(command, check=True)
    facts = _facts(image, temp_dir)
    assert (facts["partition_table"]["type"], facts["partition_table"]["id"]) == ("mbr", "0x12345678")
    first, second = facts["partitions"]
    assert (first["type"], first["flags"], first["file_system"]["type"]) == ("83", ["boot"], "xfs")
    assert first["file_system"]["label"] == "a b"
    assert (second["type"], second["file_system"]) == ("82", None)
    assert facts["notes"] == [
        "The file system xfs on partition 1 cannot be read without mounting it. What is in it is unknown."
    ]
    assert facts["os_release"] == {}


def test_a_file_system_without_a_table(tree: pathlib.Path, tmp_path: pathlib.Path, temp_dir: str) -> None:
    image = tmp_path / "root.squashfs"
    subprocess.run(["mksquashfs", tree, image, "-quiet", "-no-progress"], check=True, stdout=subprocess.DEVNULL)
    facts = _facts(image, temp_dir)
    assert facts["partition_table"] is None
    (volume,) = facts["partitions"]
    assert (volume["number"], volume["name"], volume["mount_point"]) == (None, "the whole image", "/")
    assert (facts["os_release"]["ID"], facts["package_count"]) == ("debian", 2)


def test_nothing_that_is_known(tmp_path: pathlib.Path, temp_dir: str) -> None:
    facts = _facts(_empty(tmp_path / "empty", 1 << 20), temp_dir)
    assert (facts["partition_table"], facts["partitions"][0]["file_system"], facts["packages"]) == (None, None, [])


def test_something_that_is_no_image_is_told(tmp_path: pathlib.Path, temp_dir: str) -> None:
    (tmp_path / "text").write_text("not an image\n" * 1000)
    facts = _facts(tmp_path / "text", temp_dir)
    assert facts["notes"] == ["The image has neither a partition table nor a file system that is known."]


def test_a_partition_that_has_to_have_a_file_system(tmp_path: pathlib.Path, temp_dir: str) -> None:
    image = _empty(tmp_path / "disk", 8 << 20)
    script = b"label: gpt\nsize=2048, type=4f68bce3-e8cd-4db1-96e7-fbcaf984b709\n"
    subprocess.run(["sfdisk", "-q", image], input=script, check=True)
    assert _facts(image, temp_dir)["partitions"][0]["file_system"] is None
    with open(image, "r+b") as stream:
        stream.seek(1 << 20)
        stream.write(b"\xffsquashfs it was" * 100)
    with pytest.raises(
        CommandError, match=r"on partition 1 of .*/disk cannot be read: it is none that is known, although"
    ):
        _facts(image, temp_dir)


def test_a_partition_beyond_the_end_is_told(tmp_path: pathlib.Path, temp_dir: str) -> None:
    image = _empty(tmp_path / "disk", 8 << 20)
    script = b"label: dos\nstart=2048, size=12288, type=83\nstart=14336, size=2048, type=83\n"
    subprocess.run(["sfdisk", "-q", image], input=script, check=True)
    os.truncate(image, 4 << 20)
    facts = _facts(image, temp_dir)
    assert facts["notes"] == [
        f"Partition {number} ends behind the end of the image, which is cut off or damaged." for number in (1, 2)
    ]
    assert [partition["size"] for partition in facts["partitions"]] == [6 << 20, 1 << 20]


def test_a_fat_without_a_table(tmp_path: pathlib.Path, temp_dir: str) -> None:
    """Its boot sector looks like an empty table."""
    image = _empty(tmp_path / "fat", 1 << 20)
    subprocess.run(["mkfs.vfat", image], check=True, stdout=subprocess.DEVNULL)
    assert _facts(image, temp_dir)["partitions"][0]["file_system"]["type"] == "vfat"


def test_a_live_iso(tree: pathlib.Path, tmp_path: pathlib.Path, temp_dir: str) -> None:
    content, esp = tmp_path / "content", _empty(tmp_path / "esp", 4 << 20)
    (content / "live").mkdir(parents=True)
    command = ["mksquashfs", tree, content / "live/filesystem.squashfs", "-quiet", "-no-progress"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (content / "boot/grub").mkdir(parents=True)
    (content / "boot/grub/grub.cfg").write_text(
        'set timeout=5\nmenuentry "Live" {\n  linux /live/vmlinuz boot=live quiet\n  initrd /live/initrd\n}\n'
    )
    subprocess.run(["mkfs.vfat", "-n", "EFI", esp], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["mmd", "-i", esp, "::EFI", "::EFI/BOOT"], check=True)
    loader = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi"
    subprocess.run(["mcopy", "-i", esp, loader, "::EFI/BOOT/BOOTX64.EFI"], check=True)
    image = tmp_path / "live.iso"
    command = ["xorriso", "-as", "mkisofs", "-quiet", "-R", "-V", "LIVE", "-o", image, "-appended_part_as_gpt"]
    command += ["-append_partition", "2", "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", esp]
    command += ["-e", "--interval:appended_partition_2:all::", "-no-emul-boot", content]
    subprocess.run(command, check=True, capture_output=True)
    facts = _facts(image, temp_dir)
    assert facts["image"]["format"] == "iso"
    assert facts["partitions"][0]["file_system"]["label"] == "LIVE"
    assert {file["path"] for file in facts["iso"]["files"]} >= {"/live/filesystem.squashfs", "/boot/grub/grub.cfg"}
    assert any("efi" in line for line in facts["iso"]["boot"])
    assert ("/EFI/BOOT/BOOTX64.EFI", 2) in {(item["path"], item["partition"]) for item in facts["efi_programs"]}
    (entry,) = facts["boot_entries"]
    assert (entry["title"], entry["cmdline"], entry["initrd"]) == ("Live", "boot=live quiet", ["/live/initrd"])
    # The operating system is in the squashfs in the ISO.
    assert (facts["os_release"]["ID"], facts["package_count"]) == ("debian", 2)
    assert facts["partitions"][-1]["name"] == "/live/filesystem.squashfs"


def test_verity(tmp_path: pathlib.Path, temp_dir: str) -> None:
    """The superblock as veritysetup writes it, field by field, and a command line that demands its root hash."""
    root_hash = "0b2c1d9f6e0f5a3b6d4c8e7f9a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d"
    image = _empty(tmp_path / "disk", 64 << 20)
    halves = [str(uuid.UUID(hex=half)) for half in (root_hash[:32], root_hash[32:])]
    script = "label: gpt\nsize=40960, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B\n"
    script += f"size=8192, uuid={halves[0]}\nsize=8192, uuid={halves[1]}\n"
    subprocess.run(["sfdisk", "-q", image], input=script.encode(), check=True)
    identifier = uuid.UUID("5fa2b7d2-1f5d-4ab5-9d28-5b0d21f0a7b1")
    superblock = b"verity\0\0" + struct.pack("<II", 1, 1) + identifier.bytes + b"sha256".ljust(32, b"\0")
    superblock += struct.pack("<IIQH", 4096, 4096, 1024, 4) + bytes(6) + b"\xab\xcd\xef\x01".ljust(256, b"\0")
    table = json.loads(subprocess.check_output(["sfdisk", "--json", image]))["partitiontable"]["partitions"]
    entry = tmp_path / "entry.conf"
    entry.write_text(f"title x\nlinux /l\noptions quiet roothash={root_hash.upper()}\n")
    with open(image, "r+b") as stream:
        stream.seek(table[2]["start"] * 512)
        stream.write(superblock)
    address = f"{image}@@{table[0]['start'] * 512}"
    subprocess.run(["mformat", "-i", address, "-T", "40960", "-h", "16", "-s", "63", "::"], check=True)
    subprocess.run(["mmd", "-i", address, "::loader", "::loader/entries"], check=True)
    subprocess.run(["mcopy", "-i", address, entry, "::loader/entries/x.conf"], check=True)
    assert _facts(image, temp_dir)["verity"] == {
        "superblocks": [
            {
                "partition": 3,
                "uuid": str(identifier),
                "hash_type": 1,
                "algorithm": "sha256",
                "data_block_size": 4096,
                "hash_block_size": 4096,
                "data_size": 4 << 20,
                "salt": "abcdef01",
            }
        ],
        "root_hashes": [
            {
                "target": "root",
                "root_hash": root_hash,
                "data_partition": 2,
                "hash_partition": 3,
                "found_by_uuid": True,
                "intact": False,
                "damage": "block 1 of the hashes",
            }
        ],
        "signatures": [],
    }


def test_a_damaged_table_is_told(loader_image: Composed, tmp_path: pathlib.Path, temp_dir: str) -> None:
    image = tmp_path / "disk"
    subprocess.run(["cp", "--sparse=always", loader_image.image, image], check=True)
    with open(image, "r+b") as stream:
        stream.seek(-512, os.SEEK_END)
        stream.write(bytes(512))
    (warning,) = _facts(image, temp_dir)["partition_table"]["warnings"]
    assert "backup GPT table is corrupt" in warning


def test_the_rest_of_a_table_is_told(loader_image: Composed, tmp_path: pathlib.Path, temp_dir: str) -> None:
    image = tmp_path / "disk"
    subprocess.run(["cp", "--sparse=always", loader_image.image, image], check=True)
    os.truncate(image, 1 << 20)
    (note,) = _facts(image, temp_dir)["notes"]
    assert note == "The protective MBR announces a GPT, but there is no valid one: the image is cut off or damaged."
    subprocess.run(["cp", "--sparse=always", loader_image.image, image], check=True)
    with open(image, "r+b") as stream:
        stream.write(bytes(34 * 512))
    facts = _facts(image, temp_dir)
    assert facts["partition_table"] is None
    assert "The image ends with the second copy of a GPT" in facts["notes"][0]


def test_a_damaged_logical_partition_is_told(tmp_path: pathlib.Path, temp_dir: str) -> None:
    """sfdisk says that on standard output, before its JSON."""
    image = _empty(tmp_path / "disk", 16 << 20)
    script = "label: dos\nlabel-id: 0x12345678\nstart=2048, size=2048\nstart=4096, type=f\nstart=6144, size=2048\n"
    subprocess.run(["sfdisk", "-q", image], input=script.encode(), check=True)
    with open(image, "r+b") as stream:
        stream.seek(4096 * 512 + 510)
        stream.write(bytes(2))
    table = _facts(image, temp_dir)["partition_table"]
    assert any("EBR" in warning for warning in table["warnings"])


def test_a_damaged_file_system_is_named(loader_image: Composed, tmp_path: pathlib.Path, temp_dir: str) -> None:
    image = tmp_path / "disk"
    root = loader_image.layout.partitions[1]
    subprocess.run(["cp", "--sparse=always", loader_image.image, image], check=True)
    with open(image, "r+b") as stream:
        # The group descriptors.
        stream.seek(root.offset + 4096)
        stream.write(b"\xff" * 4096)
    message = (
        rf"The file system on partition 2 of {image} cannot be read: debugfs (.|\n)* It is damaged; get or build the"
    )
    with pytest.raises(CommandError, match=message):
        _facts(image, temp_dir)


def test_rpm_packages(tmp_path: pathlib.Path, temp_dir: str) -> None:
    database = tmp_path / "database"
    database.mkdir()
    subprocess.run(["rpm", "--dbpath", database, "--initdb"], check=True)

    class Files:
        def read(self, path: str) -> bytes | None:
            directory, _slash, name = path.rpartition("/")
            file = database / name
            return file.read_bytes() if directory == "/var/lib/rpm" and file.exists() else None

    assert read_packages(Files(), temp_dir=temp_dir, runner=ParserSandbox()) == ([], None)
    for path in database.iterdir():
        path.write_bytes(b"no database")
    packages, note = read_packages(Files(), temp_dir=temp_dir, runner=ParserSandbox())
    assert packages == []
    assert note is not None
    assert "the RPM database cannot be read" in note


@pytest.mark.parametrize("command", ["linux /k", "initrd ", "menuentry "])
def test_a_line_of_grub_without_an_end(command: str) -> None:
    """It is read in linear time."""
    start = time.process_time()
    grub_entries(f"menuentry 'x' {{\n{command}{' ' * 200_000}x\n{command}{' x' * 100_000} \n", "/p", 1)
    assert time.process_time() - start < 5


def test_entries_of_other_tools() -> None:
    entry = loader_entry("# comment\ntitle\tx\noptions a\noptions b\nefi /EFI/x.efi\n", "/p", None)
    assert (entry.cmdline, entry.linux, entry.title) == ("a b", "/EFI/x.efi", "x")
    entries = grub_entries("linuxefi /k root=x\ninitrdefi /a /b\nmenuentry 'It' --class x {\n", "/p", 1)
    assert [(item.title, item.linux, item.initrd) for item in entries] == [("", "/k", ("/a", "/b")), ("It", "", ())]
