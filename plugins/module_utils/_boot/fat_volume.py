# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Files on a FAT file system inside an image, by mtools."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._boot.fat_directories import refuse_circles
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner, find_tool


class FatVolume:
    """A FAT file system in an image file; nothing is mounted.

    :param image: The image file.
    :param offset: First byte of the file system in it.
    :param epoch: The time that new files get, as seconds since 1970.
    """

    def __init__(self, image: str, offset: int, runner: CommandRunner, *, epoch: int = 0) -> None:
        self._image, self._offset = image, offset
        self._address = f"{image}@@{offset}"
        self._runner = runner.with_environment(
            {"SOURCE_DATE_EPOCH": str(epoch), "LC_ALL": "C.UTF-8", "MTOOLS_SKIP_CHECK": "1", "MTOOLSRC": os.devnull}
        )

    def files(self) -> t.List[str]:
        """Return the paths of all files, sorted, without a leading slash.

        :raises CommandError: It is damaged.
        """
        refuse_circles(self._image, self._offset)
        done = self._run("mdir", "-/", "-b", "-a", "::/", what="Listing the EFI system partition")
        paths = (line[len("::/") :] for line in done.splitlines() if line.startswith("::/"))
        return sorted(path for path in paths if path and not path.endswith("/"))

    def read(self, path: str, destination: str) -> None:
        """Copy a file out."""
        self._run("mcopy", f"::/{path}", destination, what=f"Reading {path} from the EFI system partition")

    def read_all(self, directory: str) -> None:
        """Copy everything out into a directory.

        :raises CommandError: It is damaged.
        """
        refuse_circles(self._image, self._offset)
        self._run("mcopy", "-s", "-n", "-Q", "::/", directory, what="Reading a FAT file system")

    def write(self, source: str, path: str) -> None:
        """Copy a file in, in place of one that is there.

        :raises CommandError: It does not fit.
        """
        self._run("mcopy", "-o", source, f"::/{path}", what=f"Writing {path} to the EFI system partition")

    def make_directories(self, *paths: str) -> None:
        """Make directories, each parent before what is in it; those that are there stay."""
        places = [f"::/{path}" for path in paths]
        self._run("mmd", "-D", "s", *places, what=f"Making {paths[-1]} on the EFI system partition")

    def _run(self, tool: str, *arguments: str, what: str) -> str:
        program = find_tool(tool)
        return self._runner.run([program, "-i", self._address, *arguments], what=what).text


__all__ = ("FatVolume",)
