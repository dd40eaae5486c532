# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Independent programs that judge disks and file systems, called so that they cannot lie.

Several of them end with status 0 whatever they find: their words, or the checksums themselves, are looked at as well.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import struct
import subprocess
import typing as t
import zlib

_SECTOR = 512


def judge(*argv: str) -> str:
    """Run a program that has to end with status 0, and return what it says.

    :raises AssertionError: It ended with another status.
    """
    done = subprocess.run(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False
    )
    assert done.returncode == 0, f"{' '.join(argv)} ended with status {done.returncode}:\n{done.stdout}"
    return done.stdout


def gpt_checksums(image: str) -> list[tuple[int, int, int, int]]:
    """Return claimed and computed CRC32 of both GPT headers and their tables: the validators do not look at them."""
    found = []
    with open(image, "rb") as stream:
        last = stream.seek(0, os.SEEK_END) - _SECTOR
        for position in (_SECTOR, last):
            stream.seek(position)
            header = bytearray(stream.read(92))
            claimed = struct.unpack_from("<I", header, 16)[0]
            struct.pack_into("<I", header, 16, 0)
            entries, count, size, table = struct.unpack_from("<QIII", header, 72)
            stream.seek(entries * _SECTOR)
            found.append((claimed, zlib.crc32(header), table, zlib.crc32(stream.read(count * size))))
    return found


def partition_table(image: str) -> dict[str, t.Any]:
    """Verify a partition table and return it as sfdisk reads it."""
    said = judge("sfdisk", "--verify", image)
    assert "No errors detected." in said, said
    table = t.cast("dict[str, t.Any]", json.loads(judge("sfdisk", "--json", image))["partitiontable"])
    if table["label"] == "gpt":
        said = judge("sgdisk", "--verify", image)
        assert "No problems found." in said and "Warning" not in said, said
        for claimed, header, entries, computed in gpt_checksums(image):
            assert (claimed, entries) == (header, computed)
    return table


def extract(image: str, entry: t.Mapping[str, t.Any], target: pathlib.Path) -> pathlib.Path:
    """Copy a partition, as sfdisk lists it, out of an image."""
    size = entry["size"] * _SECTOR
    judge(
        *("dd", f"if={image}", f"of={target}", "bs=1M", "conv=sparse", "iflag=skip_bytes,count_bytes", "status=none"),
        *(f"skip={entry['start'] * _SECTOR}", f"count={size}"),
    )
    os.truncate(target, size)
    return target


def check_file_system(kind: str, volume: pathlib.Path) -> None:
    """Let the program of a file system look at it.

    :param kind: As blkid names it.
    """
    commands: t.Mapping[str, tuple[str, ...]] = {
        "ext2": ("e2fsck", "-f", "-n"),
        "ext3": ("e2fsck", "-f", "-n"),
        "ext4": ("e2fsck", "-f", "-n"),
        "vfat": ("fsck.fat", "-n"),
        "xfs": ("xfs_repair", "-n", "-f"),
        "btrfs": ("btrfs", "check", "--readonly", "--check-data-csum"),
        "swap": ("swaplabel",),
    }
    if kind in commands:
        judge(*commands[kind], str(volume))
    elif kind == "squashfs":
        # The superblock alone tells nothing: everything is unpacked.
        judge("unsquashfs", "-quiet", "-no-progress", "-force", "-dest", f"{volume}.files", str(volume))
    elif kind == "erofs":
        judge("fsck.erofs", f"--extract={volume}.files", str(volume))
    else:
        raise AssertionError(f"nobody judges {kind}")


def check_image(image: str, directory: pathlib.Path) -> list[str]:
    """Check the partition table and every file system of a disk.

    :param directory: For copies of the partitions.
    :returns: The kinds of the file systems, as blkid names them; empty words for what has none.
    """
    kinds = []
    for number, entry in enumerate(partition_table(image)["partitions"]):
        if entry["type"] in ("f", "5"):
            continue
        volume = extract(image, entry, directory / f"partition-{number}")
        done = subprocess.run(
            ["blkid", "--probe", "--output", "value", "--match-tag", "TYPE", str(volume)],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        kind = done.stdout.strip()
        if kind:
            check_file_system(kind, volume)
        kinds.append(kind)
        shutil.rmtree(f"{volume}.files", ignore_errors=True)
        volume.unlink()
    return kinds


def probe(volume: pathlib.Path) -> dict[str, str]:
    """Return what blkid finds in a partition's copy: C(TYPE), C(UUID), C(LABEL)."""
    said = judge("blkid", "--probe", "--output", "export", str(volume))
    return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)


__all__ = ("check_file_system", "check_image", "extract", "gpt_checksums", "judge", "partition_table", "probe")
