# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signed DEB repositories for tests, made by the archive's own tools: dpkg-deb, apt-ftparchive, gpg."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import tempfile
import time
import typing as t

from ansible_collections.os_image.composer.tests.support.http_server import http_date
from ansible_collections.os_image.composer.tests.support.signing_keys import SigningKey

_COMPRESSORS: t.Mapping[str, t.Sequence[str]] = {
    ".xz": ("xz", "-kf0"),
    ".lzma": ("xz", "-kf0", "--format=lzma"),
    ".gz": ("gzip", "-knf1"),
    ".bz2": ("bzip2", "-kf1"),
    ".zst": ("zstd", "-qkf1"),
}


@dataclasses.dataclass
class DebRepository:
    """A repository in a directory.

    :ivar root: What is served; the base URL of the repository.
    :ivar suite: For example C(bookworm), or a directory with a trailing slash for a flat repository.
    :ivar components: The pool directories are C(pool/{component}).
    :ivar architecture: The architecture of the binary indexes.
    """

    root: str
    suite: str = "stable"
    components: tuple[str, ...] = ("main",)
    architecture: str = "amd64"
    codename: str | None = None
    compressions: tuple[str, ...] = (".xz", ".gz", "")
    by_hash: bool = True
    #: The digests that the Release lists.
    digest: str = "SHA256"
    #: Bring the Packages and the Release into other forms.
    edit_index: t.Callable[[bytes], bytes] = bytes
    edit_release: t.Callable[[bytes], bytes] = bytes
    #: More fields of the Release, or other values.
    fields: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def is_flat(self) -> bool:
        """Whether the repository has no components."""
        return self.suite.endswith("/")

    @property
    def directory(self) -> str:
        """Where the Release lies."""
        return os.path.join(self.root, self.suite.lstrip("/") if self.is_flat else f"dists/{self.suite}").rstrip("/")

    def path(self, *parts: str) -> str:
        """Return a path beside the Release."""
        return os.path.join(self.directory, *parts)

    def add_package(
        self,
        name: str,
        version: str = "1.0",
        *,
        component: str = "main",
        architecture: str = "amd64",
        fields: t.Mapping[str, str] | None = None,
        files: t.Mapping[str, bytes] | None = None,
        scripts: t.Mapping[str, str] | None = None,
    ) -> str:
        """Build a package into the pool and return its path.

        :param fields: More control fields (C(Depends), C(Priority), ...).
        :param files: Contents by absolute path in the installed system.
        :param scripts: Maintainer scripts by name.
        """
        pool = self.directory if self.is_flat else os.path.join(self.root, "pool", component)
        os.makedirs(pool, exist_ok=True)
        upstream = version.partition(":")[2] or version
        target = os.path.join(pool, f"{name}_{upstream}_{architecture}.deb")
        control = {
            "Package": name,
            "Version": version,
            "Architecture": architecture,
            "Maintainer": "Nobody <nobody@example.org>",
            "Description": f"test package {name}",
            **(fields or {}),
        }
        with tempfile.TemporaryDirectory() as tree:
            _write(os.path.join(tree, "DEBIAN/control"), "".join(f"{k}: {v}\n" for k, v in control.items()).encode())
            for script, text in (scripts or {}).items():
                _write(os.path.join(tree, "DEBIAN", script), text.encode(), mode=0o755)
            for path, data in (files or {f"/usr/share/{name}/data": name.encode()}).items():
                _write(os.path.join(tree, path.lstrip("/")), data)
            _run("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", tree, target)
        return target

    def publish(
        self,
        key: SigningKey | None,
        *,
        date: float | None = None,
        valid_until: float | None = None,
        inline: bool = True,
        signed_at: int | None = None,
    ) -> None:
        """Write indexes and a signed Release.

        :param key: Signs; V(None) leaves the repository unsigned.
        :param date: The Release's C(Date), in seconds since 1970.
        :param valid_until: Its C(Valid-Until); none by default.
        :param inline: Write C(InRelease); C(Release) and C(Release.gpg) otherwise.
        :param signed_at: The time of the signature.
        """
        if self.is_flat:
            self._index(self.directory, self.suite.lstrip("/") or ".")
        else:
            for component in self.components:
                directory = self.path(component, f"binary-{self.architecture}")
                os.makedirs(directory, exist_ok=True)
                self._index(directory, os.path.join("pool", component))
        self.release(key, date=date, valid_until=valid_until, inline=inline, signed_at=signed_at)

    def release(
        self,
        key: SigningKey | None,
        *,
        date: float | None = None,
        valid_until: float | None = None,
        inline: bool = True,
        signed_at: int | None = None,
    ) -> None:
        """Write a signed Release over the indexes as they are; see :meth:`publish`."""
        for name in ("InRelease", "Release", "Release.gpg"):
            if os.path.exists(self.path(name)):
                os.unlink(self.path(name))
        fields = {
            "Origin": "Test",
            "Suite": self.suite,
            "Codename": self.codename or self.suite,
            "Architectures": self.architecture,
            "Components": " ".join(self.components),
            "Acquire-By-Hash": "yes" if self.by_hash else "no",
            "Date": http_date(time.time() - 60 if date is None else date),
            **({"Valid-Until": http_date(valid_until)} if valid_until is not None else {}),
            **self.fields,
        }
        if self.is_flat:
            fields = {name: fields[name] for name in fields if name not in ("Suite", "Codename", "Components")}
        text = "".join(f"{name}: {value}\n" for name, value in fields.items() if value)
        listing = _run("apt-ftparchive", "-o", "APT::FTPArchive::DoByHash=no", "release", self.directory)
        text += re.findall(rf"^{self.digest}:\n(?: .*\n)*", listing.decode(), re.MULTILINE)[0]
        data = self.edit_release(text.encode())
        if key is None or not inline:
            _write(self.path("Release"), data)
        if key is not None and inline:
            _write(self.path("InRelease"), key.clearsign(data, when=signed_at))
        elif key is not None:
            _write(self.path("Release.gpg"), key.detach(data, when=signed_at))

    def _index(self, directory: str, pool: str) -> None:
        os.makedirs(os.path.join(self.root, pool), exist_ok=True)
        text = _run("apt-ftparchive", "packages", pool, cwd=self.root)
        path = os.path.join(directory, "Packages")
        for suffix in ("", *_COMPRESSORS):
            if os.path.exists(path + suffix):
                os.unlink(path + suffix)
        _write(path, self.edit_index(text))
        for suffix in self.compressions:
            if suffix:
                _run(*_COMPRESSORS[suffix], path)
        if "" not in self.compressions:
            os.unlink(path)
        if self.by_hash:
            hashes = os.path.join(directory, "by-hash", self.digest)
            os.makedirs(hashes, exist_ok=True)
            for suffix in self.compressions:
                digest = _run(f"{self.digest.lower()}sum", path + suffix).split()[0].decode()
                shutil.copyfile(path + suffix, os.path.join(hashes, digest))


def _write(path: str, data: bytes, *, mode: int = 0o644) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as stream:
        stream.write(data)
    os.chmod(path, mode)


def _run(*argv: str, cwd: str | None = None) -> bytes:
    return subprocess.run(argv, cwd=cwd, check=True, capture_output=True).stdout


__all__ = ("DebRepository",)
