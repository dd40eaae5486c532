# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The comparison of two images: whether they are the same, and if not, where they differ."""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import hashlib
import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._artifact.sbom_documents import DIRECTORY
from ansible_collections.os_image.composer.plugins.module_utils._bootloader import GRUB
from ansible_collections.os_image.composer.plugins.module_utils._image.boot_entry import BootEntry
from ansible_collections.os_image.composer.plugins.module_utils._image.difference import (
    CHANGED,
    Difference,
    change_of,
    pairs,
)
from ansible_collections.os_image.composer.plugins.module_utils._image.efi import EfiProgram
from ansible_collections.os_image.composer.plugins.module_utils._image.identifiers import Identifiers, sbom_content
from ansible_collections.os_image.composer.plugins.module_utils._image.inspection import (
    WITHOUT_FILES,
    Inspection,
    Volume,
)
from ansible_collections.os_image.composer.plugins.module_utils._image.reader import Entry, FileReader
from ansible_collections.os_image.composer.plugins.module_utils._sparse import CELL, extents, sha256_sparse

IDENTICAL, EQUIVALENT, DIFFERENT = "identical", "equivalent", "different"

#: Files of a running system that are not the same in two builds of one image, or on two machines.
VOLATILE_FILES: t.Tuple[str, ...] = (
    "/boot/efi/loader/random-seed",
    "/efi/loader/random-seed",
    "/etc/machine-id",
    "/etc/ssh/ssh_host_*_key",
    "/etc/ssh/ssh_host_*_key.pub",
    "/var/cache/ldconfig/aux-cache",
    "/var/lib/dbus/machine-id",
    "/var/lib/systemd/credential.secret",
    "/var/lib/systemd/random-seed",
    "/var/log/*",
)

