# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files of file systems in images, compared with the tree that the file system was made from."""

from __future__ import annotations

import hashlib
import os
import pathlib
import re
import stat
import struct
import subprocess

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import ArtifactError, CommandError
from ansible_collections.os_image.composer.plugins.module_utils._image.reader import FileReader, Place, reader_for
from ansible_collections.os_image.composer.plugins.module_utils._image.sandbox import ParserSandbox, output_directory
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import remove_tree
from ansible_collections.os_image.composer.tests.support.tiny_debian import needs_root

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
    return reader(_make(kind, tree, directory), ParserSandbox())


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
                assert entry.mode == stat.S_IMODE(status.st_mode)
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


def tiny_erofs(name: bytes) -> bytes:
    """Make an erofs of one block of 4 KiB by hand: a root directory with one file."""
    content = b"pwned\n"
    names = [(b".", 40), (b"..", 40), (name, 60)]
    offsets = [12 * len(names) + sum(len(other) for other, _nid in names[:index]) for index in range(len(names))]
    entries = [
        struct.pack("<QHBB", nid, offset, 1 if nid == 60 else 2, 0) for (_name, nid), offset in zip(names, offsets)
    ]
    table = b"".join([*entries, *(other for other, _nid in names)])
    image = bytearray(4096)
    # Magic, no checksum, no features, blocks of 2^12 bytes, the root's nid; blocks, address of the inodes.
    struct.pack_into("<IIIBBHQQIII", image, 1024, 0xE0F5E1E2, 0, 0, 12, 0, 40, 2, 0, 0, 1, 0)
    for nid, mode, data in ((40, 0o40755, table), (60, 0o100644, content)):
        # Compact, and its content behind it.
        struct.pack_into("<HHHHIIIIHHI", image, nid * 32, 4, 0, mode, 1, len(data), 0, 0, nid, 0, 0, 0)
        image[nid * 32 + 32 : nid * 32 + 32 + len(data)] = data
    return bytes(image)


def erofs_reader(content: bytes, directory: pathlib.Path) -> FileReader:
    """Open an erofs that is all of an image."""
    image, temporary = directory / "erofs", directory / "temporary"
    image.write_bytes(content)
    temporary.mkdir()
    kind = reader_for("erofs")
    assert kind is not None
    return kind(Place(str(image), 0, len(content), str(temporary)), ParserSandbox())


def test_a_tiny_erofs_is_read(tmp_path: pathlib.Path) -> None:
    reader = erofs_reader(tiny_erofs(b"hello"), tmp_path)
    try:
        assert {path: entry.mode for path, entry in reader.entries.items()} == {"/hello": 0o644}
        assert reader.read("/hello") == b"pwned\n"
    finally:
        reader.close()


@pytest.mark.parametrize("name", [b"../../../outside", b"/tmp/outside", b"a/b", b"../x"])
def test_a_name_that_leads_out_is_refused(tmp_path: pathlib.Path, name: bytes) -> None:
    reader = erofs_reader(tiny_erofs(name), tmp_path)
    try:
        with pytest.raises(CommandError, match=rf"the directory / has the name '{re.escape(name.decode())}'"):
            reader.entries  # noqa: B018
    finally:
        reader.close()


@needs_root
def test_a_name_that_leads_out_writes_nothing_outside(tmp_path: pathlib.Path) -> None:
    """What fsck.erofs does with it, if the name were not noticed."""
    # From the directory in memory through every place up to the root, and into a directory that is there in any case.
    outside = tmp_path / "outside"
    image = tmp_path / "erofs"
    image.write_bytes(tiny_erofs(b"../" * 20 + os.fsencode(str(outside))[1:]))
    with output_directory(1 << 20, temp_dir=str(tmp_path), what="The test") as directory:
        runner = ParserSandbox().reading(str(image)).writing(directory, most=1 << 20)
        done = runner.run(["fsck.erofs", f"--extract={directory}", str(image)], check=False, merge_output=True)
        assert "Permission denied" in done.text or "No such file" in done.text
        assert os.listdir(directory) == []
    assert not outside.exists()


def test_directories_in_a_circle_are_damage(tmp_path: pathlib.Path) -> None:
    content = bytearray(tiny_erofs(b"again"))
    # The last entry of the root directory leads to the root directory.
    struct.pack_into("<Q", content, 40 * 32 + 32 + 2 * 12, 40)
    reader = erofs_reader(bytes(content), tmp_path)
    try:
        with pytest.raises(CommandError, match="the directory /again is in more than one place"):
            reader.entries  # noqa: B018
    finally:
        reader.close()


