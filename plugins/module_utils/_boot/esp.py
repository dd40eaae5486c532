# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The EFI system partition: what firmware looks for there, and what a bootloader puts onto it."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError
from ansible_collections.os_image.composer.plugins.module_utils._io import sha256_file


class EspStaging:
    """Collects the files of an EFI system partition, without copying those that the root tree has.

    :param scratch: A directory for files that are made.
    """

    def __init__(self, scratch: str) -> None:
        self._scratch = scratch
        self._files: t.Dict[str, str] = {}
        os.makedirs(scratch, exist_ok=True)

    @property
    def files(self) -> t.Mapping[str, str]:
        """Path on the partition (without a leading slash) -> file on the host."""
        return self._files

    def add(self, path: str, source: str) -> None:
        """Put the host's file C(source) at C(path).

        :raises BootError: Something else has that path already.
        """
        taken = {name.upper(): name for name in self._files}
        if path.upper() in taken:
            raise BootError(f"Two files would have the path {path!r} on the EFI system partition.")
        self._files[path] = source

    def programs(self) -> t.Dict[str, str]:
        """Return the EFI programs: path on the partition -> SHA-256 of what is put there."""
        return {path: sha256_file(source) for path, source in sorted(self._files.items()) if is_program(path)}

    def add_text(self, path: str, text: str) -> None:
        """Put a new text file at C(path)."""
        with open(self.new_file(path), "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
        self.add(path, self.new_file(path))

    def new_file(self, path: str) -> str:
        """Return where to make the file that :meth:`add` then gets.

        :raises BootError: The path leads elsewhere.
        """
        if path.startswith("/") or ".." in path.split("/"):
            raise BootError(f"No file of the EFI system partition can have the path {path!r}.")
        made = os.path.join(self._scratch, path)
        os.makedirs(os.path.dirname(made), exist_ok=True)
        return made


def efi_name(arch: str) -> str:
    """Return how UEFI abbreviates an architecture in file names (C(x64)).

    :raises BootError: The architecture is not supported.
    """
    names = {"x86_64": "x64", "aarch64": "aa64"}
    if arch not in names:
        raise BootError(f"There is no EFI bootloader for the architecture {arch!r}.", remedy="Correct target.arch.")
    return names[arch]


def is_program(path: str) -> bool:
    """Whether a path has the name of an EFI program."""
    return path.lower().endswith(".efi")


def fallback_path(arch: str) -> str:
    """Return the path that firmware boots without being told (UEFI specification, 3.5.1.1)."""
    return f"EFI/BOOT/BOOT{efi_name(arch).upper()}.EFI"


__all__ = ("EspStaging", "efi_name", "fallback_path", "is_program")
