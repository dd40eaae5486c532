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
import re
import stat
import typing as t
import urllib.parse

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

#: Those of them that may name a URL instead, of which the fingerprints are known.
_URL_FIELDS: t.Tuple[t.Tuple[str, ...], ...] = (
    ("packageRepositories", "*", "pkey"),
    ("packageRepositories", "*", "pkeys", "*"),
    ("repositories", "*", "gpgkey"),
)

# RFC 8089: a host is none, or this one.
_FILE_URL = re.compile(r"file:(?://(?P<host>[^/]*))?(?P<path>/.*)", re.IGNORECASE | re.DOTALL)


@dataclasses.dataclass(frozen=True)
class FileReference:
    """A field that names a local file.

    :ivar name: The path as it was written; of a URL of this host (C(file:///...)) its path.
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
        return _field_of(self.path) in SECRET_FILE_FIELDS

    @property
    def is_repository_key(self) -> bool:
        """Whether the file is the public key of a repository."""
        return _field_of(self.path) in _URL_FIELDS

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
        elif isinstance(item, str) and item and not _is_no_file(item, (*path, key)):
            yield FileReference(local_path(item), value.origins[key], (*path, key), value, key)


def is_token_key(name: str) -> bool:
    """Tell whether a private key is named by a PKCS#11 URI (RFC 7512), and not by a path."""
    return name.startswith("pkcs11:")


def local_path(name: str) -> str:
    """Return the path that a URL such as C(file:///etc/keys/vendor.asc) means; any other name is returned as it is."""
    match = _FILE_URL.fullmatch(name)
    if match is None or match["host"] not in (None, "", "localhost"):
        return name
    return urllib.parse.unquote(match["path"])


def _field_of(path: Path) -> t.Tuple[str, ...]:
    return tuple("*" if isinstance(step, int) else step for step in path)


def _is_no_file(name: str, path: Path) -> bool:
    """Tell whether a field names something else than a file: a key on a token, or what a rule has a word about.

    A URL in a field that can have none counts as the name of a file, which is not found.
    """
    if _field_of(path) in _URL_FIELDS:
        # The original tool has placeholders here.
        return ("://" in name and not name.lower().startswith("file:")) or name.startswith(("[", "<"))
    return is_token_key(name)


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
    if "://" in name:
        # A password in it is nobody's business.
        shown = re.sub(r"//[^/]*@", "//", name)
        if name.lower().startswith("file:"):
            raise TemplateError(
                f"{shown} names a file of another host.",
                remedy="Write file:/// and an absolute path, or a path relative to the template.",
            )
        raise TemplateError(
            f"{shown} is a URL, and not the path of a file.",
            remedy="Download it, put it beside the template, and name that file; nothing is fetched for this field "
            "while an image is built.",
        )
    path = os.path.normpath(os.path.join(directory, name))
    resolved = os.path.realpath(path)
    if not os.path.isabs(name):
        remedy = (
            "Put the file beside the template, give its absolute path on the build host, or name the directory that it "
            "lies in among the asset roots (image_build_asset_roots)."
        )
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


def find_asset(name: str, *, directory: str, roots: t.Iterable[str]) -> str | None:
    """Return the file that a relative path of a template means in a directory that templates share.

    That may be said by the way that leads there from the template, or from the shared directory itself. The first of
    the directories counts that has it.

    :param directory: Where the template lies.
    :param roots: Absolute paths of the shared directories. No symbolic link leads out of them.
    """
    if "\0" in name or "://" in name or os.path.isabs(name):
        return None
    for root in map(os.path.realpath, roots):
        for start in (os.path.realpath(directory), root):
            path = os.path.normpath(os.path.join(start, name))
            resolved = os.path.realpath(path)
            if lies_in(path, root) and lies_in(resolved, root) and os.path.isfile(resolved):
                return resolved
    return None


def asset_name(name: str) -> str:
    """Return where the file of a relative path lies among the shared files of an input, also of one that leads up."""
    steps = os.path.normpath(name).split(os.sep)
    up = sum(step == ".." for step in steps)
    return "/".join([f"up-{up}", *steps[up:]])


__all__ = (
    "LOCAL_FILE_FIELDS",
    "SECRET_FILE_FIELDS",
    "FileReference",
    "asset_name",
    "file_references",
    "find_asset",
    "find_file",
    "is_token_key",
    "lies_in",
    "local_path",
)
