# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Image files of any format, seen as the disk that is in them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import tempfile
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._artifact_format import FORMATS, RAW
from ansible_collections.os_image.composer.plugins.module_utils._command import find_tool, killed_on_error
from ansible_collections.os_image.composer.plugins.module_utils._compression import COMPRESSIONS
from ansible_collections.os_image.composer.plugins.module_utils._errors import ArtifactError, CommandError
from ansible_collections.os_image.composer.plugins.module_utils._image.foreign_file import foreign_file
from ansible_collections.os_image.composer.plugins.module_utils._image.sandbox import (
    KEPT_FREE,
    ParserSandbox,
    hand_over,
    readable_file,
)
from ansible_collections.os_image.composer.plugins.module_utils._size import show_size
from ansible_collections.os_image.composer.plugins.module_utils._sparse import write_sparse

# What qemu-img calls the formats -> what templates call them.
_FORMATS = {entry.driver: name for name, entry in FORMATS.items()}

# ECMA-119, 8.4: the first volume descriptor is in sector 16, its name behind one byte.
_ISO_NAME_AT = 16 * 2048 + 1
_ISO_NAME = b"CD001"

# What an image can claim to be within reason.
_BIGGEST_DISK = 64 << 10 << 30
# A disk may end within one.
_BIGGEST_SECTOR = 4 << 10
_LONGEST_MESSAGE = 64 << 10


@dataclasses.dataclass(frozen=True)
class ImageSource:
    """An image file.

    :ivar path: Its path.
    :ivar format: C(raw), C(iso), C(qcow2), C(vhd), C(vhdx), C(vmdk) or C(vdi).
    :ivar compression: C(gz), C(xz), C(zstd); empty when it is not compressed as a whole.
    :ivar raw: Path of a file with the disk's content; the image itself, or a temporary file.
    """

    path: str
    format: str
    compression: str
    raw: str

    @property
    def virtual_size(self) -> int:
        """The size of the disk in bytes."""
        return os.stat(self.raw).st_size

    def as_facts(self) -> t.Dict[str, t.Any]:
        """Return the form of results."""
        return {
            "path": self.path,
            "format": self.format,
            "compression": self.compression or None,
            "file_size": os.stat(self.path).st_size,
            "virtual_size": self.virtual_size,
        }


@contextlib.contextmanager
def open_image(path: str, *, temp_dir: str, runner: ParserSandbox) -> t.Iterator[ImageSource]:
    """Show an image file as a disk while the block runs.

    What is compressed or not raw is unpacked into a sparse temporary file, which has no name outside of the block.

    :param temp_dir: Where that file lies.
    :raises ArtifactError: There is no such file, or it refers to other files.
    :raises CommandError: It is damaged.
    """
    path = os.path.abspath(path)
    if not os.path.isfile(path):
        raise ArtifactError(f"The image {path} does not exist, or is not a file.", remedy="Correct the path.")
    with contextlib.ExitStack() as stack:
        readable = stack.enter_context(readable_file(path, temp_dir=temp_dir))
        unpacked, compression = stack.enter_context(unpacked_image(readable, temp_dir=temp_dir, runner=runner))
        image_format, size = _probe(unpacked, path, runner)
        raw = unpacked
        if image_format not in (RAW, "iso"):
            raw = _converted(unpacked, image_format, size, path, temp_dir, runner, stack)
        yield ImageSource(path, image_format, compression, raw)


def _converted(
    file: str,
    image_format: str,
    size: int,
    path: str,
    temp_dir: str,
    runner: ParserSandbox,
    stack: contextlib.ExitStack,
) -> str:
    """Return a raw image with the content of another one."""
    if size > _BIGGEST_DISK:
        raise ArtifactError(
            f"The disk in the image {path} has {show_size(size)}, and images of more than {show_size(_BIGGEST_DISK)} "
            "are not read."
        )
    raw = os.path.join(stack.enter_context(tempfile.TemporaryDirectory(dir=temp_dir, prefix=".image-")), "raw")
    with open(raw, "xb") as stream:
        os.fchmod(stream.fileno(), 0o644)
        hand_over(stream.fileno())
    command = [find_tool("qemu-img"), "convert", "-f", FORMATS[image_format].driver, "-O", "raw", file, raw]
    sandbox = runner.reading(file).writing(raw, most=size + _BIGGEST_SECTOR, keep_free=True)
    sandbox.run(command, what=f"Reading the image {path}")
    return raw


