# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Directories and files that belong to somebody else, or that somebody else can exchange."""

from __future__ import annotations

import os
import pathlib

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory
from ansible_collections.os_image.composer.plugins.module_utils._cache.packages import PackageCache
from ansible_collections.os_image.composer.plugins.module_utils._errors import OwnershipError
from ansible_collections.os_image.composer.plugins.module_utils._filelock import file_lock
from ansible_collections.os_image.composer.plugins.module_utils._ownership import require_own_directory
from ansible_collections.os_image.composer.plugins.module_utils._progress import Progress
from ansible_collections.os_image.composer.plugins.module_utils._template.inputs import InputStore
from ansible_collections.os_image.composer.tests.support.tiny_debian import needs_root

pytestmark = needs_root

OTHER = 4242


@pytest.fixture(autouse=True)
def without_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SUDO_UID", "SUDO_GID"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "problem"),
    [
        (0o755, 0, 0, None),
        (0o700, 0, 0, None),
        # The group of root has no members that root does not trust.
        (0o775, 0, 0, None),
        (0o755, OTHER, 0, rf"belongs to the user {OTHER}"),
        (0o775, 0, OTHER, rf"can be written to by the group {OTHER} \(mode 0775\)"),
        (0o777, 0, 0, r"can be written to by everybody \(mode 0777\)"),
        (0o1777, 0, 0, r"can be written to by everybody \(mode 1777\)"),
    ],
)
def test_who_can_write_to_a_directory(
    tmp_path: pathlib.Path, mode: int, uid: int, gid: int, problem: str | None
) -> None:
    directory = tmp_path / "work"
    directory.mkdir()
    os.chown(directory, uid, gid)
    directory.chmod(mode)
    if problem is None:
        require_own_directory(str(directory), what="work directory")
        return
    message = (
        rf"^The work directory {directory} is not safe: {directory} {problem}, who could exchange .* chown root:root"
    )
    with pytest.raises(OwnershipError, match=message):
        require_own_directory(str(directory), what="work directory")
    # As it is for what would be made in it; but in a sticky directory nobody exchanges what is not his.
    (directory / "below").mkdir()
    if mode == 0o1777:
        require_own_directory(str(directory / "below"), what="work directory")
        return
    for path in ("below", "missing/too"):
        with pytest.raises(OwnershipError, match=problem):
            require_own_directory(str(directory / path), what="work directory")


def test_who_became_root_by_sudo_is_trusted(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """His checkout has the output directory of C(make image); his own group has write access by Debian's umask."""
    directory = tmp_path / "build"
    directory.mkdir()
    os.chown(directory, OTHER, OTHER)
    directory.chmod(0o775)
    monkeypatch.setenv("SUDO_UID", str(OTHER))
    monkeypatch.setenv("SUDO_GID", str(OTHER))
    require_own_directory(str(directory), what="output directory")
    monkeypatch.setenv("SUDO_UID", str(OTHER + 1))
    with pytest.raises(OwnershipError, match=f"belongs to the user {OTHER}"):
        require_own_directory(str(directory), what="output directory")


def test_what_a_link_leads_to_counts(tmp_path: pathlib.Path) -> None:
    """Root may have put the work directory onto another disk."""
    there, link = tmp_path / "there", tmp_path / "link"
    there.mkdir()
    link.symlink_to(there)
    require_own_directory(str(link), what="work directory")
    there.chmod(0o777)
    with pytest.raises(OwnershipError, match=rf"The work directory {link} is not safe: {there} can be written to"):
        require_own_directory(str(link), what="work directory")


@pytest.mark.parametrize("what", ["build directory", "package cache", "work directory"])
def test_no_stage_takes_a_directory_of_somebody_else(tmp_path: pathlib.Path, what: str) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(OwnershipError, match=rf"^The {what} .* is not safe: {shared} can be written to by everybody"):
        if what == "build directory":
            BuildDirectory(str(shared / "provider/imagebuild/x")).prepare()
        elif what == "package cache":
            with PackageCache(str(shared / "pkgCache/provider")).lock(who="test", timeout=1):
                pass
        else:
            InputStore(str(shared)).require_own()
    assert list(shared.iterdir()) == []


@pytest.mark.parametrize("trap", ["link", "hard link", "pipe", "somebody's"])
def test_locks_and_logs_are_nobodys_trap(tmp_path: pathlib.Path, trap: str) -> None:
    victim, path = tmp_path / "victim", tmp_path / "trap"
    victim.write_text("precious\n")
    problem = {
        "link": "is a symbolic link, which is not followed. Remove it.",
        "hard link": "has another name, too.",
        "pipe": "is not a regular file.",
        "somebody's": f"belongs to the user {OTHER}.",
    }[trap]
    readers: list[int] = []
    if trap == "link":
        path.symlink_to(victim)
    elif trap == "hard link":
        os.link(victim, path)
    elif trap == "pipe":
        os.mkfifo(path)
        # So that it could be opened for writing, too.
        readers.append(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    else:
        path.touch()
        os.chown(path, OTHER, OTHER)
    with pytest.raises(OwnershipError) as caught, file_lock(str(path), what="x", who="test", timeout=1):
        pass
    assert str(caught.value).startswith(f"The lock {path} {problem}")
    with pytest.raises(OwnershipError) as caught:
        Progress("test", extra_log=str(path)).milestone("Disk", "told")
    assert str(caught.value).startswith(f"The log {path} {problem}")
    for reader in readers:
        os.close(reader)
    assert victim.read_text() == "precious\n"
