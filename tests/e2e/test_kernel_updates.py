# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Machines whose kernel apt upgrades from a repository: they start the new one, and the old one stays in the menu."""

from __future__ import annotations

import dataclasses
import glob
import json
import os
import pathlib
import shutil
import typing as t

import pytest
from ansible_collections.os_image.composer.tests.e2e.support.image import (
    BuiltImage,
    Guest,
    Workspace,
    boot_disk,
    call,
)
from ansible_collections.os_image.composer.tests.e2e.support.template import Template, TestTemplate
from ansible_collections.os_image.composer.tests.support.deb_repository import DebRepository

pytestmark = pytest.mark.case("kernel-update")

_META = "linux-image-amd64"
# By version the kernel of clouds is newer than the one for all machines.
_NEWER = "linux-image-cloud-amd64"
# Making an initramfs with every driver would take an emulated processor minutes.
_INITRAMFS: t.Sequence[tuple[str, str]] = (
    ("/etc/initramfs-tools/conf.d/small", "MODULES=list\nCOMPRESS=zstd\nCOMPRESSLEVEL=1\nRESUME=none\n"),
    ("/etc/initramfs-tools/modules", "virtio_pci\nvirtio_blk\next4\n"),
)
_UPGRADE_SECONDS = 1200.0
_ROOM = "mkdir -p /mnt/repository && mount /dev/disk/by-label/kernels /mnt/repository"
_APT = (
    "apt-get -o Dir::Etc::sourcelist=/mnt/repository/sources.list -o Dir::Etc::sourceparts=- "
    "-o APT::Get::List-Cleanup=0 -o APT::Install-Recommends=false -q -y"
)


@dataclasses.dataclass(frozen=True)
class Updated:
    """How a machine starts kernels.

    :ivar menu: A command that prints what the bootloader has of each kernel.
    :ivar default: A command that prints the default, and what it says.
    """

    dist: str
    system: Template
    menu: str
    default: tuple[str, str]

    @property
    def name(self) -> str:
        """The template's."""
        return f"e2e-kernel-update-{self.dist}-{self.system['bootloader']['provider']}"


_ENTRIES = "cd /boot/efi/loader/entries && ls"
_UKIS = "cd /boot/efi/EFI/Linux && ls"
_DEFAULT = "grep ^default /boot/efi/loader/loader.conf"
SYSTEMS: t.Mapping[str, Updated] = {
    "kernel update, systemd-boot": Updated(
        "debian12", {"bootloader": {"provider": "systemd-boot"}}, _ENTRIES, (_DEFAULT, "default debian-*.conf")
    ),
    "kernel update, GRUB on UEFI": Updated(
        "debian12",
        {"bootloader": {"provider": "grub"}},
        "sed -n 's,.*linux.*/boot/vmlinuz-\\([^ ]*\\) .*,\\1,p' /boot/grub/grub.cfg | sort -u",
        ("grep ^GRUB_DEFAULT /etc/default/grub", "GRUB_DEFAULT=0"),
    ),
    "kernel update, UKI": Updated(
        "debian13",
        {"bootloader": {"provider": "systemd-boot"}, "kernel": {"uki": True}},
        _UKIS,
        (_DEFAULT, "default debian-*.efi"),
    ),
}


def _template(updated: Updated) -> TestTemplate:
    commands = [{"cmd": f"printf '{text}' > {path}".replace("\n", "\\n")} for path, text in _INITRAMFS]
    system = {
        **updated.system,
        "packages": ["ca-certificates", "locales", "openssh-server", "sudo", "zstd"],
        "configurations": commands,
        "scripts": {"preInstall": [], "postInstall": []},
    }
    disk = {
        "size": "2GiB",
        "artifacts": [{"type": "raw"}],
        "partitions": [
            {
                **{"id": "boot", "type": "esp", "fsType": "fat32", "size": "200MiB", "mountPoint": "/boot/efi"},
                # A host that is busy can need longer than 90 seconds until the emulated one has found it.
                "mountOptions": "umask=0077,x-systemd.device-timeout=600",
            },
            {"id": "rootfs", "type": "linux-root-amd64", "fsType": "ext4", "end": "0", "mountPoint": "/"},
        ],
    }
    return TestTemplate(updated.name, updated.dist, {"disk": disk, "systemConfig": system})


