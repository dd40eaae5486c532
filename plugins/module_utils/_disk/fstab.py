# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The file systems that an image mounts when it boots: those of the build, and those that the tree asks for already.

What packages, commands, scripts and additional files have written into C(/etc/fstab) stays there, word for word. What
the build has to say is put around it. See fstab(5).
"""

from __future__ import annotations

import dataclasses
import posixpath
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import DiskLayout, is_below
from ansible_collections.os_image.composer.plugins.module_utils._errors import DiskError
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.kinds import FILE_SYSTEMS, file_system
from ansible_collections.os_image.composer.plugins.module_utils._template import model
from ansible_collections.os_image.composer.plugins.module_utils._template.immutability import (
    PERSISTENT,
    ROOT_DEVICE,
    Protection,
)

FSTAB = "/etc/fstab"

_HEADER = "# Static file system information; see fstab(5).\n"
# What debootstrap, and those who do as it does, leave in the place of a table.
_UNCONFIGURED = re.compile(r"#\s*UNCONFIGURED FSTAB\b")

_BLANKS = re.compile(r"[ \t]+")
_ESCAPED = re.compile(r"\\([0-7]{3})")
_NUMBER = re.compile(r"[0-9]{1,9}\Z")

SWAP = "swap"
#: The words for swap space: that of fstab, and that of partitions.
SWAP_WORDS = (SWAP, "linux-swap")
#: Words for the mount of a directory at a second place, as options of mount.
BIND_WORDS = ("bind", "rbind")
#: File systems that lie on nothing: what they are mounted from is a mere name.
WITHOUT_SOURCE = (
    "binfmt_misc",
    "bpf",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "overlay",
    "proc",
    "pstore",
    "ramfs",
    "securityfs",
    "sysfs",
    "tmpfs",
    "tracefs",
)

_NOWHERE = "none"


@dataclasses.dataclass(frozen=True)
class Entry:
    """A line of fstab, with its blanks as they are.

    :ivar mount_point: Where it is mounted; V(none) for swap space.
    :ivar writer: Who asks for it, for messages: C(the partition 'data').
    """

    source: str
    mount_point: str
    fs_type: str
    options: str = "defaults"
    dump: int = 0
    check: int = 0
    writer: str = dataclasses.field(default="", compare=False)

    @property
    def line(self) -> str:
        """The line as it is written."""
        words = [_escape(word) for word in (self.source, self.mount_point, self.fs_type, self.options)]
        return " ".join([*words, str(self.dump), str(self.check)])

    @property
    def is_swap(self) -> bool:
        """Whether it is swap space, which has no place in the tree."""
        return self.fs_type == SWAP

    @property
    def is_bind(self) -> bool:
        """Whether it shows a directory, or a file, at a second place."""
        return not self.is_swap and any(word in self.options.split(",") for word in BIND_WORDS)

    @property
    def place(self) -> str | None:
        """The directory that it covers, normalised; V(None) when it covers none."""
        return posixpath.normpath(self.mount_point) if self.mount_point.startswith("/") else None

    @property
    def key(self) -> t.Tuple[str, str]:
        """What only one line may name: a mount point, or a swap space."""
        return ("mount", self.place) if self.place is not None and not self.is_swap else ("swap", self.source)

    def waits_for(self, other: Entry) -> bool:
        """Whether the other one has to be mounted first: this one lies below it, or shows what does."""
        if other is self or other.place is None or other.is_swap:
            return False
        places = [self.place] if self.place is not None and not self.is_swap else []
        if (self.is_bind or self.is_swap) and self.source.startswith("/"):
            places.append(posixpath.normpath(self.source))
        return any(place != other.place and is_below(place, other.place) for place in places) or (
            self.is_bind and posixpath.normpath(self.source) == other.place
        )


class Table:
    """The whole of fstab.

    :ivar own: The lines of the build.
    :ivar present: The lines that the tree has already.
    """

    def __init__(self, own: t.Sequence[Entry], text: str, *, header: str = _HEADER) -> None:
        """Read what the tree has.

        :param text: The content of its fstab; empty when there is none.
        :raises DiskError: A line of it cannot be read, or two lines want the same place.
        """
        self.own = own
        self._header = header
        self._lines: t.List[t.Tuple[str, Entry | None]] = []
        known = {entry.key: entry for entry in own}
        for number, line in enumerate(text.split("\n"), start=1):
            entry = _parse(line, number)
            if entry is not None:
                other = known.setdefault(entry.key, entry)
                if other is not entry:
                    if other != entry and not _may_stand_beside(other, entry):
                        raise _conflict(other, entry)
                    if other == entry:
                        continue
            if entry is not None or (line.strip() and not _UNCONFIGURED.match(line) and f"{line}\n" != header):
                self._lines.append((line, entry))

    @property
    def present(self) -> t.Sequence[Entry]:
        """What the tree asks for, less what the build says in the same words."""
        return [entry for _line, entry in self._lines if entry is not None]

    @property
    def text(self) -> str:
        """The content of the file; outer mount points before what lies below them."""
        present = self.present
        behind = [entry for entry in self.own if any(entry.waits_for(other) for other in present)]
        # What waits for one of those has to wait, too.
        while True:
            more = [
                entry for entry in self.own if entry not in behind and any(entry.waits_for(other) for other in behind)
            ]
            if not more:
                break
            behind += more
        first = [entry.line for entry in ordered([entry for entry in self.own if entry not in behind])]
        last = [entry.line for entry in ordered([entry for entry in self.own if entry in behind])]
        lines = [*first, *(line for line, _entry in self._lines), *last]
        return self._header + "".join(f"{line}\n" for line in lines)


def ordered(entries: t.Sequence[Entry]) -> t.List[Entry]:
    """Return lines in their order, but each behind those that it waits for.

    What waits for each other, which the rules of templates refuse, stays as it is.
    """
    waiting, done = list(entries), t.cast("t.List[Entry]", [])
    while waiting:
        ready = (entry for entry in waiting if not any(entry.waits_for(other) for other in waiting))
        entry = next(ready, waiting[0])
        waiting.remove(entry)
        done.append(entry)
    return done


def fstab(
    layout: DiskLayout,
    partition_uuids: t.Mapping[str, str],
    protection: Protection | None = None,
    *,
    mounts: t.Sequence[model.Mount] = (),
    text: str = "",
) -> Table:
    """Return C(/etc/fstab) of a disk: mounted partitions and further mounts, outer mount points first, then swap.

    A root file system that is never written to gets a /tmp in memory.

    :param partition_uuids: Partition id -> PARTUUID.
    :param protection: How the root file system is protected.
    :param mounts: The template's C(disk.mounts).
    :param text: What the tree has as fstab.
    :raises DiskError: A line of that cannot be read, or is about the same mount point as one of the build.
    """
    further = mount_entries(mounts)
    own = [*_partition_entries(layout, partition_uuids, protection), *(it for it in further if not it.is_swap)]
    own.sort(key=lambda entry: entry.mount_point)
    own += [
        Entry(
            f"PARTUUID={partition_uuids[partition.id]}",
            _NOWHERE,
            SWAP,
            partition.mount_options,
            writer=f"the partition {partition.id!r}",
        )
        for partition in layout.partitions
        if partition.fs_type and file_system(partition.fs_type).fstab_type == SWAP
    ]
    own += [entry for entry in further if entry.is_swap]
    table = Table(own, text)
    root = layout.root
    is_read_only = protection is not None or (root is not None and file_system(root.fs_type).is_read_only)
    if root is not None and is_read_only and not any(it.place == "/tmp" for it in [*own, *table.present]):
        # systemd itself works in /tmp when it starts a service that sees only some devices.
        table.own = [*own, Entry("tmpfs", "/tmp", "tmpfs", "mode=1777,nosuid,nodev")]
    return table


def fstab_without_disk(
    mounts: t.Sequence[model.Mount], text: str, *, header: str, root: str, swap_problem: str
) -> Table:
    """Return C(/etc/fstab) of a system whose root file system is no partition of its own.

    :param text: What the tree has as fstab.
    :param header: The comment at its beginning.
    :param root: Where its root file system comes from, for messages.
    :param swap_problem: Why it has no swap file, for messages.
    :raises DiskError: A line of that cannot be read, is about a mount point of the template, or about /.
    """
    table = Table(mount_entries(mounts), text, header=header)
    for entry in [*table.own, *table.present]:
        if entry.place == "/" and not entry.is_swap:
            raise DiskError(
                f"{FSTAB} of the image mounts something at /, but the root file system {root}:\n  {entry.line}",
                remedy=f"Take the line out of {FSTAB}.",
            )
        if swap_file(entry):
            raise DiskError(
                f"{FSTAB} of the image names a swap file, but {swap_problem}:\n  {entry.line}",
                remedy=f"Take the line out of {FSTAB}.",
            )
    return table


def mount_entries(mounts: t.Sequence[model.Mount]) -> t.List[Entry]:
    """Return the lines of the template's C(disk.mounts)."""
    return [_mount_entry(mount) for mount in mounts]


