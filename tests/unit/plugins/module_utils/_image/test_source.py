# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Image files of all formats."""

from __future__ import annotations

import pathlib
import subprocess

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._artifact.compression import compress_file
from ansible_collections.os_image.composer.plugins.module_utils._artifact.formats import convert
from ansible_collections.os_image.composer.plugins.module_utils._artifact_format import FORMATS
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._errors import ArtifactError, CommandError
from ansible_collections.os_image.composer.plugins.module_utils._image.sandbox import ParserSandbox
from ansible_collections.os_image.composer.plugins.module_utils._image.source import open_image

VARIANTS = [(name, variant) for name in FORMATS if name != "raw" for variant in FORMATS[name].subformats or (None,)]


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_formats(
    sparse_image: pathlib.Path,
    tmp_path: pathlib.Path,
    temp_dir: str,
    runner: CommandRunner,
    sandbox: ParserSandbox,
    name: str,
    variant: str | None,
) -> None:
    path = tmp_path / "image"
    convert(
        str(sparse_image),
        str(path),
        name,
        runner=runner,
        build_digest="ab" * 32,
        epoch=0,
        compact=True,
        subformat=variant,
    )
    with open_image(str(path), temp_dir=temp_dir, runner=sandbox) as source:
        if variant == "fixed":
            # A fixed VHD begins with the disk, and is not told from a raw image by its begin.
            assert source.format in ("vhd", "raw")
        else:
            assert source.format == name
            assert source.virtual_size == sparse_image.stat().st_size
        assert source.compression == ""
        assert pathlib.Path(source.raw).read_bytes()[: sparse_image.stat().st_size] == sparse_image.read_bytes()


@pytest.mark.parametrize("compression", ["gz", "xz", "zstd"])
def test_compressions(
    sparse_image: pathlib.Path, tmp_path: pathlib.Path, temp_dir: str, sandbox: ParserSandbox, compression: str
) -> None:
    path = tmp_path / "image"
    compress_file(str(sparse_image), str(path), compression, workers=2)
    with open_image(str(path), temp_dir=temp_dir, runner=sandbox) as source:
        facts = source.as_facts()
        assert (facts["format"], facts["compression"]) == ("raw", compression)
        assert facts["virtual_size"] == sparse_image.stat().st_size
        assert pathlib.Path(source.raw).read_bytes() == sparse_image.read_bytes()
        # Zeros cost nothing.
        assert pathlib.Path(source.raw).stat().st_blocks * 512 <= sparse_image.stat().st_blocks * 512 + (1 << 20)
    path.write_bytes(path.read_bytes()[:-200])
    with (
        pytest.raises(CommandError, match=r"The image .*/image cannot be unpacked: "),
        open_image(str(path), temp_dir=temp_dir, runner=sandbox),
    ):
        pass


def test_a_raw_image_is_read_where_it_is(sparse_image: pathlib.Path, temp_dir: str, sandbox: ParserSandbox) -> None:
    with open_image(str(sparse_image), temp_dir=temp_dir, runner=sandbox) as source:
        assert source.raw == str(sparse_image)


def test_an_image_that_refers_to_other_files_is_refused(
    tmp_path: pathlib.Path, temp_dir: str, sandbox: ParserSandbox
) -> None:
    path = tmp_path / "image.qcow2"
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(1 << 20))
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", path], check=True)
    with (
        pytest.raises(ArtifactError, match=r"is not whole: it refers to the file .*/secret\. Make one file of it"),
        open_image(str(path), temp_dir=temp_dir, runner=sandbox),
    ):
        pass
    flat = tmp_path / "flat.vmdk"
    subprocess.run(["qemu-img", "create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat", flat, "1M"], check=True)
    with (
        pytest.raises(ArtifactError, match=r"refers to the file flat-flat\.vmdk\."),
        open_image(str(flat), temp_dir=temp_dir, runner=sandbox),
    ):
        pass


def test_no_image(tmp_path: pathlib.Path, temp_dir: str, sandbox: ParserSandbox) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with (
            pytest.raises(ArtifactError, match=r"does not exist, or is not a file\. Correct the path\."),
            open_image(str(path), temp_dir=temp_dir, runner=sandbox),
        ):
            pass
