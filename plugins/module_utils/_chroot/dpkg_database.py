# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""dpkg's database in a tree: what is installed, and recording packages as unpacked exactly as dpkg does.

The forms are those of dpkg's own documentation (deb-triggers(5), deb-conffiles(5), doc/triggers.txt) and of the files
that dpkg writes itself. dpkg puts the status file into its own order when it next writes it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import stat
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._chroot.deb_archive import DebArchive, parse_control
from ansible_collections.os_image.composer.plugins.module_utils._chroot.extract import CONFFILE_SUFFIX
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles

ADMIN_DIRECTORY = "/var/lib/dpkg"

_STATUS = f"{ADMIN_DIRECTORY}/status"
_INFO = f"{ADMIN_DIRECTORY}/info"
_TRIGGERS = f"{ADMIN_DIRECTORY}/triggers"
_NOWAIT_SUFFIX = "/noawait"
_TRIGGER = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._:@-]*")
# Files of dpkg itself beside those of triggers.
_OWN_TRIGGERS = ("File", "Lock", "Unincorp")


@dataclasses.dataclass(frozen=True)
class InstalledPackage:
    """A package as the status file tells it."""

    name: str
    version: str
    arch: str
    status: str
    multi_arch: str

    @property
    def file_stem(self) -> str:
        """The first part of its files' names in the info directory."""
        return f"{self.name}:{self.arch}" if self.multi_arch == "same" else self.name


class DpkgDatabase:
    """dpkg's database.

    :param root: Absolute path of the tree.
    """

    def __init__(self, root: str) -> None:
        self._files = TreeFiles(root)

    def exists(self) -> bool:
        """Tell whether there is a database."""
        return self._files.exists(_STATUS)

    def create(self) -> None:
        """Make an empty database, as dpkg finds it in a new system."""
        for name in ("alternatives", "info", "parts", "triggers", "updates"):
            self._files.make_directory(f"{ADMIN_DIRECTORY}/{name}")
        for name in ("available", "status"):
            self._files.write(f"{ADMIN_DIRECTORY}/{name}", "")
        self._files.write(f"{_INFO}/format", "1\n")

    def packages(self) -> dict[str, InstalledPackage]:
        """Return what the status file lists, by name (C(name:arch) for a second architecture)."""
        found: dict[str, InstalledPackage] = {}
        for paragraph in self._files.read(_STATUS).split("\n\n"):
            fields = parse_control(paragraph)
            if "Package" not in fields:
                continue
            package = InstalledPackage(
                name=fields["Package"],
                version=fields.get("Version", ""),
                arch=fields.get("Architecture", ""),
                status=fields.get("Status", ""),
                multi_arch=fields.get("Multi-Arch", "no"),
            )
            key = package.name if package.name not in found else f"{package.name}:{package.arch}"
            found[key] = package
        return found

    def owned_paths(self) -> set[str]:
        """Return all paths that installed packages have, directories too."""
        owned: set[str] = set()
        for path in self._files.glob(_INFO, "*.list"):
            owned.update(self._files.read(path).splitlines())
        return owned

    def reserved_paths(self) -> set[str]:
        """Return the paths that are diverted, or whose owner or mode the administrator has overridden."""
        reserved: set[str] = set()
        for name in ("diversions", "statoverride"):
            lines = self._files.read(f"{ADMIN_DIRECTORY}/{name}").splitlines()
            if name == "diversions":
                # Three lines each: the path, where it goes, and the package that keeps the path for itself.
                reserved.update(line for index, line in enumerate(lines) if index % 3 != 2)
            else:
                reserved.update(line.split(" ", 3)[3] for line in lines if line.count(" ") >= 3)
        return reserved

    def register(self, archive: DebArchive, stem: str) -> None:
        """Put a package's control files into the database, as they are once the package is unpacked."""
        for name, member in archive.control.items():
            if name == "control":
                continue
            with self._files.create(f"{_INFO}/{stem}.{name}", mode=member.mode) as stream:
                stream.write(member.data)
                stream.flush()
                os.utime(stream.fileno(), (member.mtime, member.mtime))

    def record_unpacked(self, packages: t.Sequence[UnpackedPackage]) -> None:
        """Record packages as unpacked: file lists, status, triggers."""
        paragraphs = []
        for package in packages:
            stem, archive = package.stem, package.archive
            lines = "".join(f"{path}\n" for path in package.paths)
            self._files.write(f"{_INFO}/{stem}.list", lines)
            conffiles = archive.conffiles()
            if "md5sums" not in archive.control:
                self._files.write(f"{_INFO}/{stem}.md5sums", self._md5sums(package.paths, conffiles))
            paragraph = archive.paragraph + "\nStatus: install ok unpacked"
            if conffiles:
                paragraph += "\nConffiles:\n" + "\n".join(
                    f" {path} newconffile {flag}".rstrip() for path, flag in conffiles.items()
                )
            paragraphs.append(paragraph + "\n\n")
        # Activations first: dpkg activates what others are interested in when it unpacks a package, and packages that
        # are merely unpacked are not told.
        self._activate_triggers(packages)
        self._register_interests(packages)
        self._files.append(_STATUS, "".join(paragraphs))

    def _md5sums(self, paths: t.Iterable[str], conffiles: t.Collection[str]) -> str:
        """Return what dpkg writes for a package that brings no list of its own."""
        lines = []
        for path in paths:
            here = path + (CONFFILE_SUFFIX if path in conffiles else "")
            status = self._files.status(here, follow_last=False)
            if status is not None and stat.S_ISREG(status.st_mode):
                digest = self._files.digest(here, hashlib.md5(usedforsecurity=False))
                lines.append(f"{digest}  {path[1:]}\n")
        return "".join(lines)

    def _register_interests(self, packages: t.Sequence[UnpackedPackage]) -> None:
        explicit: dict[str, list[str]] = {}
        files: list[str] = []
        for package in packages:
            for directive, trigger in package.triggers():
                if not directive.startswith("interest"):
                    continue
                suffix = _NOWAIT_SUFFIX if directive == "interest-noawait" else ""
                if trigger.startswith("/"):
                    files.append(f"{trigger} {package.stem}{suffix}\n")
                else:
                    explicit.setdefault(trigger, []).append(f"{package.stem}{suffix}\n")
        for trigger, lines in explicit.items():
            self._files.append(f"{_TRIGGERS}/{trigger}", "".join(lines))
        if files:
            self._files.append(f"{_TRIGGERS}/File", "".join(files))

    def _activate_triggers(self, packages: t.Sequence[UnpackedPackage]) -> None:
        watched = [line.split(" ", 1)[0] for line in self._files.read(f"{_TRIGGERS}/File").splitlines()]
        activated: dict[str, None] = {}
        for package in packages:
            for directive, trigger in package.triggers():
                if directive.startswith("activate") and self._files.exists(f"{_TRIGGERS}/{trigger}"):
                    activated[trigger] = None
            for path in watched:
                if path not in activated and any(name == path or name.startswith(f"{path}/") for name in package.paths):
                    activated[path] = None
        if activated:
            # Nobody waits: all is configured, and all triggers are run, before anybody looks.
            self._files.append(f"{_TRIGGERS}/Unincorp", "".join(f"{trigger} -\n" for trigger in activated))


