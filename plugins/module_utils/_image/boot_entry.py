# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Boot entries: those of systemd-boot, unified kernel images, and those of GRUB."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._bootloader import GRUB
from ansible_collections.os_image.composer.plugins.module_utils._image.efi import EfiProgram

_GRUB_ENTRY = re.compile(r"""^\s*menuentry\s+(?P<quote>["'])(?P<title>.*?)(?P=quote)""")
_GRUB_LINUX = re.compile(r"^\s*linux(?:efi|16)?\s+(?P<linux>\S+)(?P<cmdline>.*)")
_GRUB_INITRD = re.compile(r"^\s*initrd(?:efi|16)?\s+(?P<initrd>\S.*)")


@dataclasses.dataclass(frozen=True)
class BootEntry:
    """Something that a bootloader can start.

    :ivar type: C(loader) for an entry of the Boot Loader Specification, C(uki), or C(grub).
    :ivar path: The file that it stands in.
    :ivar partition: The number of that file's partition; V(None) when it lies in an ISO.
    """

    type: str
    path: str
    partition: int | None
    title: str = ""
    version: str = ""
    linux: str = ""
    initrd: t.Tuple[str, ...] = ()
    cmdline: str = ""

    def as_facts(self) -> t.Dict[str, t.Any]:
        """Return the form of results."""
        return {**dataclasses.asdict(self), "initrd": list(self.initrd)}


def loader_entry(text: str, path: str, partition: int | None) -> BootEntry:
    """Read a file of C(loader/entries)."""
    fields: t.Dict[str, t.List[str]] = {}
    for line in text.splitlines():
        words = line.split(None, 1)
        if words and not words[0].startswith("#"):
            fields.setdefault(words[0], []).append(words[1].strip() if len(words) > 1 else "")
    return BootEntry(
        type="loader",
        path=path,
        partition=partition,
        title=" ".join(fields.get("title", ())),
        version=" ".join(fields.get("version", ())),
        linux=" ".join(fields.get("linux", fields.get("efi", ()))),
        initrd=tuple(fields.get("initrd", ())),
        cmdline=" ".join(fields.get("options", ())),
    )


def uki_entry(program: EfiProgram) -> BootEntry:
    """Return the entry that a unified kernel image is by itself."""
    return BootEntry(
        type="uki",
        path=program.path,
        partition=program.partition,
        title=program.os_release.get("PRETTY_NAME", ""),
        version=program.kernel_version,
        cmdline=program.cmdline,
    )


def grub_entries(text: str, path: str, partition: int | None) -> t.List[BootEntry]:
    """Read the entries of a C(grub.cfg); what its scripts would do is not looked at."""
    entries: t.List[BootEntry] = []
    for line in text.splitlines():
        title = _GRUB_ENTRY.match(line)
        if title:
            entries.append(BootEntry(GRUB, path, partition, title=title["title"]))
            continue
        linux, initrd = _GRUB_LINUX.match(line), _GRUB_INITRD.match(line)
        if linux:
            # A command outside of a menu is what GRUB does by itself.
            if not entries or entries[-1].linux:
                entries.append(BootEntry(GRUB, path, partition))
            entries[-1] = dataclasses.replace(entries[-1], linux=linux["linux"], cmdline=linux["cmdline"].strip())
        elif initrd and entries:
            entries[-1] = dataclasses.replace(entries[-1], initrd=tuple(initrd["initrd"].split()))
    return entries


__all__ = ("BootEntry", "grub_entries", "loader_entry", "uki_entry")