@contextlib.contextmanager
def unpacked_image(path: str, *, temp_dir: str, runner: ParserSandbox) -> t.Iterator[t.Tuple[str, str]]:
    """Unpack an image file that is compressed as a whole, for as long as the block runs.

    :param temp_dir: Where the unpacked file lies, sparse.
    :returns: Its path, and C(gz), C(xz) or C(zstd); the given path and nothing when it is not compressed.
    :raises CommandError: It is damaged.
    """
    with open(path, "rb") as stream:
        begin = stream.read(8)
    compression = next((name for name, entry in COMPRESSIONS.items() if begin.startswith(entry.magic)), None)
    if compression is None:
        yield path, ""
        return
    with tempfile.TemporaryDirectory(dir=temp_dir, prefix=".image-") as directory:
        unpacked = os.path.join(directory, "unpacked")
        _unpack([find_tool(COMPRESSIONS[compression].program), "-d", "-c"], path, unpacked, runner)
        yield unpacked, compression


def _unpack(argv: t.Sequence[str], path: str, destination: str, runner: ParserSandbox) -> None:
    with tempfile.TemporaryFile() as errors, open(path, "rb") as packed:
        process = runner.start(argv, stdin=packed, stdout=subprocess.PIPE, stderr=errors)
        with killed_on_error(process):
            if process.stdout is None:
                raise AssertionError("stdout is a pipe")
            room = shutil.disk_usage(os.path.dirname(destination)).free - KEPT_FREE
            try:
                write_sparse(t.cast(t.BinaryIO, process.stdout), destination, most=room, longest=_BIGGEST_DISK)
            except OverflowError as exc:
                raise ArtifactError(
                    f"The image {path} is larger than there is room for in {os.path.dirname(destination)}: {exc}.",
                    remedy="Set temp_dir to a directory with more space.",
                ) from exc
            rc = process.wait()
        errors.seek(0)
        message = errors.read(_LONGEST_MESSAGE).decode("utf-8", errors="replace").strip()
    runner.check_ending(rc, f"Unpacking the image {path}", message)
    if rc != 0:
        raise CommandError(f"The image {path} cannot be unpacked: {message or f'status {rc}'}.")


def _probe(file: str, path: str, runner: ParserSandbox) -> t.Tuple[str, int]:
    """Return the format of an image file, and the size of the disk in it.

    :param path: What the user calls it.
    :raises ArtifactError: It refers to other files. Who made the image could have the module read any file by that.
    """
    with open(file, "rb") as stream:
        stream.seek(_ISO_NAME_AT)
        if stream.read(len(_ISO_NAME)) == _ISO_NAME:
            return "iso", os.stat(file).st_size
    _refuse_foreign_file(foreign_file(file), path)
    command = [find_tool("qemu-img"), "info", "--output=json", file]
    info = json.loads(runner.reading(file).run(command, what=f"Looking at the image {path}").text)
    data = info.get("format-specific", {}).get("data", {})
    others = [info.get("backing-filename"), data.get("data-file")]
    others += [extent["filename"] for extent in data.get("extents", ()) if extent["filename"] != file]
    _refuse_foreign_file(next((name for name in others if name), None), path)
    image_format = _FORMATS.get(info["format"])
    if image_format is None:
        raise ArtifactError(
            f"The image {path} has the format {info['format']}, which is not read.",
            remedy=f"Convert it to one of these: {', '.join(sorted(_FORMATS.values()))}.",
        )
    return image_format, int(info["virtual-size"])


def _refuse_foreign_file(name: str | None, path: str) -> None:
    if name is not None:
        raise ArtifactError(
            f"The image {path} is not whole: it refers to the file {name}.",
            remedy="Make one file of it: qemu-img convert -O qcow2 IMAGE NEW.",
        )


__all__ = ("ImageSource", "open_image", "unpacked_image")
