# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The templates of the images that the matrix boots. Those of an architecture share the layer of their packages."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.os_image.composer.tests.e2e.support.template import TestTemplate, merged
from ansible_collections.os_image.composer.tests.matrix.cells import Boot, Section

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


def template(cell: Boot) -> TestTemplate:
    """Return the template of an image."""
    name = "matrix-" + re.sub(r"[^a-z0-9]+", "-", cell.name.lower()).strip("-")
    system = {"packages": list(_PACKAGES[cell.arch]), "scripts": {"preInstall": []}, "additionalFiles": []}
    return TestTemplate(
        name,
        "debian12",
        {
            "target": {"arch": cell.arch},
            "disk": {"name": "matrix", "artifacts": [{"type": "raw"}], **cell.disk},
            "systemConfig": merged(merged(system, _SYSTEMS[cell.arch]), cell.system),
        },
    )


__all__ = ("template",)
