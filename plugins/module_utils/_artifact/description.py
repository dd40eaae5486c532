# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Descriptions of the installed packages, read from the layers of the root tree without mounting them."""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import stat
import typing as t
import urllib.parse

from ansible_collections.os_image.composer.plugins.module_utils._artifact.license import declared_license
from ansible_collections.os_image.composer.plugins.module_utils._artifact.rpm_license import tagged_license
from ansible_collections.os_image.composer.plugins.module_utils._artifact.spdx import PackageDescription
from ansible_collections.os_image.composer.plugins.module_utils._chroot import rpm_header
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import by_descriptor, open_below

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
        with self._opened(path) as descriptor:
            if descriptor is None:
                return None
            size = os.fstat(descriptor).st_size
            if size > _MAX_SIZE:
                return None
            with open(by_descriptor(descriptor), "rb") as stream:
                return stream.read(size)

    @contextlib.contextmanager
    def file(self, path: str) -> t.Iterator[str | None]:
        """Yield a path of the host by which a regular file can be opened while the block runs; V(None) for none."""
        with self._opened(path) as descriptor:
            yield None if descriptor is None else by_descriptor(descriptor)

    @contextlib.contextmanager
    def _opened(self, path: str) -> t.Iterator[int | None]:
        """Open a regular file as a path alone, so that it can be looked at; V(None) when there is none."""
        descriptor = self._find(path)
        try:
            yield descriptor if descriptor is not None and stat.S_ISREG(os.fstat(descriptor).st_mode) else None
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _find(self, path: str) -> int | None:
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
            descriptor = self._lookup(posixpath.join(*resolved, part))
            if descriptor is None:
                return None
            if stat.S_ISLNK(os.fstat(descriptor).st_mode):
                target = os.readlink("", dir_fd=descriptor)
                os.close(descriptor)
                links += 1
                if links > _MAX_LINKS:
                    return None
                if target.startswith("/"):
                    resolved = []
                remaining = [piece for piece in target.split("/") if piece] + remaining
            elif not remaining:
                return descriptor
            else:
                os.close(descriptor)
                resolved.append(part)
        return None

    def _lookup(self, relative: str) -> int | None:
        """Open the topmost entry of that name. What is a directory in one layer may be a link in another."""
        for layer in self._layers:
            try:
                with contextlib.ExitStack() as stack:
                    root = os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                    stack.callback(os.close, root)
                    descriptor = open_below(root, relative, os.O_PATH | os.O_NOFOLLOW, links=False)
            except OSError as exc:
                if exc.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    continue
                raise
            status = os.fstat(descriptor)
            # A whiteout, see the kernel's documentation of overlayfs. What a package says does not become untrue when
            # its documentation is removed from the image, so look further down.
            if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                os.close(descriptor)
                continue
            return descriptor
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
    with contextlib.ExitStack() as stack:
        path = stack.enter_context(tree.file(_RPM_DATABASE))
        if path is None:
            return {}
        # Not above: it loads a large library, which only images of RPM packages need.
        import sqlite3

        # Immutable: nothing is written or read beside it, not even a lock.
        database = sqlite3.connect(f"file:{urllib.parse.quote(path)}?immutable=1", uri=True)
        stack.enter_context(contextlib.closing(database))
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