def test_directories_of_ext_in_a_circle_are_damage(tmp_path: pathlib.Path) -> None:
    """They would be listed without an end."""
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    place = _make("ext4", tree, tmp_path)
    disk = f"{place.raw}?offset={OFFSET}"
    subprocess.run(["debugfs", "-w", "-R", "ln <2> /etc/again", disk], check=True, stderr=subprocess.DEVNULL)
    reader_class = reader_for("ext4")
    assert reader_class is not None
    reader = reader_class(place, ParserSandbox())
    with pytest.raises(CommandError, match="the directory /etc/again is in more than one place"):
        reader.entries  # noqa: B018


@pytest.mark.parametrize(("name", "depth"), [("D", 1200), ("DIRECTORY" * 10, 45)])
def test_directories_of_fat_that_are_nested_for_ever_are_damage(tmp_path: pathlib.Path, name: str, depth: int) -> None:
    """Deeper than Python calls itself, and longer than a path of the host may be."""
    tree = tmp_path / "tree"
    tree.mkdir()
    descriptor = os.open(tree, os.O_RDONLY)
    for _number in range(depth):
        os.mkdir(name, dir_fd=descriptor)
        inner = os.open(name, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)
    reader = _open("vfat", tree, tmp_path)
    # pytest could not.
    remove_tree(str(tree))
    try:
        with pytest.raises(CommandError, match="it has paths of more than 1040 bytes"):
            reader.entries  # noqa: B018
    finally:
        reader.close()


@pytest.mark.parametrize("kind", ["ext4", "squashfs", "iso9660"])
def test_no_name_hides_a_file_or_stands_for_another(kind: str, tmp_path: pathlib.Path) -> None:
    """Line breaks, patterns, and what the programs put between names."""
    tree = tmp_path / "tree"
    names = ["two\nlines", "blank\n\nline", "\n", "debugfs: ls -p <2>", "x\ndebugfs: ls -p <2>\n", "a -> b", "'q'"]
    names += ["*", "?", "[p]", "plain", "d*/x", "dd/x", "-la"]
    for name in names:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(f"content of {name!r}")
    (tree / "l -> 1").symlink_to("2 -> 3\n4")
    reader = _open(kind, tree, tmp_path)
    try:
        assert {path[1:] for path, entry in reader.entries.items() if entry.kind == "file"} == set(names)
        digests = reader.digests([f"/{name}" for name in names])
        for name in names:
            assert reader.read(f"/{name}") == f"content of {name!r}".encode()
            assert digests[f"/{name}"] == hashlib.sha256(f"content of {name!r}".encode()).hexdigest()
        assert reader.entries["/l -> 1"].target == "2 -> 3\n4"
    finally:
        reader.close()


def test_a_link_of_squashfs_cannot_pass_for_a_file(tmp_path: pathlib.Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "link").symlink_to("x\n-rw-r--r-- 0/0            1 2024-01-01 00:00 squashfs-root/etc/passwd\n")
    reader = _open("squashfs", tree, tmp_path)
    with pytest.raises(CommandError, match="the target of .* has not the size that it should have"):
        reader.entries  # noqa: B018


@pytest.mark.parametrize("kind", ["ext4", "squashfs", "erofs", "iso9660"])
def test_a_damaged_superblock_is_an_error(kind: str, awkward_tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """What blkid knows by its magic number is not an empty file system."""
    fields = {"ext4": (1024, 64), "squashfs": (40, 48), "erofs": (1028, 12), "iso9660": (16 * 2048 + 156, 34)}
    reader = _open(kind, awkward_tree, tmp_path)
    begin, size = fields[kind]
    with open(reader.place.raw, "r+b") as stream:
        for at in range(begin, begin + size):
            # The magic number of ext is in the middle of it.
            if kind != "ext4" or not 1024 + 0x38 <= at < 1024 + 0x3A:
                stream.seek(OFFSET + at)
                stream.write(b"\xff")
    try:
        message = r"(?s)The file system on a part of the image cannot be read: .*It is damaged;"
        with pytest.raises(CommandError, match=message):
            reader.entries  # noqa: B018
    finally:
        reader.close()
