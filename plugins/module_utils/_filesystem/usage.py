# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The usage of a file system: how many files and blocks its content has."""

from __future__ import annotations

import dataclasses
import typing as t

#: Unit in which content is measured; also the block size of the file systems that this collection makes.
BLOCK = 4096


@dataclasses.dataclass
class Usage:
    """How big some content is.

    :ivar inodes: Files, directories and everything else that needs an inode.
    :ivar blocks: Blocks of C(BLOCK) bytes for files, directories and long symbolic links; holes not counted.
    :ivar directories: Bytes by directory (two levels deep), to tell people what is big.
    """

    inodes: int = 0
    blocks: int = 0
    directories: t.Dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes."""
        return self.blocks * BLOCK

    def biggest(self, count: int = 5) -> t.List[t.Tuple[str, int]]:
        """The biggest directories and their bytes, biggest first."""
        return sorted(self.directories.items(), key=lambda item: (-item[1], item[0]))[:count]

    def add_file(self, size: int, directory: str) -> None:
        """Count a file of C(size) bytes in a directory."""
        blocks = -(-size // BLOCK)
        self.inodes += 1
        self.blocks += blocks
        self.directories[directory] = self.directories.get(directory, 0) + blocks * BLOCK


__all__ = ("BLOCK", "Usage")
