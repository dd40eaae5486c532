# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The inputs of a build from the controller: template, local files and configuration, kept by the digest of all."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tarfile
import tempfile
import time
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import TemplateError
from ansible_collections.os_image.composer.plugins.module_utils._io import (
    parse_json,
    sha256_file,
    write_json,
)
from ansible_collections.os_image.composer.plugins.module_utils._ownership import require_own_directory

#: The folders of an input: the template with its files, and the configuration.
TEMPLATE_FOLDER = "template"
CONFIG_FOLDER = "config"
#: What the controller has at absolute paths, and the build host need not have.
ABSOLUTE_FOLDER = "absolute"
#: What it has of directories that templates share.
ASSET_FOLDER = "assets"

# Beside them, when there are any: the names of the private keys among the files, with their SHA-256. It stays when they
# are removed.
_PRIVATE_KEYS = "private-keys.json"

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

    def add(self, archive: str, digest: str, private_keys: t.Sequence[str] = ()) -> None:
        """Unpack an archive; its directory gets its name when all of it is there.

        :param private_keys: The names in the archive of files that are removed when a build ends.
        :raises OwnershipError: Somebody else could write into the work directory.
        :raises TemplateError: The archive has another digest, or holds anything but plain files.
        """
        with self._unpacked(archive, digest) as temporary:
            _note_keys(temporary, private_keys)
            try:
                os.rename(temporary, self.path(digest))
            except OSError:
                # Somebody else has unpacked the same at the same time.
                if not self.has(digest):
                    raise

    @contextlib.contextmanager
    def _unpacked(self, archive: str, digest: str) -> t.Iterator[str]:
        """Unpack an archive into a directory beside the inputs, which goes with the block."""
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
            yield temporary
        except tarfile.TarError as exc:
            raise TemplateError(f"The archive {archive} cannot be unpacked: {exc}.") from exc
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def note_keys(self, digest: str, private_keys: t.Sequence[str]) -> None:
        """Note which files of an input are private keys, when its directory was made without saying so."""
        directory = self.path(digest)
        if not os.path.exists(os.path.join(directory, _PRIVATE_KEYS)):
            _note_keys(directory, private_keys)

    def remove_keys(self, digest: str) -> t.List[str]:
        """Remove the private keys of an input, and nothing else; the note of them stays.

        :returns: The names of those that were there.
        """
        directory = self.path(digest)
        names = self.present_keys(digest)
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(directory, name))
        return names

    def restore_keys(self, archive: str, digest: str) -> None:
        """Put the private keys of an input back that were removed.

        :raises OwnershipError: Somebody else could write into the work directory.
        :raises TemplateError: The archive has another digest, or holds anything but plain files.
        """
        with self._unpacked(archive, digest) as temporary:
            for name in self.missing_keys(digest):
                os.rename(os.path.join(temporary, name), os.path.join(self.path(digest), name))

    def present_keys(self, digest: str) -> t.List[str]:
        """Return the names of an input's private keys that are there."""
        directory = self.path(digest)
        return [name for name in _noted_keys(directory) if os.path.lexists(os.path.join(directory, name))]

    def missing_keys(self, digest: str) -> t.List[str]:
        """Return the names of an input's private keys that were removed."""
        directory = self.path(digest)
        return [name for name in _noted_keys(directory) if not os.path.lexists(os.path.join(directory, name))]

    def removed_keys(self, template: str) -> t.Dict[str, str]:
        """Return the real paths of the private keys that came with a template and were removed, with their SHA-256.

        :param template: Path of the template; it need not be of an input.
        """
        digest = os.path.relpath(os.path.realpath(template), os.path.realpath(self.directory)).partition(os.sep)[0]
        if not _DIGEST.match(digest):
            return {}
        directory = os.path.realpath(self.path(digest))
        noted = _noted_keys(directory)
        return {os.path.join(directory, name): noted[name] for name in self.missing_keys(digest)}

    def absolute_folder(self, template: str) -> str | None:
        """Return where the files lie that came with a template and have absolute paths on the controller.

        :param template: Path of the template; it need not be of an input.
        """
        return self._folder(template, ABSOLUTE_FOLDER)

    def asset_folder(self, template: str) -> str | None:
        """Return where the files lie that came with a template from directories that templates share.

        :param template: Path of the template; it need not be of an input.
        """
        return self._folder(template, ASSET_FOLDER)

    def _folder(self, template: str, name: str) -> str | None:
        digest = os.path.relpath(os.path.realpath(template), os.path.realpath(self.directory)).partition(os.sep)[0]
        return os.path.join(os.path.realpath(self.path(digest)), name) if _DIGEST.match(digest) else None

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


def _note_keys(directory: str, private_keys: t.Sequence[str]) -> None:
    if not private_keys:
        return
    noted = {}
    for name in sorted(private_keys):
        path = os.path.join(directory, name)
        if os.path.normpath(path) != path or not path.startswith(directory + os.sep) or not os.path.isfile(path):
            raise TemplateError(f"The input holds no file {name!r}, which should be a private key.")
        noted[name] = sha256_file(path)
    write_json(os.path.join(directory, _PRIVATE_KEYS), noted, mode=0o600)


def _noted_keys(directory: str) -> t.Dict[str, str]:
    try:
        with open(os.path.join(directory, _PRIVATE_KEYS), "rb") as stream:
            return dict(parse_json(stream.read()))
    except FileNotFoundError:
        return {}


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


__all__ = ("ABSOLUTE_FOLDER", "CONFIG_FOLDER", "TEMPLATE_FOLDER", "InputStore")
