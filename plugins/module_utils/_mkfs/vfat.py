# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""FAT, made and filled without a mount, the same bytes on every run."""

from __future__ import annotations

import itertools
import os
import stat
import struct
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool
from ansible_collections.os_image.composer.plugins.module_utils._errors import CommandError, DiskError
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.vfat import NO_LABEL, Fat16, Fat32, Vfat
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.maker import Maker
from ansible_collections.os_image.composer.plugins.module_utils._mkfs.volume import Source, Volume, too_small
from ansible_collections.os_image.composer.plugins.module_utils._size import MIB, show_size
from ansible_collections.os_image.composer.plugins.module_utils._sparse import copy_into

# Fewer clusters are FAT16 for every reader, whatever the boot sector says.
_LEAST_FAT32_CLUSTERS = 65525
# As many clusters of one sector as FAT16 can count.
_BIGGEST_FAT16_OF_SECTORS = 31 * MIB

# From the FAT specification; control characters are refused as well.
_FORBIDDEN = frozenset('"*/:<>?\\|')
# Names of devices, with which mcopy ends without a word.
_RESERVED = frozenset(
    ("AUX", "CLOCK$", "CON", "NUL", "PRN", *(f"{port}{n}" for port in ("COM", "LPT") for n in "1234"))
)

# Bytes; the directory entry counts them in 32 bits.
_BIGGEST_FILE = (1 << 32) - 1

# Files for one call of mcopy; far below what a command line holds.
_BATCH = 200


class VfatMaker(Maker):
    """Makes FAT16 and FAT32."""

    fs: Vfat

    def write(self, volume: Volume, source: Source, runner: CommandRunner) -> None:
        self._check_size(volume)
        files = _list_files(volume, source)
        path = volume.scratch_file("vfat")
        with open(path, "xb") as stream:
            stream.truncate(volume.size)
        # mtools needs a locale to know what a file name's bytes mean; the time is the one of SOURCE_DATE_EPOCH.
        runner = runner.with_environment(
            {
                "SOURCE_DATE_EPOCH": str(volume.epoch),
                "LC_ALL": "C.UTF-8",
                "MTOOLS_SKIP_CHECK": "1",
                "MTOOLSRC": os.devnull,
            }
        )
        what = f"the FAT file system on the partition {volume.name!r}"
        # --invariant fixes the times, and brings a serial number that -i behind it replaces.
        command = [find_tool("mkfs.vfat"), "--invariant", "-F", str(self.fs.width)]
        label = self.fs.stored_label(volume.label) or NO_LABEL
        if self.fs.width == 16 and volume.size <= _BIGGEST_FAT16_OF_SECTORS:
            command += ["-s", "1"]
        command += ["-i", volume.identifier.replace("-", ""), "-n", label, *volume.options, path]
        runner.run(command, what=f"Making {what}")
        _check_clusters(path, self.fs.width, volume)
        try:
            _fill(path, files, runner, what=f"Filling {what}")
        except CommandError as exc:
            raise _explained(exc, volume, source) from exc
        copy_into(path, volume.image, volume.offset)
        os.unlink(path)

    def _check_size(self, volume: Volume) -> None:
        kind, least = f"FAT{self.fs.width}", self.fs.least_size
        if volume.size < least:
            instead = "" if isinstance(self.fs, Fat16) else f", or set its fsType to {Fat16.names[0]}"
            raise DiskError(
                f"The partition {volume.name!r} has {show_size(volume.size)}, but {kind} needs at least "
                f"{show_size(least)}.",
                remedy=f"Enlarge the partition{instead}.",
            )
        if isinstance(self.fs, Fat16) and volume.size > self.fs.biggest_size:
            raise DiskError(
                f"The partition {volume.name!r} has {show_size(volume.size)}, but {kind} ends at "
                f"{show_size(self.fs.biggest_size)}.",
                remedy=f"Set its fsType to {Fat32.names[0]}.",
            )


