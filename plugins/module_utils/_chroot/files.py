# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Files in a root tree: paths that never lead out of it, and the files of the template."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import shutil
import stat
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._template.model import AdditionalFile

# As many as the kernel follows.
_MAX_LINKS = 40


def resolve_in_tree(root: str, path: str, *, follow_last: bool = True) -> str:
    """Return where a path leads when C(root) is the root directory, as an absolute path without symbolic links.

    Absolute links such as /var/run -> /run are followed within the tree, and C(..) ends at its root. Parts that do not
    exist are kept as they are.

    :param follow_last: Whether a link that the path itself names is followed too.
    :raises ChrootError: Links go round in a circle, or the path leads through something that is not a directory.
    """
    pending = [part for part in reversed(path.split("/")) if part and part != "."]
    done: list[str] = []
    links = 0
    while pending:
        part = pending.pop()
        if part == "..":
            done = done[:-1]
            continue
        here = "/".join([root, *done, part])
        try:
            mode = os.lstat(here).st_mode
        except FileNotFoundError:
            done.append(part)
            continue
        except NotADirectoryError:
            raise ChrootError(
                f"The path {path} of the image leads through /{'/'.join(done)}, which is not a directory."
            ) from None
        if stat.S_ISLNK(mode) and (pending or follow_last):
            links += 1
            if links > _MAX_LINKS:
                raise ChrootError(f"The path {path} of the image leads round in a circle of symbolic links.")
            target = os.readlink(here)
            if target.startswith("/"):
                done = []
            pending += [step for step in reversed(target.split("/")) if step and step != "."]
            continue
        done.append(part)
    return "/" + "/".join(done)


class TreeFiles:
    """Reads and writes files of a root tree; no path leads out of it.

    :param root: Absolute path of the tree.
    """

    def __init__(self, root: str) -> None:
        self.root = root

    def real(self, path: str, *, follow_last: bool = True) -> str:
        """Return the host's path of a path of the tree, its symbolic links followed within the tree."""
        return self.root + resolve_in_tree(self.root, path, follow_last=follow_last)

    def exists(self, path: str) -> bool:
        """Tell whether there is something; a link that leads nowhere is nothing."""
        return os.path.lexists(self.real(path))

    def is_link(self, path: str) -> bool:
        """Tell whether the path itself is a symbolic link."""
        return os.path.islink(self.real(path, follow_last=False))

    def is_executable(self, path: str) -> bool:
        """Tell whether there is a regular file that somebody may execute."""
        here = self.real(path)
        return os.path.isfile(here) and bool(os.stat(here).st_mode & 0o111)

    def read(self, path: str) -> str:
        """Return the text of a file; nothing when it does not exist."""
        try:
            with open(self.real(path), encoding="utf-8", errors="surrogateescape") as stream:
                return stream.read()
        except FileNotFoundError:
            return ""

    def make_directory(self, path: str, *, mode: int = 0o755, uid: int = 0, gid: int = 0) -> str:
        """Make a directory and its parents where they are missing; returns the host's path."""
        here = self.real(path)
        if os.path.isdir(here):
            return here
        if os.path.lexists(here):
            raise ChrootError(f"The path {path} of the image is not a directory.")
        if path.strip("/"):
            self.make_directory(os.path.dirname(path.rstrip("/")))
        os.mkdir(here, 0o700)
        os.chown(here, uid, gid)
        os.chmod(here, mode)
        return here

    def write(
        self, path: str, content: str | bytes, *, mode: int = 0o644, uid: int = 0, gid: int = 0, follow: bool = False
    ) -> None:
        """Replace a file; its parents are made when they are missing.

        :param follow: Where the path is a symbolic link, write to where it leads, instead of replacing the link.
        """
        parent = self.make_directory(os.path.dirname(path))
        here = self.real(path) if follow else os.path.join(parent, os.path.basename(path))
        if os.path.isdir(here) and not os.path.islink(here):
            raise ChrootError(f"The path {path} of the image is a directory, not a file.")
        data = content.encode("utf-8", errors="surrogateescape") if isinstance(content, str) else content
        if os.path.lexists(here):
            os.unlink(here)
        descriptor = os.open(here, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            os.fchown(stream.fileno(), uid, gid)
            os.fchmod(stream.fileno(), mode)

    def copy(self, source: str, path: str, *, mode: int, uid: int, gid: int) -> None:
        """Copy a file of the host to C(path), whatever its size."""
        self.write(path, b"", mode=0o600)
        here = self.real(path, follow_last=False)
        with open(source, "rb") as reader, open(here, "wb") as writer:
            shutil.copyfileobj(reader, writer, 1 << 20)
            os.fchown(writer.fileno(), uid, gid)
            os.fchmod(writer.fileno(), mode)

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link in place of whatever file is there."""
        parent = self.make_directory(os.path.dirname(path))
        here = os.path.join(parent, os.path.basename(path))
        if os.path.lexists(here):
            os.unlink(here)
        os.symlink(target, here)

    def remove(self, path: str) -> None:
        """Remove a file or link when there is one."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.real(path, follow_last=False))

    def glob(self, directory: str, pattern: str) -> list[str]:
        """Return the paths (of the tree) of the entries of a directory whose names match, sorted."""
        try:
            names = os.listdir(self.real(directory))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(f"{directory.rstrip('/')}/{name}" for name in fnmatch.filter(names, pattern))

    def empty(self, directory: str, *, keep_directories: bool = False) -> None:
        """Remove everything in a directory, and keep it.

        :param keep_directories: Keep the directories in it too, as they are.
        """
        here = self.real(directory)
        if not os.path.isdir(here):
            return
        with os.scandir(here) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.path)
                elif not keep_directories:
                    shutil.rmtree(entry.path)

    def account_id(self, database: str, name: str) -> int | None:
        """Return the number of a user or group of the tree.

        :param database: V(passwd) or V(group).
        """
        for line in self.read(f"/etc/{database}").splitlines():
            fields = line.split(":")
            if len(fields) > 2 and fields[0] == name:
                return int(fields[2])
        return None


def install_additional_files(files: TreeFiles, entries: t.Sequence[AdditionalFile]) -> None:
    """Copy the template's additional files into the tree.

    :param entries: The template's C(systemConfig.additionalFiles).
    :raises ChrootError: A file is missing, an owner does not exist, or the path cannot be.
    """
    for entry in entries:
        local, final = entry.local, entry.final
        try:
            mode = os.stat(local).st_mode
            uid = files.account_id("passwd", entry.owner)
            gid = files.account_id("group", entry.group)
            for kind, account, number in (("owner", entry.owner, uid), ("group", entry.group, gid)):
                if number is None:
                    raise ChrootError(
                        f"The additional file {final} shall have the {kind} {account!r}, who does not exist in the "
                        "image.",
                        remedy="Name the user in systemConfig.users, or install the package that makes the account.",
                    )
            if uid is None:
                raise AssertionError("uid is known here")
            if gid is None:
                raise AssertionError("gid is known here")
            # Who may write the original does not matter in the image; whether it is a program does.
            wanted = int(entry.mode, 8) if entry.mode else stat.S_IMODE(mode) & 0o755
            files.copy(local, final, mode=wanted, uid=uid, gid=gid)
        except OSError as exc:
            raise ChrootError(
                f"The additional file {local} cannot be copied to {final} of the image: {exc.strerror}."
            ) from exc


__all__ = ("TreeFiles", "install_additional_files", "resolve_in_tree")
