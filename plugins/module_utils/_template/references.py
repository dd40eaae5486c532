# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The fields of a template that name local files, and finding those files without leaving their directory.

The controller needs this too, to know what to copy to a build host; so nothing here needs more than ansible-core has.
"""

from __future__ import annotations

import dataclasses
import os
import stat
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import TemplateError
from ansible_collections.os_image.composer.plugins.module_utils._template.located import (
    LocatedList,
    LocatedMapping,
    Origin,
    Path,
)

#: Where a template names local files; C(*) stands for each item of a list.
LOCAL_FILE_FIELDS: t.Tuple[t.Tuple[str, ...], ...] = (
    ("systemConfig", "additionalFiles", "*", "local"),
    ("systemConfig", "scripts", "preInstall", "*", "file"),
    ("systemConfig", "scripts", "postInstall", "*", "file"),
    ("systemConfig", "immutability", "secureBootDBKey"),
    ("systemConfig", "immutability", "secureBootDBCrt"),
    ("systemConfig", "immutability", "secureBootDBCer"),
    ("systemConfig", "signing", "secureBoot", "key"),
    ("systemConfig", "signing", "secureBoot", "certificate"),
    ("systemConfig", "signing", "secureBoot", "certificateDer"),
    ("systemConfig", "signing", "checksums", "key"),
    ("systemConfig", "signing", "checksums", "certificate"),
    ("packageRepositories", "*", "pkey"),
    ("packageRepositories", "*", "pkeys", "*"),
    ("repositories", "*", "gpgkey"),
)

#: Those of them that name private keys, which stay on the build host while it builds, and no longer.
SECRET_FILE_FIELDS: t.Tuple[t.Tuple[str, ...], ...] = (
    ("systemConfig", "immutability", "secureBootDBKey"),
    ("systemConfig", "signing", "secureBoot", "key"),
    ("systemConfig", "signing", "checksums", "key"),
)


@dataclasses.dataclass(frozen=True)
class FileReference:
    """A field that names a local file.

    :ivar name: The path as it was written.
    :ivar path: The YAML path of the field in the document that was searched.
    :ivar container: The mapping or list that holds the field.
    :ivar key: The field's key or index there.
    """

    name: str
    origin: Origin
    path: Path
    container: t.Union[LocatedMapping, LocatedList]
    key: t.Union[str, int]

    @property
    def is_relative(self) -> bool:
        """Whether the path is relative to the file that names it."""
        return not os.path.isabs(self.name)

    @property
    def is_secret(self) -> bool:
        """Whether the file is a private key."""
        return tuple("*" if isinstance(step, int) else step for step in self.path) in SECRET_FILE_FIELDS

    def replace(self, name: str) -> None:
        """Set the field to another path."""
        self.container[t.cast(t.Any, self.key)] = name


def file_references(template: LocatedMapping) -> t.Iterator[FileReference]:
    """Yield each field that names a local file; fields of a wrong type are left out."""
    for field in LOCAL_FILE_FIELDS:
        yield from _walk(template, field, ())


def _walk(value: t.Any, field: t.Tuple[str, ...], path: Path) -> t.Iterator[FileReference]:
    step, rest = field[0], field[1:]
    keys: t.Iterable[t.Union[str, int]]
    if step == "*":
        keys = range(len(value)) if isinstance(value, LocatedList) else ()
    else:
        keys = (step,) if isinstance(value, LocatedMapping) and step in value else ()
    for key in keys:
        item = value[key]
        if rest:
            yield from _walk(item, rest, (*path, key))
        elif isinstance(item, str) and item and not is_remote(item):
            yield FileReference(item, value.origins[key], (*path, key), value, key)


def is_token_key(name: str) -> bool:
    """Tell whether a private key is named by a PKCS#11 URI (RFC 7512), and not by a path."""
    return name.startswith("pkcs11:")


def is_remote(name: str) -> bool:
    """Tell whether a key is named by URL or URI, or by one of the original tool's placeholders, and not by a path."""
    return "://" in name or name.startswith(("[", "<")) or is_token_key(name)


def lies_in(path: str, directory: str) -> bool:
    """Tell whether a path is a directory's, or below it; both are absolute and normalised."""
    return os.path.commonpath([path, directory]) == directory


def find_file(name: str, *, directory: str, root: str) -> str:
    """Return the absolute path of a local file, its symbolic links resolved.

    :param directory: What relative paths are relative to.
    :param root: What relative paths may not leave; an absolute path may lie anywhere.
    :raises TemplateError: It does not exist, cannot be read, is no regular file, or lies outside.
    """
    if "\0" in name:
        raise TemplateError("The path contains a NUL character.", remedy="Remove it.")
    path = os.path.normpath(os.path.join(directory, name))
    resolved = os.path.realpath(path)
    if not os.path.isabs(name):
        remedy = "Put the file beside the template, or give its absolute path on the build host."
        if not lies_in(path, root):
            raise TemplateError(f"The path {name!r} leaves the directory {root}.", remedy=remedy)
        if not lies_in(resolved, os.path.realpath(root)):
            raise TemplateError(f"The path {name!r} leaves the directory {root} by a symbolic link.", remedy=remedy)
    try:
        status = os.stat(resolved)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "its name is not UTF-8"
        raise TemplateError(
            f"The file {path} cannot be read: {reason}.",
            remedy="Put it there, or correct the path; relative paths begin at the file that names them.",
        ) from exc
    if not stat.S_ISREG(status.st_mode):
        raise TemplateError(f"{path} is not a regular file.", remedy="Name files one by one, not directories.")
    if not os.access(resolved, os.R_OK):
        raise TemplateError(f"The file {path} cannot be read: permission denied.", remedy="Change its permissions.")
    return resolved


__all__ = (
    "LOCAL_FILE_FIELDS",
    "SECRET_FILE_FIELDS",
    "FileReference",
    "file_references",
    "find_file",
    "is_remote",
    "is_token_key",
    "lies_in",
)
