# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Files of a file system in an image, by programs that run in a sandbox, see :mod:`sandbox`.

Every reader is one class, found by the name that blkid has for its file system. To add one: derive it from
:class:`FileReader` and decorate it with :func:`reads`.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import errno
import functools
import hashlib
import os
import posixpath
import re
import stat
import subprocess
import tempfile
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._boot.fat_volume import FatVolume
from ansible_collections.os_image.composer.plugins.module_utils._command import find_tool
from ansible_collections.os_image.composer.plugins.module_utils._errors import ArtifactError, CommandError
from ansible_collections.os_image.composer.plugins.module_utils._image.erofs_inodes import read_inodes
from ansible_collections.os_image.composer.plugins.module_utils._image.sandbox import ParserSandbox, output_directory
from ansible_collections.os_image.composer.plugins.module_utils._size import MIB, show_size
from ansible_collections.os_image.composer.plugins.module_utils._sparse import copy_out

_MAX_LINKS = 20
_CHUNK = 1 << 20
# How many files one program is asked for at a time; their names have to fit into a command line.
_FILES_AT_ONCE = 400
# The largest that is read into memory: the database of RPM is.
_LARGEST_READ = 256 * MIB
_PAGE = 4096

_KINDS: t.Mapping[int, str] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
}


@dataclasses.dataclass(frozen=True)
class Entry:
    """A file, directory, link or device.

    :ivar path: Absolute, in its file system.
    :ivar kind: C(file), C(directory), C(link), C(character device), C(block device), C(pipe) or C(socket).
    :ivar mode: The permissions; -1 where the file system has none.
    :ivar uid: -1 where the file system has no owners.
    :ivar size: Bytes, for files.
    :ivar target: For links.
    """

    path: str
    kind: str
    mode: int
    uid: int
    gid: int
    size: int = 0
    target: str = ""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a file system lies.

    :ivar raw: The disk, or the file that holds the file system alone.
    :ivar offset: Its first byte there.
    :ivar size: Bytes.
    :ivar temp_dir: Where temporary files may lie.
    :ivar name: What people call it, for messages.
    """

    raw: str
    offset: int
    size: int
    temp_dir: str
    name: str = "a part of the image"


class FileReader(abc.ABC):
    """Reads one file system; temporary files go with :meth:`close`."""

    #: Whether modes and owners are the image's own.
    has_owners: t.ClassVar[bool] = True

    def __init__(self, place: Place, runner: ParserSandbox) -> None:
        self.place = place
        self.runner = runner.reading(place.raw)
        self._stack = contextlib.ExitStack()

    def close(self) -> None:
        """Remove temporary files."""
        self._stack.close()

    @functools.cached_property
    def entries(self) -> t.Mapping[str, Entry]:
        """Everything in the file system but its root directory, by path.

        :raises CommandError: It is damaged.
        """
        with self._named():
            return {entry.path: entry for entry in sorted(self._list(), key=lambda entry: entry.path)}

    @contextlib.contextmanager
    def _named(self) -> t.Iterator[None]:
        """Say in errors of programs which file system they are about."""
        try:
            yield
        except CommandError as exc:
            raise CommandError(
                f"The file system on {self.place.name} cannot be read: {exc}",
                remedy="It is damaged; get or build the image again.",
                details=exc.details,
            ) from exc

    @abc.abstractmethod
    def _list(self) -> t.Iterable[Entry]:
        """Give all entries."""

    @abc.abstractmethod
    def _read_files(self, files: t.Sequence[Entry], sink: t.Callable[[Entry, bytes], None]) -> None:
        """Read regular files, one after the other, in pieces; an empty piece stands for an empty file."""

    def find(self, path: str) -> Entry | None:
        """Return what lies at a path, behind symbolic links; V(None) when there is nothing."""
        remaining = [part for part in path.split("/") if part]
        current, links = "", 0
        while remaining:
            part = remaining.pop(0)
            if part in (".", ".."):
                current = current if part == "." else posixpath.dirname(current).rstrip("/")
                continue
            entry = self.entries.get(f"{current}/{part}")
            if entry is None:
                return None
            if entry.kind != "link":
                current = entry.path
                continue
            links += 1
            if links > _MAX_LINKS:
                return None
            if entry.target.startswith("/"):
                current = ""
            remaining = [piece for piece in entry.target.split("/") if piece] + remaining
        return self.entries.get(current)

    def read(self, path: str) -> bytes | None:
        """Return the content of a regular file; V(None) when there is none.

        :raises ArtifactError: It is too large to be what it has the name of.
        """
        entry = self.find(path)
        if entry is None or entry.kind != "file":
            return None
        if entry.size > _LARGEST_READ:
            raise ArtifactError(
                f"The file {path} on {self.place.name} has {show_size(entry.size)}, and none of more than "
                f"{show_size(_LARGEST_READ)} is read."
            )
        pieces: t.List[bytes] = []
        with self._named():
            self._read_files([entry], lambda _entry, data: pieces.append(data))
        return b"".join(pieces)

    def save(self, path: str, destination: str) -> None:
        """Copy a regular file out of the image.

        :raises ArtifactError: There is none.
        """
        entry = self.find(path)
        if entry is None or entry.kind != "file":
            raise ArtifactError(f"The image has no file {path}.")
        # What firmware reads is stored as it is.
        if entry.size > self.place.size:
            raise ArtifactError(
                f"The file {path} on {self.place.name} is damaged: it has {show_size(entry.size)}, more than there is."
            )
        with open(destination, "xb") as stream, self._named():
            self._read_files([entry], lambda _entry, data: t.cast(None, stream.write(data)))

    def names(self, directory: str) -> t.List[str]:
        """Return the names of what lies in a directory, sorted."""
        found = self.find(directory)
        prefix = f"{found.path}/" if found else "/" if directory == "/" else None
        if prefix is None:
            return []
        return sorted(
            path[len(prefix) :] for path in self.entries if path.startswith(prefix) and "/" not in path[len(prefix) :]
        )

    def digests(self, paths: t.Collection[str]) -> t.Dict[str, str]:
        """Return the SHA-256 of regular files, by path."""
        hashes = {path: hashlib.sha256() for path in paths}
        files = [self.entries[path] for path in sorted(hashes)]
        with self._named():
            self._read_files(files, lambda entry, data: hashes[entry.path].update(data))
        return {path: digest.hexdigest() for path, digest in hashes.items()}

    def _temporary_directory(self) -> str:
        directory = tempfile.TemporaryDirectory(dir=self.place.temp_dir, prefix=".image-")
        return self._stack.enter_context(directory)


class _Split:
    """Takes the content of several files, one behind the other, apart by their sizes.

    :param process: Writes them to its standard output.
    :param program: What messages call it.
    """

    def __init__(self, process: subprocess.Popen[bytes], program: str) -> None:
        self._process = process
        self._program = program
        self._stream = t.cast(t.IO[bytes], process.stdout)

    def hand_on(self, file: Entry, sink: t.Callable[[Entry, bytes], None], *, heading: bytes = b"") -> None:
        """Hand the content of the next file on in pieces, of which there is at least one.

        :param heading: The line that stands before it.
        :raises CommandError: There is less of it.
        """
        try:
            if heading and self._stream.readline() != heading:
                raise EOFError
            if not file.size:
                sink(file, b"")
            for data in self._take(file.size):
                sink(file, data)
        except EOFError as exc:
            self._process.kill()
            raise CommandError(f"The file {file.path} of the image cannot be read by {self._program}.") from exc

    def _take(self, size: int) -> t.Iterator[bytes]:
        while size:
            data = self._stream.read(min(size, _CHUNK))
            if not data:
                raise EOFError
            size -= len(data)
            yield data


class ExtReader(FileReader):
    """ext2, ext3, ext4, by debugfs, which is given many requests at once and tells each before its answer."""

    def __init__(self, place: Place, runner: ParserSandbox) -> None:
        super().__init__(place, runner)
        self._inodes: t.Dict[str, int] = {}
        address = f"{place.raw}?offset={place.offset}" if place.offset else place.raw
        self._command = [find_tool("debugfs"), "-f", "-", address]

    def _ask(self, requests: t.Sequence[str]) -> t.Dict[str, str]:
        """Return debugfs's answers, each by its request."""
        data = "".join(f"{request}\n" for request in requests).encode("ascii")
        done = self.runner.run(self._command, data=data, log_output=False, what="Reading an ext file system")
        # Bytes of file names that are not UTF-8 stay what they are.
        text = done.stdout.decode("utf-8", errors="surrogateescape")
        answers: t.Dict[str, str] = {}
        # Names of files are among the answers: only what was asked for next begins another one.
        rest, missing = text, False
        for request, following in zip(requests, [*requests[1:], None]):
            _before, found, rest = rest.partition(f"debugfs: {request}\n")
            missing = missing or not found
            position = len(rest) if following is None else rest.find(f"debugfs: {following}\n")
            answers[request], rest = (rest[:position], rest[position:]) if position >= 0 else (rest, "")
        # Problems end up on standard error, below the version, and not in the exit status.
        problems = done.error_text.splitlines()[1:]
        if problems or missing:
            raise CommandError(f"debugfs says {' '.join(problems[:5]) or 'nothing'}.")
        return answers

    def _list(self) -> t.Iterable[Entry]:
        found: t.List[Entry] = []
        level = {2: ""}
        seen = {2}
        while level:
            answers = self._ask([f"ls -p <{inode}>" for inode in level])
            following: t.Dict[int, str] = {}
            for inode, parent in level.items():
                for fields in _ext_records(parent, answers[f"ls -p <{inode}>"]):
                    entry = _ext_entry(parent, fields)
                    self._inodes[entry.path] = int(fields[0])
                    found.append(entry)
                    if entry.kind == "directory":
                        if int(fields[0]) in seen:
                            raise CommandError(f"the directory {entry.path} is in more than one place.")
                        seen.add(int(fields[0]))
                        following[int(fields[0])] = entry.path
            level = following
        targets = self._targets([entry for entry in found if entry.kind == "link"])
        return [dataclasses.replace(entry, target=targets.get(entry.path, "")) for entry in found]

    def _targets(self, links: t.Sequence[Entry]) -> t.Dict[str, str]:
        if not links:
            return {}
        inodes = {self._inodes[link.path] for link in links}
        answers = self._ask([f"stat <{inode}>" for inode in sorted(inodes)])
        targets: t.Dict[str, str] = {}
        slow = []
        for link in links:
            # It stands last, and anything can be in it; what stands before may hold text of the image, too.
            answer = os.fsencode(answers[f"stat <{self._inodes[link.path]}>"].rstrip("\n"))
            if answer[: -link.size - 1].endswith(b'Fast link dest: "') and answer.endswith(b'"'):
                targets[link.path] = os.fsdecode(answer[-link.size - 1 : -1])
            else:
                slow.append(link)

        def take(entry: Entry, data: bytes) -> None:
            targets[entry.path] = targets.get(entry.path, "") + data.decode("utf-8", errors="surrogateescape")

        self._read_files(slow, take)
        return targets

    def _read_files(self, files: t.Sequence[Entry], sink: t.Callable[[Entry, bytes], None]) -> None:
        if not files:
            return
        with tempfile.TemporaryFile() as requests:
            lines = [f"cat <{self._inodes[file.path]}>\n".encode("ascii") for file in files]
            requests.write(b"".join(lines))
            requests.seek(0)
            process = self.runner.start(
                self._command, stdin=requests, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            with process:
                split = _Split(process, "debugfs")
                for line, file in zip(lines, files):
                    split.hand_on(file, sink, heading=b"debugfs: " + line)


# /inode/mode/uid/gid/name/size/, where a name may have line breaks, as it may have everything but a slash.
_EXT_RECORD = re.compile(r"/(\d+)/([0-7]+)/(-?\d+)/(-?\d+)/([^/]*)/(\d*)/\n")


def _ext_records(directory: str, listing: str) -> t.Iterator[t.Sequence[str]]:
    """Take a listing of a directory apart, all of it.

    :raises CommandError: It has names that no file can have.
    """
    position = 0
    for record in _EXT_RECORD.finditer(listing):
        if record.start() != position:
            break
        position = record.end()
        if record[5] not in (".", "..", ""):
            yield record.groups()
    if listing[position:].strip("\n"):
        raise CommandError(f"the directory {directory or '/'} has names that no file can have.")


def _ext_entry(parent: str, fields: t.Sequence[str]) -> Entry:
    mode = int(fields[1], 8)
    kind = _KINDS.get(stat.S_IFMT(mode), "file")
    size = int(fields[5] or 0) if kind in ("file", "link") else 0
    return Entry(f"{parent}/{fields[4]}", kind, stat.S_IMODE(mode), int(fields[2]), int(fields[3]), size)


# The letters of ls.
_LISTED_KINDS = dict(zip("-dlcbps", _KINDS.values()))

# unsquashfs -lln: mode, owner, size or numbers of the device, day, time, path.
_SQUASHFS_LINE = re.compile(
    r"(?P<mode>[-dlcbps][-rwxsStT]{9}) (?P<uid>[0-9]+)/(?P<gid>[0-9]+) +(?P<size>[0-9]+|[0-9]+, *[0-9]+) "
    r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2} squashfs-root(?P<path>/.*)",
    re.DOTALL,
)


