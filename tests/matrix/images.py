# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The templates of the images that the matrix boots. Those of an architecture share the layer of their packages."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.os_image.composer.tests.e2e.support.template import TestTemplate, merged
from ansible_collections.os_image.composer.tests.matrix.cells import Boot, Section
from ansible_collections.os_image.composer.tests.support.rpm_distribution.provider import DIST, OS

_PACKAGES: t.Mapping[str, t.Sequence[str]] = {
    "x86_64": (
        *("btrfs-progs", "ca-certificates", "grub-efi-amd64-bin", "grub-efi-amd64-signed", "grub-pc-bin", "locales"),
        *("openssh-server", "shim-signed", "sudo", "systemd-boot-efi", "xfsprogs"),
    ),
    # Only what differs: their scripts are emulated.
    "aarch64": ("grub-efi-arm64-bin", "grub-efi-arm64-signed", "shim-signed", "sudo", "systemd-boot-efi"),
}
_SYSTEMS: t.Mapping[str, Section] = {
    "x86_64": {},
    "aarch64": {"locale": "C.UTF-8", "services": {"enable": [], "mask": []}},
}
# Of the other packages one is for one bootloader, and excludes another's.
_RPM_SYSTEM: Section = {
    "locale": "C.UTF-8",
    "packages": ["core-packages-base-image", "dracut", "grub2-pc", "openssh-server", "sudo"],
    "services": {"enable": ["sshd"], "disable": [], "mask": ["systemd-networkd-wait-online.service"]},
}


def template(cell: Boot) -> TestTemplate:
    """Return the template of an image."""
    name = "matrix-" + re.sub(r"[^a-z0-9]+", "-", cell.name.lower()).strip("-")
    common: Section = {"scripts": {"preInstall": []}, "additionalFiles": []}
    disk = {"name": "matrix", "artifacts": [{"type": "raw"}], **cell.disk}
    if cell.of_rpm:
        system = {**_RPM_SYSTEM, **common, **cell.system}
        return TestTemplate(name, DIST, {"target": {"os": OS}, "disk": disk, "systemConfig": system})
    system = merged({"packages": list(_PACKAGES[cell.arch]), **common}, _SYSTEMS[cell.arch])
    target = {"arch": cell.arch}
    return TestTemplate(name, "debian12", {"target": target, "disk": disk, "systemConfig": merged(system, cell.system)})


__all__ = ("template",)