# Texts beyond that are not looked at for identifiers.
_LONGEST_TEXT = 4 << 20
# Of an MBR, what is in front of the disk's identifier and the table.
_BOOT_CODE = 440


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What came out.

    :ivar differences: By subject: C(image), C(partitions), C(files), C(packages), C(boot).
    """

    verdict: str
    differences: t.Mapping[str, t.Sequence[Difference]]
    notes: t.Sequence[str]

    @property
    def in_words(self) -> str:
        """The verdict as a sentence."""
        if self.verdict == IDENTICAL:
            return "The images hold the same disk, byte for byte."
        is_different = self.verdict == DIFFERENT
        counted = [
            f"{subject} {sum(item.volatile is not is_different for item in found)}"
            for subject, found in self.differences.items()
            if any(item.volatile is not is_different for item in found)
        ]
        begin = "The images differ" if is_different else "The images are the same but for volatile fields"
        return f"{begin}: {', '.join(counted)}."

    def as_facts(self) -> t.Dict[str, t.Any]:
        """Return the form of results."""
        return {
            "verdict": self.verdict,
            "counts": {
                subject: {
                    "volatile": sum(difference.volatile for difference in found),
                    "other": sum(not difference.volatile for difference in found),
                }
                for subject, found in self.differences.items()
            },
            "differences": {
                # What matters first: a list that is too long is cut at its end.
                subject: [item.as_facts() for item in sorted(found, key=lambda item: (item.volatile, item.where))]
                for subject, found in self.differences.items()
            },
            "notes": list(self.notes),
        }


def compare_images(
    first: Inspection, second: Inspection, *, volatile_files: t.Sequence[str] = VOLATILE_FILES
) -> Comparison:
    """Compare two images.

    :param volatile_files: Patterns of paths in the running system whose content, or whose presence, does not count.
    :raises ComposerError: One of them cannot be read.
    """
    return _Comparer(first, second, volatile_files).compare()


class _Comparer:
    def __init__(self, first: Inspection, second: Inspection, volatile_files: t.Sequence[str]) -> None:
        self._first = first
        self._second = second
        self._volatile_files = volatile_files
        self._differences: t.Dict[str, t.List[Difference]] = {
            subject: [] for subject in ("image", "partitions", "files", "packages", "boot")
        }

    def compare(self) -> Comparison:
        if sha256_sparse(self._first.source.raw) == sha256_sparse(self._second.source.raw):
            return Comparison(IDENTICAL, self._differences, ())
        self._compare_image()
        self._compare_packages()
        self._compare_boot()
        for _name, one, other in pairs(_by_place(self._first.volumes), _by_place(self._second.volumes)):
            self._compare_volumes(one, other)
        found = [item for items in self._differences.values() for item in items]
        if not found:
            # Between partitions, in the copy of the table.
            self._add("image", Difference("unused space", CHANGED, ("content",), volatile=True))
        verdict = EQUIVALENT if all(item.volatile for item in found) else DIFFERENT
        notes = dict.fromkeys(
            [f"First image: {note}" for note in self._first.notes]
            + [f"Second image: {note}" for note in self._second.notes]
        )
        return Comparison(verdict, self._differences, list(notes))

    @functools.cached_property
    def _identifiers(self) -> t.Tuple[Identifiers, Identifiers]:
        return Identifiers(self._first), Identifiers(self._second)

    def _add(self, subject: str, difference: Difference) -> None:
        self._differences[subject].append(difference)

    def _same_text(self, one: str, other: str) -> bool:
        """Tell whether texts are the same but for identifiers."""
        first, second = self._identifiers
        return first.replace(one) == second.replace(other)

    # --- the image and its partitions ---

    def _compare_image(self) -> None:
        sizes = self._first.source.virtual_size, self._second.source.virtual_size
        if sizes[0] != sizes[1]:
            self._add("image", Difference("disk", CHANGED, ("size",), before=sizes[0], after=sizes[1]))
        tables = self._first.table, self._second.table
        if tables[0] is not None and tables[1] is not None:
            for aspect in ("type", "sector_size", "id"):
                before, after = getattr(tables[0], aspect), getattr(tables[1], aspect)
                if before != after:
                    volatile = aspect == "id"
                    self._add("image", Difference("partition table", CHANGED, (aspect,), volatile, before, after))
        elif tables[0] is not tables[1]:
            self._add("image", Difference("partition table", change_of(*tables)))
        codes = [_boot_code(image) for image in (self._first, self._second)]
        if codes[0] != codes[1]:
            self._add("boot", Difference("boot code before the first partition", CHANGED, ("content",)))

    def _compare_volumes(self, one: Volume | None, other: Volume | None) -> None:
        name = (one or t.cast(Volume, other)).name
        if one is None or other is None:
            before, after = (volume and _described(volume) for volume in (one, other))
            self._add("partitions", Difference(name, change_of(one, other), before=before, after=after))
            return
        facts = _volume_facts(one), _volume_facts(other)
        for aspect, before in facts[0].items():
            after = facts[1][aspect]
            if before != after:
                volatile = aspect in ("uuid", "file system uuid")
                self._add("partitions", Difference(name, CHANGED, (aspect,), volatile, before, after))
        if _range_digest(one) == _range_digest(other):
            return
        before_count = len(self._differences["files"])
        kinds = [volume.file_system.type if volume.file_system else "" for volume in (one, other)]
        if one.reader is not None and other.reader is not None:
            self._compare_files(one, other)
            if len(self._differences["files"]) == before_count:
                # Times, the order of files, free space.
                self._add("partitions", Difference(name, CHANGED, ("file system's own data",), volatile=True))
        else:
            # Their content follows from that of other partitions, or there is none.
            volatile = kinds[0] == kinds[1] and kinds[0] in WITHOUT_FILES
            self._add("partitions", Difference(name, CHANGED, ("content",), volatile))

    # --- files ---

    def _compare_files(self, one: Volume, other: Volume) -> None:
        readers = t.cast(FileReader, one.reader), t.cast(FileReader, other.reader)
        entries = readers[0].entries, readers[1].entries
        same_size = [
            path
            for path, entry in entries[0].items()
            if entry.kind == "file" and path in entries[1] and entries[1][path].kind == "file"
            if entry.size == entries[1][path].size
        ]
        digests = readers[0].digests(same_size), readers[1].digests(same_size)
        has_owners = readers[0].has_owners and readers[1].has_owners
        mount = next((path for path, volume in self._first.mounts.items() if volume is one), f"{one.name}:")
        for path, before, after in pairs(entries[0], entries[1]):
            where = mount.rstrip("/") + path
            if before is None or after is None:
                volatile = self._is_volatile(where)
                self._add("files", Difference(where, change_of(before, after), volatile=volatile))
                continue
            aspects = _entry_aspects(before, after, has_owners=has_owners)
            if before.kind == after.kind == "file" and (
                before.size != after.size or digests[0][path] != digests[1][path]
            ):
                aspects.append("content")
            if aspects:
                volatile = aspects == ["content"] and (
                    self._is_volatile(where) or self._is_same_but_for_identifiers(readers, path, where)
                )
                self._add("files", Difference(where, CHANGED, tuple(aspects), volatile))

    def _is_volatile(self, path: str) -> bool:
        return any(fnmatch.fnmatchcase(path, pattern) for pattern in self._volatile_files)

    def _is_same_but_for_identifiers(self, readers: t.Tuple[FileReader, FileReader], path: str, where: str) -> bool:
        programs = [
            next((program for program in image.efi_programs if program.path == path), None)
            for image in (self._first, self._second)
        ]
        if programs[0] is not None and programs[1] is not None:
            return not self._program_aspects(programs[0], programs[1])
        if path in _by_place(self._first.volumes):
            # The root file system of a live system, which is compared by itself.
            return True
        if max(reader.entries[path].size for reader in readers) > _LONGEST_TEXT:
            return False
        before, after = (reader.read(path) or b"" for reader in readers)
        if where.startswith(f"{DIRECTORY}/"):
            content = sbom_content(before)
            return content is not None and content == sbom_content(after)
        return self._identifiers[0].replace_in(before) == self._identifiers[1].replace_in(after)

    # --- packages and boot ---

    def _compare_packages(self) -> None:
        versions = [
            {f"{package['name']}:{package['arch']}": package["version"] for package in image.packages}
            for image in (self._first, self._second)
        ]
        for name, before, after in pairs(*versions):
            if before != after:
                aspects = ("version",) if before and after else ()
                change = change_of(before, after)
                self._add("packages", Difference(name, change, aspects, before=before, after=after))

    def _compare_boot(self) -> None:
        entries = [_entries_by_name(image.boot_entries) for image in (self._first, self._second)]
        for name, one, other in pairs(*entries):
            if one is None or other is None:
                self._add("boot", Difference(name, change_of(one, other)))
                continue
            for aspect in ("version", "linux", "initrd", "cmdline"):
                before, after = (_shown(getattr(entry, aspect)) for entry in (one, other))
                if before != after:
                    volatile = self._same_text(before, after)
                    self._add("boot", Difference(name, CHANGED, (aspect,), volatile, before, after))
        programs = [
            {f"EFI program {program.path} on partition {program.partition}": program for program in image.efi_programs}
            for image in (self._first, self._second)
        ]
        for name, before_program, after_program in pairs(*programs):
            if before_program is None or after_program is None:
                self._add("boot", Difference(name, change_of(before_program, after_program)))
            elif before_program.sha256 != after_program.sha256:
                aspects = self._program_aspects(before_program, after_program)
                shown = tuple(aspects) or ("identifiers, header or time of the signature",)
                self._add("boot", Difference(name, CHANGED, shown, volatile=not aspects))

    def _program_aspects(self, one: EfiProgram, other: EfiProgram) -> t.List[str]:
        """Return what differs between two EFI programs that is not volatile."""
        if not one.sections or not other.sections:
            return ["content"] if one.sha256 != other.sha256 else []
        aspects = [name for name, before, after in pairs(one.sections, other.sections) if before != after]
        if ".cmdline" in aspects and self._same_text(one.cmdline, other.cmdline):
            aspects.remove(".cmdline")
        if list(one.signatures) != list(other.signatures):
            aspects.append("signatures")
        return aspects


def _by_place(volumes: t.Sequence[Volume]) -> t.Dict[str, Volume]:
    return {volume.name: volume for volume in volumes}


def _described(volume: Volume) -> str:
    kind = volume.file_system.type if volume.file_system else "no file system"
    return f"{volume.place.size} bytes at {volume.place.offset}, {kind}"


def _volume_facts(volume: Volume) -> t.Dict[str, t.Any]:
    partition, facts = volume.partition, volume.file_system
    return {
        "start": volume.place.offset,
        "size": volume.place.size,
        "type": partition.type if partition else "",
        "name": partition.name if partition else "",
        "flags": sorted(partition.flags) if partition else [],
        "uuid": partition.uuid if partition else "",
        "file system": facts.type if facts else "",
        "label": facts.label if facts else "",
        "file system uuid": facts.uuid if facts else "",
    }


def _range_digest(volume: Volume) -> str:
    """Return the digest of a volume's content; zeros count as nothing, whether they are stored or not."""
    place = volume.place
    digest = hashlib.sha256()
    zeros = bytes(CELL)
    with open(place.raw, "rb", buffering=0) as stream:
        following = 0
        for start, length in extents(stream.fileno()):
            begin = max(start, place.offset) - place.offset
            end = min(start + length, place.offset + place.size) - place.offset
            # Cells of the volume, so that what is hashed does not depend on where the holes are.
            for cell in range(max(begin // CELL, following), -(-end // CELL)):
                following = cell + 1
                data = os.pread(stream.fileno(), min(CELL, place.size - cell * CELL), place.offset + cell * CELL)
                if data != zeros[: len(data)]:
                    digest.update(cell.to_bytes(8, "big"))
                    digest.update(data)
    return digest.hexdigest()


def _boot_code(image: Inspection) -> bytes:
    """Return what firmware of the BIOS runs before any partition is read."""
    if image.table is None or image.source.format == "iso":
        return b""
    with open(image.source.raw, "rb") as stream:
        code = stream.read(_BOOT_CODE)
        if image.table.type == "mbr" and image.table.partitions:
            stream.seek(512)
            code += stream.read(min(partition.start for partition in image.table.partitions) - 512)
    return code.rstrip(b"\0")


def _entry_aspects(before: Entry, after: Entry, *, has_owners: bool) -> t.List[str]:
    aspects = [aspect for aspect in ("kind", "target") if getattr(before, aspect) != getattr(after, aspect)]
    if has_owners:
        if before.mode != after.mode:
            aspects.append("mode")
        if (before.uid, before.gid) != (after.uid, after.gid):
            aspects.append("owner")
    return aspects


def _entries_by_name(entries: t.Iterable[BootEntry]) -> t.Dict[str, BootEntry]:
    named: t.Dict[str, BootEntry] = {}
    for entry in entries:
        title = f" ({entry.title})" if entry.type == GRUB and entry.title else ""
        name, number = f"entry {entry.path}{title}", 1
        while name in named:
            number += 1
            name = f"entry {entry.path}{title} #{number}"
        named[name] = entry
    return named


def _shown(value: t.Any) -> str:
    return value if isinstance(value, str) else " ".join(value)


__all__ = (
    "DIFFERENT",
    "EQUIVALENT",
    "IDENTICAL",
    "VOLATILE_FILES",
    "Comparison",
    "compare_images",
)
