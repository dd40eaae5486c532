# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""SELinux labels, set when the disk is composed: a system that enforces a policy from its first boot needs them then.

The labels are those that setfiles(8) would set by the policy in the tree; see selabel_file(5) for the form of the files
they come from. Neither the build host's kernel nor its tools have to know SELinux.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import DiskError
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles, by_descriptor

ATTRIBUTE = "security.selinux"

_CONFIG = "/etc/selinux/config"
_NONE = "<<none>>"
# In the order in which they are read; what comes later counts more.
_CONTEXTS = ("file_contexts", "file_contexts.homedirs", "file_contexts.local")
_SUBSTITUTIONS = ("file_contexts.subs", "file_contexts.subs_dist")
_TYPES: t.Mapping[str, int] = {
    "--": stat.S_IFREG,
    "-b": stat.S_IFBLK,
    "-c": stat.S_IFCHR,
    "-d": stat.S_IFDIR,
    "-l": stat.S_IFLNK,
    "-p": stat.S_IFIFO,
    "-s": stat.S_IFSOCK,
}
_META = ".^$?*+|[({"


class _Rule(t.NamedTuple):
    """A line of a file of contexts."""

    pattern: t.Pattern[str]
    kind: int | None
    context: str
    rank: tuple[int, int]


class FileContexts:
    """The labels of a policy.

    :param lines: The files of contexts, one after the other.
    :param substitutions: Pairs (path, the path whose labels it gets).
    :param is_enforced: Whether the running system shall enforce the policy.
    """

    def __init__(
        self, lines: t.Iterable[str], substitutions: t.Iterable[tuple[str, str]] = (), *, is_enforced: bool = False
    ) -> None:
        self.is_enforced = is_enforced
        self._substitutions = tuple(substitutions)
        self._rules: dict[str, list[_Rule]] = {}
        for number, line in enumerate(lines):
            words = line.split()
            if not words or words[0].startswith("#") or len(words) not in (2, 3):
                continue
            if len(words) == 3 and words[1] not in _TYPES:
                raise DiskError(f"The SELinux policy in the tree is damaged: {line.strip()!r} names no kind of file.")
            kind = _TYPES[words[1]] if len(words) == 3 else None
            # What is no pattern counts more than any pattern.
            is_pattern = any(char in _META for char in re.sub(r"\\.", "", words[0]))
            try:
                pattern = re.compile(words[0], re.DOTALL)
            except re.error as exc:
                raise DiskError(
                    f"The SELinux policy in the tree is damaged: {words[0]!r} is no pattern: {exc}."
                ) from exc
            rule = _Rule(pattern, kind, words[-1], (0 if is_pattern else 1, number))
            self._rules.setdefault(_stem(words[0]), []).append(rule)

    @classmethod
    def of(cls, files: TreeFiles) -> FileContexts | None:
        """Read the policy of a tree; V(None) when there is none, or SELinux is switched off.

        :raises DiskError: It is damaged.
        """
        settings = dict(re.findall(r"^(SELINUX(?:TYPE)?)\s*=\s*(\w+)", files.read(_CONFIG), re.MULTILINE))
        directory = f"/etc/selinux/{settings.get('SELINUXTYPE', 'targeted')}/contexts/files"
        # libselinux does not mind their case.
        mode = settings.get("SELINUX", "").lower()
        if mode not in ("enforcing", "permissive") or not files.exists(f"{directory}/{_CONTEXTS[0]}"):
            return None
        lines = [line for name in _CONTEXTS for line in files.read(f"{directory}/{name}").splitlines()]
        pairs = []
        for name in _SUBSTITUTIONS:
            for line in files.read(f"{directory}/{name}").splitlines():
                words = line.split()
                if len(words) == 2 and not words[0].startswith("#"):
                    pairs.append((words[0], words[1]))
        return cls(lines, pairs, is_enforced=mode == "enforcing")

    def label(self, path: str, mode: int) -> str | None:
        """Return the label of a file; V(None) when the policy has none for it.

        :param path: Its absolute path in the tree.
        :param mode: As C(lstat) gives it.
        """
        for alias, original in self._substitutions:
            if path == alias or path.startswith(f"{alias}/"):
                path = original + path[len(alias) :]
                break
        kind = stat.S_IFMT(mode)
        best: _Rule | None = None
        for stem in _stems(path):
            for rule in self._rules.get(stem, ()):
                if best is not None and rule.rank < best.rank:
                    continue
                if rule.kind in (None, kind) and rule.pattern.fullmatch(path):
                    best = rule
        return None if best is None or best.context == _NONE else best.context


def _literal(pattern: str) -> str:
    """Return what every path begins with that a pattern matches; all of a pattern that is none."""
    literal = ""
    characters = iter(pattern)
    for character in characters:
        if character in _META:
            break
        literal += next(characters, "") if character == "\\" else character
    return literal


def _stem(pattern: str) -> str:
    """Return the directory of every path that a pattern matches; it narrows down the search."""
    # An alternative at the top makes the beginning no more than one of several.
    return "" if "|" in re.sub(r"\([^()]*\)", "", pattern) else _literal(pattern).rpartition("/")[0]


def _stems(path: str) -> t.Iterator[str]:
    """Yield the stems that a pattern for a path may have."""
    yield ""
    position = path.find("/", 1)
    while position > 0:
        yield path[:position]
        position = path.find("/", position + 1)
    # A pattern such as /etc(/.*)? has a shorter stem, and /usr/.* the directory's own.
    yield path


def set_labels(tree: str, contexts: FileContexts) -> int:
    """Label all files of a tree; returns how many.

    :param tree: The mounted tree.
    :raises DiskError: The file system of the build host does not take labels.
    """
    files = TreeFiles(tree)
    count = 0
    pending = ["/"]
    while pending:
        path = pending.pop()
        with files.directory(path, links=False) as directory:
            count += _set_label(by_descriptor(directory, "."), path, os.fstat(directory).st_mode, contexts)
            for name in os.listdir(directory):
                below = f"{path.rstrip('/')}/{name}"
                mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode):
                    pending.append(below)
                else:
                    count += _set_label(by_descriptor(directory, name), below, mode, contexts)
    return count


def _set_label(here: str, path: str, mode: int, contexts: FileContexts) -> int:
    """Label a file; returns how many were labelled, one or none.

    :param here: Its path on the host.
    :param path: Its path in the tree.
    """
    label = contexts.label(path, mode)
    if label is None:
        return 0
    try:
        os.setxattr(here, ATTRIBUTE, label.encode("ascii") + b"\0", follow_symlinks=False)
    except OSError as exc:
        remedy = None
        if exc.errno in (errno.EOPNOTSUPP, errno.EPERM):
            remedy = "Put work_dir on ext4 or xfs, and let the build host's own SELinux policy allow it."
        raise DiskError(f"The SELinux label of {path} cannot be set: {exc.strerror}.", remedy=remedy) from exc
    return 1


__all__ = ("ATTRIBUTE", "FileContexts", "set_labels")