def _squashfs_records(listing: str) -> t.Iterator[re.Match[str]]:
    """Take a listing apart, all of it. A name may have line breaks, but no slash, as each record has.

    :raises CommandError: Something is no record.
    """
    records: t.List[str] = []
    # What is said before ends with the root directory.
    for line in listing[listing.find(" squashfs-root\n") :].split("\n")[1:-1]:
        if records and not _SQUASHFS_LINE.fullmatch(line):
            records[-1] += f"\n{line}"
        else:
            records.append(line)
    for record in records:
        match = _SQUASHFS_LINE.fullmatch(record)
        if match is None:
            raise CommandError(f"{record!r} is no file.")
        yield match


def _mode_of(text: str) -> int:
    """Return permissions from the nine characters of ls."""
    mode = 0
    for index, char in enumerate(text):
        bit = 0o400 >> index
        if char in "rwxst":
            mode |= bit
        if char in "sStT":
            mode |= {2: 0o4000, 5: 0o2000, 8: 0o1000}[index]
    return mode


class SquashfsReader(FileReader):
    """squashfs, by unsquashfs."""

    def _command(self, *arguments: str) -> t.List[str]:
        return [find_tool("unsquashfs"), "-o", str(self.place.offset), *arguments]

    def _list(self) -> t.Iterable[Entry]:
        done = self.runner.run(
            self._command("-lln", self.place.raw), log_output=False, what="Reading a squashfs file system"
        )
        listing = done.stdout.decode("utf-8", errors="surrogateescape")
        for match in _squashfs_records(listing):
            kind = _LISTED_KINDS[match["mode"][0]]
            path, target = match["path"], ""
            size = int(match["size"]) if kind in ("file", "link") else 0
            if kind == "link":
                # Both may have an arrow in them, and the target what looks like another record.
                data = os.fsencode(path)
                path, target = os.fsdecode(data[: -size - 4]), os.fsdecode(data[-size:])
                if data[-size - 4 : -size] != b" -> ":
                    raise CommandError(f"the target of {match['path']!r} has not the size that it should have.")
            yield Entry(path, kind, _mode_of(match["mode"][1:]), int(match["uid"]), int(match["gid"]), size, target)

    def _read_files(self, files: t.Sequence[Entry], sink: t.Callable[[Entry, bytes], None]) -> None:
        for begin in range(0, len(files), _FILES_AT_ONCE):
            chosen = files[begin : begin + _FILES_AT_ONCE]
            names = [file.path[1:] for file in chosen]
            process = self.runner.start(
                self._command("-no-wildcards", "-cat", self.place.raw, *names),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            with process:
                split = _Split(process, "unsquashfs")
                for file in chosen:
                    split.hand_on(file, sink)


class ExtractedReader(FileReader):
    """A file system whose programs can only take out everything: into memory."""

    @abc.abstractmethod
    def extract(self, directory: str, runner: ParserSandbox) -> None:
        """Take everything out into an existing directory.

        :param runner: Lets programs write there.
        """

    @property
    @abc.abstractmethod
    def content_size(self) -> int:
        """How many bytes can be in it."""

    @functools.cached_property
    def directory(self) -> str:
        """Where everything lies. No program that has written there is left."""
        what = f"The file system on {self.place.name}"
        size = self.content_size
        path = self._stack.enter_context(output_directory(size, temp_dir=self.place.temp_dir, what=what))
        self.extract(path, self.runner.writing(path, most=size))
        return path

    def _read_files(self, files: t.Sequence[Entry], sink: t.Callable[[Entry, bytes], None]) -> None:
        for file in files:
            try:
                with open(_open_inside(self.directory, file.path), "rb", buffering=0) as stream:
                    data = stream.read(_CHUNK)
                    sink(file, data)
                    while data:
                        data = stream.read(_CHUNK)
                        sink(file, data)
            except OSError as exc:
                raise CommandError(f"The file {file.path} of the image cannot be read: {exc.strerror}.") from exc


def _open_inside(directory: str, path: str) -> int:
    """Open a regular file for reading, on whose path no link is followed.

    :raises OSError: It is none.
    """
    *parents, name = path.strip("/").split("/")
    holder = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        for parent in parents:
            inner = os.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=holder)
            os.close(holder)
            holder = inner
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=holder)
    finally:
        os.close(holder)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is not a regular file")


