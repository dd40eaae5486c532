# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Converted images, judged by qemu-img."""

from __future__ import annotations

import json
import pathlib
import subprocess
import threading
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._artifact.formats import NORMALISERS, convert
from ansible_collections.os_image.composer.plugins.module_utils._artifact_format import FORMATS
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._errors import CancelledError, CommandError
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_file

CONVERTED = [(name, variant) for name in FORMATS if name != "raw" for variant in FORMATS[name].subformats or (None,)]
DIGEST = "ab" * 32


def _convert(image: pathlib.Path, destination: pathlib.Path, name: str, **kwargs: t.Any) -> None:
    options: dict[str, t.Any] = {
        "runner": CommandRunner(),
        "build_digest": DIGEST,
        "epoch": 1700000000,
        "compact": True,
        **kwargs,
    }
    convert(str(image), str(destination), name, **options)


@pytest.mark.parametrize(("name", "subformat"), CONVERTED)
def test_same_disk_and_same_bytes(
    tmp_path: pathlib.Path, sparse_image: pathlib.Path, name: str, subformat: str | None
) -> None:
    driver = FORMATS[name].driver
    paths = []
    for run in ("first", "second"):
        (tmp_path / run).mkdir()
        path = tmp_path / run / f"image.{FORMATS[name].extension}"
        _convert(sparse_image, path, name, subformat=subformat)
        paths.append(path)
    info = json.loads(subprocess.check_output(["qemu-img", "info", "-f", driver, "--output=json", str(paths[0])]))
    assert info["virtual-size"] == sparse_image.stat().st_size
    subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", driver, str(sparse_image), str(paths[0])], check=True)
    if name == "vmdk":
        assert info["format-specific"]["data"]["create-type"] == subformat
    if name != "vhd":
        subprocess.run(["qemu-img", "check", "-q", "-f", driver, str(paths[0])], check=True)
    assert sha256_file(str(paths[0])) == sha256_file(str(paths[1]))
    other = tmp_path / "first" / f"other.{FORMATS[name].extension}"
    if name != "qcow2":
        _convert(sparse_image, other, name, subformat=subformat, build_digest="cd" * 32)
        assert sha256_file(str(other)) != sha256_file(str(paths[0]))


def test_the_default_variant(tmp_path: pathlib.Path, sparse_image: pathlib.Path) -> None:
    for name, subformat in (("vhd", "dynamic"), ("vmdk", "monolithicSparse")):
        (tmp_path / name).mkdir()
        _convert(sparse_image, tmp_path / f"image.{name}", name)
        _convert(sparse_image, tmp_path / name / f"image.{name}", name, subformat=subformat)
        assert (tmp_path / f"image.{name}").read_bytes() == (tmp_path / name / f"image.{name}").read_bytes()


def test_what_is_left_behind_the_descriptor_of_vmdk_is_removed(
    tmp_path: pathlib.Path, sparse_image: pathlib.Path
) -> None:
    _convert(sparse_image, tmp_path / "image.vmdk", "vmdk")
    data = bytearray((tmp_path / "image.vmdk").read_bytes())
    end = data.index(b"\0", 512)
    # An identifier of fewer digits makes the second descriptor shorter than the first.
    data[end + 1 : end + 2] = b"\n"
    (tmp_path / "left").write_bytes(data)
    with open(tmp_path / "left", "r+b") as stream:
        NORMALISERS["vmdk"](stream, DIGEST, 1700000000)
    assert (tmp_path / "left").read_bytes() == (tmp_path / "image.vmdk").read_bytes()


def test_variants_differ_in_what_they_are_for(tmp_path: pathlib.Path, sparse_image: pathlib.Path) -> None:
    _convert(sparse_image, tmp_path / "sparse.vmdk", "vmdk", subformat="monolithicSparse")
    _convert(sparse_image, tmp_path / "stream.vmdk", "vmdk", subformat="streamOptimized")
    assert (tmp_path / "stream.vmdk").stat().st_size < (tmp_path / "sparse.vmdk").stat().st_size
    # A fixed VHD is the disk with a footer behind it, which is how it is read without knowing the format.
    _convert(sparse_image, tmp_path / "fixed.vhd", "vhd", subformat="fixed")
    data = (tmp_path / "fixed.vhd").read_bytes()
    assert data[:-512] == sparse_image.read_bytes()
    assert data[-512:-504] == b"conectix"


def test_qcow2_is_compressed_with_zstd(tmp_path: pathlib.Path, sparse_image: pathlib.Path) -> None:
    _convert(sparse_image, tmp_path / "image.qcow2", "qcow2")
    info = json.loads(subprocess.check_output(["qemu-img", "info", "--output=json", str(tmp_path / "image.qcow2")]))
    assert info["format-specific"]["data"]["compression-type"] == "zstd"
    assert (tmp_path / "image.qcow2").stat().st_size < sparse_image.stat().st_blocks * 512 * 0.8


def test_the_message_of_qemu_img_is_told(tmp_path: pathlib.Path) -> None:
    with pytest.raises(CommandError, match=r"(?s)Converting .*missing to vdi failed: .*No such file"):
        _convert(tmp_path / "missing", tmp_path / "image.vdi", "vdi")


def test_stopped(tmp_path: pathlib.Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(CancelledError):
        _convert(tmp_path / "image", tmp_path / "image.qcow2", "qcow2", stop=stop, runner=_Sleeper())


class _Sleeper(CommandRunner):
    """Starts a program that takes long, whatever is asked for."""

    def start(self, argv: t.Sequence[str], **kwargs: t.Any) -> subprocess.Popen[bytes]:
        return super().start(["sleep", "60"], **kwargs)
