# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images compared: of one build, of two builds, and with changes."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import subprocess
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._artifact.formats import convert
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._image.comparison import (
    VOLATILE_FILES,
    Comparison,
    compare_images,
)
from ansible_collections.os_image.composer.plugins.module_utils._image.inspection import inspect_image
from ansible_collections.os_image.composer.tests.support.disk_tree import Composed, compose


def _compare(first: str, second: str, temp_dir: str, *, volatile_files: t.Sequence[str] = VOLATILE_FILES) -> Comparison:
    with inspect_image(first, temp_dir=temp_dir) as one, inspect_image(second, temp_dir=temp_dir) as other:
        return compare_images(one, other, volatile_files=volatile_files)


def _told(comparison: Comparison, subject: str, *, volatile: bool = False) -> t.Dict[str, t.Tuple[str, ...]]:
    return {
        item.where: (item.change, *item.aspects)
        for item in comparison.differences[subject]
        if item.volatile is volatile
    }


@pytest.fixture
def own_tree(tree: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """Return a copy of the tree, to be changed."""
    path = tmp_path / "tree"
    subprocess.run(["cp", "-a", tree, path], check=True)
    return path


def test_the_same_disk_in_another_format(uki_image: Composed, tmp_path: pathlib.Path, temp_dir: str) -> None:
    path = tmp_path / "image.vdi"
    convert(uki_image.image, str(path), "vdi", runner=CommandRunner(), build_digest="ab" * 32, epoch=0, compact=True)
    comparison = _compare(uki_image.image, str(path), temp_dir)
    assert comparison.verdict == "identical"
    assert comparison.in_words == "The images hold the same disk, byte for byte."
    assert set(comparison.as_facts()["counts"]) == {"image", "partitions", "files", "packages", "boot"}


@pytest.mark.parametrize("use_uki", [True, False])
def test_two_builds(
    tree: pathlib.Path,
    own_tree: pathlib.Path,
    uki_image: Composed,
    loader_image: Composed,
    tmp_path: pathlib.Path,
    temp_dir: str,
    use_uki: bool,
) -> None:
    # What another build has otherwise: identifiers, times, and the identity of the bill of materials.
    bill = own_tree / "usr/share/sbom/image-1.0.spdx.json"
    bill.write_text(bill.read_text().replace("example.org/1", "example.org/2"))
    (own_tree / "etc/machine-id").write_text("uninitialized\n")
    (own_tree / "var/log/lastlog").unlink()
    first = uki_image if use_uki else loader_image
    second = compose(own_tree, tmp_path / "disk", use_uki=use_uki, build_digest="77" * 32, epoch=1_700_001_000)
    comparison = _compare(first.image, second.image, temp_dir)
    assert [_told(comparison, subject) for subject in comparison.differences] == [{}, {}, {}, {}, {}]
    assert comparison.verdict == "equivalent"
    assert comparison.in_words.startswith("The images are the same but for volatile fields: image 1, partitions ")
    files = _told(comparison, "files", volatile=True)
    assert files["/etc/fstab"] == ("changed", "content")
    assert files["/usr/share/sbom/image-1.0.spdx.json"] == ("changed", "content")
    assert files["/etc/machine-id"] == ("added",)
    assert files["/var/log/lastlog"] == ("removed",)
    assert ("changed", "cmdline") in _told(comparison, "boot", volatile=True).values()
    # Nothing is volatile that nobody calls so.
    strict = _compare(first.image, second.image, temp_dir, volatile_files=[])
    assert strict.verdict == "different"
    assert _told(strict, "files") == {"/etc/machine-id": ("added",), "/var/log/lastlog": ("removed",)}


def test_changes_are_found_where_they_are(
    own_tree: pathlib.Path, loader_image: Composed, tmp_path: pathlib.Path, temp_dir: str
) -> None:
    (own_tree / "opt/tool/data").write_bytes(b"other")
    (own_tree / "usr/bin/ping").chmod(0o4755)
    os.chown(own_tree / "home", 0, 0)
    (own_tree / "etc/os-release").unlink()
    (own_tree / "etc/os-release").symlink_to("/usr/lib/os-release")
    (own_tree / "root/new").mkdir()
    status = own_tree / "var/lib/dpkg/status"
    status.write_text(
        status.read_text().replace("5.2.15-2+b7", "5.2.15-2+b8").replace("Package: adduser", "Package: passwd")
    )
    second = compose(own_tree, tmp_path / "disk", cmdline="console=ttyS0 quiet")
    comparison = _compare(loader_image.image, second.image, temp_dir)
    assert comparison.verdict == "different"
    assert _told(comparison, "files") == {
        "/boot/efi/loader/entries/debian-6.1.0-35-amd64.conf": ("changed", "content"),
        # Kernels that come later start with it.
        "/etc/kernel/cmdline": ("changed", "content"),
        "/etc/os-release": ("changed", "target"),
        "/home": ("changed", "owner"),
        "/opt/tool/data": ("changed", "content"),
        "/root/new": ("added",),
        "/usr/bin/ping": ("changed", "mode"),
        "/var/lib/dpkg/status": ("changed", "content"),
    }
    assert _told(comparison, "packages") == {
        "adduser:all": ("removed",),
        "bash:amd64": ("changed", "version"),
        "passwd:all": ("added",),
    }
    assert _told(comparison, "boot") == {"entry /loader/entries/debian-6.1.0-35-amd64.conf": ("changed", "cmdline")}
    assert comparison.in_words == "The images differ: files 8, packages 3, boot 1."
    facts = comparison.as_facts()
    assert facts["counts"]["packages"] == {"volatile": 0, "other": 3}
    (bash,) = [item for item in facts["differences"]["packages"] if item["where"] == "bash:amd64"]
    assert (bash["before"], bash["after"]) == ("5.2.15-2+b7", "5.2.15-2+b8")


def test_another_kernel_in_a_unified_kernel_image(
    own_tree: pathlib.Path, uki_image: Composed, tmp_path: pathlib.Path, temp_dir: str
) -> None:
    kernel = own_tree / "boot/vmlinuz-6.1.0-35-amd64"
    kernel.write_bytes(kernel.read_bytes().replace(b"kernel", b"KERNEL"))
    second = compose(own_tree, tmp_path / "disk", use_uki=True, build_digest="77" * 32)
    comparison = _compare(uki_image.image, second.image, temp_dir)
    assert _told(comparison, "boot") == {
        "EFI program /EFI/Linux/debian-6.1.0-35-amd64.efi on partition 1": ("changed", ".linux")
    }
    assert "/boot/efi/EFI/Linux/debian-6.1.0-35-amd64.efi" in _told(comparison, "files")


def test_another_layout(tree: pathlib.Path, loader_image: Composed, tmp_path: pathlib.Path, temp_dir: str) -> None:
    disk = {
        "size": "128MiB",
        "partitions": [
            {"id": "boot", "type": "esp", "fsType": "fat32", "start": "1MiB", "end": "41MiB", "mountPoint": "/efi"},
            {
                "id": "rootfs",
                "type": "linux-root-amd64",
                "fsType": "ext3",
                "fsLabel": "other",
                "start": "41MiB",
                "end": "90MiB",
                "mountPoint": "/",
            },
            {"id": "extra", "type": "linux", "start": "90MiB", "end": "100MiB"},
        ],
    }
    second = compose(tree, tmp_path / "disk", disk)
    comparison = _compare(loader_image.image, second.image, temp_dir)
    assert comparison.verdict == "different"
    assert _told(comparison, "image") == {"disk": ("changed", "size")}
    found = [(item.where, *item.aspects) for item in comparison.differences["partitions"] if not item.volatile]
    assert {
        ("partition 2", "size"),
        ("partition 2", "file system"),
        ("partition 2", "label"),
        ("partition 3",),
    } <= set(found)


def test_bytes_that_are_in_no_file(loader_image: Composed, tmp_path: pathlib.Path, temp_dir: str) -> None:
    def changed(offset: int) -> str:
        path = tmp_path / f"disk-{offset}"
        subprocess.run(["cp", "--sparse=always", loader_image.image, path], check=True)
        with open(path, "r+b") as stream:
            stream.seek(offset)
            stream.write(b"other")
        return str(path)

    boot_code = _compare(loader_image.image, changed(0), temp_dir)
    assert _told(boot_code, "boot") == {"boot code before the first partition": ("changed", "content")}
    # Behind the last partition.
    unused = _compare(loader_image.image, changed(85 << 20), temp_dir)
    assert unused.verdict == "equivalent"
    assert _told(unused, "image", volatile=True) == {"unused space": ("changed", "content")}
    # At the end of a file system, where no file is.
    free = _compare(loader_image.image, changed((80 << 20) - 4096), temp_dir)
    assert free.verdict == "equivalent"
    assert _told(free, "partitions", volatile=True) == {"partition 2": ("changed", "file system's own data")}


def test_the_volatile_files_are_those_of_the_documentation() -> None:
    root = pathlib.Path(__file__).parents[5]
    text = (root / "plugins/modules/image_compare.py").read_text()
    listed = text.partition("    default:\n")[2].partition("notes:\n")[0].split()
    assert tuple(item for item in listed if item != "-") == VOLATILE_FILES
    assert dataclasses.fields(Comparison)
