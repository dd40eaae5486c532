# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the file systems of a build host can hold."""

from __future__ import annotations

import errno
import os
import pathlib
import subprocess
import sys

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._errors import HostError
from ansible_collections.os_image.composer.plugins.module_utils._file_limits import (
    file_name_problem,
    file_size_problem,
    require_file_size,
)
from ansible_collections.os_image.composer.plugins.module_utils._size import show_size


def test_a_file_that_is_larger_than_the_user_may_write(tmp_path: pathlib.Path) -> None:
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, resource.RLIM_INFINITY))\n"
        f"from {file_size_problem.__module__} import file_size_problem\n"
        "for size in (1 << 30, 3 << 30):\n"
        "    print(file_size_problem(sys.argv[1], size, what='The image', option='work_dir'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "\nThe image has 3 GiB, but the user who builds may write no file of more than 1 GiB (ulimit -f). Raise that "
        "limit on the build host, or make the image smaller.\n"
    )


@pytest.mark.parametrize("below", ["", "not/yet/there"])
def test_a_file_that_is_larger_than_the_file_system_holds(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    largest = (4 << 30) - 1
    seek = os.lseek

    def lseek(descriptor: int, position: int, whence: int) -> int:
        if position > largest:
            raise OSError(errno.EINVAL, "Invalid argument")
        return seek(descriptor, position, whence)

    monkeypatch.setattr(os, "lseek", lseek)
    directory = str(tmp_path / below)
    assert file_size_problem(directory, largest, what="The image", option="work_dir") == ""
    problem = file_size_problem(directory, 5 << 30, what="The image", option="work_dir")
    assert problem == (
        f"The image has 5 GiB, but the file system of {tmp_path} on the build host holds no file of more than "
        f"{show_size(largest)}. Let work_dir lie on another file system, such as XFS, or make the image smaller."
    )
    with pytest.raises(HostError, match="holds no file of more than"):
        require_file_size(directory, 5 << 30, what="The image", option="work_dir")
    assert list(tmp_path.iterdir()) == []


def test_what_the_kernel_says_of_a_file_system_is_true(tmp_path: pathlib.Path) -> None:
    for size in (1 << 20, 15 << 40, 17 << 40, 1 << 62):
        with open(tmp_path / "file", "wb") as stream:
            try:
                stream.truncate(size)
                fits = True
            except OSError:
                fits = False
        assert (file_size_problem(str(tmp_path), size, what="The image", option="work_dir") == "") == fits


def test_a_name_that_is_too_long(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert file_name_problem(str(tmp_path), "n" * 165, what="The name", option="output_dir") == ""
    monkeypatch.setattr(os, "pathconf", lambda _path, _name: 143)
    assert file_name_problem(str(tmp_path / "not"), "n" * 110, what="The name", option="output_dir") == (
        "The name has 110 characters, and the names of files that begin with it would have up to 150, but the file "
        f"system of {tmp_path} on the build host has names of no more than 143. Let output_dir lie on another file "
        "system, or shorten the name."
    )
