# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""ISOs: their settings, and the disk that an installer has to know."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._checks.disk import image_traits, planned_layout
from ansible_collections.os_image.composer.plugins.module_utils._iso.options import iso_type
from ansible_collections.os_image.composer.plugins.module_utils._iso.target_disk import growing_partition, parse_end
from ansible_collections.os_image.composer.plugins.module_utils._template.located import LocatedMapping
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Disk, Initramfs, Iso
from ansible_collections.os_image.composer.plugins.module_utils._template.rule import Finding, Subject

SUBJECT = Subject("ISO and installer")


def _iso_type(template: LocatedMapping) -> str | None:
    """Return what kind of ISO a template asks for; V(None) when the image is none."""
    if not image_traits(template).is_medium:
        return None
    return iso_type(
        Iso.from_data(template["iso"]),
        Disk.from_data(template["disk"]),
        Initramfs.from_data(template["systemConfig"]["initramfs"]),
    )


def is_live_iso(template: LocatedMapping) -> bool:
    """Tell whether the image is an ISO that installs nothing."""
    return _iso_type(template) == "live"


@SUBJECT.rule(
    "iso",
    "target",
    example="""
    iso:
      type: live
    """,
)
def iso_settings_have_an_effect(template: LocatedMapping) -> t.Iterator[Finding]:
    """The iso section belongs to ISO images."""
    if image_traits(template).is_medium:
        return
    for key in ("type", "volumeId"):
        if key in template["iso"]:
            yield ("iso", key), f"iso.{key} has an effect on ISO images only. Remove it, or use imageType: iso."


@SUBJECT.rule(
    "iso",
    "disk",
    "target",
    "systemConfig.initramfs",
    example="""
    target:
      imageType: iso
    iso:
      type: live
    disk:
      path: /dev/sda
    """,
)
def live_iso_writes_to_no_disk(template: LocatedMapping) -> t.Iterator[Finding]:
    """A live ISO has no disk to write to."""
    if is_live_iso(template) and "path" in template["disk"]:
        yield ("disk", "path"), "A live ISO writes to no disk. Remove disk.path, or use iso.type: installer."


@SUBJECT.rule(
    "iso",
    "disk",
    "target",
    "systemConfig.initramfs",
    example="""
    target:
      imageType: iso
    iso:
      type: installer
    remove:
      partitions: [boot, root]
    """,
)
def installer_knows_its_disk(template: LocatedMapping) -> t.Iterator[Finding]:
    """An installer has a layout, from which the least size of the machine's disk can be told."""
    if _iso_type(template) != "installer":
        return
    disk = template["disk"]
    if not disk["partitions"]:
        yield (
            ("disk", "partitions"),
            "An installer needs to know the disk's layout. Give disk.partitions, or use iso.type: live.",
        )
    elif planned_layout(template) is not None and "size" not in disk and _has_no_size(Disk.from_data(disk)):
        yield (
            ("disk", "partitions"),
            "Nothing tells how large the disk must be: its last partition has no end, and cannot grow. Give disk.size, "
            "or give the last partition a size.",
        )


def _has_no_size(disk: Disk) -> bool:
    """Tell whether a partition takes the rest of a disk, and has nothing that could grow there."""
    return growing_partition(disk) is None and any(parse_end(item) == 0 for item in disk.partitions)


@SUBJECT.rule(
    "target",
    "systemConfig.immutability",
    "systemConfig.signing",
    example="""
    target:
      imageType: iso
    systemConfig:
      kernel:
        uki: true
      signing:
        secureBoot: {key: keys/db.key, certificate: keys/db.crt}
    """,
)
def only_disks_are_signed(template: LocatedMapping) -> t.Iterator[Finding]:
    """Secure Boot keys sign the boot chain of a disk; that of an ISO or an initrd begins outside of it."""
    why = image_traits(template).why_unsigned
    if why and "secureBoot" in template["systemConfig"]["signing"]:
        yield (
            ("systemConfig", "signing", "secureBoot"),
            f"Secure Boot keys are configured, but {why}. Remove them, or use imageType: raw.",
        )


@SUBJECT.advice(
    "target",
    "systemConfig.initramfs",
    example="""
    target:
      imageType: iso
    systemConfig:
      initramfs:
        template: default-initrd-x86_64.yml
    """,
)
def installer_is_built_from_the_image(template: LocatedMapping) -> t.Iterator[Finding]:
    """The installer runs in the image's own live system, so that it is not built from another template."""
    name = template["systemConfig"]["initramfs"].get("template")
    if image_traits(template).is_medium and name is not None:
        yield (
            ("systemConfig", "initramfs", "template"),
            f"The installer runs in the image's own live system, and nothing is built from {name}. Say iso.type: "
            "installer instead; iso.unattended and disk.path tell what it does.",
        )


__all__ = ("SUBJECT", "is_live_iso")
