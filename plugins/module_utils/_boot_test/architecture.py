# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The architecture of an image: its bootloader's name on the EFI system partition tells, or its kernel's header."""

from __future__ import annotations

import gzip
import json
import os
import struct
import tempfile
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._boot.esp import fallback_path
from ansible_collections.os_image.composer.plugins.module_utils._boot.fat_volume import FatVolume
from ansible_collections.os_image.composer.plugins.module_utils._boot_test.machine import HARDWARE
from ansible_collections.os_image.composer.plugins.module_utils._command import find_tool
from ansible_collections.os_image.composer.plugins.module_utils._errors import CommandError
from ansible_collections.os_image.composer.plugins.module_utils._image.sandbox import (
    ParserSandbox,
    hand_over,
    readable_file,
)
from ansible_collections.os_image.composer.plugins.module_utils._image.table import PartitionTable, read_table
from ansible_collections.os_image.composer.plugins.module_utils._partition_type import ESP, MBR_ESP

#: What boots by nothing that is known, as by a BIOS, is for this one.
DEFAULT_ARCHITECTURE = "x86_64"

_ESP_TYPES = (ESP, f"{MBR_ESP:x}")
_BLOCK = 1 << 20
# The field Machine of a PE header.
_PE_MACHINES: t.Mapping[int, str] = {0x8664: "x86_64", 0xAA64: "aarch64"}
_GZIP = b"\x1f\x8b"
_BEGINNING = 4096


def image_architecture(image: str, disk_format: str, *, temp_dir: str | None) -> str:
    """Return the architecture of the machine that a disk or an ISO is for.

    :param disk_format: QEMU's name of the image's format.
    :param temp_dir: Where the EFI system partition of an image that is not raw lies meanwhile.
    :raises CommandError: The image is damaged.
    """
    temp_dir = temp_dir or "/var/tmp"  # noqa: S108
    runner = ParserSandbox()
    with (
        readable_file(image, temp_dir=temp_dir) as file,
        tempfile.TemporaryDirectory(dir=temp_dir, prefix=".image-") as scratch,
    ):
        disk = _Disk(file, disk_format, scratch, runner)
        table = disk.table()
        for partition in table.partitions if table else ():
            if partition.type in _ESP_TYPES:
                path, start = disk.volume(partition.start, partition.size)
                volume = FatVolume(path, start, runner.reading(path))
                try:
                    names = {path.upper() for path in volume.files()}
                except CommandError:
                    # It is up to the firmware to say that nothing can be booted from it.
                    continue
                for arch in HARDWARE:
                    if fallback_path(arch).upper() in names:
                        return arch
    return DEFAULT_ARCHITECTURE


class _Disk:
    """An image of any format, of which only some parts are read."""

    def __init__(self, image: str, disk_format: str, scratch: str, runner: ParserSandbox) -> None:
        self._image = image
        self._format = disk_format
        self._scratch = scratch
        self._runner = runner

    def table(self) -> PartitionTable | None:
        """Return the partition table."""
        if self._format == "raw":
            return read_table(self._image, self._runner)
        command = [find_tool("qemu-img"), "info", "--output=json", "-f", self._format]
        size = json.loads(
            self._runner.reading(self._image).run([*command, self._image], what=f"Looking at {self._image}").text
        )
        path = self._copy("begin", 0, 1)
        # The second table of a GPT disk, at its end, is not needed.
        os.truncate(path, size["virtual-size"])
        return read_table(path, self._runner)

    def volume(self, start: int, size: int) -> t.Tuple[str, int]:
        """Return a file that has a part of the disk, and where in it."""
        if self._format == "raw":
            return self._image, start
        first, end = start // _BLOCK, -(-(start + size) // _BLOCK)
        return self._copy(f"from-{first}", first, end - first), start - first * _BLOCK

    def _copy(self, name: str, skip: int, count: int) -> str:
        path = os.path.join(self._scratch, name)
        command = [find_tool("qemu-img"), "dd", "-f", self._format, "-O", "raw"]
        # QEMU counts what it skips, too.
        blocks = [f"bs={_BLOCK}", f"skip={skip}", f"count={skip + count}"]
        with open(path, "xb") as stream:
            os.fchmod(stream.fileno(), 0o644)
            hand_over(stream.fileno())
        runner = self._runner.reading(self._image).writing(path, most=(skip + count) * _BLOCK, keep_free=True)
        runner.run([*command, *blocks, f"if={self._image}", f"of={path}"], what=f"Reading {self._image}")
        return path


def kernel_architecture(kernel: str) -> str:
    """Return the architecture that a kernel is for: with its EFI stub it is a program for firmware, too."""
    with open(kernel, "rb") as stream:
        begin = stream.read(_BEGINNING)
        if begin.startswith(_GZIP):
            stream.seek(0)
            with gzip.open(stream) as packed:
                begin = packed.read(_BEGINNING)
    if begin[:2] == b"MZ" and len(begin) == _BEGINNING:
        header = struct.unpack_from("<I", begin, 0x3C)[0]
        if begin[header : header + 4] == b"PE\0\0" and header + 6 <= _BEGINNING:
            return _PE_MACHINES.get(struct.unpack_from("<H", begin, header + 4)[0], DEFAULT_ARCHITECTURE)
    return DEFAULT_ARCHITECTURE


__all__ = ("DEFAULT_ARCHITECTURE", "image_architecture", "kernel_architecture")