def _repository(workspace: Workspace, updated: Updated, directory: pathlib.Path) -> str:
    """Make a disk with a repository that has a newer kernel; returns its path."""
    kernel = {"kernel": {"packages": [_NEWER]}}
    template = TestTemplate(f"{updated.name}-newer", updated.dist, {"systemConfig": kernel})
    pipeline = workspace.pipeline(template, directory=str(directory))
    resolved = pipeline.run(until="pkg_fetch")["pkg_resolve"].result
    lock = json.loads(pathlib.Path(resolved["lock_file"]).read_text(encoding="utf-8"))
    (entry,) = [
        package
        for package in lock["packages"]
        if package["name"].startswith("linux-image-") and "-cloud-" in package["name"] and package["name"] != _NEWER
    ]
    root = directory / "repository"
    repository = DebRepository(str(root), "./")
    repository.add_package(_META, "99", fields={"Depends": entry["name"]})
    (source,) = glob.glob(os.path.join(workspace.cache_dir, "pkgCache", "*", entry["filename"]))
    shutil.copy(source, root)
    repository.publish(None)
    (root / "sources.list").write_text("deb [trusted=yes] file:/mnt/repository ./\n")
    disk = str(directory / "kernels.img")
    call("mke2fs", "-q", "-t", "ext4", "-L", "kernels", "-d", str(root), disk, "256M")
    return disk


def _in_menu(guest: Guest, updated: Updated, version: str) -> bool:
    return any(version in line for line in guest.lines(updated.menu))


@pytest.mark.parametrize(
    "cell",
    [
        pytest.param(name, marks=pytest.mark.cells(name, steps=("built", "checked", "booted")))
        for name in ("kernel update, systemd-boot", "kernel update, GRUB on UEFI", "kernel update, UKI")
    ],
)
def test_a_machine_starts_the_kernel_that_apt_has_installed(
    cell: str, workspace: Workspace, build: t.Callable[[TestTemplate], BuiltImage], tmp_path: pathlib.Path
) -> None:
    updated = SYSTEMS[cell]
    image = build(_template(updated))
    repository = _repository(workspace, updated, tmp_path)
    disk = str(tmp_path / "disk.raw")
    call("cp", "--sparse=always", image.raw, disk)
    log = str(pathlib.Path(image.output_dir, "..", "boot-test", image.template.name))
    with boot_disk(disk, f"{log}.before.log", image=None, target_disks=(disk, repository)) as guest:
        old = guest.say("uname -r")
        assert _in_menu(guest, updated, old)
        guest.say(f"{_ROOM} && {_APT} update")
        done = guest.console.run(f"{_APT} --with-new-pkgs upgrade", timeout=_UPGRADE_SECONDS)
        assert done.rc == 0, done.output
        new = guest.say("ls /usr/lib/modules | grep cloud")
        assert _in_menu(guest, updated, new)
        assert _in_menu(guest, updated, old)
        # The kernel that runs is not needed by any package any more.
        guest.say(f"apt-mark auto linux-image-{old}")
        assert f"linux-image-{old}" not in guest.say("apt-get --simulate autoremove")
        guest.say("sync")
    with boot_disk(disk, f"{log}.after.log", image=None, target_disks=(disk,)) as guest:
        assert guest.say("uname -r") == new
        assert guest.say(updated.default[0]) == updated.default[1]
        assert _in_menu(guest, updated, old)
        assert guest.lines("systemctl --failed --plain --no-legend") == []
        done = guest.console.run(
            f"DEBIAN_FRONTEND=noninteractive apt-get -y purge linux-image-{old}", timeout=_UPGRADE_SECONDS
        )
        assert done.rc == 0, done.output
        assert not _in_menu(guest, updated, old)
        assert _in_menu(guest, updated, new)
    # GRUB says so when its menu asks for a module that is not there.
    assert "error: " not in pathlib.Path(f"{log}.after.log").read_text(encoding="utf-8").partition("Linux version")[0]
