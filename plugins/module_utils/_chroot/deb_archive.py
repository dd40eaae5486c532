# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Archives of packages (.deb): the control members, and the data archive as a stream of files.

The format: deb(5) is an ar archive of debian-binary, control.tar.* and data.tar.*; the tar archives are ustar with
GNU's long names, as dpkg-deb writes them.
"""

from __future__ import annotations

import bz2
import contextlib
import dataclasses
import lzma
import os
import re
import stat
import subprocess
import typing as t
import zlib

from ansible_collections.os_image.composer.plugins.module_utils._command import find_tool
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._repository.deb822 import control_text

TAR_BLOCK = 512
_READ = 1 << 17
_WRITE = 1 << 20

# What the kernel's calls take: sizes of files, users and groups (all bits set means none), the numbers of devices; and
# times, which ext4 keeps until 2446.
_NUMBER_LIMIT = 1 << 63
_OWNER_LIMIT = (1 << 32) - 1
_MAJOR_LIMIT, _MINOR_LIMIT = 1 << 12, 1 << 20
_TIME_LIMIT = 15032385536
# Linux has no longer paths.
_LONGEST_NAME = 4096
# The lists of the largest packages have 10 MB; more control data than this is an attack or an error.
_CONTROL_LIMIT = 64 << 20
# xz -9 needs 65 MiB. The dictionary of a file may be told to be as large as the memory of a machine.
_DICTIONARY_LIMIT = 256 << 20
_LONGEST_CONTROL_NAME = 64

_FILE_TYPES: t.Mapping[bytes, int] = {
    b"\0": stat.S_IFREG,
    b"0": stat.S_IFREG,
    b"1": 0,
    b"2": stat.S_IFLNK,
    b"3": stat.S_IFCHR,
    b"4": stat.S_IFBLK,
    b"5": stat.S_IFDIR,
    b"6": stat.S_IFIFO,
    b"7": stat.S_IFREG,
}


# What dpkg accepts.
_NAMES: t.Mapping[str, t.Pattern[str]] = {
    "Package": re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*"),
    "Architecture": re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*"),
    "Version": re.compile(r"[A-Za-z0-9.+:~_-]+"),
}


class DebFormatError(ChrootError):
    """A .deb file is not what deb(5) describes, or uses something of tar that no package does."""


@dataclasses.dataclass
class TarMember:
    """The header of one file in a tar archive.

    :ivar path: As installed: absolute, without a trailing slash; V(/.) for the root itself, as dpkg lists it.
    :ivar file_type: C(S_IFREG) and so on of M(stat); 0 for a hard link.
    :ivar target: Where a symbolic link points; for a hard link, the absolute path of the other name.
    """

    path: str
    file_type: int
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    target: str
    device: int


class ByteStream:
    """Exact reads from an iterator of chunks."""

    def __init__(self, chunks: t.Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def pieces(self, size: int) -> t.Iterator[memoryview]:
        """Yield the next C(size) bytes in pieces, as they come.

        :raises EOFError: The stream ends before.
        """
        while size > 0:
            if not self._rest:
                try:
                    self._rest = memoryview(next(self._chunks))
                except StopIteration:
                    raise EOFError from None
                continue
            piece, self._rest = self._rest[:size], self._rest[size:]
            size -= len(piece)
            yield piece

    def read(self, size: int) -> bytes:
        """Return the next C(size) bytes."""
        if len(self._rest) >= size:
            piece, self._rest = self._rest[:size], self._rest[size:]
            return bytes(piece)
        return b"".join(self.pieces(size))

    def skip(self, size: int) -> None:
        """Pass over the next C(size) bytes."""
        for _piece in self.pieces(size):
            pass


def _number(field: bytes, limit: int = _NUMBER_LIMIT) -> int:
    """Read a number of a tar header, which must be less than a limit."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
    else:
        text = field.rstrip(b"\0 ").lstrip()
        if text.translate(None, b"01234567"):
            raise DebFormatError("A tar header is damaged.")
        value = int(text, 8) if text else 0
    if value >= limit:
        raise DebFormatError(f"A tar header holds the number {value}, which is too large.")
    return value


def _text(field: bytes) -> str:
    return os.fsdecode(field.split(b"\0", 1)[0])


def _installed_path(name: str) -> str:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise DebFormatError(f"The path {name!r} leads out of the package.")
    if "\n" in name:
        # In the lists of files it would be two.
        raise DebFormatError(f"The path {name!r} has a line break in it.")
    return "/" + ("/".join(parts) or ".")


