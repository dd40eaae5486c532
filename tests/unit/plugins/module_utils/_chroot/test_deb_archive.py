# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Archives of packages (.deb), judged by dpkg-deb."""

from __future__ import annotations

import gzip
import io
import pathlib
import re
import stat
import subprocess
import tarfile
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._chroot.deb_archive import (
    DebArchive,
    DebFormatError,
    build_date,
    parse_control,
    read_tar,
)
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles
from ansible_collections.os_image.composer.tests.support.tiny_debian import EPOCH, Deb

LONG = "/usr/share/" + "/".join(["a-long-directory-name"] * 8) + "/file"
PACKAGE = Deb(
    "sample",
    files={"/etc/sample.conf": "x\n", LONG: "long\n", "/usr/bin/sample": "#!/bin/sh\n", "/usr/bin/link": "-> " + LONG},
    control={"conffiles": "/etc/sample.conf\nremove-on-upgrade /etc/old.conf\n", "postinst": "#!/bin/sh\n"},
    modes={"/usr/bin/sample": 0o4755},
)


def members(path: pathlib.Path) -> dict[str, tuple[int, int, str, bytes]]:
    """Read all of a package's files."""
    found = {}
    with DebArchive(str(path)) as archive:
        stream = archive.data()
        for member in read_tar(stream):
            content = stream.read(member.size)
            stream.skip(-member.size % 512)
            found[member.path] = (member.file_type, member.mode, member.target, content)
            assert (member.uid, member.gid) == (0, 0)
            assert member.mtime <= EPOCH
    return found


@pytest.mark.parametrize("compression", ["none", "gzip", "xz", "zstd"])
def test_all_compressions(tmp_path: pathlib.Path, compression: str) -> None:
    path = PACKAGE.build(tmp_path, compression=compression)
    found = members(path)
    listed = subprocess.run(["dpkg-deb", "-c", str(path)], stdout=subprocess.PIPE, check=True).stdout.decode()
    assert len(found) == len(listed.splitlines())
    assert found["/usr/bin/sample"] == (stat.S_IFREG, 0o4755, "", b"#!/bin/sh\n")
    assert found["/usr/bin/link"][:3] == (stat.S_IFLNK, 0o777, LONG)
    assert found[LONG][3] == b"long\n"
    assert found["/."][0] == stat.S_IFDIR


def test_control(tmp_path: pathlib.Path) -> None:
    path = PACKAGE.build(tmp_path)
    with DebArchive(str(path)) as archive:
        assert archive.fields["Package"] == "sample"
        assert archive.conffiles() == {"/etc/sample.conf": "", "/etc/old.conf": "remove-on-upgrade"}
        assert archive.control["postinst"].mode == 0o755
        with TreeFiles(str(tmp_path)).new_directory("/control") as directory:
            archive.write_control(directory)
    subprocess.run(["dpkg-deb", "-e", str(path), str(tmp_path / "expected")], check=True)
    subprocess.run(["diff", "-r", str(tmp_path / "control"), str(tmp_path / "expected")], check=True)


def test_the_date_is_that_of_the_build(tmp_path: pathlib.Path) -> None:
    assert build_date(str(PACKAGE.build(tmp_path))) == EPOCH


@pytest.mark.parametrize("content", [b"", b"!<arch>\n", b"PK\x03\x04" + bytes(200), b"!<arch>\n" + b"x" * 100])
def test_what_is_not_a_package_is_named(tmp_path: pathlib.Path, content: bytes) -> None:
    path = tmp_path / "broken.deb"
    path.write_bytes(content)
    with pytest.raises(DebFormatError, match=f"^{path} is not a Debian package"):
        DebArchive(str(path))


