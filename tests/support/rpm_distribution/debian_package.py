# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packages of Debian: their control files, and their content laid out as the distribution lays out its own."""

from __future__ import annotations

import contextlib
import dataclasses
import email.parser
import fnmatch
import os
import posixpath
import re
import shutil
import subprocess
import tarfile
import typing as t

#: What no package takes along: it serves other init systems, or Debian's own checks.
_LEFT_OUT: t.Sequence[str] = (
    "/etc/init.d*",
    "/etc/runit*",
    "/etc/sv*",
    "/etc/ufw*",
    "/usr/share/apport*",
    "/usr/share/bug*",
    "/usr/share/doc-base*",
    "/usr/share/initramfs-tools*",
    "/usr/share/lintian*",
    "/usr/share/runit*",
    "/var/log/runit*",
)
_MERGED = re.compile(r"^/(bin|sbin|lib|lib64)(?=/|$)")
_LICENCES: t.Mapping[str, str] = {
    "apache-2": "Apache-2.0",
    "apache-2.0": "Apache-2.0",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "expat": "MIT",
    "gpl-2": "GPL-2.0-only",
    "gpl-2+": "GPL-2.0-or-later",
    "gpl-3": "GPL-3.0-only",
    "gpl-3+": "GPL-3.0-or-later",
    "isc": "ISC",
    "lgpl-2+": "LGPL-2.0-or-later",
    "lgpl-2.1": "LGPL-2.1-only",
    "lgpl-2.1+": "LGPL-2.1-or-later",
    "lgpl-3+": "LGPL-3.0-or-later",
    "mit": "MIT",
    "mpl-2.0": "MPL-2.0",
    "psf-2": "PSF-2.0",
    "zlib": "Zlib",
}


@dataclasses.dataclass(frozen=True)
class Control:
    """What a package says about itself.

    :ivar fields: Its control file.
    :ivar conffiles: Paths of its configuration files.
    """

    fields: t.Mapping[str, str]
    conffiles: t.Sequence[str]

    @property
    def summary(self) -> str:
        """The first line of the description."""
        return self.fields.get("Description", "").partition("\n")[0].strip() or "No summary"

    @property
    def description(self) -> str:
        """The rest of the description, as paragraphs."""
        lines = self.fields.get("Description", "").splitlines()[1:]
        return "\n".join("" if line.strip() == "." else line.strip() for line in lines)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A path of a package.

    :ivar kind: C(file), C(dir) or C(link).
    """

    kind: str
    mode: int
    user: str = "root"
    group: str = "root"


def read_control(path: str) -> Control:
    """Read the control file of a package."""
    with _tar_of(path, "--ctrl-tarfile") as tar:
        texts = {
            os.path.normpath(member.name): tar.extractfile(member).read().decode()  # type: ignore[union-attr]
            for member in tar
            if os.path.normpath(member.name) in ("control", "conffiles")
        }
    fields = email.parser.Parser().parsestr(texts["control"])
    # A line may say that the file has to go.
    conffiles = [line for line in texts.get("conffiles", "").splitlines() if line.startswith("/")]
    return Control({name: str(value) for name, value in fields.items()}, [placed(path) for path in conffiles])


def placed(path: str) -> str:
    """Return where the distribution has a path: everything is below /usr, and there is one library directory."""
    path = _MERGED.sub(r"/usr/\1", path, count=1)
    return re.sub(r"^/usr/lib64(?=/|$)", "/usr/lib", path)


def unpack(path: str, tree: str, *, name: str) -> dict[str, Entry]:
    """Lay out the content of a package below a directory.

    :param name: What the package is called in the distribution; its licence goes into a directory of that name.
    :returns: Its paths, with what only their archive tells: owners, and all bits of the modes.
    """
    entries: dict[str, Entry] = {}
    with _tar_of(path, "--fsys-tarfile") as tar:
        for member in tar:
            where = _place_in_package(posixpath.normpath("/" + member.name), name)
            if where is None:
                continue
            target = tree + where
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if member.isdir():
                os.makedirs(target, exist_ok=True)
                entries.setdefault(where, Entry("dir", member.mode, member.uname, member.gname))
                continue
            if member.issym():
                os.symlink(member.linkname, target)
                entries[where] = Entry("link", 0o777)
                continue
            if member.islnk():
                source = _place_in_package(posixpath.normpath("/" + member.linkname), name)
                assert source is not None, f"{path}: {member.name} links to what is left out"
                os.link(tree + source, target)
            else:
                stream = tar.extractfile(member)
                assert stream is not None, f"{path}: {member.name} is no file"
                with open(target, "wb") as out:
                    shutil.copyfileobj(stream, out, 1 << 20)
                os.utime(target, (member.mtime, member.mtime))
            entries[where] = Entry("file", member.mode, member.uname, member.gname)
    return entries


def _place_in_package(path: str, name: str) -> str | None:
    path = placed(path)
    if path == "/" or any(fnmatch.fnmatchcase(path, pattern) for pattern in _LEFT_OUT):
        return None
    if re.fullmatch(r"/usr/share/doc/[^/]+/copyright", path):
        return f"/usr/share/licenses/{name}/copyright"
    return path


def licence_of(copyright_file: str) -> str:
    """Return the licences that a machine-readable copyright file names, as an expression of SPDX."""
    found = set()
    with contextlib.suppress(OSError), open(copyright_file, encoding="utf-8", errors="replace") as stream:
        for line in stream:
            if line.startswith("License:"):
                found.add(_LICENCES.get(line.partition(":")[2].strip().lower(), ""))
    return " AND ".join(sorted(filter(None, found))) or "LicenseRef-Unknown"


@contextlib.contextmanager
def _tar_of(path: str, part: str) -> t.Iterator[tarfile.TarFile]:
    with subprocess.Popen(["dpkg-deb", part, path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
            yield tar
        # The padding at the end belongs to the archive as well.
        process.stdout.read()
    if process.returncode:
        raise OSError(f"dpkg-deb cannot read {path}")


__all__ = ("Control", "Entry", "licence_of", "placed", "read_control", "unpack")
