# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Paths that stay in the tree, whatever a package has put there."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import io
import os
import pathlib
import re
import stat
import subprocess
import sys
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils import _tree_files
from ansible_collections.os_image.composer.plugins.module_utils._errors import ChrootError
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles, remove_tree
from ansible_collections.os_image.composer.tests.support.tiny_debian import needs_root


@pytest.fixture
def root(tmp_path: pathlib.Path) -> str:
    """Return a tree with links of all kinds."""
    tree = tmp_path / "root"
    for name in ("etc", "run/lock", "usr/lib", "var/lib"):
        (tree / name).mkdir(parents=True)
    links = {
        "var/run": "/run",
        "lib": "usr/lib",
        "etc/outside": "../../../../../../etc",
        "etc/chain": "link2",
        "etc/link2": "/var/run/lock",
        "etc/loop": "loop",
        "etc/mtab": "/proc/mounts",
        "etc/dots": "/../..//usr/./lib/",
    }
    for name, target in links.items():
        (tree / name).symlink_to(target)
    (tree / "etc/file").write_text("x")
    (tree / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/:/bin/sh\n")
    (tree / "etc/group").write_text("root:x:0:\nstaff:x:50:\n")
    return str(tree)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/etc/file", "/etc/file"),
        ("/", "/"),
        ("//etc/./file/", "/etc/file"),
        ("/var/run/x", "/run/x"),
        ("/lib/modules", "/usr/lib/modules"),
        ("/etc/../../../etc/file", "/etc/file"),
        ("/etc/outside/passwd", "/etc/passwd"),
        ("/etc/chain/y", "/run/lock/y"),
        ("/etc/mtab", "/proc/mounts"),
        ("/etc/dots/z", "/usr/lib/z"),
        ("/no/such/../thing", "/no/thing"),
    ],
)
def test_paths_stay_in_the_tree(root: str, path: str, expected: str) -> None:
    assert TreeFiles(root).resolve(path) == expected


def test_the_last_link_can_be_kept(root: str) -> None:
    assert TreeFiles(root).resolve("/var/run", follow_last=False) == "/var/run"
    assert TreeFiles(root).resolve("/etc/chain/../x", follow_last=False) == "/run/x"


def test_a_circle_of_links_is_an_error(root: str) -> None:
    with pytest.raises(ChrootError, match=r"^The path /etc/loop of the image leads round in a circle"):
        TreeFiles(root).resolve("/etc/loop")


def test_a_path_through_a_file_is_an_error(root: str) -> None:
    with pytest.raises(ChrootError, match="leads through /etc/file, which is not a directory"):
        TreeFiles(root).resolve("/etc/file/below")


@needs_root
def test_writing_through_an_absolute_link_never_reaches_the_host(root: str) -> None:
    files = TreeFiles(root)
    files.write("/var/run/composer-test", "inside")
    assert pathlib.Path(root, "run/composer-test").read_text() == "inside"
    assert not os.path.exists("/run/composer-test")


@needs_root
def test_a_link_is_replaced_and_not_written_through(root: str) -> None:
    files = TreeFiles(root)
    files.write("/etc/mtab", "own")
    assert not os.path.islink(f"{root}/etc/mtab")
    files.write("/etc/file", "new", follow=True)
    assert files.read("/etc/file") == "new"


@needs_root
def test_following_writes_to_where_the_link_leads(root: str) -> None:
    os.symlink("file", f"{root}/etc/alias")
    TreeFiles(root).write("/etc/alias", "through", follow=True)
    assert os.path.islink(f"{root}/etc/alias")
    assert pathlib.Path(root, "etc/file").read_text() == "through"


@pytest.fixture
def outside(tmp_path: pathlib.Path) -> t.Iterator[pathlib.Path]:
    """Return a directory of the host with a file, which nobody touches."""
    directory = tmp_path / "outside"
    directory.mkdir()
    (directory / "file").write_text("the host's")
    before = (directory / "file").stat()
    yield directory
    assert [path.name for path in directory.iterdir()] == ["file"]
    after = (directory / "file").stat()
    assert (directory / "file").read_text() == "the host's"
    assert (after.st_mode, after.st_uid, after.st_mtime_ns) == (before.st_mode, before.st_uid, before.st_mtime_ns)