def read_tar(stream: ByteStream) -> t.Iterator[TarMember]:
    """Yield the members of a tar archive; the caller reads or skips C(size) bytes and the padding after each.

    :raises DebFormatError: It has something that archives made by dpkg-deb do not have.
    :raises EOFError: It ends without the empty block that ends an archive.
    """
    long_name: str | None = None
    long_target: str | None = None
    while True:
        header = stream.read(TAR_BLOCK)
        if not header.strip(b"\0"):
            return
        # The checksum counts its own field as blanks; see tar(5).
        if sum(header) - sum(header[148:156]) + 8 * 32 != _number(header[148:156]):
            raise DebFormatError("A tar header is damaged.")
        kind = header[156:157]
        size = _number(header[124:136])
        if kind in (b"L", b"K"):
            if size > _LONGEST_NAME:
                raise DebFormatError("A name in a tar archive is longer than any can be.")
            name = _text(stream.read(size))
            stream.skip(-size % TAR_BLOCK)
            if kind == b"L":
                long_name = name
            else:
                long_target = name
            continue
        if kind not in _FILE_TYPES:
            raise DebFormatError(f"A tar member has the unknown type {kind.decode('latin-1')!r}.")
        path = _text(header[:100])
        if long_name is not None:
            path = long_name
        elif header[257:263] == b"ustar\0" and header[345]:
            path = f"{_text(header[345:500])}/{path}"
        target = _text(header[157:257]) if long_target is None else long_target
        long_name = long_target = None
        file_type = _FILE_TYPES[kind]
        yield TarMember(
            path=_installed_path(path),
            file_type=file_type,
            mode=_number(header[100:108]) & 0o7777,
            uid=_number(header[108:116], _OWNER_LIMIT),
            gid=_number(header[116:124], _OWNER_LIMIT),
            size=size if file_type == stat.S_IFREG else 0,
            mtime=_number(header[136:148], _TIME_LIMIT),
            target=_installed_path(target) if kind == b"1" else target,
            device=_device(header) if kind in b"34" else 0,
        )


def _device(header: bytes) -> int:
    return os.makedev(_number(header[329:337], _MAJOR_LIMIT), _number(header[337:345], _MINOR_LIMIT))


@dataclasses.dataclass(frozen=True)
class ControlMember:
    """A file of a package's control archive, such as V(postinst)."""

    mode: int
    mtime: int
    data: bytes


def parse_control(text: str) -> dict[str, str]:
    """Return the fields of one paragraph of deb822(5); continuation lines keep their line breaks and blanks.

    :raises DebFormatError: It is none.
    """
    fields: dict[str, list[str]] = {}
    name = ""
    for line in text.split("\n"):
        if line[:1] in (" ", "\t"):
            if not name:
                raise DebFormatError("A paragraph of control data begins with a line that continues nothing.")
            fields[name].append(line)
        elif ":" in line:
            name, value = line.split(":", 1)
            fields[name] = [value.strip()]
    return {name: "\n".join(lines) for name, lines in fields.items()}


