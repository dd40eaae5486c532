# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A provider for Composer Linux, the RPM distribution of the tests; its repository is the mirror C(composer)."""

from __future__ import annotations

import os
import shutil
import typing as t

import yaml
from ansible_collections.os_image.composer.tests.support.rpm_distribution.distribution import RpmDistribution

#: The name of the mirror.
MIRROR = "composer"

#: What a template says to get it.
TARGET = {"os": "composer", "dist": "cl1", "arch": "x86_64", "imageType": "raw"}

_CONFIG = {
    "x86_64": {
        "dist": "cl1",
        "arch": "x86_64",
        "pkgType": "rpm",
        "releaseVersion": "1",
        "chrootenvConfigFile": "chrootenvconfigs/chrootenv_x86_64.yml",
        "bootloaderPackages": {"systemd-boot": ["systemd-boot"], "grub": ["grub2-efi"]},
        "initramfs": {"generator": "dracut"},
    }
}

_DEFAULT = {
    "image": {"name": "composer-default-x86_64", "version": "1"},
    "target": TARGET,
    "disk": {
        "name": "default",
        "size": "2GiB",
        "partitionTableType": "gpt",
        "artifacts": [{"type": "raw"}],
        "partitions": [
            {
                "id": "boot",
                "type": "esp",
                "fsType": "fat32",
                "fsLabel": "ESP",
                "start": "1MiB",
                "end": "257MiB",
                "mountPoint": "/boot/efi",
                "mountOptions": "umask=0077",
            },
            {
                "id": "rootfs",
                "type": "linux-root-amd64",
                "fsType": "ext4",
                "fsLabel": "rootfs",
                "start": "257MiB",
                "end": "0",
                "mountPoint": "/",
            },
        ],
    },
    "systemConfig": {
        "name": "default-raw",
        "hostname": "composer",
        "timezone": "Etc/UTC",
        "locale": "C.UTF-8",
        "bootloader": {"bootType": "efi", "provider": "systemd-boot"},
        "packages": ["core-packages-base-image", "dracut", "openssh-server"],
        "kernel": {"cmdline": "console=tty0 console=ttyS0,115200", "packages": ["kernel"]},
        "network": {"backend": "systemd-networkd", "interfaces": [{"match": "en*", "dhcp4": True}]},
    },
}


def write_provider(config_dir: str, distribution: RpmDistribution) -> None:
    """Write the provider into a configuration directory."""
    directory = os.path.join(config_dir, "osv", TARGET["os"], TARGET["dist"])
    _write(os.path.join(directory, "config.yml"), _CONFIG)
    _write(
        os.path.join(directory, "providerconfigs", "x86_64_repo.yml"),
        {
            "repositories": [
                {
                    "name": "composer-base",
                    "mirror": MIRROR,
                    "keys": [{"file": "../key.asc", "fingerprint": distribution.fingerprint}],
                }
            ]
        },
    )
    shutil.copyfile(distribution.key, os.path.join(directory, "key.asc"))
    _write(
        os.path.join(directory, "chrootenvconfigs", "chrootenv_x86_64.yml"),
        {"essential": {"packages": ["core-packages-container"]}},
    )
    _write(os.path.join(directory, "imageconfigs", "defaultconfigs", "default-raw-x86_64.yml"), _DEFAULT)


def _write(path: str, content: t.Mapping[str, t.Any]) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as stream:
        yaml.safe_dump(content, stream, sort_keys=False)


__all__ = ("MIRROR", "TARGET", "write_provider")
