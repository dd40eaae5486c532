# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The exceptions of the pipeline.

Every error that a user can meet is a :class:`ComposerError`. Its message names the thing, the reason and the
remedy. Helpers raise; only the ``main()`` of a module turns an error into ``fail_json``.
"""

from __future__ import annotations

import errno
import os
import typing as t

# What a terminal takes for an order (ECMA-48): the C0 and C1 controls and DEL, without tabulators and line breaks.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(9), *range(11, 32), *range(127, 160))}


def printable(text: str) -> str:
    """Return a text with its control characters written out: who reads it in a terminal reads what programs say.

    >>> printable("\\x1b[2Jgone\\r\\n")
    '\\\\x1b[2Jgone\\n'
    """
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(_CONTROLS)


class ComposerError(Exception):
    """Root of all errors of this collection.

    :param message: What failed, on which object, and why: one or two full sentences.
    :param remedy: What the user can do about it, one sentence. It is appended to the message.
    :param details: Facts for the module's result (JSON types only), for example C(rc) or C(errors).
    """

    def __init__(self, message: str, *, remedy: str | None = None, details: dict[str, t.Any] | None = None) -> None:
        self.remedy = remedy
        self.details = details or {}
        super().__init__(printable(f"{message} {remedy}" if remedy else message))


class CommandError(ComposerError):
    """A program ended with an error, ran into its time limit, or could not be started."""


class ToolMissingError(ComposerError):
    """A program or Python library that a stage needs is not on the build host."""


class DocumentError(ComposerError):
    """A document of the build directory is missing, unreadable, or not what its stage wrote."""


class OwnershipError(ComposerError):
    """What a module would write to belongs to somebody else, or can be exchanged by somebody else."""


class LockedError(ComposerError):
    """Somebody else holds the lock, and did not give it back in time."""


class CancelledError(ComposerError):
    """The play that started this module has gone away."""


class TemplateError(ComposerError):
    """An image template, or the configuration that it is merged over, is not valid."""


class RepositoryError(ComposerError):
    """A repository, its metadata, or one of its packages cannot be had."""


class MetadataError(RepositoryError):
    """The metadata of a repository is there, and says what it must not; fetching it again does not help."""


class SignatureError(RepositoryError):
    """Metadata or a package is not signed as the provider or the template demands."""


class ResolveError(ComposerError):
    """The requested packages cannot be installed together, do not exist, or nobody can find that out."""


class ChrootError(ComposerError):
    """The root tree cannot be made."""


class DiskError(ComposerError):
    """The image cannot be composed from the root tree."""


class BootError(ComposerError):
    """The boot chain of an image cannot be made, or an image does not boot."""


class SigningError(ComposerError):
    """Something cannot be signed: the boot chain, or the checksums."""


class ArtifactError(ComposerError):
    """An artifact cannot be written, converted, or published."""


class HostError(ComposerError):
    """The build host refuses something that every stage may do: no space, no permission, a failing disk."""

    @classmethod
    def of(cls, exc: OSError) -> HostError:
        """Say in words what an error of the operating system means to the user."""
        where = f" {os.fsdecode(exc.filename)}" if isinstance(exc.filename, (str, bytes)) else ""
        if exc.errno in (errno.EACCES, errno.EPERM) and os.geteuid() != 0:
            what = where or " what it needs on the build host"
            return cls(
                f"The module runs as user {os.geteuid()}, who may not use{what}.",
                remedy="Run the play with become: true, so that the module runs as root.",
            )
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            return cls(
                f"There is no space left on the build host{f', when writing{where}' if where else ''}.",
                remedy="Free some, or put work_dir, cache_dir and the output directory where there is more.",
            )
        if exc.errno == errno.EFBIG:
            return cls(
                f"A file would become larger than the build host lets it{f':{where}' if where else ''}.",
                remedy="Put work_dir, cache_dir and the output directory on a file system that holds larger files, "
                "such as XFS, or raise the limit of the user who builds (ulimit -f).",
            )
        if exc.errno == errno.ENAMETOOLONG:
            return cls(
                f"A name or a path is longer than the build host lets it{f':{where}' if where else ''}.",
                remedy="Shorten image.name and systemConfig.name, or the paths of work_dir and the output directory.",
            )
        return cls(f"The build host refuses to go on{f' at{where}' if where else ''}: {exc.strerror or exc}.")


__all__ = (
    "ArtifactError",
    "BootError",
    "CancelledError",
    "ChrootError",
    "CommandError",
    "ComposerError",
    "DiskError",
    "DocumentError",
    "HostError",
    "LockedError",
    "MetadataError",
    "RepositoryError",
    "ResolveError",
    "SignatureError",
    "SigningError",
    "TemplateError",
    "ToolMissingError",
    "printable",
)
