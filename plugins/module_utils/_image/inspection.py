# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""An image, looked at without mounting it: its partitions, file systems, boot chain, packages."""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import functools
import os
import re
import tempfile
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._artifact.sbom_documents import (
    CYCLONEDX,
    DIRECTORY,
    SPDX,
)
from ansible_collections.os_image.composer.plugins.module_utils._command import find_tool
from ansible_collections.os_image.composer.plugins.module_utils._errors import CommandError
from ansible_collections.os_image.composer.plugins.module_utils._image.boot_entry import (
    BootEntry,
    grub_entries,
    loader_entry,
    uki_entry,
)
from ansible_collections.os_image.composer.plugins.module_utils._image.efi import (
    EfiProgram,
    parse_os_release,
    read_program,
)
from ansible_collections.os_image.composer.plugins.module_utils._image.packages import Package, read_packages
from ansible_collections.os_image.composer.plugins.module_utils._image.reader import FileReader, Place, reader_for
from ansible_collections.os_image.composer.plugins.module_utils._image.root_hash_signature import (
    holds_signature,
    read_signature,
    signature_facts,
)
from ansible_collections.os_image.composer.plugins.module_utils._image.sandbox import ParserSandbox
from ansible_collections.os_image.composer.plugins.module_utils._image.source import ImageSource, open_image
from ansible_collections.os_image.composer.plugins.module_utils._image.table import (
    PartitionTable,
    TablePartition,
    lost_gpt,
    read_table,
)
from ansible_collections.os_image.composer.plugins.module_utils._image.verity import (
    VeritySuperblock,
    read_superblock,
    root_hashes,
    verity_facts,
)
from ansible_collections.os_image.composer.plugins.module_utils._io import parse_json, sha256_bytes
from ansible_collections.os_image.composer.plugins.module_utils._partition_type import PARTITION_TYPES

# What UEFI starts of a disk when nobody has told it what: UEFI specification, "Removable Media Boot Behavior".
_FALLBACK = re.compile(r"/efi/boot/boot[a-z0-9]+\.efi\Z", re.IGNORECASE)
_OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")
_GRUB_DIRECTORIES = ("/boot/grub", "/boot/grub2", "/grub", "/grub2")
# Where live systems keep their root file system in an ISO.
_LIVE_ROOTS = ("/live/*.squashfs", "/casper/*.squashfs", "/LiveOS/squashfs.img", "/LiveOS/*.img")
# The beginning of a file system that has all that it is known by.
_SUPERBLOCKS = 72 << 10
# Partitions of these types have a file system that firmware or the kernel reads without anything else.
_WITH_FILES = tuple(
    PARTITION_TYPES[name] for name in ("esp", "xbootldr", "root-x86-64", "root-arm64", "usr-x86-64", "usr-arm64")
)
#: What blkid finds and has no files in it.
WITHOUT_FILES = ("swap", "DM_verity_hash")


@dataclasses.dataclass(frozen=True)
class FileSystemFacts:
    """What blkid knows of a file system."""

    type: str
    label: str
    uuid: str
    version: str


@dataclasses.dataclass(frozen=True)
class Volume:
    """A file system, or where none is, a partition without one.

    :ivar name: What people call it: C(partition 2), C(the whole image), or its path in an ISO.
    :ivar partition: V(None) when it is not on a partition.
    :ivar file_system: V(None) when there is none.
    :ivar reader: V(None) when its files cannot be read.
    """

    name: str
    place: Place
    partition: TablePartition | None
    file_system: FileSystemFacts | None
    reader: FileReader | None

    @property
    def number(self) -> int | None:
        """The number of the partition."""
        return self.partition.number if self.partition else None


def probe_file_system(place: Place, runner: ParserSandbox) -> FileSystemFacts | None:
    """Return what lies in a part of a disk; V(None) when blkid knows nothing of it."""
    command = [find_tool("blkid"), "-p", "-o", "export", "-O", str(place.offset)]
    done = runner.reading(place.raw).run([*command, "-S", str(place.size), place.raw], check=False)
    fields = dict(line.split("=", 1) for line in done.text.splitlines() if "=" in line)
    if done.rc != 0 or "TYPE" not in fields:
        return None
    # blkid puts a backslash before blanks.
    label = fields.get("LABEL", "").replace("\\", "")
    return FileSystemFacts(fields["TYPE"], label, fields.get("UUID", "").lower(), fields.get("VERSION", ""))