@dataclasses.dataclass(frozen=True)
class UnpackedPackage:
    """A package whose files are in the tree already.

    :ivar stem: See P(InstalledPackage.file_stem).
    :ivar paths: All its paths in the order of its archive.
    """

    stem: str
    archive: DebArchive
    paths: list[str]

    def triggers(self) -> list[tuple[str, str]]:
        """Return the directives of the package's triggers file with their triggers.

        :raises ChrootError: A trigger's name cannot be one.
        """
        member = self.archive.control.get("triggers")
        if member is None:
            return []
        lines = [line.split("#", 1)[0].split() for line in member.data.decode("utf-8").splitlines()]
        directives = [(line[0], line[1]) for line in lines if len(line) == 2]
        for _directive, trigger in directives:
            # That of a path is a line in a file; any other is the name of one.
            if not trigger.startswith("/") and (trigger in _OWN_TRIGGERS or not _TRIGGER.fullmatch(trigger)):
                raise ChrootError(
                    f"The package {self.stem} names the trigger {trigger!r}, which cannot be one.",
                    remedy="Leave the package out, and report it to whoever has made it.",
                )
        return directives


def file_stem(archive: DebArchive) -> str:
    """Return the first part of a package's files' names in the info directory."""
    fields = archive.fields
    if fields.get("Multi-Arch") == "same":
        return f"{fields['Package']}:{fields['Architecture']}"
    return fields["Package"]


__all__ = ("ADMIN_DIRECTORY", "DpkgDatabase", "InstalledPackage", "UnpackedPackage", "file_stem")
