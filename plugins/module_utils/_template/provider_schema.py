# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The form of a provider's configuration files."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._bootloader import BOOTLOADERS
from ansible_collections.os_image.composer.plugins.module_utils._template.schema import (
    INITRAMFS,
    PACKAGE_REPOSITORY,
    Schema,
)

_TEXT: Schema = {"type": "string", "minLength": 1}
_CODENAME: Schema = {**_TEXT, "default": ""}
_PACKAGES: Schema = {"type": "array", "items": _TEXT}
_TEXTS: Schema = {**_PACKAGES, "default": []}


def _closed(properties: Schema, *required: str, **more: t.Any) -> Schema:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": list(required),
        **more,
    }


# What a provider's repository and one of a template have in common.
_OF_TEMPLATE = PACKAGE_REPOSITORY["properties"]

_ESSENTIAL = _closed({"priorities": _TEXTS, "packages": _TEXTS}, default={})
_INITRAMFS = _closed({"generator": INITRAMFS["properties"]["generator"]}, default={})

#: One architecture in C(config.yml).
_ARCHITECTURE = _closed(
    {
        "dist": _TEXT,
        "arch": _TEXT,
        "pkgType": {"type": "string", "enum": ["deb", "rpm"]},
        "releaseVersion": _TEXT,
        "codename": _CODENAME,
        "chrootenvConfigFile": _TEXT,
        # Packages that a bootloader needs, beside those of the template.
        "bootloaderPackages": _closed({name: _TEXTS for name in BOOTLOADERS}, default={}),
        # What it needs in their place where a BIOS starts it; without, the same.
        "biosBootloaderPackages": _closed({name: _PACKAGES for name in BOOTLOADERS}, default={}),
        # What it needs beside them where the distribution's signed one is wanted.
        "signedBootloaderPackages": _closed({name: _TEXTS for name in BOOTLOADERS}, default={}),
        # What GRUB behind a shim needs, which the build signs: the shim, GRUB's modules, and systemd's stub.
        "shimBootloaderPackages": _TEXTS,
        "initramfs": _INITRAMFS,
        # Packages that an image needs whose root file system dm-verity protects: what opens that.
        "verityPackages": _TEXTS,
        # Whether its kernels take a signature of the root hash by a certificate that the firmware knows.
        "kernelVerifiesRootHash": {"type": "boolean", "default": False},
    },
    "pkgType",
    "releaseVersion",
    "chrootenvConfigFile",
)

CONFIG_SCHEMA: Schema = {
    "type": "object",
    "additionalProperties": False,
    "properties": {name: _ARCHITECTURE for name in ("x86_64", "aarch64")},
}

CHROOTENV_SCHEMA = _closed(
    {"essential": _ESSENTIAL},
    "essential",
)

_KEY = _closed(
    {
        # A path relative to this file, or where the vendor publishes the key; the fingerprint decides in any case.
        "file": _TEXT,
        "url": {"type": "string", "pattern": "^https://[^\\s]+$", "patternErrorMessage": "an https URL"},
        "fingerprint": {
            "type": "string",
            "pattern": "^[0-9A-F]{40}$",
            "patternErrorMessage": "40 hexadecimal digits in upper case",
        },
    },
    "fingerprint",
    oneOf=[{"required": ["file"]}, {"required": ["url"]}],
)

_REPOSITORY = _closed(
    {
        "name": _TEXT,
        "mirror": _TEXT,
        "url": _TEXT,
        "metalink": _TEXT,
        "mirrorlist": _TEXT,
        "suite": _TEXT,
        "components": _TEXTS,
        # What it has beside them, for systemConfig.components.
        "otherComponents": _TEXTS,
        "priority": _OF_TEMPLATE["priority"],
        "gpgcheck": _OF_TEMPLATE["gpgcheck"],
        "repoGpgcheck": _OF_TEMPLATE["repoGpgcheck"],
        "moduleHotfixes": _OF_TEMPLATE["moduleHotfixes"],
        "maxAge": _OF_TEMPLATE["maxAge"],
        "keys": {"type": "array", "items": _KEY, "default": []},
    },
    "name",
    oneOf=[{"required": [key]} for key in ("mirror", "url", "metalink", "mirrorlist")],
)

REPOSITORIES_SCHEMA = _closed(
    {
        "repositories": {"type": "array", "items": _REPOSITORY},
        # What a template takes by the name alone, in packageRepositories.
        "optionalRepositories": {"type": "array", "items": _REPOSITORY, "default": []},
    },
    "repositories",
)


__all__ = (
    "CHROOTENV_SCHEMA",
    "CONFIG_SCHEMA",
    "REPOSITORIES_SCHEMA",
)
