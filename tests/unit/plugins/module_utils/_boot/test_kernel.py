# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kernels: found, and chosen among."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._boot.kernel import (
    Kernel,
    default_kernel_first,
    find_kernels,
)
from ansible_collections.os_image.composer.plugins.module_utils._chroot.kernels import version_key
from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError


def put(tree: pathlib.Path, *paths: str) -> None:
    for path in paths:
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text("")


def test_versions_are_sorted_by_their_numbers() -> None:
    versions = ["6.1.0-9-amd64", "6.1.0-35-amd64", "6.12~rc1", "6.12", "5.10.0", "6.1.0", "6.1.0-35-cloud-amd64"]
    assert sorted(versions, key=version_key) == [
        "5.10.0",
        "6.1.0",
        "6.1.0-9-amd64",
        "6.1.0-35-amd64",
        "6.1.0-35-cloud-amd64",
        "6.12~rc1",
        "6.12",
    ]


def test_kernels_of_both_families_are_found(tmp_path: pathlib.Path) -> None:
    put(tmp_path, "boot/vmlinuz-6.1.0-9-amd64", "boot/initrd.img-6.1.0-9-amd64", "boot/vmlinuz-6.1.0-9-amd64.old")
    put(tmp_path, "usr/lib/modules/6.12.1-1.el10/vmlinuz", "boot/initramfs-6.12.1-1.el10.img")
    put(tmp_path, "usr/lib/modules/5.0.0-leftover/modules.dep")
    assert find_kernels(str(tmp_path)) == [
        Kernel("6.12.1-1.el10", "/usr/lib/modules/6.12.1-1.el10/vmlinuz", "/boot/initramfs-6.12.1-1.el10.img"),
        Kernel("6.1.0-9-amd64", "/boot/vmlinuz-6.1.0-9-amd64", "/boot/initrd.img-6.1.0-9-amd64"),
    ]


def test_what_is_no_kernel_is_left_out(tmp_path: pathlib.Path) -> None:
    put(tmp_path, "boot/vmlinuz-6.1.0-9-amd64", "boot/initrd.img-6.1.0-9-amd64", "boot/vmlinuz-")
    (tmp_path / "boot/vmlinuz-6.12").symlink_to("vmlinuz-gone")
    (tmp_path / "boot/vmlinuz-7").mkdir()
    assert [kernel.version for kernel in find_kernels(str(tmp_path))] == ["6.1.0-9-amd64"]


def test_a_tree_without_a_kernel_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(BootError, match=r"The root tree has no kernel: .* Add a kernel to kernel\.packages"):
        find_kernels(str(tmp_path))


def test_a_kernel_without_an_initrd_is_named(tmp_path: pathlib.Path) -> None:
    put(tmp_path, "boot/vmlinuz-6.1.0-9-amd64")
    with pytest.raises(
        BootError, match=r"The kernel 6\.1\.0-9-amd64 has no initrd: .*/boot/initrd\.img-6\.1\.0-9-amd64"
    ):
        find_kernels(str(tmp_path))


KERNELS = [Kernel(version, "", "") for version in ("6.12.3-amd64", "6.1.0-35-amd64", "6.1.0-9-amd64")]


@pytest.mark.parametrize(
    ("wanted", "first"),
    [
        ("", "6.12.3-amd64"),
        ("6.1", "6.1.0-35-amd64"),
        ("6.12", "6.12.3-amd64"),
        ("6.1.0-9", "6.1.0-9-amd64"),
        ("6.1.0-9-amd64", "6.1.0-9-amd64"),
    ],
)
def test_the_wanted_kernel_comes_first(wanted: str, first: str) -> None:
    chosen = default_kernel_first(KERNELS, wanted)
    assert chosen[0].version == first
    assert sorted(kernel.version for kernel in chosen) == sorted(kernel.version for kernel in KERNELS)


def test_a_kernel_that_is_not_there_is_named() -> None:
    with pytest.raises(
        BootError, match=r"asks for the kernel version '6\.2', but the image has 6\.12\.3-amd64, 6\.1\.0"
    ):
        default_kernel_first(KERNELS, "6.2")