class DebArchive:
    """A .deb file, opened.

    :param path: Absolute path.
    :raises DebFormatError: It is not a .deb file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._members: dict[str, tuple[int, int]] = {}
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115  (closed by close())
        try:
            self._read_directory()
            self.control = self._read_control()
            #: What dpkg's database has of it.
            self.paragraph = control_text(self.control["control"].data).strip("\n")
            self.fields = parse_control(self.paragraph)
            self._check_names()
        except (EOFError, OSError, ValueError, KeyError, zlib.error, lzma.LZMAError) as exc:
            self.close()
            raise DebFormatError(f"{path} is not a Debian package: {exc}.") from exc
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> DebArchive:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def conffiles(self) -> dict[str, str]:
        """Return the configuration files that the package declares, each with its flag or nothing.

        A file with the flag V(remove-on-upgrade) is not in the package, and has to be removed from older systems.
        """
        member = self.control.get("conffiles")
        try:
            lines = [line.split() for line in member.data.decode("utf-8").splitlines()] if member else []
        except UnicodeDecodeError as exc:
            raise DebFormatError(f"The list of configuration files of {self.path} is not UTF-8: {exc}.") from exc
        return {line[-1]: " ".join(line[:-1]) for line in lines if line}

    def write_control(self, directory: int) -> None:
        """Write all control files into an empty directory, of which this is the descriptor."""
        for name, member in self.control.items():
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(name, flags, 0o600, dir_fd=directory), "wb") as stream:
                stream.write(member.data)
                stream.flush()
                os.fchmod(stream.fileno(), member.mode)
                os.utime(stream.fileno(), (member.mtime, member.mtime))

    def data(self) -> ByteStream:
        """Return the data archive, decompressed."""
        return self._open("data.tar")

    def _read_directory(self) -> None:
        if self._file.read(8) != b"!<arch>\n":
            raise DebFormatError(f"{self.path} is not a Debian package: it does not begin like one.")
        position = 8
        while True:
            self._file.seek(position)
            header = self._file.read(60)
            if len(header) < 60:
                return
            digits = header[48:58].rstrip(b" ")
            if not digits.isdigit():
                raise DebFormatError(f"{self.path} is not a Debian package: the size of a member is {digits!r}.")
            size = int(digits)
            self._members[header[:16].decode("ascii").rstrip(" ").rstrip("/")] = (position + 60, size)
            position += 60 + size + (size & 1)

    def _check_names(self) -> None:
        """Check what becomes part of file names and of scripts; see deb-control(5)."""
        for field, form in _NAMES.items():
            if field in self.fields and not form.fullmatch(self.fields[field]):
                raise DebFormatError(
                    f"{self.path} has the {field.lower()} {self.fields[field]!r}, which cannot be one."
                )

    def _read_control(self) -> dict[str, ControlMember]:
        stream = self._open("control.tar")
        members = {}
        left = _CONTROL_LIMIT
        for member in read_tar(stream):
            left -= member.size
            if left < 0:
                raise DebFormatError(f"The control files of {self.path} are larger than {_CONTROL_LIMIT} bytes.")
            data = stream.read(member.size)
            stream.skip(-member.size % TAR_BLOCK)
            if member.file_type == stat.S_IFREG:
                members[self._control_name(member.path[1:])] = ControlMember(member.mode, member.mtime, data)
        return members

    def _control_name(self, name: str) -> str:
        """Return the name of a control file, which becomes a part of file names."""
        if "/" in name or name == "." or len(os.fsencode(name)) > _LONGEST_CONTROL_NAME:
            raise DebFormatError(f"{self.path} has the control file {name[:80]!r}; they lie in no directory.")
        return name

    def _open(self, prefix: str) -> ByteStream:
        for name, (offset, size) in self._members.items():
            if name == prefix or name.startswith(f"{prefix}."):
                return ByteStream(self._sound(self._decompress(name[len(prefix) + 1 :], offset, size)))
        raise DebFormatError(f"{self.path} is not a Debian package: it has no {prefix}.")

    def _sound(self, chunks: t.Iterator[bytes]) -> t.Iterator[bytes]:
        try:
            yield from chunks
        except (zlib.error, lzma.LZMAError, OSError) as exc:
            raise DebFormatError(f"The package {self.path} cannot be decompressed: {exc}.") from exc

    def _compressed(self, offset: int, size: int) -> t.Iterator[bytes]:
        descriptor = self._file.fileno()
        end = offset + size
        while offset < end:
            chunk = os.pread(descriptor, min(_READ, end - offset), offset)
            if not chunk:
                raise EOFError("it is cut short")
            offset += len(chunk)
            yield chunk

    def _decompress(self, compression: str, offset: int, size: int) -> t.Iterator[bytes]:
        chunks = self._compressed(offset, size)
        if compression == "":
            return chunks
        if compression == "gz":
            return _gunzip(chunks)
        if compression == "xz":
            return _lazily(chunks, lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_DICTIONARY_LIMIT))
        if compression == "lzma":
            return _lazily(chunks, lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_DICTIONARY_LIMIT))
        if compression == "bz2":
            return _lazily(chunks, bz2.BZ2Decompressor())
        if compression == "zst":
            return _unzstd(chunks)
        raise DebFormatError(f"{self.path} is compressed with {compression!r}, which is not known.")


def _lazily(chunks: t.Iterator[bytes], decompressor: lzma.LZMADecompressor | bz2.BZ2Decompressor) -> t.Iterator[bytes]:
    while not decompressor.eof:
        source = b""
        if decompressor.needs_input:
            source = next(chunks, b"")
            if not source:
                raise EOFError("its compressed data is cut short")
        data = decompressor.decompress(source, _WRITE)
        if data:
            yield data


def _gunzip(chunks: t.Iterator[bytes]) -> t.Iterator[bytes]:
    decompressor = zlib.decompressobj(31)
    for chunk in chunks:
        rest = chunk
        while rest and not decompressor.eof:
            data = decompressor.decompress(rest, _WRITE)
            rest = decompressor.unconsumed_tail
            if data:
                yield data
    if not decompressor.eof:
        yield decompressor.flush()
        if not decompressor.eof:
            raise EOFError("its compressed data is cut short")


def _unzstd(chunks: t.Iterator[bytes]) -> t.Iterator[bytes]:
    # Python has no zstd before 3.14. The compressed bytes go through memory, so that no thread has to feed a pipe.
    with os.fdopen(os.memfd_create("zstd"), "w+b") as source:
        for chunk in chunks:
            source.write(chunk)
        source.seek(0)
        process = subprocess.Popen(  # noqa: S603
            [find_tool("zstd"), "-dcq"], stdin=source, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        if process.stdout is None:
            raise AssertionError("process.stdout is known here")
        try:
            while data := process.stdout.read(_WRITE):
                yield data
        finally:
            process.stdout.close()
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()


def build_date(path: str) -> int:
    """Return when a .deb file was built (seconds since the epoch), as it says itself: usually its last changelog entry.

    :raises OSError: It cannot be read.
    :raises DebFormatError: It is no package.
    """
    with open(path, "rb", buffering=0) as stream:
        header = stream.read(68)
    if not header.startswith(b"!<arch>\n") or len(header) < 68:
        raise DebFormatError(f"{path} is not a Debian package: it does not begin like one.")
    digits = header[24:36].strip() or b"0"
    if not digits.isdigit():
        raise DebFormatError(f"{path} is not a Debian package: its date is {digits!r}.")
    return int(digits)


__all__ = (
    "TAR_BLOCK",
    "ByteStream",
    "ControlMember",
    "DebArchive",
    "DebFormatError",
    "TarMember",
    "build_date",
    "parse_control",
    "read_tar",
)