# Everything that writes, on a path that a package has made a link to a file or directory of the host.
ACTS: t.Mapping[str, t.Callable[[TreeFiles, str], t.Any]] = {
    "append": lambda files, path: files.append(path, "x"),
    "copy": lambda files, path: files.copy(io.BytesIO(b"x"), path, mode=0o600, uid=1, gid=1),
    "empty": lambda files, path: files.empty(path),
    "follow": lambda files, path: files.write(path, "x", follow=True),
    "link": lambda files, path: files.link(path, "x"),
    "make_directory": lambda files, path: files.make_directory(path),
    "make_node": lambda files, path: files.make_node(path, stat.S_IFIFO, 0, uid=1, gid=1, mtime=1),
    "remove": lambda files, path: files.remove(path),
    "remove_directory": lambda files, path: files.remove_directory(path),
    "set_mode": lambda files, path: files.set_mode(path, 0o777),
    "set_time": lambda files, path: files.set_time(path, 1),
    "truncate": lambda files, path: files.truncate(path),
    "write": lambda files, path: files.write(path, "x", uid=1),
}


@needs_root
@pytest.mark.parametrize("act", sorted(ACTS))
@pytest.mark.parametrize("path", ["/etc/to-file", "/etc/to-directory", "/etc/to-directory/file", "/etc/up/file"])
def test_nothing_is_written_outside(root: str, outside: pathlib.Path, act: str, path: str) -> None:
    os.symlink(outside / "file", f"{root}/etc/to-file")
    os.symlink(outside, f"{root}/etc/to-directory")
    os.symlink("../" * 30 + str(outside)[1:], f"{root}/etc/up")
    with contextlib.suppress(ChrootError, OSError):
        ACTS[act](TreeFiles(root), path)


@pytest.mark.parametrize("target", ["{}", "../../../../../../../../../..{}", "/proc/self/root{}", "/proc/1/root{}"])
def test_nothing_is_read_outside(root: str, outside: pathlib.Path, target: str) -> None:
    os.symlink(target.format(outside / "file"), f"{root}/etc/stolen")
    files = TreeFiles(root)
    assert files.read("/etc/stolen") == ""
    assert not files.exists("/etc/stolen")
    with pytest.raises(FileNotFoundError):
        files.host_path("/etc/stolen")


@needs_root
@pytest.mark.parametrize(
    ("kind", "numbers", "word"),
    [
        (stat.S_IFIFO, (0, 0), "a FIFO"),
        (stat.S_IFCHR, (1, 5), "a character device"),
        (stat.S_IFBLK, (7, 0), "a block device"),
        (stat.S_IFSOCK, (0, 0), "a socket"),
    ],
)
def test_only_regular_files_are_opened(root: str, kind: int, numbers: tuple[int, int], word: str) -> None:
    os.unlink(f"{root}/etc/passwd")
    os.mknod(f"{root}/etc/passwd", 0o644 | kind, os.makedev(*numbers))
    files = TreeFiles(root)
    message = rf"^The path /etc/passwd of the image is {word}, not a regular file\. Look for the package or script that"
    acts: list[t.Callable[[], t.Any]] = [
        lambda: files.account_id("passwd", "root"),
        lambda: files.append("/etc/passwd", "x"),
        lambda: files.truncate("/etc/passwd"),
        lambda: files.sha256("/etc/passwd"),
        lambda: files.host_path("/etc/passwd"),
    ]
    for act in acts:
        with pytest.raises(ChrootError, match=message):
            act()


def test_what_is_read_has_a_limit(root: str) -> None:
    os.truncate(f"{root}/etc/file", 1 << 40)
    message = "^The file /etc/file of the image has 1024 GiB, and no more than 64 MiB of it would be read"
    with pytest.raises(ChrootError, match=message):
        TreeFiles(root).read("/etc/file")
    pathlib.Path(root, "etc/file").write_bytes(b"12345")
    assert TreeFiles(root).read_bytes("/etc/file", most=5) == b"12345"
    with pytest.raises(ChrootError, match="has 5 bytes, and no more than 4 bytes of it would be read"):
        TreeFiles(root).read_bytes("/etc/file", most=4)


def test_a_link_that_changes_all_the_time_never_leads_out(root: str, outside: pathlib.Path) -> None:
    """A look and an act on its result would be a race: between them a link could take a directory's place."""
    os.makedirs(f"{root}/race/directory")
    pathlib.Path(root, "race/directory/file").write_text("the tree's")
    os.symlink(outside, f"{root}/race/link")
    program = (
        "import ctypes, os, sys\n"
        "libc = ctypes.CDLL(None)\n"
        "os.chdir(sys.argv[1])\n"
        # renameat2 with RENAME_EXCHANGE
        "while os.getppid() == int(sys.argv[2]): libc.renameat2(-100, b'directory', -100, b'link', 2)\n"
    )
    racer = subprocess.Popen([sys.executable, "-c", program, f"{root}/race", str(os.getpid())])
    try:
        files = TreeFiles(root)
        seen = set()
        for _round in range(3000):
            with contextlib.suppress(ChrootError, OSError):
                seen.add(files.read("/race/directory/file"))
            with contextlib.suppress(ChrootError, OSError):
                files.write("/race/directory/new", "x")
    finally:
        racer.kill()
        racer.wait()
    assert seen <= {"", "the tree's"}


