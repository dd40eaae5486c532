# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The inputs of a build from the controller: template, local files and configuration, kept by the digest of all."""

from __future__ import annotations

import os
import re
import shutil
import tarfile
import tempfile
import time
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import TemplateError
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_file
from ansible_collections.os_image.composer.plugins.module_utils._ownership import require_own_directory

#: The folders of an input: the template with its files, and the configuration.
TEMPLATE_FOLDER = "template"
CONFIG_FOLDER = "config"

# An older input may still be read by a build that was started with it.
_LEAST_AGE_SECONDS = 7 * 86400

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


class InputStore:
    """The inputs of all builds below a work directory, as C({work_dir}/inputs/{digest}/).

    :param work_dir: Absolute path; it need not exist yet.
    """

    def __init__(self, work_dir: str) -> None:
        self.directory = os.path.join(os.path.abspath(work_dir), "inputs")

    def path(self, digest: str) -> str:
        """Return the directory of an input.

        :param digest: SHA-256 of its archive.
        """
        if not _DIGEST.match(digest):
            raise TemplateError(f"{digest!r} is not a SHA-256 digest of 64 hexadecimal digits.")
        return os.path.join(self.directory, digest)

    def require_own(self) -> None:
        """Check that nobody else could exchange an input.

        :raises OwnershipError: Somebody could.
        """
        require_own_directory(self.directory, what="work directory")

    def has(self, digest: str) -> bool:
        """Tell whether an input is there."""
        return os.path.isdir(self.path(digest))

    def touch(self, digest: str) -> None:
        """Note that an input is in use."""
        os.utime(self.path(digest))

    def add(self, archive: str, digest: str) -> None:
        """Unpack an archive; its directory gets its name when all of it is there.

        :raises OwnershipError: Somebody else could write into the work directory.
        :raises TemplateError: The archive has another digest, or holds anything but plain files.
        """
        if sha256_file(archive) != digest:
            raise TemplateError(
                f"The archive {archive} was damaged on its way to the build host.", remedy="Run the task again."
            )
        self.require_own()
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        temporary = tempfile.mkdtemp(dir=self.directory, prefix=".")
        try:
            with tarfile.open(archive) as tar:
                for member in tar:
                    _unpack(tar, member, temporary)
            try:
                os.rename(temporary, self.path(digest))
            except OSError:
                # Somebody else has unpacked the same at the same time.
                if not self.has(digest):
                    raise
        except tarfile.TarError as exc:
            raise TemplateError(f"The archive {archive} cannot be unpacked: {exc}.") from exc
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def prune(self, keep: int) -> t.List[str]:
        """Remove old inputs; the last ones used, and all of the last week, stay.

        :returns: The digests that were removed.
        """
        with os.scandir(self.directory) as entries:
            inputs = [(entry.stat().st_mtime, entry.name, entry.path) for entry in entries if entry.is_dir()]
        removed = []
        oldest = time.time() - _LEAST_AGE_SECONDS
        for used, name, path in sorted(inputs, reverse=True)[max(keep, 1) :]:
            if used < oldest:
                shutil.rmtree(path, ignore_errors=True)
                removed.append(name)
        return removed


def _unpack(tar: tarfile.TarFile, member: tarfile.TarInfo, directory: str) -> None:
    """Unpack one plain file; nothing else is taken from an archive."""
    path = os.path.join(directory, member.name)
    if not member.isreg() or os.path.normpath(path) != path or not path.startswith(directory + os.sep):
        raise TemplateError(f"The archive holds {member.name!r}, which is no plain file below its top.")
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    source = tar.extractfile(member)
    if source is None:
        raise AssertionError("source is known here")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with source, os.fdopen(descriptor, "wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
        os.fchmod(target.fileno(), member.mode & 0o755)


__all__ = ("CONFIG_FOLDER", "TEMPLATE_FOLDER", "InputStore")