def _check_clusters(path: str, width: int, volume: Volume) -> None:
    """Check that every reader takes the file system for what it was made as: the number of clusters alone tells.

    Offsets: "BIOS Parameter Block" of the FAT specification, which also has the formula.

    :raises DiskError: mkfsOptions ask for clusters that are too large.
    """
    with open(path, "rb") as stream:
        sector = stream.read(64)
    sector_size, cluster, reserved, tables, entries, short_total = struct.unpack_from("<HBHBHH", sector, 11)
    short_table, total, table = struct.unpack_from("<H8xII", sector, 22)
    root = -(-entries * 32 // sector_size)
    data = (short_total or total) - reserved - tables * (short_table or table) - root
    clusters = data // cluster
    least, most = (_LEAST_FAT32_CLUSTERS, 0x0FFFFFF5) if width == 32 else (4085, _LEAST_FAT32_CLUSTERS - 1)
    if not least <= clusters <= most:
        raise DiskError(
            f"The partition {volume.name!r} would have {clusters} clusters of {cluster * sector_size} bytes, but FAT"
            f"{width} has from {least} to {most}.",
            remedy="Change -s of its mkfsOptions, or leave it out.",
        )


def name_problem(name: str) -> str | None:
    """Tell in words why FAT cannot hold a file name; V(None) when it can."""
    if any(char in _FORBIDDEN or ord(char) < 32 for char in name):
        return "it has a character that FAT does not allow"
    if any(0xD800 <= ord(char) <= 0xDFFF for char in name):
        return "it is not UTF-8"
    if any(ord(char) > 0xFFFF for char in name):
        return "it has a character beyond U+FFFF, which mtools does not write"
    if name.upper() in _RESERVED:
        return "DOS reserves it for a device"
    if name.endswith((".", " ")):
        return "it ends with a full stop or a blank"
    return "it is longer than 255 characters" if len(name) > 255 else None


def _list_files(volume: Volume, source: Source) -> t.Dict[str, str | None]:
    """Return everything that goes into the file system: path -> file on the host, or V(None) for a directory."""
    listed: t.Dict[str, str | None] = {}
    if source.directory is not None:
        listed.update(_tree_files(volume, source.directory))
    _add_files(listed, source.files)
    _check_files(volume, listed)
    return listed


def _tree_files(volume: Volume, directory: str) -> t.Iterator[t.Tuple[str, str | None]]:
    """Yield what a directory holds.

    :raises DiskError: FAT cannot hold something of it.
    """
    owned = any(word.startswith(("uid=", "gid=")) for word in volume.mount_options)
    for parent, directories, names in os.walk(directory):
        directories.sort()
        relative = os.path.relpath(parent, directory)
        prefix = "" if relative == "." else relative + "/"
        for name in [*directories, *names]:
            path = os.path.join(parent, name)
            status = os.lstat(path)
            is_file = stat.S_ISREG(status.st_mode)
            if not is_file and not stat.S_ISDIR(status.st_mode):
                raise DiskError(
                    f"FAT cannot hold {prefix + name!r} of the partition {volume.name!r}, which is neither a file "
                    "nor a directory.",
                    remedy="Remove it from the tree, or give the partition another fsType.",
                )
            if (status.st_uid or status.st_gid) and not owned:
                raise DiskError(
                    f"FAT keeps no owners, but {prefix + name!r} of the partition {volume.name!r} belongs to the "
                    f"user {status.st_uid} and the group {status.st_gid}.",
                    remedy="Give the partition another fsType, or say by uid= and gid= in its mountOptions who "
                    "owns all its files.",
                )
            yield prefix + name, path if is_file else None


def _add_files(listed: t.Dict[str, str | None], files: t.Mapping[str, str]) -> None:
    """Add more files, and the directories that they need, in place of what has the same name."""
    # FAT takes upper and lower case for the same, and keeps the spelling of what came first.
    spelled = {path.upper(): path for path in listed}
    for path, host_path in files.items():
        for parent in _parents(path):
            if parent.upper() not in spelled:
                spelled[parent.upper()] = parent
                listed[parent] = None
        # A package may have put a bootloader of its own where the one goes that is asked for.
        if listed.get(spelled.get(path.upper(), "")) is not None:
            del listed[spelled[path.upper()]]
        listed[path] = host_path


def _check_files(volume: Volume, listed: t.Mapping[str, str | None]) -> None:
    """Check that FAT can hold all names, tell them from each other, and hold what they stand for.

    :raises DiskError: It cannot.
    """
    seen: t.Dict[str, str] = {}
    for path, file in sorted(listed.items()):
        problem = name_problem(os.path.basename(path))
        other = seen.setdefault(path.upper(), path)
        if other != path:
            problem = f"{other!r} differs from it only in upper and lower case"
        if problem:
            raise DiskError(
                f"The name {path!r} cannot be used on the partition {volume.name!r}: {problem}.",
                remedy="Rename the file.",
            )
        size = os.path.getsize(file) if file else 0
        if size > _BIGGEST_FILE:
            # mcopy leaves it out, and ends with status 0.
            raise DiskError(
                f"The file {path!r} of the partition {volume.name!r} has {show_size(size)}, but FAT ends at 4 GiB.",
                remedy="Give the partition another fsType, or make the file smaller.",
            )


def _explained(exc: CommandError, volume: Volume, source: Source) -> DiskError | CommandError:
    """Say in the template's words what mtools says."""
    if "Disk full" in str(exc):
        return too_small(volume, 0, source.usage)
    if "No directory slots" not in str(exc):
        return exc
    return DiskError(
        f"The uppermost directory of the partition {volume.name!r} is full: with FAT16 it has a fixed number of "
        "entries (usually 512), of which each file takes one, and one more for every 13 characters of a long name.",
        remedy="Set its fsType to fat32, put the files into a directory, or enlarge it by -r in mkfsOptions.",
    )


def _parents(path: str) -> t.List[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _fill(image: str, files: t.Mapping[str, str | None], runner: CommandRunner, *, what: str) -> None:
    # Sorted: the order of directory entries and clusters must not depend on the build host's file system.
    directories = sorted(path for path, host_path in files.items() if host_path is None)
    for batch in _batches(directories):
        runner.run([find_tool("mmd"), "-i", image, *map(_target, batch)], what=what)
    mcopy = find_tool("mcopy")
    regular = sorted((os.path.dirname(path), path) for path, host_path in files.items() if host_path is not None)
    for directory, group in itertools.groupby(regular, key=lambda item: item[0]):
        paths = [path for _directory, path in group]
        same_name = [path for path in paths if os.path.basename(path) == os.path.basename(files[path] or "")]
        for path in paths:
            if path not in same_name:
                runner.run([mcopy, "-i", image, str(files[path]), _target(path)], what=what)
        for batch in _batches(same_name):
            runner.run(
                [mcopy, "-i", image, *(str(files[path]) for path in batch), f"::/{_quoted(directory)}"], what=what
            )


def _target(path: str) -> str:
    """Return how mtools is told to make something."""
    directory, name = os.path.split(path)
    return f"::/{_quoted(directory)}/{name}" if directory else f"::/{name}"


def _quoted(directory: str) -> str:
    """Keep mtools from taking the name of a directory that exists for a pattern."""
    return directory.replace("[", "[[]")


def _batches(items: t.Sequence[str]) -> t.Iterator[t.Sequence[str]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]


__all__ = (
    "VfatMaker",
    "name_problem",
)