@pytest.mark.parametrize(
    "line",
    [
        "+::::::",
        "+@staff",
        "app:x:²:7::/:/bin/sh",
        "app:x:-1:7::/:/bin/sh",
        f"app:x:{'9' * 5000}:7::/:/bin/sh",
        "app:x:4294967295:7::/:/bin/sh",
        "app:x:0x10:7::/:/bin/sh",
        "other:x:8:8:\x85app:x:0:0::/:/bin/sh",
    ],
)
def test_an_account_has_a_number(root: str, line: str) -> None:
    """Lines for NIS have none, and scripts may write anything."""
    files = TreeFiles(root)
    files.write("/etc/passwd", f"root:x:0:0:root:/root:/bin/sh\n{line}\n")
    assert files.account_id("passwd", "app") is None
    files.append("/etc/passwd", "app:x:7:7::/:/bin/sh\n")
    assert files.account_id("passwd", "app") == 7


def nest(directory: str, depth: int) -> None:
    """Make directories in directories, with something in each hundredth."""
    current = os.open(directory, os.O_RDONLY)
    for number in range(depth):
        os.mkdir("d", dir_fd=current)
        inner = os.open("d", os.O_RDONLY, dir_fd=current)
        os.close(current)
        current = inner
        if number % 100 == 0:
            os.mkdir("beside", dir_fd=current)
            os.symlink("/etc", "link", dir_fd=current)
            os.mkfifo("beside/fifo", dir_fd=current)
    os.close(current)


def test_directories_of_any_depth_are_removed(root: str, outside: pathlib.Path) -> None:
    """Deeper than a path can be long, than Python calls itself, and than a process may open files."""
    os.mkdir(f"{root}/a")
    nest(f"{root}/a", 5000)
    os.symlink(outside, f"{root}/a/link")
    TreeFiles(root).empty("/a")
    assert os.listdir(f"{root}/a") == []
    nest(f"{root}/a", 5000)
    remove_tree(f"{root}/a")
    assert not os.path.exists(f"{root}/a")
    assert outside.exists()
    with pytest.raises(FileNotFoundError):
        remove_tree(f"{root}/a")
    remove_tree(f"{root}/a", ignore_errors=True)


@pytest.mark.parametrize("what", ["link", "file"])
def test_only_a_directory_is_removed_as_one(root: str, outside: pathlib.Path, what: str) -> None:
    path = pathlib.Path(root, what)
    if what == "link":
        path.symlink_to(outside)
    else:
        path.touch()
    with pytest.raises(NotADirectoryError):
        remove_tree(str(path))
    assert outside.exists()


def test_a_kernel_that_cannot_is_named(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:
        @staticmethod
        def syscall(*_arguments: object) -> int:
            ctypes.set_errno(errno.ENOSYS)
            return -1

    monkeypatch.setattr(_tree_files, "_libc", Library)
    with pytest.raises(ChrootError, match=r"^The build host's kernel .* it has no openat2\. Use Linux 5\.6 or newer"):
        TreeFiles(root).read("/etc/file")


MODULE_UTILS = pathlib.Path(_tree_files.__file__).parent
JOINED = re.compile(
    r"\b(?:self\._?)?(?:root|tree) *\+ *"
    r"|f[\"']\{(?:self\.)?_?(?:root|tree)\}/"
    r"|os\.path\.join\((?:self\.)?_?(?:root|tree),"
    r"|\b(?:files|tree)\.root *\+|\{(?:self\._)?files\.root\}/"
)


@pytest.mark.parametrize(
    "line", ["here = self._root + path", 'open(f"{root}/etc/passwd")', "os.path.join(self.root, name)", "tree+path"]
)
def test_the_pattern_finds_paths_that_are_put_together(line: str) -> None:
    assert JOINED.search(line)


def test_no_path_of_the_host_is_put_together_from_one_of_a_tree() -> None:
    found = [
        f"{path.relative_to(MODULE_UTILS)}:{number}: {line.strip()}"
        for path in sorted(MODULE_UTILS.rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if JOINED.search(line)
    ]
    assert found == []