class Inspection:
    """One image.

    :ivar notes: What cannot be known, in full sentences.
    """

    def __init__(
        self, source: ImageSource, *, temp_dir: str, runner: ParserSandbox, stack: contextlib.ExitStack
    ) -> None:
        self.source = source
        self.notes: t.List[str] = []
        self._temp_dir = temp_dir
        self._runner = runner
        self._stack = stack

    @functools.cached_property
    def table(self) -> PartitionTable | None:
        """The partition table."""
        table = read_table(self.source.raw, self._runner)
        note = lost_gpt(self.source.raw, table)
        if note:
            self.notes.append(note)
        return table

    @functools.cached_property
    def volumes(self) -> t.Sequence[Volume]:
        """All partitions, and file systems that are on none."""
        volumes = []
        whole = Place(self.source.raw, 0, self.source.virtual_size, self._temp_dir)
        # The boot sector of FAT looks like an empty table.
        if self.source.format == "iso" or self.table is None or not self.table.partitions:
            volumes.append(self._volume("the whole image", whole, None))
        if self.table is not None:
            for partition in self.table.partitions:
                size = max(0, min(partition.size, whole.size - partition.start))
                if size < partition.size:
                    self.notes.append(
                        f"Partition {partition.number} ends behind the end of the image, which is cut off or damaged."
                    )
                place = dataclasses.replace(whole, offset=partition.start, size=size)
                volumes.append(self._volume(f"partition {partition.number}", place, partition))
        if self.source.format == "iso":
            # The first partition of a hybrid ISO is often the ISO itself.
            volumes = [
                volume
                for volume in volumes
                if volume.partition is None or not volume.file_system or volume.file_system.type != "iso9660"
            ]
            volumes += self._live_volumes(volumes[0])
        return volumes

    def _volume(self, name: str, place: Place, partition: TablePartition | None) -> Volume:
        facts = probe_file_system(place, self._runner) if place.size else None
        if facts is None:
            self._explain_unknown(name, place, partition)
        kind = reader_for(facts.type) if facts else None
        reader = None
        if kind is not None:
            place = dataclasses.replace(place, name=f"{name} of {self.source.path}")
            reader = kind(place, self._runner)
            self._stack.callback(reader.close)
        elif facts is not None and facts.type not in WITHOUT_FILES:
            self.notes.append(
                f"The file system {facts.type} on {name} cannot be read without mounting it. What is in it is unknown."
            )
        return Volume(name, place, partition, facts, reader)

    def _explain_unknown(self, name: str, place: Place, partition: TablePartition | None) -> None:
        """Say what it means that no file system is known where one could be.

        :raises CommandError: There has to be one.
        """
        with open(place.raw, "rb") as stream:
            stream.seek(place.offset)
            begin = stream.read(min(place.size, _SUPERBLOCKS))
        if not begin.strip(b"\0"):
            return
        if partition is None:
            self.notes.append("The image has neither a partition table nor a file system that is known.")
        elif partition.type in _WITH_FILES:
            raise CommandError(
                f"The file system on {name} of {self.source.path} cannot be read: it is none that is known, although "
                f"the partition has the type {partition.type_name}.",
                remedy="Its superblock is damaged; get or build the image again.",
            )

    def _live_volumes(self, iso: Volume) -> t.Iterator[Volume]:
        if iso.reader is None:
            return
        for path, entry in iso.reader.entries.items():
            if entry.kind == "file" and any(fnmatch.fnmatchcase(path, pattern) for pattern in _LIVE_ROOTS):
                file = os.path.join(self._directory(), "live")
                iso.reader.save(path, file)
                yield self._volume(path, Place(file, 0, entry.size, self._temp_dir), None)

    def _directory(self) -> str:
        return self._stack.enter_context(tempfile.TemporaryDirectory(dir=self._temp_dir, prefix=".image-"))

    @functools.cached_property
    def root(self) -> Volume | None:
        """The volume that has the operating system."""
        for volume in self.volumes:
            if volume.reader is not None and any(volume.reader.find(path) for path in _OS_RELEASE):
                return volume
        return None

    @functools.cached_property
    def mounts(self) -> t.Mapping[str, Volume]:
        """The volumes that are mounted when the image runs, by their mount points; fstab tells them."""
        if self.root is None or self.root.reader is None:
            return {}
        mounts = {"/": self.root}
        names: t.Dict[str, Volume] = {}
        for volume in self.volumes:
            if volume.partition is not None:
                names[f"PARTUUID={volume.partition.uuid}"] = volume
                names[f"PARTLABEL={volume.partition.name}"] = volume
            if volume.file_system is not None:
                names[f"UUID={volume.file_system.uuid}"] = volume
                names[f"LABEL={volume.file_system.label}"] = volume
        for line in (self.root.reader.read("/etc/fstab") or b"").decode("utf-8", errors="replace").splitlines():
            fields = line.split()
            if len(fields) >= 3 and fields[1].startswith("/") and fields[1] != "/":
                tag, _equals, value = fields[0].partition("=")
                value = value.strip('"')
                mounted = names.get(f"{tag}={value.lower() if tag.endswith('UUID') else value}")
                if mounted is not None:
                    mounts[fields[1].rstrip("/")] = mounted
        return mounts

    def read(self, path: str) -> bytes | None:
        """Return a file of the running system by its absolute path; V(None) when there is none."""
        where = self._where(path)
        return where[0].read(where[1]) if where else None

    def names(self, directory: str) -> t.List[str]:
        """Return the names in a directory of the running system."""
        where = self._where(directory)
        return where[0].names(where[1]) if where else []

    def _where(self, path: str) -> t.Tuple[FileReader, str] | None:
        for mount in sorted(self.mounts, key=len, reverse=True):
            if path == mount or path.startswith(mount.rstrip("/") + "/"):
                reader = self.mounts[mount].reader
                return (reader, path[len(mount.rstrip("/")) :] or "/") if reader else None
        return None

    @functools.cached_property
    def os_release(self) -> t.Mapping[str, str]:
        """The fields of os-release(5)."""
        for path in _OS_RELEASE:
            data = self.read(path)
            if data:
                return parse_os_release(data.decode("utf-8", errors="replace"))
        return {}

    @functools.cached_property
    def packages(self) -> t.Sequence[Package]:
        """The installed packages."""
        packages, note = read_packages(self, temp_dir=self._temp_dir, runner=self._runner)
        if note:
            self.notes.append(note)
        return packages

    @functools.cached_property
    def sboms(self) -> t.Sequence[t.Mapping[str, t.Any]]:
        """The bills of materials inside the image."""
        found = []
        for name in self.names(DIRECTORY):
            data = self.read(f"{DIRECTORY}/{name}")
            kind = "spdx" if name.endswith(SPDX) else "cyclonedx" if name.endswith(CYCLONEDX) else ""
            if data is None or not kind:
                continue
            try:
                document = parse_json(data)
                count = len(document.get("packages" if kind == "spdx" else "components", ()))
            except (ValueError, AttributeError, TypeError):
                self.notes.append(f"The bill of materials {DIRECTORY}/{name} is no JSON document.")
                count = 0
            found.append(
                {
                    "path": f"{DIRECTORY}/{name}",
                    "format": kind,
                    "size": len(data),
                    "sha256": sha256_bytes(data),
                    # The image itself is the first package of an SPDX document.
                    "packages": max(0, count - 1) if kind == "spdx" else count,
                }
            )
        return found

    @functools.cached_property
    def efi_programs(self) -> t.Sequence[EfiProgram]:
        """The EFI programs on FAT file systems and in the ISO."""
        programs = []
        for volume in self._firmware_volumes():
            reader = t.cast(FileReader, volume.reader)
            for path, entry in reader.entries.items():
                if entry.kind == "file" and path.lower().endswith(".efi"):
                    file = os.path.join(self._directory(), "program.efi")
                    reader.save(path, file)
                    programs.append(read_program(file, path, volume.number, self._runner))
                    os.unlink(file)
        return programs

    def _firmware_volumes(self) -> t.List[Volume]:
        """The volumes that firmware reads."""
        kinds = ("vfat", "iso9660")
        return [
            volume
            for volume in self.volumes
            if volume.reader and volume.file_system and volume.file_system.type in kinds
        ]

    @functools.cached_property
    def boot_entries(self) -> t.Sequence[BootEntry]:
        """What the bootloaders can start."""
        entries: t.List[BootEntry] = []
        for volume in self.volumes:
            if volume.reader is None:
                continue
            names = volume.reader.names("/loader/entries")
            for path in (f"/loader/entries/{name}" for name in names if name.endswith(".conf")):
                entries.append(loader_entry(_text(volume.reader.read(path)), path, volume.number))
            for path in self._grub_configurations(volume):
                entries += grub_entries(_text(volume.reader.read(path)), path, volume.number)
        entries += [uki_entry(program) for program in self.efi_programs if program.is_uki]
        return entries

    def _grub_configurations(self, volume: Volume) -> t.List[str]:
        reader = t.cast(FileReader, volume.reader)
        paths = [f"{directory}/grub.cfg" for directory in _GRUB_DIRECTORIES]
        if volume in self._firmware_volumes():
            paths += [path for path in reader.entries if path.lower().endswith("/grub.cfg")]
        return [path for path in dict.fromkeys(paths) if path in reader.entries]

    @property
    def firmware(self) -> t.List[str]:
        """The kinds of firmware that find something to start: V(bios), V(uefi)."""
        with open(self.source.raw, "rb") as stream:
            sector = stream.read(512)
        has_code = sector[510:] == b"\x55\xaa" and any(sector[:440])
        is_found = any(_FALLBACK.match(program.path) for program in self.efi_programs)
        return [*(["bios"] if has_code else []), *(["uefi"] if is_found else [])]

    @functools.cached_property
    def superblocks(self) -> t.Sequence[VeritySuperblock]:
        """The superblocks of dm-verity."""
        partitions = self.table.partitions if self.table else ()
        found = (read_superblock(self.source.raw, partition) for partition in partitions)
        return [superblock for superblock in found if superblock is not None]

    @functools.cached_property
    def verity(self) -> t.Dict[str, t.Any] | None:
        """What is known of dm-verity; V(None) when nothing of it is there."""
        cmdlines = [entry.cmdline for entry in self.boot_entries]
        partitions = self.table.partitions if self.table else ()
        return verity_facts(
            self.superblocks, cmdlines, partitions, self.source.raw, self._root_hash_signatures(cmdlines)
        )

    def _root_hash_signatures(self, cmdlines: t.Sequence[str]) -> t.List[t.Dict[str, t.Any]]:
        demanded = [root_hash for _target, root_hash in root_hashes(cmdlines)]
        signatures = []
        for partition in self.table.partitions if self.table else ():
            if holds_signature(partition):
                signature = read_signature(self.source.raw, partition)
                if signature is None:
                    self.notes.append(
                        f"The partition {partition.number} is for the signature of a root hash, and holds none that "
                        "can be read."
                    )
                else:
                    signatures.append(signature_facts(signature, demanded, self._directory(), self._runner))
        return signatures

    def as_facts(self) -> t.Dict[str, t.Any]:
        """Return everything that is known."""
        partitions = []
        for volume in self.volumes:
            facts: t.Dict[str, t.Any] = volume.partition.as_facts() if volume.partition else {"number": None}
            facts["name"] = volume.partition.name if volume.partition else volume.name
            if not volume.partition:
                facts.update({"start": volume.place.offset, "size": volume.place.size})
            facts["file_system"] = dataclasses.asdict(volume.file_system) if volume.file_system else None
            facts["mount_point"] = next((path for path, other in self.mounts.items() if other is volume), "")
            partitions.append(facts)
        result: t.Dict[str, t.Any] = {
            "image": self.source.as_facts(),
            "partition_table": self.table.as_facts() if self.table else None,
            "partitions": partitions,
            "firmware": self.firmware,
            "efi_programs": [program.as_facts() for program in self.efi_programs],
            "boot_entries": [entry.as_facts() for entry in self.boot_entries],
            "verity": self.verity,
            "os_release": dict(self.os_release),
            "package_count": len(self.packages),
            "packages": list(self.packages),
            "sboms": [dict(item) for item in self.sboms],
            "iso": self._iso_facts(),
        }
        # Only now everything has been looked at.
        result["notes"] = list(self.notes)
        return result

    def _iso_facts(self) -> t.Dict[str, t.Any] | None:
        if self.source.format != "iso":
            return None
        reader = self.volumes[0].reader
        files = [entry for entry in reader.entries.values() if entry.kind == "file"] if reader else []
        xorriso = find_tool("xorriso")
        command = [xorriso, "-indev", f"stdio:{self.source.raw}"]
        done = self._runner.reading(self.source.raw).run([*command, "-report_el_torito", "cmd"], check=False)
        return {
            # In the words of the commands that would make it so again.
            "boot": [line.strip() for line in done.text.splitlines() if line.startswith(("-boot_image", "-volid"))],
            "file_count": len(files),
            "files": [{"path": entry.path, "size": entry.size} for entry in files],
        }


def _text(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", errors="replace")


@contextlib.contextmanager
def inspect_image(path: str, *, temp_dir: str, runner: ParserSandbox | None = None) -> t.Iterator[Inspection]:
    """Look at an image while the block runs.

    :param temp_dir: Where temporary files may lie; it must have room for what is in the image when that is not raw.
    :raises ComposerError: The image cannot be read.
    """
    runner = runner or ParserSandbox()
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(open_image(path, temp_dir=temp_dir, runner=runner))
        yield Inspection(source, temp_dir=temp_dir, runner=runner, stack=stack)


__all__ = ("WITHOUT_FILES", "FileSystemFacts", "Inspection", "Volume", "inspect_image", "probe_file_system")
