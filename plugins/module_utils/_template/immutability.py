# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Immutability: what a template that asks for a protected root file system means by it.

The root file system is never written to, so that what a running system changes needs another place: the directories
/etc and /var get one each.
"""

from __future__ import annotations

import dataclasses
import posixpath
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._template.located import (
    LocatedList,
    LocatedMapping,
    from_data,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Disk, Immutability

READ_ONLY = "readonly"
VOLATILE = "volatile"
PERSISTENT = "persistent"

#: The root hash is signed, and the kernel opens the root file system only with the signature.
DEMANDED = "demanded"

#: The device of the opened root file system, as systemd calls it too.
ROOT_DEVICE = "/dev/mapper/root"

#: Where the initramfs puts the signature of the root hash, and the word of the command line that tells it the PARTUUID
#: of the partition that has it.
ROOT_HASH_SIGNATURE = "/run/root-hash.p7s"
SIGNATURE_WORD = "rd.roothashsig"

# What a disk gets that has no partition for the hashes, or for the signature of the root hash.
_HASH_PARTITION = "roothashmap"
_SIGNATURE_PARTITION = "roothashsig"


@dataclasses.dataclass(frozen=True)
class Protection:
    """How a protected system can be changed while it runs.

    :ivar etc: What becomes of changes in /etc: V(readonly), V(volatile), V(persistent).
    :ivar var: The same for /var: V(volatile), or V(persistent) when a partition is mounted there.
    :ivar signature: Whether the root hash is signed by itself: V(kept), V(demanded), or V(None) when it is not.
    """

    etc: str
    var: str
    signature: str | None = None

    @classmethod
    def of(cls, immutability: Immutability, disk: Disk) -> Protection | None:
        """Read it from a template; V(None) when the root file system is not protected."""
        if not immutability.enabled:
            return None
        has_var = any(_is_mounted_at(partition.mount_point, "/var") for partition in disk.partitions)
        var = PERSISTENT if has_var else VOLATILE
        return cls(immutability.etc or VOLATILE, var, immutability.root_hash_signature)

    def as_facts(self) -> t.Dict[str, str]:
        """Return it for fingerprints; what is not asked for is not there."""
        return {key: value for key, value in dataclasses.asdict(self).items() if value is not None}

    @property
    def has_overlays(self) -> bool:
        """Whether a directory shows changes above what the root file system has."""
        return self.etc != READ_ONLY or self.var == VOLATILE


def complete_disk(template: LocatedMapping, *, is_own: bool) -> None:
    """Say, in place, what the disk of a template needs whose root file system is protected.

    The root is mounted read-only. A default template's disk also gets the partition for the hashes, before the root,
    which may take the rest of the disk.

    :param is_own: Whether the partitions are the user's own.
    """
    # Copies, as what is inherited belongs to the default template, too.
    disk: LocatedMapping = template["disk"].copy()
    partitions: LocatedList = disk["partitions"].copy()
    index = next((index for index, item in enumerate(partitions) if _is_mounted_at(item["mountPoint"], "/")), None)
    if index is None:
        return
    root = partitions[index] = partitions[index].copy()
    options = [word for word in root["mountOptions"].split(",") if word not in ("", "defaults")]
    if "ro" not in options and "rw" not in options:
        root.put("mountOptions", ",".join(["ro", *options]), root.origins.get("mountOptions", root.origin))
    if not is_own:
        if "start" in root:
            root.drop("start")
        if "size" not in disk and "end" in root:
            # The disk of an installer: what is mounted read-only cannot grow to fill it.
            root.drop("end")
            root.put("size", "content", root.origin)
        hashes = from_data({"id": _HASH_PARTITION, "size": "content"}, file=root.origin.file)
        signature = from_data({"id": _SIGNATURE_PARTITION, "size": "content"}, file=root.origin.file)
        is_signed = "rootHashSignature" in template["systemConfig"]["immutability"]
        for item in [signature, hashes] if is_signed else [hashes]:
            partitions.insert(index, item)
            partitions.origins.insert(index, partitions.origins[index])
    disk.put("partitions", partitions, disk.origins["partitions"])
    template.put("disk", disk, template.origins["disk"])


def _is_mounted_at(given: str | None, path: str) -> bool:
    return bool(given) and posixpath.normpath(given or "") == path


__all__ = (
    "DEMANDED",
    "PERSISTENT",
    "READ_ONLY",
    "ROOT_DEVICE",
    "ROOT_HASH_SIGNATURE",
    "SIGNATURE_WORD",
    "VOLATILE",
    "Protection",
    "complete_disk",
)
