# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The host name that packages see when they are configured.

Some write it down, as mail servers do, or something that they make of it. Most do not, and their layers are the same
whatever the machine is called. So packages are first configured on a host with a name that nothing else has; where it
is found afterwards, the layer is one of the template's own host name.
"""

from __future__ import annotations

import contextlib
import os
import stat
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles

_FILE = "/etc/hostname"
_TABLE = "/etc/hosts"

#: What the host is called when a template gives it no name.
LOCALHOST = "localhost"

# Two labels, as what is made of a name may have but one of them: a mail domain, a short name, the suffix of an LDAP
# tree. The top level is one that nobody has (RFC 2606).
_LABELS = ("composing-host", "composing-domain")
#: The name that nothing else has.
PLACEHOLDER = f"{'.'.join(_LABELS)}.invalid"

_TOKENS = tuple(label.encode("ascii") for label in _LABELS)

# Where packages write when they are configured. What else they have comes out of their archives.
_WRITTEN = ("boot", "etc", "home", "opt", "root", "srv", "usr/local", "var")
_CHUNK = 1 << 20


class NamedLayerError(Exception):
    """A layer holds the name of the host on which it was made.

    :ivar path: The first file that does.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


def host_files(hostname: str) -> dict[str, str]:
    """Return the files that hold the host's own name, by path."""
    return {
        _FILE: f"{hostname}\n",
        _TABLE: (
            "127.0.0.1 localhost\n"
            f"{_own_line(hostname)}"
            "\n"
            "::1 localhost ip6-localhost ip6-loopback\n"
            "ff02::1 ip6-allnodes\n"
            "ff02::2 ip6-allrouters\n"
        ),
    }


def _own_line(hostname: str) -> str:
    if hostname == LOCALHOST:
        return ""
    short = hostname.split(".", 1)[0]
    return f"127.0.1.1 {hostname} {short}\n" if short != hostname else f"127.0.1.1 {hostname}\n"


@contextlib.contextmanager
def named(files: TreeFiles, hostname: str) -> t.Iterator[None]:
    """Let the tree have a host name while the block runs, which the names of localhost are left of.

    :param hostname: A name; for V(localhost) nothing is written.
    """
    if hostname == LOCALHOST:
        yield
        return
    line, name = _own_line(hostname), f"{hostname}\n"
    before = files.read_bytes(_FILE)
    table = files.read(_TABLE) if files.exists(_TABLE) else host_files(LOCALHOST)[_TABLE]
    files.write(_FILE, name)
    files.write(_TABLE, line + table)
    yield
    if files.read(_FILE) == name:
        if before is None:
            files.remove(_FILE)
        else:
            files.write(_FILE, before)
    text = files.read(_TABLE)
    if line in text:
        files.write(_TABLE, text.replace(line, "", 1))


def require_nameless(files: TreeFiles) -> None:
    """Check that nothing in a tree was made of the placeholder.

    :param files: The layer's own files.
    :raises NamedLayerError: Something was.
    """
    pending = [f"/{name}" for name in _WRITTEN]
    while pending:
        path = pending.pop()
        status = files.status(path, follow_last=False)
        if status is None or not stat.S_ISDIR(status.st_mode):
            continue
        with files.directory(path, links=False) as descriptor, os.scandir(descriptor) as entries:
            names = sorted((entry.name, entry.stat(follow_symlinks=False).st_mode) for entry in entries)
        for name, mode in names:
            place = f"{path}/{name}"
            words = f"{name} {(files.link_target(place) or '') if stat.S_ISLNK(mode) else ''}".lower()
            is_named = any(label in words for label in _LABELS) or (stat.S_ISREG(mode) and _has_token(files, place))
            if is_named:
                raise NamedLayerError(place)
            if stat.S_ISDIR(mode):
                pending.append(place)


def _has_token(files: TreeFiles, path: str) -> bool:
    rest = b""
    with files.open(path) as stream:
        while chunk := stream.read(_CHUNK):
            # NetBIOS, for one, has names in capital letters.
            data = (rest + chunk).lower()
            if any(token in data for token in _TOKENS):
                return True
            rest = chunk[-max(len(token) for token in _TOKENS) :]
    return False


__all__ = ("LOCALHOST", "PLACEHOLDER", "NamedLayerError", "host_files", "named", "require_nameless")
