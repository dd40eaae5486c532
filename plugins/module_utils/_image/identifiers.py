# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The identifiers of an image, which another build draws anew, and texts without them."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._image.inspection import Inspection
from ansible_collections.os_image.composer.plugins.module_utils._image.verity import root_hashes
from ansible_collections.os_image.composer.plugins.module_utils._io import parse_json

# Fields of bills of materials that tell one document from another, and when it was made.
_SBOM_FIELDS = ("documentNamespace", "creationInfo", "serialNumber", "metadata.timestamp")


class Identifiers:
    """The identifiers of one image: of its disk, partitions, file systems, and root hashes.

    Each has a name that is the same in all images (C(<partition 2>)).
    """

    def __init__(self, image: Inspection) -> None:
        names: t.Dict[str, str] = {}
        if image.table is not None:
            names[image.table.id] = "<disk>"
        for volume in image.volumes:
            if volume.partition is not None:
                names[volume.partition.uuid] = f"<partition {volume.partition.number}>"
            if volume.file_system is not None:
                names[volume.file_system.uuid] = f"<file system of {volume.name}>"
        for target, root_hash in root_hashes(entry.cmdline for entry in image.boot_entries):
            names[root_hash] = f"<hash of {target}>"
        self._names = {value: name for value, name in names.items() if value}
        # The longest first, as one may be the beginning of another.
        words = sorted(self._names, key=len, reverse=True)
        self._pattern = re.compile("|".join(re.escape(word) for word in words), re.IGNORECASE) if words else None

    def replace(self, text: str) -> str:
        """Return a text with names in the places of identifiers."""
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda match: self._names[match.group().lower()], text)

    def replace_in(self, data: bytes) -> bytes:
        """Return a file's content with names in the places of identifiers."""
        return self.replace(data.decode("utf-8", errors="surrogateescape")).encode("utf-8", errors="surrogateescape")


def sbom_content(data: bytes) -> t.Any:
    """Return what a bill of materials tells about packages; V(None) when it is no JSON document."""
    try:
        document = parse_json(data)
        for field in _SBOM_FIELDS:
            holder, _dot, key = field.rpartition(".")
            (document.get(holder, {}) if holder else document).pop(key, None)
    except (ValueError, AttributeError, TypeError):
        return None
    return document


__all__ = ("Identifiers", "sbom_content")
