# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Archives of packages (.deb), judged by dpkg-deb."""

from __future__ import annotations

import pathlib
import stat
import subprocess

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._chroot.deb_archive import (
    DebArchive,
    DebFormatError,
    build_date,
    parse_control,
    read_tar,
)
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
        archive.write_control(str(tmp_path / "control"))
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


def test_paragraphs() -> None:
    text = "Package: x\nDescription: short\n long\n .\n longer\nEmpty:\n"
    assert parse_control(text) == {"Package": "x", "Description": "short\n long\n .\n longer", "Empty": ""}
