# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Firmware with the keys of an image, and what is on the image's EFI system partition."""

from __future__ import annotations

import functools
import os
import pathlib
import uuid

from ansible_collections.os_image.composer.tests.e2e.support.image import BuiltImage, call

EMPTY_VARIABLES = "/usr/share/OVMF/OVMF_VARS_4M.fd"


def enrolled_variables(image: BuiltImage, target: str) -> str:
    """Write variables of firmware that has the published certificates of an image enrolled, and return their path."""
    owner = str(uuid.uuid4())
    options = [("--set-pk", "PK"), ("--add-kek", "KEK"), ("--add-db", "db")]
    enrolled = [word for option, name in options for word in (option, owner, image.path(f".{name}.cer"))]
    call(
        *("virt-fw-vars", "--input", EMPTY_VARIABLES, "--output", target),
        *(*enrolled, "--secure-boot"),
    )
    return target


class Esp:
    """The EFI system partition of a copy of the image."""

    def __init__(self, image: BuiltImage, directory: pathlib.Path) -> None:
        self.disk, self._work = str(directory / "copy.raw"), directory
        call("cp", "--sparse=always", "--reflink=auto", image.raw, self.disk)
        self._offset = image.partitions["boot"]["start"] * 512

    def _run(self, tool: str, *arguments: str) -> str:
        return call(tool, "-i", f"{self.disk}@@{self._offset}", *arguments)

    def programs(self) -> list[str]:
        """Return the paths of all EFI programs."""
        listed = self._run("mdir", "-/", "-b", "::").splitlines()
        return [line.removeprefix("::").strip() for line in listed if line.strip().lower().endswith(".efi")]

    def read(self, path: str) -> str:
        """Copy a file out and return the copy's path."""
        target = str(self._work / os.path.basename(path))
        self._run("mcopy", "-n", "-o", f"::{path}", target)
        return target

    def write(self, source: str, path: str) -> None:
        """Put a file in the place of another one."""
        self._run("mcopy", "-o", source, f"::{path}")

    @functools.cached_property
    def uki(self) -> str:
        """The path of the unified kernel image."""
        return next(path for path in self.programs() if path.startswith("/EFI/Linux/"))
