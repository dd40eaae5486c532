# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The formats of disk images: what is known of each.

:mod:`_artifact.formats` converts to them, :mod:`_image.source` reads them.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._size import show_size


@dataclasses.dataclass(frozen=True)
class ArtifactFormat:
    """A format of disk images.

    :ivar extension: The end of the file's name.
    :ivar driver: The name that C(qemu-img) and QEMU have for it.
    :ivar options: Options of the format for C(qemu-img convert).
    :ivar compact: What C(qemu-img convert) gets beside, to compress inside of the format, when the file is not
        compressed as a whole afterwards.
    :ivar subformats: Its variants, the default one first.
    :ivar compact_subformats: Those of them that are compressed inside by themselves.
    :ivar biggest: The most bytes that a disk may have; V(None) for more than anybody has.
    """

    extension: str
    driver: str
    options: t.Tuple[str, ...] = ()
    compact: t.Tuple[str, ...] = ()
    subformats: t.Tuple[str, ...] = ()
    compact_subformats: t.Tuple[str, ...] = ()
    biggest: t.Optional[int] = None

    @property
    def default_subformat(self) -> str | None:
        """The variant when none is asked for; V(None) when there are none."""
        return self.subformats[0] if self.subformats else None

    def is_compact(self, subformat: str | None, *, is_last: bool = True) -> bool:
        """Whether a file is compressed inside.

        :param is_last: Whether it is not compressed as a whole afterwards.
        """
        return (subformat or self.default_subformat) in self.compact_subformats or (is_last and bool(self.compact))

    def arguments(self, subformat: str | None) -> t.List[str]:
        """Return the arguments of C(qemu-img convert) that choose a variant."""
        chosen = subformat or self.default_subformat
        options = [*([f"subformat={chosen}"] if chosen else []), *self.options]
        return ["-o", ",".join(options)] if options else []


#: The format of the image itself, as it is composed.
RAW = "raw"

#: The values of C(disk.artifacts[].type).
FORMATS: t.Mapping[str, ArtifactFormat] = {
    RAW: ArtifactFormat("raw", "raw"),
    # Without -W: clusters that are written as they come give another file on each run.
    "qcow2": ArtifactFormat("qcow2", "qcow2", compact=("-c", "-o", "compression_type=zstd")),
    # Without force_size the disk grows to the next size that cylinders, heads and sectors can express.
    "vhd": ArtifactFormat("vhd", "vpc", ("force_size=on",), subformats=("dynamic", "fixed"), biggest=2040 << 30),
    "vhdx": ArtifactFormat("vhdx", "vhdx", ("subformat=dynamic",)),
    "vmdk": ArtifactFormat(
        "vmdk",
        "vmdk",
        subformats=("monolithicSparse", "streamOptimized"),
        compact_subformats=("streamOptimized",),
    ),
    "vdi": ArtifactFormat("vdi", "vdi"),
}


def subformat_problem(format_name: str, subformat: str | None) -> str | None:
    """Tell in words why a format has no such variant; V(None) when it has.

    :param format_name: A key of C(FORMATS).
    """
    known = FORMATS[format_name].subformats
    if subformat is None or subformat in known:
        return None
    remedy = f"Use one of: {', '.join(known)}." if known else "Remove the key."
    return f"The format {format_name} has no subformat {subformat!r}. {remedy}"


def size_problem(format_name: str, size: int) -> str | None:
    """Tell in words why a disk is too large for a format; V(None) when it is not.

    :param format_name: A key of C(FORMATS).
    :param size: Bytes.
    """
    biggest = FORMATS[format_name].biggest
    if biggest is None or size <= biggest:
        return None
    return f"The format {format_name} ends at {show_size(biggest)}, but the disk has {show_size(size)}. Use vhdx."


__all__ = ("FORMATS", "RAW", "ArtifactFormat", "size_problem", "subformat_problem")
