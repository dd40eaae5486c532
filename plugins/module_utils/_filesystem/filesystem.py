# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""A file system: everything that is known about one. How it is written into an image is told in :mod:`_mkfs`.

To add one: a subclass of :class:`FileSystem` in a file of its own, and its line in L(kinds.py).
"""

from __future__ import annotations

import abc
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._filesystem.usage import Usage
from ansible_collections.os_image.composer.plugins.module_utils._identity import derive_uuid
from ansible_collections.os_image.composer.plugins.module_utils._partition_type import LINUX, MBR_LINUX
from ansible_collections.os_image.composer.plugins.module_utils._size import MIB, align_up


class FileSystem(abc.ABC):
    """A file system.

    :param name: The template's fsType, one of :attr:`names`.
    """

    #: What templates call it (fsType).
    names: t.ClassVar[t.Tuple[str, ...]] = ()
    #: The word that mount, fstab and blkid have for it.
    fstab_type: t.ClassVar[str] = ""

    # How it is made.

    #: Host tools that are needed.
    tools: t.ClassVar[t.Tuple[str, ...]] = ()
    #: Those of them whose versions shape the file system.
    shaping_tools: t.ClassVar[t.Tuple[str, ...]] = ()
    #: What mkfsOptions may hold: options of the program that makes it, other than those that the build gives it.
    mkfs_options: t.ClassVar[t.Tuple[str, ...]] = ()
    #: Beside these, which have a value: those that have none.
    mkfs_switches: t.ClassVar[t.Tuple[str, ...]] = ()
    #: Whether the program reads options as getopt(3) does: C(-m5), C(--csum=xxhash).
    has_getopt: t.ClassVar[bool] = True
    #: Option -> suboptions that mkfsOptions may not hold.
    fixed_suboptions: t.ClassVar[t.Mapping[str, t.Tuple[str, ...]]] = {}
    #: Whether it is made as a file of its own before it comes into the image.
    is_staged: t.ClassVar[bool] = True
    #: Whether the same content gives the same bytes.
    is_reproducible: t.ClassVar[bool] = True
    #: The least bytes that it can be made with.
    least_size: t.ClassVar[int] = 0

    # What it can hold.

    #: Whether it holds files, and so can be mounted.
    holds_files: t.ClassVar[bool] = True
    #: Whether files keep their owners and permissions.
    keeps_owners: t.ClassVar[bool] = True
    #: Whether holes of files take no space.
    keeps_holes: t.ClassVar[bool] = True
    #: Whether files take less space in it than in the tree.
    is_compressed: t.ClassVar[bool] = False
    #: Directories that it has by itself, below its root.
    own_directories: t.ClassVar[t.Tuple[str, ...]] = ()
    #: How many bytes a label may have; 0 when it has none.
    label_length: t.ClassVar[int] = 16

    # How it is used.

    #: Whether nothing can be written to it in the running system.
    is_read_only: t.ClassVar[bool] = False
    #: Whether it is checked at boot (the sixth field of fstab).
    is_checked: t.ClassVar[bool] = True
    #: Whether systemd-growfs(8) enlarges it while it is mounted.
    grows_online: t.ClassVar[bool] = False
    #: Mount options that not every file system knows, but this one does; see mount(8) and the kernel's documentation.
    #: One that a file system does not know keeps the kernel from mounting it.
    own_mount_options: t.ClassVar[t.FrozenSet[str]] = frozenset()
    #: Modules of the kernel that an initramfs needs to mount it as the root file system.
    kernel_modules: t.ClassVar[t.Tuple[str, ...]] = ()
    #: GRUB's modules to read it; none when GRUB cannot.
    grub_modules: t.ClassVar[t.Tuple[str, ...]] = ()
    #: Whether UEFI firmware reads it.
    is_read_by_firmware: t.ClassVar[bool] = False
    #: The type of a partition of which the template names none: on a GPT disk, and on an MBR one.
    partition_type: t.ClassVar[str] = LINUX
    mbr_type: t.ClassVar[int] = MBR_LINUX

    def __init__(self, name: str) -> None:
        self.name = name

    def identifier(self, build_digest: str, purpose: str) -> str:
        """The file system's own identifier, in the form in which blkid shows it."""
        return derive_uuid(build_digest, purpose)

    def check_label(self, label: str) -> str | None:
        """Tell in words what is wrong with a label; V(None) when it can be used."""
        if not self.label_length:
            return f"A file system of the type {self.name} gets no label."
        if len(label.encode("utf-8")) > self.label_length:
            return f"The label {label!r} is longer than the {self.label_length} bytes that {self.name} can store."
        if not all(" " <= char <= "~" for char in label):
            return f"The label {label!r} may only have printable ASCII characters."
        if label != label.strip():
            return f"The label {label!r} begins or ends with a blank."
        return None

    def stored_label(self, label: str) -> str:
        """Return a label as the file system keeps it."""
        return label

    def check_mount_option(self, option: str) -> str | None:
        """Tell in words why the file system cannot be mounted with one of its own options; V(None) when it can."""
        return None

    def check_options(self, options: t.Sequence[str]) -> str | None:
        """Tell in words what is wrong with mkfsOptions; V(None) when they can be used."""
        words = iter(options)
        for word in words:
            if word in self.mkfs_switches:
                continue
            option, value = self._split_option(word)
            if option not in self.mkfs_options:
                known = [*self.mkfs_options, *self.mkfs_switches]
                allowed = f"may be {', '.join(known)}" if known else "do not exist"
                return f"mkfsOptions has {word}, but options for {self.name} {allowed}."
            # Without this check a name that is no option would be another file or device for the program to write to.
            value = value if value is not None else next(words, "")
            if not value:
                return f"mkfsOptions has {option} without a value."
            fixed = self.fixed_suboptions.get(option, ())
            if any(name.partition("=")[0].lstrip("^") in fixed for name in value.split(",")):
                names = " and ".join(filter(None, (", ".join(fixed[:-1]), fixed[-1])))
                return f"mkfsOptions must not set {names} by {option}, which the build has to know or sets itself."
        return None

    def _split_option(self, word: str) -> t.Tuple[str, str | None]:
        """Return an option, and its value if that belongs to the same word."""
        if word in self.mkfs_options or not self.has_getopt:
            return word, None
        if word.startswith("--"):
            option, sign, value = word.partition("=")
            return option, value if sign else None
        return word[:2], word[2:]

    def suboptions(self, option: str, options: t.Sequence[str]) -> t.List[str]:
        """Return the suboptions that mkfsOptions, which have been checked, give for an option of one letter."""
        given, _rest = with_suboptions(option, {}, options)
        return [name for name in given.split(",") if name]

    def fstab_options(self, options: str) -> str:
        """Return the mount options for fstab.

        :param options: The template's.
        """
        if self.is_read_only and "ro" not in options.split(","):
            return "ro" if options == "defaults" else f"ro,{options}"
        return options

    def content_size(self, usage: Usage) -> int:
        """Return how many bytes a partition gets that is as large as its content: a tenth more than that needs."""
        size = MIB
        for _step in range(8):
            size = align_up(max(self.required_size(size, usage) * 11 // 10 + 16 * MIB, self.least_size), MIB)
        return size

    @abc.abstractmethod
    def required_size(self, size: int, usage: Usage) -> int:
        """Estimate how many bytes a partition needs to hold the content.

        :param size: The bytes that the partition has; what the file system needs for itself may depend on it.
        """


def with_suboptions(option: str, ours: t.Mapping[str, str], given: t.Sequence[str]) -> t.Tuple[str, t.List[str]]:
    """Put what is given for an option with suboptions (C(-m reflink=0,crc=1)) together with what the build gives it.

    :param ours: Suboption -> value; empty for one that has none. What is given overrides it.
    :returns: The option's value, and what is left of the options that are given.
    """
    merged = dict(ours)
    rest: t.List[str] = []
    words = iter(given)
    for word in words:
        if word[:2] != option:
            rest.append(word)
            continue
        for part in (word[2:] or next(words, "")).split(","):
            name, _sign, value = part.partition("=")
            merged[name] = value
    return ",".join(f"{name}={value}" if value else name for name, value in merged.items() if name), rest


__all__ = ("FileSystem", "with_suboptions")
