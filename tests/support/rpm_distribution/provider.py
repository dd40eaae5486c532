# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The provider of Composer Linux: what C(config/osv/) would say about it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import typing as t

from ansible_collections.os_image.composer.tests.support.rpm_distribution.distribution import (
    RpmDistribution,
    rpm_distribution,
)

OS = "composer-linux"
DIST = "cl1"
#: The name of the mirror, whose URL is the served distribution's: C(mirrors={MIRROR: server.url}).
MIRROR = "composer-linux"

_TARGET: t.Mapping[str, str] = {"os": OS, "dist": DIST, "arch": "x86_64", "imageType": "raw"}
_CONFIG: t.Mapping[str, t.Any] = {
    "x86_64": {
        "dist": DIST,
        "arch": "x86_64",
        "pkgType": "rpm",
        "releaseVersion": "1",
        "chrootenvConfigFile": "chrootenvconfigs/chrootenv_x86_64.yml",
        "bootloaderPackages": {
            "systemd-boot": ["systemd-boot"],
            "grub": ["grub2-efi", "grub2-efi-binary", "shim"],
        },
        "biosBootloaderPackages": {"grub": ["grub2-pc"]},
        "verityPackages": ["device-mapper", "systemd-cryptsetup", "veritysetup"],
        "initramfs": {"generator": "dracut"},
    }
}
_CHROOT_ENVIRONMENT: t.Mapping[str, t.Any] = {"essential": {"packages": ["core-packages-container"]}}
_PARTITIONS: t.Sequence[t.Mapping[str, t.Any]] = (
    {
        "id": "boot",
        "type": "esp",
        "flags": ["esp", "boot"],
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
        "mountOptions": "defaults",
    },
)
_PACKAGES = (
    "composer-release",
    "core-packages-base-image",
    "dracut",
    "e2fsprogs",
    "iproute",
    "systemd-networkd",
    "systemd-resolved",
)
# What finds the root file system of a live system, and what an installer needs.
_LIVE_PACKAGES = ("device-mapper", "dosfstools", "dracut-live", "efibootmgr")


def _default_template(image_type: str) -> dict[str, t.Any]:
    is_disk = image_type == "raw"
    return {
        "image": {"name": "cl1-default-x86_64", "version": "1"},
        "target": {**_TARGET, "imageType": image_type},
        "disk": {
            "name": "default",
            "partitionTableType": "gpt",
            "partitions": list(_PARTITIONS),
            **({"size": "2GiB", "artifacts": [{"type": "raw"}]} if is_disk else {}),
        },
        "systemConfig": {
            "name": f"default-{image_type}",
            "description": "A small Composer Linux that boots to a login with the network up",
            "hostname": "composer",
            "timezone": "Etc/UTC",
            "locale": "C.UTF-8",
            "bootloader": {"bootType": "efi", "provider": "systemd-boot"},
            "packages": [*_PACKAGES, *(() if is_disk else _LIVE_PACKAGES)],
            "kernel": {"cmdline": "console=tty0 console=ttyS0,115200", "packages": ["kernel"]},
            "network": {"backend": "systemd-networkd", "interfaces": [{"match": "e*", "dhcp4": True}]},
            "services": {"enable": ["systemd-resolved.service", "systemd-timesyncd.service"]},
        },
    }


def write_provider(config_dir: str | os.PathLike[str], distribution: RpmDistribution) -> str:
    """Write the provider, with the key of a distribution pinned; return the directory, for the option config_dir."""
    root = os.path.join(os.fspath(config_dir), "osv", OS)
    provider = os.path.join(root, DIST)
    repositories = [
        {
            "name": "composer-base",
            "mirror": MIRROR,
            "keys": [{"file": "../../keys/composer.asc", "fingerprint": distribution.fingerprint}],
        }
    ]
    for path, content in (
        ("config.yml", _CONFIG),
        ("chrootenvconfigs/chrootenv_x86_64.yml", _CHROOT_ENVIRONMENT),
        ("providerconfigs/x86_64_repo.yml", {"repositories": repositories}),
        *(
            (f"imageconfigs/defaultconfigs/default-{kind}-x86_64.yml", _default_template(kind))
            for kind in ("raw", "iso")
        ),
    ):
        _write(os.path.join(provider, path), content)
    os.makedirs(os.path.join(root, "keys"), exist_ok=True)
    shutil.copyfile(distribution.key, os.path.join(root, "keys", "composer.asc"))
    return os.fspath(config_dir)


@contextlib.contextmanager
def served_provider(config_dir: str | os.PathLike[str]) -> t.Iterator[dict[str, str]]:
    """Write the provider and serve the distribution as long as the block runs; yields the option mirrors."""
    distribution = rpm_distribution()
    write_provider(config_dir, distribution)
    with distribution.serve() as server:
        yield {MIRROR: server.url}


def write_template(path: str | os.PathLike[str], **system: t.Any) -> str:
    """Write a template for Composer Linux; return its path.

    :param system: Keys of C(systemConfig), such as C(packages=["sudo"]).
    """
    template = {
        "image": {"name": "cl1-test", "version": "1"},
        "target": _TARGET,
        "systemConfig": {"name": "cl1-test", **system},
    }
    _write(os.fspath(path), template)
    return os.fspath(path)


def _write(path: str, content: t.Mapping[str, t.Any]) -> None:
    # As JSON, which is YAML as well.
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as stream:
        json.dump(content, stream, indent=2)


__all__ = ("DIST", "MIRROR", "OS", "served_provider", "write_provider", "write_template")
