# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The catalogue of rules: each is registered, has an example, and is seen to refuse and to let pass."""

from __future__ import annotations

import importlib
import pathlib
import pkgutil
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._checks.catalogue import ADVICE, RULES, SUBJECTS
from ansible_collections.os_image.composer.plugins.module_utils._template.located import LocatedMapping
from ansible_collections.os_image.composer.plugins.module_utils._template.rule import Rule, Subject
from ansible_collections.os_image.composer.tests.support import template_docs, template_laboratory
from ansible_collections.os_image.composer.tests.unit.plugins.module_utils._checks.conftest import Approve, Judge, Part

PACKAGE = "ansible_collections.os_image.composer.plugins.module_utils._checks"
TESTS = "ansible_collections.os_image.composer.tests.unit.plugins.module_utils._checks"
DIRECTORY = pathlib.Path(__file__).parent
EVERY = (*RULES, *ADVICE)


@pytest.mark.parametrize("rule", EVERY, ids=lambda rule: rule.name)
def test_example(rule: Rule, judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page shows is what a user gets, from this rule and no other."""
    shown = list(template_laboratory.findings_of_example(rule))
    found = judge(rule.example)
    assert shown
    assert set(shown) <= set(found)
    if rule in RULES:
        assert shown == found, "the example breaks another rule, too"
    with template_laboratory.only(*(other for other in EVERY if other is not rule)):
        assert not set(shown) & set(judge(rule.example))
    page = template_docs.CHECKS_FILE.read_text(encoding="utf-8")
    text = "\n".join(shown)
    assert f"### `{rule.name}`\n\n{rule.sentence} " in page
    assert f"```yaml\n{rule.example}\n```\n\n```text\n{text}\n```\n" in page


def test_every_subject_is_in_the_catalogue_once() -> None:
    path = importlib.import_module(PACKAGE).__path__
    modules = [importlib.import_module(f"{PACKAGE}.{module.name}") for module in pkgutil.iter_modules(path)]
    subjects = [module.SUBJECT for module in modules if isinstance(getattr(module, "SUBJECT", None), Subject)]
    assert sorted(map(id, SUBJECTS)) == sorted(map(id, subjects))
    assert len({rule.name for rule in EVERY}) == len(EVERY)
    assert len({subject.title for subject in SUBJECTS}) == len(SUBJECTS)


def test_every_rule_has_a_right_neighbour() -> None:
    """A rule that refuses everything would go unnoticed without."""
    names: set[str] = set()
    for path in DIRECTORY.glob("test_*.py"):
        names.update(getattr(importlib.import_module(f"{TESTS}.{path.stem}"), "RIGHT", {}))
    assert names == {rule.name for rule in EVERY}


class Watched(LocatedMapping):
    """A part of a template that notes which of its entries are read."""

    def __init__(self, watched: LocatedMapping, seen: set[str], prefix: str = "") -> None:
        super().__init__(watched.origin)
        for key in watched:
            self.take(watched, key)
        self.seen = seen
        self.prefix = prefix

    def __getitem__(self, key: str) -> t.Any:
        value = super().__getitem__(key)
        if key == "systemConfig":
            return Watched(value, self.seen, "systemConfig.")
        self.seen.add(self.prefix + key)
        return value

    def get(self, key: str, default: t.Any = None) -> t.Any:
        try:
            return self[key]
        except KeyError:
            return default


@pytest.mark.parametrize("rule", EVERY, ids=lambda rule: rule.name)
def test_a_rule_reads_what_it_says(rule: Rule, tmp_path: pathlib.Path, laboratory: pathlib.Path) -> None:
    """Or it would run on a section that has not the right form, and fail."""
    seen: set[str] = set()
    with template_laboratory.only():
        template = template_laboratory.assemble(rule.example, tmp_path, config=laboratory).template
    assert list(rule.check(Watched(template, seen)))
    assert seen <= rule.sections


@pytest.mark.parametrize("rule", EVERY, ids=lambda rule: rule.name)
def test_messages_have_their_form(rule: Rule) -> None:
    """The thing, the reason, and the remedy: sentences that do not run into each other."""
    assert rule.sentence.endswith(".")
    assert "\n" not in rule.sentence
    for line in template_laboratory.findings_of_example(rule):
        assert line.endswith(".")
        assert "  " not in line


# What the default templates of the original tool say about each family, where it could matter to a rule.
ORIGINAL: dict[str, Part] = {
    "azl3": {
        "kernel": {"cmdline": "console=ttyS0,115200 console=tty0 loglevel=7", "packages": ["kernel"], "uki": True},
        "packages": ["kernel", "dracut-hostonly", "systemd-boot", "openssh-server", "veritysetup"],
        "configurations": [
            {"cmd": "mkdir -m 755 -p /opt/var/lib/sshd"},
            {"cmd": "printf 'd /run/sshd 0755 root root -\\n' > /etc/tmpfiles.d/sshd.conf"},
            {"cmd": "ssh-keygen -A"},
        ],
        "immutability": {"enabled": False},
    },
    "emt3": {
        "kernel": {"uki": True, "packages": ["kernel-drivers-gpu"]},
        "packages": ["systemd-boot", "selinux-policy", "tpm2-tools", "cloud-init"],
        "additionalFiles": [{"local": "cloud.cfg", "final": "/etc/cloud/cloud.cfg"}],
        "immutability": {"enabled": True},
    },
    "el10": {
        "kernel": {"cmdline": "rw console=ttyS0,115200 console=tty0 loglevel=7 selinux=0", "packages": ["kernel"]},
        "packages": ["centos-stream-release", "dracut", "shim-x64", "NetworkManager"],
        "configurations": [{"cmd": "systemctl enable systemd-resolved"}],
        "immutability": {"enabled": True},
    },
    "elxr12": {
        "kernel": {"cmdline": "quiet splash console=ttyS0,115200 console=tty0 loglevel=7", "uki": True},
        "packages": ["dracut", "systemd-boot", "uefi-ext4"],
        "immutability": {"enabled": True},
    },
    "ubuntu24": {
        "kernel": {"version": "6.17", "packages": ["linux-image-generic-hwe-24.04"]},
        "packages": ["ubuntu-minimal", "dracut-core", "cryptsetup-bin"],
        "additionalFiles": [{"local": "u.list", "final": "/etc/apt/sources.list.d/ubuntu-noble.list"}],
        "immutability": {"enabled": True},
    },
    "debian13": {
        "kernel": {"version": "6.12.74"},
        "packages": ["apt", "dracut-core", "locales", "openssh-server", "sudo"],
        "additionalFiles": [{"local": "n", "final": "/etc/systemd/network/dhcp.network"}],
        "immutability": {"enabled": True},
    },
}
PARTITIONS: list[Part] = [
    {"id": "boot", "type": "esp", "flags": ["esp", "boot"], "start": "1MiB", "end": "513MiB", "fsType": "fat32"}
    | {"mountPoint": "/boot/efi", "mountOptions": "umask=0077"},
    {"id": "rootfs", "type": "linux-root-amd64", "start": "513MiB", "end": "2561MiB", "fsType": "ext4"}
    | {"mountPoint": "/", "mountOptions": "defaults"},
    {
        "id": "roothashmap",
        "type": "linux",
        "start": "2561MiB",
        "end": "3061MiB",
        "fsType": "ext4",
        "mountPoint": "none",
    },
    {"id": "userdata", "type": "linux", "start": "3061MiB", "end": "0", "fsType": "ext4", "mountPoint": "/opt"},
]
DISK: Part = {"size": "4GiB", "artifacts": [{"type": "raw", "compression": "gz"}], "partitions": PARTITIONS}
INSTALLER: Part = {
    "bootloader": {"bootType": "efi", "provider": "grub"},
    "users": [{"name": "root", "startupScript": "/root/attendedinstaller"}],
    "additionalFiles": [
        {"local": "attendedinstaller", "final": "/root/attendedinstaller"},
        {"local": "getty@.service", "final": "/usr/lib/systemd/system/getty@.service"},
    ],
}


@pytest.mark.parametrize("name", ORIGINAL)
def test_original_raw_templates_pass(name: str, approve: Approve) -> None:
    approve("disk_can_be_laid_out", {"disk": DISK, "systemConfig": ORIGINAL[name]})


@pytest.mark.parametrize("kind", ["iso", "initrd"])
def test_original_installers_pass(kind: str, approve: Approve) -> None:
    initramfs = {"initramfs": {"template": "default-initrd-x86_64.yml"}} if kind == "iso" else {}
    approve("installer_belongs_to_an_iso", {"target": {"imageType": kind}, "systemConfig": {**INSTALLER, **initramfs}})
