# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""A volume: the part of an image that a file system is written to, and what is put into it."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._errors import DiskError
from ansible_collections.os_image.composer.plugins.module_utils._filesystem.usage import Usage
from ansible_collections.os_image.composer.plugins.module_utils._size import show_size


@dataclasses.dataclass(frozen=True)
class Volume:
    """Where a file system is written, and what it is called.

    :ivar name: The partition's id.
    :ivar image: The image file, already of its full size.
    :ivar offset: The partition's first byte in the image.
    :ivar size: The partition's bytes.
    :ivar identifier: As :meth:`FileSystem.identifier` gave it.
    :ivar seed: A UUID for what else has to be fixed (hash seeds).
    :ivar epoch: All times in the file system, as seconds since 1970.
    :ivar scratch: A directory for temporary files.
    :ivar options: More arguments for the program that makes it.
    :ivar mount_options: The words of its mount options.
    """

    name: str
    image: str
    offset: int
    size: int
    label: str
    identifier: str
    seed: str
    epoch: int
    scratch: str
    options: t.Tuple[str, ...] = ()
    mount_options: t.Tuple[str, ...] = ()

    def scratch_file(self, suffix: str) -> str:
        """A path for a temporary file of this volume."""
        return os.path.join(self.scratch, f"{self.name}.{suffix}")


@dataclasses.dataclass(frozen=True)
class Source:
    """What is put into a file system.

    :ivar directory: A directory whose content becomes the root of the file system; V(None) for an empty one.
    :ivar files: More files: path in the file system (without a leading slash) -> file on the host.
    :ivar usage: How big all of it is.
    """

    directory: str | None
    files: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    usage: Usage = dataclasses.field(default_factory=Usage)


def too_small(volume: Volume, required: int, usage: Usage) -> DiskError:
    """Make the error for a partition that cannot hold its content."""
    message = f"The partition {volume.name!r} is too small: "
    if required > volume.size:
        message += (
            f"its content needs about {show_size(required)}, but it has {show_size(volume.size)}, "
            f"{show_size(required - volume.size)} too little."
        )
    else:
        message += f"its content should fit into its {show_size(volume.size)}, but does not."
    biggest = ", ".join(f"{path} ({show_size(size)})" for path, size in usage.biggest())
    if biggest:
        message += f" Its biggest directories are {biggest}."
    instead = ", or leave out its mkfsOptions" if volume.options else ""
    return DiskError(message, remedy=f"Enlarge the partition and, if need be, disk.size, or install less{instead}.")


__all__ = ("Source", "Volume", "too_small")