def _mount_entry(mount: model.Mount) -> Entry:
    fs_type, options = mount.fs_type, mount.mount_options
    if fs_type in SWAP_WORDS:
        return Entry(mount.source or "", _NOWHERE, SWAP, options, writer="disk.mounts")
    if fs_type in BIND_WORDS:
        options = fs_type if options == "defaults" else f"{fs_type},{options}"
        fs_type = _NOWHERE
    kind = FILE_SYSTEMS.get(fs_type)
    return Entry(
        mount.source or fs_type,
        mount.mount_point,
        kind.fstab_type if kind is not None else fs_type,
        options,
        check=2 if mount.check else 0,
        writer="disk.mounts",
    )


def _partition_entries(
    layout: DiskLayout, partition_uuids: t.Mapping[str, str], protection: Protection | None
) -> t.Iterator[Entry]:
    for partition in layout.partitions:
        if not partition.mount_point:
            continue
        fs = file_system(partition.fs_type)
        check = 0 if not fs.is_checked else 1 if partition.mount_point == "/" else 2
        options = fs.fstab_options(partition.mount_options)
        if partition.grows and "x-systemd.growfs" not in options.split(","):
            options += ",x-systemd.growfs"
        device = f"PARTUUID={partition_uuids[partition.id]}"
        if protection is not None and partition.mount_point == "/":
            device, check = ROOT_DEVICE, 0
        elif protection is not None and partition.mount_point == "/var" and protection.etc == PERSISTENT:
            # The initramfs has mounted it, so that nobody can check it any more.
            options, check = f"{options},x-initrd.mount", 0
        yield Entry(
            device,
            partition.mount_point,
            fs.fstab_type,
            options,
            check=check,
            writer=f"the partition {partition.id!r}",
        )


