# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The formats of disk images: converting to them so that equal images give equal bytes.

C(qemu-img) throws dice for identifiers and looks at the clock in all formats but raw and qcow2;
:func:`convert` puts values that follow from the build in their place. The places are those of the formats' published
specifications: VHD ("Virtual Hard Disk Image Format Specification" 1.0), VHDX ([MS-VHDX] 2.2, 2.6), VMDK ("Virtual Disk
Format" 5.0), VDI (the header of VirtualBox, version 1.1).
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
import tempfile
import threading
import typing as t
import uuid

from ansible_collections.os_image.composer.plugins.module_utils._artifact_format import FORMATS
from ansible_collections.os_image.composer.plugins.module_utils._command import (
    CommandRunner,
    find_tool,
    killed_on_error,
)
from ansible_collections.os_image.composer.plugins.module_utils._errors import ArtifactError, CommandError
from ansible_collections.os_image.composer.plugins.module_utils._identity import derive_uuid
from ansible_collections.os_image.composer.plugins.module_utils._sparse import stop_if

_POLL_SECONDS = 0.1

# 2000-01-01T00:00:00Z, from which VHD counts seconds.
_VHD_EPOCH = 946684800

Normaliser = t.Callable[[t.BinaryIO, str, int], None]


def _derived(build_digest: str, purpose: str) -> uuid.UUID:
    return uuid.UUID(derive_uuid(build_digest, f"artifact/{purpose}"))


def _read(stream: t.BinaryIO, offset: int, length: int) -> bytearray:
    stream.seek(offset)
    return bytearray(stream.read(length))


def _write(stream: t.BinaryIO, offset: int, data: bytes | bytearray) -> None:
    stream.seek(offset)
    stream.write(data)


def _expect(condition: bool, name: str) -> None:
    if not condition:
        raise ArtifactError(
            f"qemu-img wrote a {name} file of an unknown layout.",
            remedy="Use a version of qemu-img between 5.2 and 10.",
        )


def _normalise_vhd(stream: t.BinaryIO, build_digest: str, epoch: int) -> None:
    size = stream.seek(0, os.SEEK_END)
    footers = [size - 512]
    # A dynamic disk begins with a copy of its footer.
    if bytes(_read(stream, 0, 8)) == b"conectix":
        footers.append(0)
    for offset in footers:
        footer = _read(stream, offset, 512)
        _expect(bytes(footer[:8]) == b"conectix", "vhd")
        struct.pack_into(">I", footer, 24, max(0, epoch - _VHD_EPOCH))
        footer[68:84] = _derived(build_digest, "vhd").bytes
        footer[64:68] = bytes(4)
        struct.pack_into(">I", footer, 64, ~sum(footer) & 0xFFFFFFFF)
        _write(stream, offset, footer)


_CRC32C_TABLE: list[int] = []


def _crc32c(data: bytes | bytearray) -> int:
    """Return the CRC-32C (Castagnoli, RFC 3720 appendix B.4)."""
    if not _CRC32C_TABLE:
        for value in range(256):
            for _bit in range(8):
                value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
            _CRC32C_TABLE.append(value)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC32C_TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


_VHDX_METADATA_REGION = uuid.UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")
_VHDX_PAGE83_DATA = uuid.UUID("beca12ab-b2e6-4523-93ef-c309e000c746")


def _normalise_vhdx(stream: t.BinaryIO, build_digest: str, epoch: int) -> None:
    for sequence, offset in ((1, 0x10000), (2, 0x20000)):
        header = _read(stream, offset, 4096)
        _expect(bytes(header[:4]) == b"head", "vhdx")
        # Only the log of a cleanly closed file may be emptied.
        _expect(bytes(header[48:64]) == bytes(16), "vhdx")
        struct.pack_into("<Q", header, 8, sequence)
        header[16:32] = _derived(build_digest, "vhdx/file").bytes_le
        header[32:48] = _derived(build_digest, "vhdx/data").bytes_le
        log_length, log_offset = struct.unpack_from("<IQ", header, 68)
        header[4:8] = bytes(4)
        struct.pack_into("<I", header, 4, _crc32c(header))
        _write(stream, offset, header)
        _write(stream, log_offset, bytes(log_length))
    regions = _read(stream, 0x30000, 65536)
    _expect(bytes(regions[:4]) == b"regi", "vhdx")
    for index in range(struct.unpack_from("<I", regions, 8)[0]):
        entry = 16 + 32 * index
        if uuid.UUID(bytes_le=bytes(regions[entry : entry + 16])) == _VHDX_METADATA_REGION:
            _normalise_vhdx_metadata(stream, struct.unpack_from("<Q", regions, entry + 16)[0], build_digest)


def _normalise_vhdx_metadata(stream: t.BinaryIO, offset: int, build_digest: str) -> None:
    table = _read(stream, offset, 65536)
    _expect(bytes(table[:8]) == b"metadata", "vhdx")
    for index in range(struct.unpack_from("<H", table, 10)[0]):
        entry = 32 + 32 * index
        if uuid.UUID(bytes_le=bytes(table[entry : entry + 16])) == _VHDX_PAGE83_DATA:
            item_offset = struct.unpack_from("<I", table, entry + 16)[0]
            _write(stream, offset + item_offset, _derived(build_digest, "vhdx/page83").bytes_le)


def _normalise_vmdk(stream: t.BinaryIO, build_digest: str, epoch: int) -> None:
    header = _read(stream, 0, 512)
    _expect(bytes(header[:4]) == b"KDMV", "vmdk")
    start, length = (512 * value for value in struct.unpack_from("<QQ", header, 28))
    # Behind its end lies what is left of a longer one: qemu-img writes it twice, with other identifiers.
    descriptor = bytes(_read(stream, start, length)).partition(b"\0")[0]
    content_id = b"CID=" + _derived(build_digest, "vmdk").hex[:8].encode("ascii")
    descriptor, count = re.subn(rb"^CID=[0-9a-f]{1,8}$", content_id, descriptor, count=1, flags=re.MULTILINE)
    _expect(count == 1, "vmdk")
    _write(stream, start, descriptor.ljust(length, b"\0"))


def _normalise_vdi(stream: t.BinaryIO, build_digest: str, epoch: int) -> None:
    _expect(bytes(_read(stream, 64, 4)) == b"\x7f\x10\xda\xbe", "vdi")
    _write(stream, 0x188, _derived(build_digest, "vdi/image").bytes_le)
    _write(stream, 0x198, _derived(build_digest, "vdi/snapshot").bytes_le)


#: What makes files of a format equal when their images are.
NORMALISERS: t.Mapping[str, Normaliser] = {
    "vhd": _normalise_vhd,
    "vhdx": _normalise_vhdx,
    "vmdk": _normalise_vmdk,
    "vdi": _normalise_vdi,
}


def convert(
    source: str,
    destination: str,
    format_name: str,
    *,
    runner: CommandRunner,
    build_digest: str,
    epoch: int,
    compact: bool,
    subformat: str | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Convert a raw image.

    :param destination: A path whose last part is the final name (VMDK holds it).
    :param format_name: A key of C(FORMATS) other than C(raw).
    :param epoch: The time for formats that hold one.
    :param compact: Compress inside the format, where it can do that.
    :param subformat: One of the format's C(subformats); V(None) for its default.
    :param stop: Ends the work early.
    :raises CommandError: C(qemu-img) failed.
    """
    disk_format = FORMATS[format_name]
    argv = [find_tool("qemu-img"), "convert", "-q", "-f", "raw", "-O", disk_format.driver]
    argv += [*disk_format.arguments(subformat), *(disk_format.compact if compact else ()), source, destination]
    with tempfile.TemporaryFile() as errors:
        process = runner.start(argv, stdout=errors, stderr=errors)
        with killed_on_error(process):
            while True:
                try:
                    rc = process.wait(timeout=_POLL_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    stop_if(stop)
        errors.seek(0)
        output = errors.read().decode("utf-8", errors="replace").strip()
    if rc != 0:
        raise CommandError(
            f"Converting {source} to {format_name} failed: qemu-img ended with status {rc}: {output or 'no message'}.",
            details={"cmd": argv, "rc": rc},
        )
    if format_name in NORMALISERS:
        with open(destination, "r+b") as stream:
            NORMALISERS[format_name](stream, build_digest, epoch)


__all__ = ("NORMALISERS", "convert")