def test_a_package_that_is_cut_short(tmp_path: pathlib.Path) -> None:
    path = PACKAGE.build(tmp_path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(EOFError):
        members(path)


def test_a_damaged_header(tmp_path: pathlib.Path) -> None:
    path = PACKAGE.build(tmp_path, compression="none")
    data = bytearray(path.read_bytes())
    data[data.index(b"./usr/bin/sample")] ^= 1
    path.write_bytes(data)
    with pytest.raises(DebFormatError, match="A tar header is damaged"):
        members(path)


def outer(*members: tuple[str, bytes], size: str = "") -> bytes:
    """Return an archive of ar."""
    data = b"!<arch>\n"
    for name, content in members:
        head = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{size or len(content):<10}`\n"
        data += head.encode() + content + b"\n" * (len(content) % 2)
    return data


def inner(name: str, content: bytes = b"", **header: t.Any) -> bytes:
    """Return a tar archive with a file."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        for key, value in header.items():
            setattr(member, key, value)
        archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@pytest.mark.parametrize("size", ["-60", "-1", "1_0", "+8"])
def test_a_size_that_leads_back_does_not_go_round_in_circles(tmp_path: pathlib.Path, size: str) -> None:
    path = tmp_path / "x.deb"
    path.write_bytes(outer(("control.tar", b""), size=size))
    with pytest.raises(DebFormatError, match=f"the size of a member is b'{re.escape(size)}'"):
        DebArchive(str(path))


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (inner("./x/y"), "has the control file 'x/y'; they lie in no directory"),
        (inner("./."), r"has the control file '\.'"),
        (inner("./" + "x" * 90), "has the control file"),
        (inner("./control", b" x\n"), "begins with a line that continues nothing"),
        (inner("./control", uid=(1 << 32) - 1), "A tar header holds the number 4294967295, which is too large"),
        (inner("./control", mtime=1 << 40), "A tar header holds the number 1099511627776, which is too large"),
        (inner("./" + "x/" * 3000), "A name in a tar archive is longer than any can be"),
    ],
)
def test_control_files_that_nobody_can_write(tmp_path: pathlib.Path, archive: bytes, message: str) -> None:
    path = tmp_path / "x.deb"
    path.write_bytes(outer(("control.tar", archive)))
    with pytest.raises(DebFormatError, match=message):
        DebArchive(str(path))


def test_a_small_package_does_not_fill_the_memory(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.deb"
    bomb = gzip.compress(inner("./huge", bytes(65 << 20)))
    path.write_bytes(outer(("control.tar.gz", bomb)))
    with pytest.raises(DebFormatError, match="are larger than 67108864 bytes"):
        DebArchive(str(path))


@pytest.mark.parametrize("suffix", ["gz", "xz", "bz2"])
def test_damaged_compression_is_named(tmp_path: pathlib.Path, suffix: str) -> None:
    path = tmp_path / "x.deb"
    path.write_bytes(outer(("control.tar", inner("./control", b"Package: x\n")), (f"data.tar.{suffix}", b"x" * 99)))
    with DebArchive(str(path)) as archive, pytest.raises(DebFormatError, match="x.deb cannot be decompressed: "):
        archive.data().read(1)


def test_paragraphs() -> None:
    text = "Package: x\nDescription: short\n long\n .\n longer\nEmpty:\n"
    assert parse_control(text) == {"Package": "x", "Description": "short\n long\n .\n longer", "Empty": ""}


def crafted(path: pathlib.Path, *names: str, package: str = "crafted", version: str = "1.0", data: str = "./x") -> str:
    """Make a package that dpkg-deb would not."""
    archives = {}
    for archive, members in (
        ("control.tar", {"./control": "", **dict.fromkeys(names, "#!/bin/sh\n")}),
        ("data.tar", {data: "x"}),
    ):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar:
            for name, text in members.items():
                fields = (
                    f"Package: {package}\nVersion: {version}\nArchitecture: amd64\n" if name == "./control" else text
                )
                member = tarfile.TarInfo(name)
                member.size = len(fields)
                tar.addfile(member, io.BytesIO(fields.encode()))
        archives[archive] = packed.getvalue()
    content = b"!<arch>\n"
    for name, body in {"debian-binary": b"2.0\n", **archives}.items():
        content += f"{name:<16}{EPOCH:<12}{0:<6}{0:<6}{100644:<8}{len(body):<10}`\n".encode() + body
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize(
    ("names", "fields", "message"),
    [
        (["./../../../etc/evil"], {}, r"The path './../../../etc/evil' leads out of the package\."),
        (["./sub/evil"], {}, r"has the control file 'sub/evil'"),
        (["./post\ninst"], {}, r"The path './post\\ninst' has a line break in it\."),
        ([], {"package": "../../evil"}, r"has the package '../../evil', which cannot be one\."),
        ([], {"package": "a/b"}, r"has the package 'a/b', which cannot be one\."),
        ([], {"version": "1;touch /evil"}, r"has the version '1;touch /evil', which cannot be one\."),
    ],
)
def test_names_that_lead_elsewhere_are_refused(
    tmp_path: pathlib.Path, names: list[str], fields: dict[str, str], message: str
) -> None:
    path = crafted(tmp_path / "crafted.deb", *names, **fields)
    with pytest.raises(DebFormatError, match=message):
        DebArchive(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("./a/../../etc/evil", r"leads out of the package\."),
        ("./a\n/etc/shadow", r"The path './a\\n/etc/shadow' has a line break in it\."),
    ],
)
def test_files_that_lead_elsewhere_are_refused(tmp_path: pathlib.Path, data: str, message: str) -> None:
    path = crafted(tmp_path / "crafted.deb", data=data)
    with DebArchive(path) as archive, pytest.raises(DebFormatError, match=message):
        list(read_tar(archive.data()))