# The bytes of a path of 260 characters, more than DOS and Windows take.
_LONGEST_FAT_PATH = 4 * 260
_TOO_DEEP = f"it has paths of more than {_LONGEST_FAT_PATH} bytes."


class FatReader(ExtractedReader):
    """FAT, by mtools."""

    has_owners = False

    @property
    def content_size(self) -> int:
        return self.place.size

    def extract(self, directory: str, runner: ParserSandbox) -> None:
        try:
            FatVolume(self.place.raw, self.place.offset, runner).read_all(directory)
        except CommandError as exc:
            if os.strerror(errno.ENAMETOOLONG) in str(exc):
                raise CommandError(_TOO_DEEP) from exc
            raise

    def _list(self) -> t.Iterable[Entry]:
        waiting = [""]
        while waiting:
            parent = waiting.pop()
            if len(os.fsencode(parent)) > _LONGEST_FAT_PATH:
                raise CommandError(_TOO_DEEP)
            with os.scandir(f"{self.directory}{parent}") as found:
                for entry in found:
                    path, status = f"{parent}/{entry.name}", entry.stat(follow_symlinks=False)
                    is_directory = stat.S_ISDIR(status.st_mode)
                    if is_directory:
                        waiting.append(path)
                    kind, size = ("directory", 0) if is_directory else ("file", status.st_size)
                    yield Entry(path, kind, -1, -1, -1, size)


