# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Descriptions of the installed packages, read from the layers of the root tree without mounting them."""

from __future__ import annotations

import contextlib
import os
import posixpath
import sqlite3
import stat
import typing as t
import urllib.parse

from ansible_collections.os_image.composer.plugins.module_utils._artifact.license import declared_license
from ansible_collections.os_image.composer.plugins.module_utils._artifact.rpm_license import tagged_license
from ansible_collections.os_image.composer.plugins.module_utils._artifact.spdx import PackageDescription
from ansible_collections.os_image.composer.plugins.module_utils._chroot import rpm_header

_DPKG_STATUS = "/var/lib/dpkg/status"
_RPM_DATABASE = "/var/lib/rpm/rpmdb.sqlite"
_MAX_LINKS = 20
# A copyright file is text for people; nothing larger is one.
_MAX_SIZE = 8 << 20


class LayeredTree:
    """Files of the root tree, found in its layers as the overlay would show them.

    Symbolic links are followed inside the tree only, also absolute ones, so that nothing of the build host is read.

    :param layers: The directories, lowest first.
    """

    def __init__(self, layers: t.Sequence[str]) -> None:
        self._layers = list(reversed(layers))

    def read(self, path: str) -> bytes | None:
        """Return the content of a regular file by its absolute path in the tree; V(None) when there is none."""
        found = self.find(path)
        if found is None:
            return None
        try:
            descriptor = os.open(found, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_SIZE:
                return None
            return os.pread(descriptor, status.st_size, 0)
        finally:
            os.close(descriptor)

    def find(self, path: str) -> str | None:
        """Return where a file really lies on the host; V(None) when there is none."""
        remaining = [part for part in path.split("/") if part]
        resolved: t.List[str] = []
        links = 0
        while remaining:
            part = remaining.pop(0)
            if part == ".":
                continue
            if part == "..":
                del resolved[-1:]
                continue
            candidate = posixpath.join(*resolved, part)
            real = self._lookup(candidate)
            if real is None:
                return None
            if os.path.islink(real):
                links += 1
                if links > _MAX_LINKS:
                    return None
                target = os.readlink(real)
                if target.startswith("/"):
                    resolved = []
                remaining = [piece for piece in target.split("/") if piece] + remaining
            else:
                resolved.append(part)
        return self._lookup(posixpath.join(*resolved)) if resolved else None

    def _lookup(self, relative: str) -> str | None:
        """Return the topmost entry of that name; its directory has no symbolic links in it."""
        for layer in self._layers:
            path = os.path.join(layer, relative)
            try:
                status = os.lstat(path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            # A whiteout, see the kernel's documentation of overlayfs. What a package says does not become untrue when
            # its documentation is removed from the image, so look further down.
            if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                continue
            return path
        return None


def read_deb_descriptions(
    tree: LayeredTree, packages: t.Sequence[t.Mapping[str, t.Any]]
) -> t.Dict[str, PackageDescription]:
    """Return what each package of a DEB system says about itself, by name."""
    fields = _read_status(tree.read(_DPKG_STATUS) or b"", {package["name"] for package in packages})
    descriptions = {}
    for package in packages:
        name = package["name"]
        control = fields.get(name, {})
        text = tree.read(f"/usr/share/doc/{name}/copyright")
        descriptions[name] = PackageDescription(
            maintainer=control.get("maintainer", ""),
            homepage=control.get("homepage", ""),
            summary=control.get("description", ""),
            license=declared_license(name, text) if text is not None else PackageDescription().license,
        )
    return descriptions


def _read_status(data: bytes, names: t.Collection[str]) -> t.Dict[str, t.Dict[str, str]]:
    """Return single-line fields of dpkg's status file, by package and name in lower case."""
    packages: t.Dict[str, t.Dict[str, str]] = {}
    for stanza in data.decode("utf-8", errors="replace").split("\n\n"):
        control = {}
        for line in stanza.split("\n"):
            if line[:1] in (" ", "\t"):
                continue
            key, separator, value = line.partition(": ")
            if separator and key in ("Package", "Maintainer", "Homepage", "Description"):
                control[key.lower()] = value.strip()
        if control.get("package") in names:
            packages[control["package"]] = control
    return packages


def read_rpm_descriptions(
    tree: LayeredTree, packages: t.Sequence[t.Mapping[str, t.Any]]
) -> t.Dict[str, PackageDescription]:
    """Return what each package of an RPM system says about itself, by name.

    The database of installed packages is read where it has the form that today's distributions use (sqlite); nothing is
    known of packages in another.
    """
    path = tree.find(_RPM_DATABASE)
    if path is None:
        return {}
    wanted = (
        rpm_header.NAME,
        rpm_header.SUMMARY,
        rpm_header.VENDOR,
        rpm_header.LICENSE,
        rpm_header.PACKAGER,
        rpm_header.URL,
    )
    names = {package["name"] for package in packages}
    descriptions = {}
    # Immutable: nothing is written beside it, not even a lock.
    with contextlib.closing(sqlite3.connect(f"file:{urllib.parse.quote(path)}?immutable=1", uri=True)) as database:
        for (blob,) in database.execute("SELECT blob FROM Packages"):
            values = {tag: str(value) for tag, value in rpm_header.parse_header(blob, wanted).items()}
            name = values.get(rpm_header.NAME, "")
            if name in names:
                descriptions[name] = PackageDescription(
                    maintainer=values.get(rpm_header.PACKAGER, ""),
                    homepage=values.get(rpm_header.URL, ""),
                    summary=values.get(rpm_header.SUMMARY, ""),
                    license=tagged_license(values.get(rpm_header.LICENSE, "")),
                    vendor=values.get(rpm_header.VENDOR, ""),
                )
    return descriptions


#: How the packages of each family describe themselves.
DESCRIPTIONS: t.Mapping[
    str, t.Callable[[LayeredTree, t.Sequence[t.Mapping[str, t.Any]]], t.Dict[str, PackageDescription]]
] = {"deb": read_deb_descriptions, "rpm": read_rpm_descriptions}

__all__ = ("DESCRIPTIONS", "LayeredTree", "read_deb_descriptions", "read_rpm_descriptions")
