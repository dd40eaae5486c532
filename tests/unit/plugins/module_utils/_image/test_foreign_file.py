# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images that refer to other files: each form by a few bytes, refused by name before a program looks at it."""

from __future__ import annotations

import os
import pathlib
import struct
import subprocess
import time
import typing as t
import uuid

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._artifact.formats import convert
from ansible_collections.os_image.composer.plugins.module_utils._artifact_format import FORMATS
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._errors import ArtifactError
from ansible_collections.os_image.composer.plugins.module_utils._image.foreign_file import foreign_file
from ansible_collections.os_image.composer.plugins.module_utils._image.sandbox import ParserSandbox
from ansible_collections.os_image.composer.plugins.module_utils._image.source import open_image


def qcow2(name: bytes) -> bytes:
    """A header of version 2 that has a backing file."""
    return (b"QFI\xfb" + struct.pack(">IQI", 2, 72, len(name))).ljust(72, b"\0") + name


def qcow2_with_data_file(name: bytes) -> bytes:
    """A header of version 3 whose data is elsewhere."""
    header = (b"QFI\xfb" + struct.pack(">IQI", 3, 0, 0)).ljust(72, b"\0") + struct.pack(">Q", 1 << 2)
    header = header.ljust(100, b"\0") + struct.pack(">I", 104)
    return header + struct.pack(">II", 0x44415441, len(name)) + name.ljust(-(-len(name) // 8) * 8, b"\0") + bytes(8)


def qed(name: bytes) -> bytes:
    return (
        b"QED\0"
        + struct.pack("<III", 65536, 4, 1)
        + struct.pack("<QQQQQ", 1, 0, 0, 0, 1 << 20)
        + struct.pack("<II", 64, len(name))
        + name
    )


def description(extents: str, parent: str = "ffffffff") -> bytes:
    return f"# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID={parent}\n{extents}\n".encode()


def vmdk(extents: str, *, capacity: int = 2048, parent: str = "ffffffff") -> bytes:
    """A sparse extent with its description in the second sector."""
    header = b"KDMV" + struct.pack("<IIQQQQIQQQ", 1, 3, capacity, 128, 1, 2, 512, 0, 0, 128)
    return header.ljust(512, b"\0") + description(extents, parent).ljust(1024, b"\0")


def vhd(name: str) -> bytes:
    """A differencing disk: footer, dynamic header, and nothing else."""
    footer = (b"conectix" + struct.pack(">IIQ", 2, 0x10000, 512)).ljust(60, b"\0") + struct.pack(">I", 4)
    return footer.ljust(512, b"\0") + b"cxsparse".ljust(64, b"\0") + name.encode("utf-16-be").ljust(960, b"\0")


def vhdx(name: str) -> bytes:
    """A region table, a metadata table and a parent locator in it."""
    region = b"regi" + struct.pack("<III", 0, 1, 0)
    region += uuid.UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e").bytes_le + struct.pack("<QII", 1 << 20, 1 << 20, 1)
    table = b"metadata" + struct.pack("<HH", 0, 1) + bytes(20)
    key, value = "relative_path".encode("utf-16-le"), name.encode("utf-16-le")
    locator = bytes(16) + struct.pack("<HH", 0, 1) + struct.pack("<IIHH", 32, 32 + len(key), len(key), len(value))
    locator += key + value
    table += uuid.UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c").bytes_le + struct.pack("<III", 65536, len(locator), 0)
    image = b"vhdxfile".ljust(192 << 10, b"\0") + region
    return image.ljust(1 << 20, b"\0") + table.ljust(65536, b"\0") + locator


FOREIGN: t.Mapping[str, t.Tuple[bytes, str]] = {
    "qcow2, a file": (qcow2(b"/etc/shadow"), "/etc/shadow"),
    "qcow2, the network": (qcow2(b"nbd://192.0.2.1/x"), "nbd://192.0.2.1/x"),
    "qcow2, json": (qcow2(b'json:{"driver":"host_device"}'), 'json:{"driver":"host_device"}'),
    "qcow2, data": (qcow2_with_data_file(b"/dev/sda"), "/dev/sda"),
    "qed": (qed(b"/etc/shadow"), "/etc/shadow"),
    "vmdk, a flat extent": (description('RW 2048 FLAT "/dev/sda" 0'), "/dev/sda"),
    "vmdk, a sparse extent": (description('RW 2048 SPARSE "other.vmdk"'), "other.vmdk"),
    "vmdk, a comment first": (b"#\n" + description('RW 2048 FLAT "x" 0'), "x"),
    "vmdk, no capacity": (vmdk('RW 2048 FLAT "/dev/sda" 0', capacity=0), "/dev/sda"),
    "vmdk, a path": (vmdk('RW 2048 SPARSE "../other.vmdk"'), "../other.vmdk"),
    "vmdk, a protocol": (vmdk('RW 2048 SPARSE "nbd:192.0.2.1:1"'), "nbd:192.0.2.1:1"),
    "vmdk, two extents": (vmdk('RW 1 SPARSE "a.vmdk"\nRW 1 SPARSE "b.vmdk"'), "b.vmdk"),
    "vmdk, a device": (vmdk('RW 2048 VMFSRAW "disk"'), "disk"),
    "vmdk, a parent": (vmdk('parentFileNameHint="base.vmdk"', parent="12345678"), "base.vmdk"),
    "vhd": (vhd("base.vhd"), "base.vhd"),
    "vhdx": (vhdx("..\\base.vhdx"), "..\\base.vhdx"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_refers_to_another_file_is_refused_by_name(
    tmp_path: pathlib.Path, temp_dir: str, sandbox: ParserSandbox, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def start(*_arguments: t.Any, **_options: t.Any) -> t.NoReturn:
        raise AssertionError("a program has been started")

    monkeypatch.setattr(CommandRunner, "start", start)
    content, other = FOREIGN[name]
    path = tmp_path / "image"
    path.write_bytes(content)
    with pytest.raises(ArtifactError) as caught, open_image(str(path), temp_dir=temp_dir, runner=sandbox):
        pass
    assert f"The image {path} is not whole: it refers to the file {other}. Make one file of it" in str(caught.value)


@pytest.mark.parametrize("name", FOREIGN)
def test_a_header_that_is_cut_off_raises_nothing(tmp_path: pathlib.Path, name: str) -> None:
    content = FOREIGN[name][0]
    path = tmp_path / "image"
    for size in (0, 4, 20, 71, 100, 104, 500, 513, (192 << 10) + 20, len(content) - 1):
        path.write_bytes(content[:size])
        found = foreign_file(str(path))
        assert found is None or isinstance(found, str)


def test_a_pipe_as_an_extent_is_not_waited_for(tmp_path: pathlib.Path, temp_dir: str, sandbox: ParserSandbox) -> None:
    os.mkfifo(tmp_path / "pipe")
    path = tmp_path / "image.vmdk"
    path.write_bytes(description(f'RW 2048 FLAT "{tmp_path}/pipe" 0'))
    begin = time.monotonic()
    with (
        pytest.raises(ArtifactError, match=r"refers to the file .*/pipe\."),
        open_image(str(path), temp_dir=temp_dir, runner=sandbox),
    ):
        pass
    assert time.monotonic() - begin < 5


def test_nothing_of_the_host_is_there_even_if_it_were_not_noticed(
    tmp_path: pathlib.Path, sandbox: ParserSandbox
) -> None:
    secret, path = tmp_path / "secret", tmp_path / "image.qcow2"
    secret.write_bytes(bytes(1 << 20))
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", path], check=True)
    done = sandbox.reading(str(path)).run(["/usr/bin/qemu-img", "check", str(path)], check=False, merge_output=True)
    assert f"Could not open backing file: Could not open '{secret}': No such file or directory" in done.text


@pytest.mark.parametrize(
    ("name", "variant"),
    [(name, variant) for name in FORMATS for variant in FORMATS[name].subformats or (None,)],
)
def test_what_the_composer_makes_is_whole(
    sparse_image: pathlib.Path, tmp_path: pathlib.Path, runner: CommandRunner, name: str, variant: str | None
) -> None:
    path = str(tmp_path / "image")
    digest = "ab" * 32
    convert(str(sparse_image), path, name, runner=runner, build_digest=digest, epoch=0, compact=True, subformat=variant)
    assert foreign_file(path) is None


@pytest.mark.parametrize(
    "content",
    [
        description("").ljust(1 << 20, b"\n"),
        b"# Disk DescriptorFile\nparentCID" + b"\n" * (1 << 20),
        b"# Disk DescriptorFile\nRW" + b"\n" * (1 << 20),
        b"# Disk DescriptorFile\n" + b"\t" * (1 << 20),
        b"# Disk DescriptorFile\n" + b"parentFileNameHint\n" * 50_000,
        # Extensions of a header that have nothing in them.
        qcow2_with_data_file(b"")[:104] + b"\0\0\0\1\0\0\0\0" * (4 << 20),
    ],
    ids=["blank lines", "no parent", "no extent", "blanks", "no names", "extensions"],
)
def test_much_of_nothing_is_read_at_once(content: bytes, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(content)
    start = time.process_time()
    foreign_file(str(path))
    assert time.process_time() - start < 5