def swap_file(entry: Entry) -> str | None:
    """Return the path of a swap file; V(None) when the line is about something else."""
    is_file = entry.is_swap and entry.source.startswith("/") and not entry.source.startswith("/dev/")
    return posixpath.normpath(entry.source) if is_file else None


def _parse(line: str, number: int) -> Entry | None:
    """Read a line; V(None) when it says nothing.

    :raises DiskError: It cannot be read.
    """
    stripped = line.strip(" \t")
    if not stripped or stripped.startswith("#"):
        return None
    words = _BLANKS.split(stripped)
    problem = ""
    if "\r" in line:
        problem = "ends with a carriage return"
    elif len(words) < 3:
        problem = f"has {len(words)} of the fields device, mount point, type, options"
    elif len(words) > 6 or not all(_NUMBER.match(word) for word in words[4:]):
        problem = "has more behind its options than two numbers; a blank in a path is written as \\040"
    elif not words[1].startswith("/") and words[1] not in (_NOWHERE, SWAP):
        problem = f"has the mount point {words[1]!r}, which is no absolute path"
    if problem:
        raise DiskError(
            f"Line {number} of {FSTAB} in the image cannot be read, as it {problem}:\n  {_shown(line)}",
            remedy="Correct it where it comes from: a package, a command, a script or an additional file.",
        )
    source, mount_point, fs_type, options = (_unescape(word) for word in [*words[:4], "defaults"][:4])
    dump, check = (int(word) for word in [*words[4:], "0", "0"][:2])
    return Entry(source, mount_point, fs_type, options, dump, check, writer=f"line {number} of {FSTAB} in the image")


def _may_stand_beside(one: Entry, other: Entry) -> bool:
    """Whether two lines of one mount point are told apart by whoever mounts them."""
    return all("noauto" in entry.options.split(",") for entry in (one, other))


def _conflict(one: Entry, other: Entry) -> DiskError:
    what = f"the mount point {one.mount_point}" if one.place is not None else f"the swap space {one.source}"
    own = not one.writer.startswith("line ")
    theirs = f"one out of {FSTAB}, where a package, a command, a script or an additional file has put there"
    remedy = f"Take the second {theirs}, or change {one.writer}." if own else "Keep one of them."
    return DiskError(
        f"Two lines of {FSTAB} are about {what}:\n"
        f"  {_shown(one.line)} ({one.writer})\n"
        f"  {_shown(other.line)} ({other.writer})",
        remedy=remedy,
    )


def _shown(line: str) -> str:
    return line.encode("utf-8", errors="backslashreplace").decode("utf-8").strip()


def _escape(word: str) -> str:
    for char in "\\ \t\n":
        word = word.replace(char, f"\\{ord(char):03o}")
    return word


def _unescape(word: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match.group(1), 8)), word)


__all__ = (
    "BIND_WORDS",
    "FSTAB",
    "SWAP_WORDS",
    "WITHOUT_SOURCE",
    "Entry",
    "Table",
    "fstab",
    "fstab_without_disk",
    "mount_entries",
    "ordered",
    "swap_file",
)
