# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The chroot environment as one file, C(chrootenv.tar.gz): it outlives the pruning of its layer."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import typing as t
import zlib

from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._io import atomic_file, write_json

_TARBALL = "chrootenv.tar.gz"
_DOCUMENT = "chrootenv.json"
_CHUNK = 1 << 20

# The tree is stored, not compressed: even gzip -1 would take longer than configuring all of its packages.
_LEVEL = 0
_GZIP_FORMAT = 31

_TAR_OPTIONS = ("--numeric-owner", "--xattrs", "--xattrs-include=*", "--blocking-factor=512")
_WRITE_OPTIONS = ("--sort=name", "--format=posix")
# No times but the files' own: the same tree gives the same bytes.
_PAX_OPTIONS = "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime"


class ChrootTarball:
    """The tarball of the chroot environment of one provider.

    :param directory: C({work_dir}/{provider_id}/chrootbuild).
    """

    def __init__(self, directory: str, runner: CommandRunner) -> None:
        self.path = os.path.join(directory, _TARBALL)
        self._document = os.path.join(directory, _DOCUMENT)
        self._directory = directory
        self._runner = runner

    def holds(self, digest: str) -> bool:
        """Tell whether the tarball is that of the layer C(digest)."""
        try:
            with open(self._document, encoding="utf-8") as stream:
                data = json.load(stream)
            return data["layer"] == digest and os.path.getsize(self.path) == data["size"]
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def write(self, root: str, digest: str) -> None:
        """Write a layer's tree as the tarball.

        :raises ChrootError: It cannot be written.
        """
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._document)
        compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_FORMAT)
        sha256 = hashlib.sha256()
        size = 0
        try:
            with atomic_file(self.path, mode=0o600) as stream:
                process = self._runner.start(
                    [
                        find_tool("tar"),
                        *_TAR_OPTIONS,
                        *_WRITE_OPTIONS,
                        _PAX_OPTIONS,
                        "-C",
                        root,
                        "-c",
                        ".",
                    ],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
                if process.stdout is None:
                    raise AssertionError("process.stdout is known here")
                with process:
                    while chunk := process.stdout.read(_CHUNK):
                        size += _put(stream, sha256, compressor.compress(chunk))
                    size += _put(stream, sha256, compressor.flush())
                if process.returncode:
                    raise ChrootError(f"tar could not read {root}: it ended with status {process.returncode}.")
        except OSError as exc:
            raise ChrootError(f"{self.path} cannot be written: {exc.strerror}.") from exc
        write_json(self._document, {"layer": digest, "size": size, "sha256": sha256.hexdigest()}, mode=0o600)

    def restore(self, root: str) -> None:
        """Extract the tarball into an empty directory, and check it on the way.

        :raises ChrootError: It is damaged.
        """
        with open(self._document, encoding="utf-8") as stream:
            expected = json.load(stream)["sha256"]
        sha256 = hashlib.sha256()
        decompressor = zlib.decompressobj(_GZIP_FORMAT)
        process = self._runner.start(
            [find_tool("tar"), *_TAR_OPTIONS, "-C", root, "-x", "-p"],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        if process.stdin is None:
            raise AssertionError("process.stdin is known here")
        try:
            with process, open(self.path, "rb") as source:
                while chunk := source.read(_CHUNK):
                    sha256.update(chunk)
                    process.stdin.write(decompressor.decompress(chunk))
                process.stdin.close()
        except (OSError, zlib.error) as exc:
            raise ChrootError(f"{self.path} cannot be extracted: {exc}.") from exc
        if process.returncode or sha256.hexdigest() != expected:
            raise ChrootError(f"{self.path} is damaged.")


def _put(stream: t.BinaryIO, digest: hashlib._Hash, data: bytes) -> int:
    digest.update(data)
    return stream.write(data)


__all__ = ("ChrootTarball",)
