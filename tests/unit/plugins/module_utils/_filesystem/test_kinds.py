# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kinds of file systems: what each says of itself."""

from __future__ import annotations

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.kinds import FILE_SYSTEMS, file_system
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.usage import Usage


@pytest.mark.parametrize(
    ("kind", "options", "problem"),
    [
        ("ext4", ["-m5", "-E", "lazy_itable_init=0", "-O", "^has_journal"], None),
        ("ext4", ["-Eoffset=5"], "mkfsOptions must not set offset, hash_seed and root_owner by -E"),
        ("ext4", ["-J", "size=4,device=/dev/sda"], "must not set device by -J"),
        ("ext4", ["-O", "^meta_bg"], "must not set journal_dev, meta_bg and mmp by -O"),
        ("ext4", ["-m", "5", "/dev/sda"], "mkfsOptions has /dev/sda, but options for ext4 may be"),
        ("ext4", ["-m"], "mkfsOptions has -m without a value."),
        ("ext3", ["-O", "^has_journal"], "Without its journal ext3 would be ext2."),
        ("ext3", ["-O", "^resize_inode,sparse_super"], None),
        ("ext2", ["-O", "extent"], "ext2 has no feature extent: nothing could mount it as ext2."),
        ("ext2", ["-O", "^has_journal"], None),
        ("xfs", ["-m", "crc=1,uuid=x"], "must not set uuid by -m"),
        ("xfs", ["-dname=/dev/sda"], "must not set file and name by -d"),
        ("xfs", ["-l", "logdev=/dev/sda"], "must not set logdev by -l"),
        ("btrfs", ["/dev/sda"], "mkfsOptions has /dev/sda, but"),
        ("btrfs", ["--csum=xxhash", "-m", "single"], None),
        ("squashfs", ["-Xhc", "-b", "1M", "-no-xattrs"], None),
        ("squashfs", ["-b1M"], "mkfsOptions has -b1M, but"),
        ("squashfs", ["-no-xattrs", "/etc"], "mkfsOptions has /etc, but"),
        ("erofs", ["/etc"], "mkfsOptions has /etc, but"),
        ("erofs", ["-zlz4hc,9", "--max-extent-bytes=65536"], None),
        ("fat32", ["-a", "-s", "1"], None),
        ("fat32", ["-a", "/dev/sda"], "mkfsOptions has /dev/sda, but"),
        ("linux-swap", ["-f"], "mkfsOptions has -f, but options for linux-swap do not exist."),
    ],
)
def test_mkfs_options_are_options_with_their_values(kind: str, options: list[str], problem: str | None) -> None:
    found = file_system(kind).check_options(options)
    assert found is None if problem is None else problem in str(found)


@pytest.mark.parametrize("name", FILE_SYSTEMS)
def test_each_kind_says_what_others_ask(name: str) -> None:
    fs = file_system(name)
    assert fs.name == name
    assert fs.fstab_type == {"fat16": "vfat", "fat32": "vfat", "linux-swap": "swap"}.get(name, name)
    assert set(fs.shaping_tools) <= set(fs.tools)
    # What is not mounted has no use for the rest.
    assert bool(fs.kernel_modules) is fs.holds_files
    assert not (fs.own_mount_options and not fs.holds_files)
    assert not (fs.grows_online and fs.is_read_only)


@pytest.mark.parametrize(
    ("kind", "label", "problem"),
    [
        ("fat16", "EFI#1", "may only have letters, which are stored as capitals, digits, blanks, - and _."),
        ("fat32", "no name", "NO NAME is what FAT has in place of a label."),
        ("ext4", "r\u00f6\u00f6t", "may only have printable ASCII characters."),
        ("ext4", "seventeen letters", "is longer than the 16 bytes that ext4 can store."),
        ("linux-swap", "sixteen_letters_", "is longer than the 15 bytes that linux-swap can store."),
        ("erofs", "x", "A file system of the type erofs gets no label."),
        ("xfs", "the_root", None),
        ("vfat", "Esp 1", None),
    ],
)
def test_labels_are_those_that_can_be_stored(kind: str, label: str, problem: str | None) -> None:
    found = file_system(kind).check_label(label)
    assert found is None if problem is None else problem in str(found)


@pytest.mark.parametrize("kind", ["ext4", "ext3", "ext2", "xfs", "btrfs", "fat16", "fat32"])
@pytest.mark.parametrize("content", [Usage(1, 1), Usage(20_000, 170_000), Usage(2_000_000, 5_000_000)])
def test_the_size_for_a_content_is_enough_for_it(kind: str, content: Usage) -> None:
    fs = file_system(kind)
    size = fs.content_size(content)
    assert fs.required_size(size, content) <= size
    assert content.size + (8 << 20) <= size
    assert size % (1 << 20) == 0
