# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Growth at first boot: what systemd needs to know.

systemd-repart enlarges the partition, and systemd-growfs, which fstab asks for, the file system in it; see repart.d(5),
systemd-growfs@.service(8).
"""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._disk.layout import DiskLayout, Partition
from ansible_collections.os_image.composer.plugins.module_utils._errors import DiskError
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles

_DIRECTORY = "/etc/repart.d"
_PROGRAMS: t.Mapping[str, t.Sequence[str]] = {
    "systemd-repart": ("/usr/bin/systemd-repart",),
    "systemd": ("/usr/lib/systemd/systemd-growfs",),
}


def growth_files(tree: str, layout: DiskLayout) -> t.Dict[str, bytes]:
    """Return the files that let partitions of an image grow: path in the tree -> content.

    :raises DiskError: The image has not the programs that do it.
    """
    growing = next((partition for partition in layout.partitions if partition.grows), None)
    if growing is None:
        return {}
    for package, paths in _PROGRAMS.items():
        for path in paths:
            if not TreeFiles(tree).exists(path):
                raise DiskError(
                    f"The partition {growing.id!r} shall grow at boot, but the root tree has no {path}.",
                    remedy=f"Add the package {package!r} to systemConfig.packages, or remove growOnBoot.",
                )
    # A definition stands for the first partition of its type that has none yet: those before it need one, too.
    same = sorted(
        (partition for partition in layout.partitions if partition.type_guid == growing.type_guid),
        key=lambda partition: partition.number,
    )
    wanted = same[: same.index(growing) + 1]
    return {
        f"{_DIRECTORY}/{10 + number}-{partition.id}.conf": _definition(partition).encode("ascii")
        for number, partition in enumerate(wanted)
    }


def _definition(partition: Partition) -> str:
    lines = ["# Made when the image was built: lets the last partition fill the disk.", "[Partition]"]
    lines.append(f"Type={partition.type_guid}")
    if not partition.grows:
        lines += ["Weight=0", f"SizeMinBytes={partition.size}", f"SizeMaxBytes={partition.size}"]
    return "\n".join(lines) + "\n"


__all__ = ("growth_files",)