# A word as xorriso writes it: a quotation mark in it is in a word of its own.
_QUOTED = r"""'(?:[^']|'"'"')*'"""
# xorriso's lsdl: mode, links, owner, size or numbers of the device, day, time or year, path, target.
_ISO_LINE = re.compile(
    r"^(?P<mode>[-dlcbps])[-rwxsStT]{9}[+ ] *[0-9]+ +[0-9]+ +[0-9]+ +(?P<size>[0-9]+|[0-9]+, *[0-9]+) "
    rf"[A-Z][a-z]{{2}} +[0-9]+ +[0-9:]+ (?P<path>{_QUOTED})(?: -> (?P<target>{_QUOTED}))?$",
    re.MULTILINE,
)


class IsoReader(FileReader):
    """ISO 9660 with Rock Ridge, by xorriso."""

    has_owners = False

    @functools.cached_property
    def _command(self) -> t.List[str]:
        file = _own_file(self.place, self._temporary_directory)
        self.runner = self.runner.reading(file)
        # Nothing of a file's name is a pattern.
        return [find_tool("xorriso"), "-iso_rr_pattern", "off", "-osirrox", "on", "-indev", f"stdio:{file}"]

    def _list(self) -> t.Iterable[Entry]:
        command = [*self._command, "-find", "/", "-exec", "lsdl"]
        done = self.runner.run(command, log_output=False, what="Reading the ISO")
        for match in _ISO_LINE.finditer(done.stdout.decode("utf-8", errors="surrogateescape")):
            kind, path = _LISTED_KINDS[match["mode"]], _unquoted(match["path"])
            if path == "/":
                continue
            target = _unquoted(match["target"] or "''")
            size = int(match["size"]) if kind == "file" else len(os.fsencode(target))
            yield Entry(path, kind, -1, -1, -1, size, target)

    def _read_files(self, files: t.Sequence[Entry], sink: t.Callable[[Entry, bytes], None]) -> None:
        for begin in range(0, len(files), _FILES_AT_ONCE):
            chosen = files[begin : begin + _FILES_AT_ONCE]
            command = [*self._command, "-concat", "overwrite", "-", *(file.path for file in chosen)]
            process = self.runner.start(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            with process:
                split = _Split(process, "xorriso")
                for file in chosen:
                    split.hand_on(file, sink)


def _unquoted(word: str) -> str:
    return word[1:-1].replace("""'"'"'""", "'")


class ErofsReader(ExtractedReader):
    """erofs, by fsck.erofs; what is in it is read from the inodes, as nobody can take out devices and owners."""

    @functools.cached_property
    def content_size(self) -> int:
        # Names and the ends of files take whole pages, too.
        return sum(entry.size + _PAGE for entry in self.entries.values())

    def extract(self, directory: str, runner: ParserSandbox) -> None:
        source = _own_file(self.place, self._temporary_directory)
        runner.reading(source).run(
            [find_tool("fsck.erofs"), f"--extract={directory}", "--overwrite", "--no-preserve", source],
            log_output=False,
            what="Reading an erofs file system",
        )

    def _list(self) -> t.Iterable[Entry]:
        for path, inode in read_inodes(self.place.raw, self.place.offset, self.place.size).items():
            kind, mode = _KINDS.get(stat.S_IFMT(inode.mode)), stat.S_IMODE(inode.mode)
            if kind is None:
                raise CommandError(f"The erofs file system is damaged: {path} is of no kind.")
            yield Entry(path, kind, mode, inode.uid, inode.gid, inode.size, inode.target)


def _own_file(place: Place, make_directory: t.Callable[[], str]) -> str:
    """Return a file that holds the file system alone, for programs that know no offset."""
    if not place.offset:
        return place.raw
    path = os.path.join(make_directory(), "volume")
    copy_out(place.raw, place.offset, place.size, path)
    os.chmod(path, 0o644)
    return path


# blkid's names of the file systems that can be read -> their readers.
_READERS: t.Mapping[str, t.Type[FileReader]] = {
    "ext2": ExtReader,
    "ext3": ExtReader,
    "ext4": ExtReader,
    "squashfs": SquashfsReader,
    "vfat": FatReader,
    "iso9660": IsoReader,
    "erofs": ErofsReader,
}


def reader_for(name: str) -> t.Type[FileReader] | None:
    """Return the class that reads a file system, by blkid's name for it; V(None) when none can."""
    return _READERS.get(name)


__all__ = ("Entry", "FileReader", "Place", "reader_for")
