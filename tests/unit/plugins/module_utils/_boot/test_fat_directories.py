# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests for directories of FAT file systems that go around in a circle."""

from __future__ import annotations

import os
import pathlib
import random
import struct
import subprocess
import time

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._boot.fat_directories import refuse_circles
from ansible_collections.os_image.composer.plugins.module_utils._boot.fat_volume import FatVolume
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._errors import CommandError

_OFFSET = 4096
_SIZES = {12: 2 << 20, 16: 32 << 20, 32: 64 << 20}


class Volume:
    """A file system with C(/EFI/BOOT/INNER) and a file, of which anything can be changed."""

    def __init__(self, path: pathlib.Path, bits: int) -> None:
        path.write_bytes(b"")
        os.truncate(path, _SIZES[bits])
        options = ["-s", "1"] if bits == 32 else []
        subprocess.run(["mkfs.vfat", "-F", str(bits), *options, path], check=True, stdout=subprocess.DEVNULL)
        for command in (
            ["mmd", "::/EFI", "::/EFI/BOOT", "::/EFI/BOOT/INNER"],
            ["mcopy", __file__, "::/EFI/BOOT/X.EFI"],
        ):
            argv = [command[0], "-i", str(path), *command[1:]]
            subprocess.run(argv, check=True, env={**os.environ, "MTOOLS_SKIP_CHECK": "1"})
        self.bits = bits
        self.data = bytearray(path.read_bytes())
        size, per_cluster, reserved, copies, entries = struct.unpack_from("<HBHBH", self.data, 11)
        fat_size = struct.unpack_from("<H", self.data, 22)[0] or struct.unpack_from("<I", self.data, 36)[0]
        self.fat, self.cluster = reserved * size, size * per_cluster
        self.root = (reserved + copies * fat_size) * size
        self.area = self.root + entries * 32
        if bits == 32:
            self.root = self.place(struct.unpack_from("<I", self.data, 44)[0])
        self.efi = self.entry(self.root, b"EFI")
        self.boot = self.entry(self.place(self.first(self.efi)), b"BOOT")
        self.inner = self.entry(self.place(self.first(self.boot)), b"INNER")

    def place(self, number: int) -> int:
        return self.area + (number - 2) * self.cluster

    def entry(self, directory: int, name: bytes) -> int:
        return self.data.index(name.ljust(11), directory, directory + self.cluster)

    def first(self, entry: int) -> int:
        return int(struct.unpack_from("<H", self.data, entry + 26)[0])

    def lead(self, entry: int, number: int) -> None:
        struct.pack_into("<H", self.data, entry + 26, number)

    def chain(self, number: int, following: int) -> None:
        if self.bits == 32:
            struct.pack_into("<I", self.data, self.fat + 4 * number, following)
        elif self.bits == 16:
            struct.pack_into("<H", self.data, self.fat + 2 * number, following)
        else:
            place = self.fat + number * 3 // 2
            (value,) = struct.unpack_from("<H", self.data, place)
            value = value & 0xF | following << 4 if number & 1 else value & 0xF000 | following
            struct.pack_into("<H", self.data, place, value)

    def fill(self, number: int) -> None:
        """Let a cluster of a directory have no end."""
        for start in range(self.place(number), self.place(number) + self.cluster, 32):
            if not self.data[start]:
                self.data[start : start + 32] = b"F%-10d\x20" % start + bytes(20)

    def write(self, path: pathlib.Path) -> str:
        path.write_bytes(bytes(_OFFSET) + self.data)
        return str(path)


def _to_above(volume: Volume) -> None:
    volume.lead(volume.inner, volume.first(volume.efi))


def _to_itself(volume: Volume) -> None:
    volume.lead(volume.boot, volume.first(volume.efi))


def _to_the_root(volume: Volume) -> None:
    volume.lead(volume.inner, 0)


def _twice(volume: Volume) -> None:
    """Many names of one directory: no circle, but exponentially many paths when that is done at each level."""
    volume.data[volume.inner + 64 : volume.inner + 96] = volume.data[volume.inner : volume.inner + 32]
    volume.data[volume.inner + 64] = ord("J")


def _chain(volume: Volume) -> None:
    number = volume.first(volume.boot)
    volume.chain(number, number)
    volume.fill(number)


@pytest.mark.parametrize("bits", [12, 16, 32])
@pytest.mark.parametrize(
    ("damage", "where"),
    [
        (_to_above, "/EFI/BOOT/INNER"),
        (_to_itself, "/EFI/BOOT"),
        (_to_the_root, "/EFI/BOOT/INNER"),
        (_twice, "/EFI/BOOT/JNNER"),
        (_chain, "/EFI/BOOT"),
    ],
)
def test_directories_in_a_circle_are_damage(tmp_path: pathlib.Path, bits: int, damage: object, where: str) -> None:
    volume = Volume(tmp_path / "volume", bits)
    assert callable(damage)
    damage(volume)
    image = FatVolume(volume.write(tmp_path / "image"), _OFFSET, CommandRunner())
    message = f"The FAT file system is damaged: directories go around in a circle, or share clusters: {where}."
    started = time.monotonic()
    with pytest.raises(CommandError) as caught:
        image.files()
    assert str(caught.value) == message
    (tmp_path / "out").mkdir()
    with pytest.raises(CommandError) as caught:
        image.read_all(str(tmp_path / "out"))
    assert str(caught.value) == message
    assert time.monotonic() - started < 5
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("bits", [12, 16, 32])
def test_a_sound_file_system_is_read(tmp_path: pathlib.Path, bits: int) -> None:
    """Also directories of many clusters, and long names."""
    volume = Volume(tmp_path / "volume", bits)
    path = tmp_path / "volume"
    names = [f"a rather long name of a directory {number}" for number in range(200)]
    argv = ["mmd", "-i", str(path), *(f"::/EFI/BOOT/INNER/{name}" for name in names)]
    subprocess.run(argv, check=True, env={**os.environ, "MTOOLS_SKIP_CHECK": "1"})
    volume.data = bytearray(path.read_bytes())
    assert FatVolume(volume.write(tmp_path / "image"), _OFFSET, CommandRunner()).files() == ["EFI/BOOT/X.EFI"]


def test_any_bytes_are_looked_at_in_time(tmp_path: pathlib.Path) -> None:
    volume = Volume(tmp_path / "volume", 12)
    sound = bytes(volume.data)
    rng = random.Random(1)
    started = time.monotonic()
    for number in range(300):
        volume.data = bytearray(sound)
        for _change in range(rng.randrange(1, 8)):
            start = rng.choice((0, volume.fat, volume.root, volume.place(volume.first(volume.boot))))
            volume.data[start + rng.randrange(64)] = rng.randrange(256)
        path = volume.write(tmp_path / "image")
        try:
            refuse_circles(path, _OFFSET if number % 10 else rng.randrange(1 << 22))
        except CommandError as exc:
            assert "FAT file system" in str(exc)
    assert time.monotonic() - started < 30
