# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files of file systems in images, compared with the tree that the file system was made from."""

from __future__ import annotations

import hashlib
import os
import pathlib
import subprocess

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._errors import ArtifactError, CommandError
from ansible_collections.os_image.composer.plugins.module_utils._image.reader import FileReader, Place, reader_for

OFFSET = 1 << 20
SIZE = 48 << 20
OWNED = ["ext4", "ext2", "squashfs", "erofs"]


@pytest.fixture
def full_tree(awkward_tree: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """Add what FAT does not know."""
    path = tmp_path / "tree"
    subprocess.run(["cp", "-a", awkward_tree, path], check=True)
    (path / "link").symlink_to("dir with blanks/../small")
    (path / "absolute").symlink_to("/dir with blanks/deeper")
    (path / "long").symlink_to("x" * 100)
    (path / "loop").symlink_to("loop")
    os.mkfifo(path / "pipe", 0o640)
    return path


def _make(kind: str, tree: pathlib.Path, directory: pathlib.Path) -> Place:
    image, alone = directory / "disk", directory / "file-system"
    if kind.startswith("ext"):
        with open(alone, "wb") as stream:
            stream.truncate(SIZE)
        subprocess.run(["mke2fs", "-q", "-F", "-t", kind, "-d", tree, alone], check=True)
    elif kind == "squashfs":
        subprocess.run(["mksquashfs", tree, alone, "-quiet", "-no-progress"], check=True, stdout=subprocess.DEVNULL)
    elif kind == "erofs":
        subprocess.run(["mkfs.erofs", "--quiet", alone, tree], check=True, stdout=subprocess.DEVNULL)
    elif kind == "vfat":
        with open(alone, "wb") as stream:
            stream.truncate(SIZE)
        subprocess.run(["mkfs.vfat", "-F", "32", alone], check=True, stdout=subprocess.DEVNULL)
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "MTOOLS_SKIP_CHECK": "1"}
        subprocess.run(["mcopy", "-s", "-i", alone, *tree.iterdir(), "::/"], check=True, env=environment)
    else:
        command = ["xorriso", "-as", "mkisofs", "-quiet", "-R", "-o", alone, tree]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    size = alone.stat().st_size
    with open(image, "wb") as stream:
        stream.truncate(OFFSET + size)
    command = ["dd", f"if={alone}", f"of={image}", "bs=1M", "seek=1", "conv=notrunc,sparse", "status=none"]
    subprocess.run(command, check=True)
    temporary = directory / "temporary"
    temporary.mkdir()
    return Place(str(image), OFFSET, size, str(temporary))


def _open(kind: str, tree: pathlib.Path, directory: pathlib.Path) -> FileReader:
    reader = reader_for(kind)
    assert reader is not None
    return reader(_make(kind, tree, directory), CommandRunner())


def _check_content(reader: FileReader, tree: pathlib.Path) -> None:
    files = {
        path.relative_to(tree).as_posix(): path for path in tree.rglob("*") if path.is_file() and not path.is_symlink()
    }
    found = {path[1:]: entry for path, entry in reader.entries.items() if entry.kind == "file"}
    assert found.keys() == files.keys()
    assert {name: entry.size for name, entry in found.items()} == {
        name: path.stat().st_size for name, path in files.items()
    }
    digests = reader.digests([f"/{name}" for name in files])
    assert digests == {f"/{name}": hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    for name in ("empty", "sparse"):
        assert reader.read(f"/{name}") == files[name].read_bytes()
    assert reader.read("/dir with blanks/deeper/large") == files["dir with blanks/deeper/large"].read_bytes()
    assert reader.read("/missing") is None
    assert reader.read("/dir with blanks") is None
    assert reader.names("/dir with blanks") == ["a -> b", "deeper"]
    assert reader.names("/missing") == []


@pytest.mark.parametrize("kind", OWNED)
def test_file_systems_with_owners(kind: str, full_tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    if os.geteuid() == 0:
        os.chown(full_tree / "dir with blanks/deeper", 1000, 1001)
    if kind == "squashfs":
        # The listing of unsquashfs does not tell where a name ends and a link's target begins.
        (full_tree / "dir with blanks/a -> b").chmod(0o644)
    reader = _open(kind, full_tree, tmp_path)
    try:
        _check_content(reader, full_tree)
        for path in full_tree.rglob("*"):
            entry = reader.entries[f"/{path.relative_to(full_tree)}"]
            status = path.lstat()
            if entry.kind != "link":
                assert entry.mode == status.st_mode & reader.mode_bits
            assert (entry.uid, entry.gid) == (status.st_uid, status.st_gid)
        for name in ("link", "absolute", "long", "loop"):
            entry = reader.entries[f"/{name}"]
            assert (entry.kind, entry.target) == ("link", os.readlink(full_tree / name))
        assert reader.entries["/pipe"].kind == "pipe"
        # Links are followed, inside the image only.
        assert reader.read("/link") == b"small\n"
        assert reader.read("/absolute/large") == (full_tree / "dir with blanks/deeper/large").read_bytes()
        assert reader.find("/loop") is None
        assert reader.find("/long") is None
    finally:
        reader.close()
    assert os.listdir(reader.place.temp_dir) == []


@pytest.mark.parametrize("kind", ["vfat", "iso9660"])
def test_file_systems_without_owners(kind: str, awkward_tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    tree = tmp_path / "tree"
    subprocess.run(["cp", "-a", awkward_tree, tree], check=True)
    if kind == "vfat":
        # Its names cannot have such characters.
        (tree / "dir with blanks/a -> b").rename(tree / "dir with blanks/plain")
    reader = _open(kind, tree, tmp_path)
    try:
        if kind == "vfat":
            assert reader.read("/dir with blanks/plain") == b"arrow\n"
            assert reader.digests(["/sparse"]) == {
                "/sparse": hashlib.sha256((tree / "sparse").read_bytes()).hexdigest()
            }
            assert {path for path, entry in reader.entries.items() if entry.kind == "directory"} == {
                "/dir with blanks",
                "/dir with blanks/deeper",
            }
        else:
            _check_content(reader, tree)
        assert {(entry.mode, entry.uid, entry.gid) for entry in reader.entries.values()} == {(-1, -1, -1)}
        reader.save("/small", str(tmp_path / "saved"))
        assert (tmp_path / "saved").read_text() == "small\n"
        with pytest.raises(ArtifactError, match="The image has no file /nothing"):
            reader.save("/nothing", str(tmp_path / "nothing"))
    finally:
        reader.close()
    assert os.listdir(reader.place.temp_dir) == []


@pytest.mark.parametrize("kind", ["ext4", "squashfs"])
def test_damage_is_an_error(kind: str, awkward_tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    reader = _open(kind, awkward_tree, tmp_path)
    with open(reader.place.raw, "r+b") as stream:
        # Leave the first block, by which blkid knows what it is.
        stream.seek(OFFSET + 4096)
        stream.write(os.urandom(reader.place.size - 4096))
    with pytest.raises(CommandError):
        reader.digests([entry.path for entry in reader.entries.values() if entry.kind == "file"])


def test_others_are_not_read() -> None:
    assert reader_for("xfs") is None
    assert reader_for("btrfs") is None
