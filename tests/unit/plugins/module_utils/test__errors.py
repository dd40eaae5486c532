# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import os

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import CommandError, HostError, printable


@pytest.mark.parametrize(
    ("user", "code", "filename", "message"),
    [
        (
            1000,
            errno.EACCES,
            "/var/lib/x",
            "The module runs as user 1000, who may not use /var/lib/x. "
            "Run the play with become: true, so that the module runs as root.",
        ),
        (
            1000,
            errno.EPERM,
            None,
            "The module runs as user 1000, who may not use what it needs on the build host. "
            "Run the play with become: true, so that the module runs as root.",
        ),
        (0, errno.EPERM, b"/x", "The build host refuses to go on at /x: Operation not permitted."),
        (
            0,
            errno.ENOSPC,
            "/srv/a",
            "There is no space left on the build host, when writing /srv/a. "
            "Free some, or put work_dir, cache_dir and the output directory where there is more.",
        ),
        (
            0,
            errno.EDQUOT,
            None,
            "There is no space left on the build host. "
            "Free some, or put work_dir, cache_dir and the output directory where there is more.",
        ),
        (
            0,
            errno.EFBIG,
            "/srv/a",
            "A file would become larger than the build host lets it: /srv/a. Put work_dir, cache_dir and the output "
            "directory on a file system that holds larger files, such as XFS, or raise the limit of the user who "
            "builds (ulimit -f).",
        ),
        (
            0,
            errno.ENAMETOOLONG,
            "/srv/a",
            "A name or a path is longer than the build host lets it: /srv/a. Shorten image.name and systemConfig.name, "
            "or the paths of work_dir and the output directory.",
        ),
        (0, errno.EIO, "/dev/x", "The build host refuses to go on at /dev/x: Input/output error."),
    ],
)
def test_host_error(
    monkeypatch: pytest.MonkeyPatch, user: int, code: int, filename: str | bytes | None, message: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert str(HostError.of(OSError(code, os.strerror(code), filename))) == message


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("\x1b]0;title\x07\x1b[2Jgone", "\\x1b]0;title\\x07\\x1b[2Jgone"),
        ("10 %\r20 %\r\nend\n", "10 %\n20 %\nend\n"),
        ("\x9b31mred\x7f\b", "\\x9b31mred\\x7f\\x08"),
        ("Größe\t漢字\n", "Größe\t漢字\n"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(said: str, shown: str) -> None:
    """A program of a package says what it likes, and its last lines are part of the message."""
    assert printable(said) == shown
    assert printable(shown) == shown
    assert str(CommandError(said, remedy="Look.")) == f"{shown} Look."
