# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Systems whose root file system dm-verity protects: booted as they were built, and with one bit changed."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import subprocess
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._boot_test.boot import booted_machine
from ansible_collections.os_image.composer.plugins.module_utils._boot_test.console import LOGIN_PROMPT
from ansible_collections.os_image.composer.plugins.module_utils._boot_test.machine import MachineSpec
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.tests.e2e.support.image import BuiltImage, Guest, Workspace, boot
from ansible_collections.os_image.composer.tests.e2e.support.template import (
    PATIENCE,
    ShippedTemplate,
    Template,
    TestTemplate,
    overrides_for_boots,
)
from ansible_collections.os_image.composer.tests.support.rpm_distribution.provider import DIST, OS, served_provider

pytestmark = pytest.mark.case("verity")

_TAMPERED_SECONDS = 600.0


@dataclasses.dataclass(frozen=True)
class Protected:
    """A protected system.

    :ivar overrides: What a boot test needs beside the template.
    :ivar keeps_etc: Whether changes in /etc are kept on the partition at /var.
    """

    template: TestTemplate
    root: str
    overrides: Template = dataclasses.field(default_factory=dict)
    keeps_etc: bool = False


_RPM_PARTITIONS: t.Sequence[Template] = [
    {"id": "boot", "type": "esp", "fsType": "fat32", "size": "content", "mountPoint": "/boot/efi"},
    {"id": "rootfs", "fsType": "erofs", "size": "content", "mountPoint": "/"},
    {"id": "roothashmap", "size": "content"},
    {"id": "var", "type": "linux-var", "fsType": "ext4", "size": "300MiB", "mountPoint": "/var"},
]
_RPM_SYSTEM: Template = {
    "kernel": {"uki": True},
    "immutability": {"enabled": True, "etc": "persistent"},
    "locale": "C.UTF-8",
    "packages": ["core-packages-base-image", "dnf", "dracut", "openssh-server", "sudo"],
    "services": {"enable": ["sshd"]},
    "configurations": [PATIENCE],
}
_RPM = TestTemplate(
    "e2e-verity-rpm",
    DIST,
    {
        "target": {"os": OS},
        "disk": {"size": "content", "artifacts": [{"type": "raw"}], "partitions": _RPM_PARTITIONS},
        "systemConfig": _RPM_SYSTEM,
    },
)

SYSTEMS: t.Mapping[str, Protected] = {
    "shipped debian12-immutable, initramfs-tools": Protected(
        ShippedTemplate.of("debian12-x86_64-immutable-raw.yml"), "ext4", overrides_for_boots()
    ),
    "RPM packages, protected erofs root with changes on /var, dracut": Protected(_RPM, "erofs", keeps_etc=True),
    "shipped debian13-immutable, dracut": Protected(
        ShippedTemplate.of("debian13-x86_64-immutable-raw.yml"), "ext4", overrides_for_boots()
    ),
}


def _systems(*steps: str) -> pytest.MarkDecorator:
    marked = [
        pytest.param(name, id=system.template.name, marks=pytest.mark.cells(name, steps=steps))
        for name, system in SYSTEMS.items()
    ]
    return pytest.mark.parametrize("name", marked)


@pytest.fixture(scope="module")
def built(workspace: Workspace) -> t.Iterator[t.Callable[[str], BuiltImage]]:
    """Build the image of a system, once."""
    images: dict[str, BuiltImage] = {}
    with contextlib.ExitStack() as stack:

        def build_once(name: str) -> BuiltImage:
            template = SYSTEMS[name].template
            if name not in images:
                more: dict[str, t.Any] = {"image_build_overrides": SYSTEMS[name].overrides}
                if template.dist == DIST:
                    config_dir = workspace.path("rpm-config")
                    mirrors = stack.enter_context(served_provider(config_dir))
                    more.update(image_build_config_dir=config_dir, image_build_mirrors=mirrors)
                images[name] = workspace.build(template, **more)
            return images[name]

        yield build_once


@_systems("built", "checked", "booted")
def test_the_root_cannot_be_changed(built: t.Callable[[str], BuiltImage], workspace: Workspace, name: str) -> None:
    system, image = SYSTEMS[name], built(name)
    with boot(image, workspace.path("boot-test")) as guest:
        assert guest.say("findmnt --noheadings --output SOURCE,FSTYPE /").split() == ["/dev/mapper/root", system.root]
        assert re.fullmatch(r"0 \d+ verity V", guest.say("dmsetup status root"))
        rc, said = guest.run("touch /usr/changed")
        assert (rc != 0, "Read-only file system" in said) == (True, True), said
        assert guest.run("mount -o remount,rw /")[0] != 0
        assert guest.say("systemctl --failed --no-legend --plain") == ""
        _check_changes(guest, system)
        # The keys and the identity are the machine's own.
        assert re.fullmatch("[0-9a-f]{32}", guest.say("cat /etc/machine-id"))
        assert guest.say("ls /etc/ssh/ssh_host_ed25519_key")


def _check_changes(guest: Guest, system: Protected) -> None:
    """Check where changes of /etc and /var go."""
    guest.say("echo changed > /etc/changed && echo changed > /var/changed")
    etc = guest.say("findmnt --noheadings --notruncate --output FSTYPE,OPTIONS /etc")
    assert guest.say("findmnt --noheadings --output FSTYPE /var") == "ext4"
    if system.keeps_etc:
        assert "/var/lib/os-image-composer/etc/upper" in etc
        assert guest.say("cat /var/lib/os-image-composer/etc/upper/changed") == "changed"
    else:
        assert "upperdir=/run/volatile/etc/upper" in etc
    # What the image has there is there still.
    assert guest.say("test -s /var/lib/dpkg/status || rpm -q bash; cat /etc/machine-id")


@_systems("checked")
def test_a_changed_bit_stops_it(built: t.Callable[[str], BuiltImage], workspace: Workspace, name: str) -> None:
    image = built(name)
    tampered = workspace.path("tampered.raw")
    subprocess.run(["cp", "--sparse=always", image.raw, tampered], check=True)
    with open(tampered, "r+b") as stream:
        # In the superblock of the file system, which has to be read before anything else.
        stream.seek(image.partitions["rootfs"]["start"] * 512 + 1024)
        byte = stream.read(1)
        stream.seek(-1, 1)
        stream.write(bytes([byte[0] ^ 1]))
    log_path = workspace.path("boot-test", f"{image.template.name}.tampered.log")
    spec = MachineSpec(tampered, "raw")
    stopped = r"Kernel panic - not syncing: dm-verity device corrupted|verity: \d+:\d+: data block 0 is corrupted"
    seen = (LOGIN_PROMPT, stopped)
    with (
        open(log_path, "w", encoding="utf-8") as log,
        booted_machine(spec, *seen, timeout=_TAMPERED_SECONDS, runner=CommandRunner(), log=log) as booted,
    ):
        assert booted.found and booted.found[0] == 1, booted.machine.console.tail()
