# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._template.located import from_data
from ansible_collections.os_image.composer.plugins.module_utils._template.removal import REMOVABLES, take_out
from ansible_collections.os_image.composer.plugins.module_utils._template.schema import REMOVE
from ansible_collections.os_image.composer.tests.unit.plugins.module_utils.conftest import Build

LOWER: dict[str, t.Any] = {
    "disk": {
        "partitions": [{"id": "boot"}, {"id": "data"}],
        "mounts": [{"fsType": "tmpfs", "mountPoint": "/srv"}, {"fsType": "swap", "source": "/swapfile"}],
    },
    "systemConfig": {
        "packages": ["vim", "python3-yaml", "python3-gnupg", "curl"],
        "kernel": {"packages": ["linux-image-amd64"]},
        "services": {"enable": ["ssh.service", "cron.service"], "mask": ["x.timer"]},
        "users": [{"name": "root"}, {"name": "admin"}],
        "additionalFiles": [{"local": "a", "final": "/etc/motd"}],
        "configurations": [{"cmd": "ssh-keygen -A"}, {"cmd": "true"}],
        "scripts": {"postInstall": [{"name": "tidy", "inline": "x"}, {"name": "", "inline": "y"}]},
    },
    "packageRepositories": [{"codename": "stable", "name": "tools"}, {"codename": "testing"}],
}


def test_every_kind_of_the_schema_can_be_removed() -> None:
    assert list(REMOVABLES) == list(REMOVE["properties"])


@pytest.mark.parametrize(
    ("kind", "name", "left"),
    [
        ("packages", "vim", ["python3-yaml", "python3-gnupg", "curl"]),
        ("packages", "python3-*", ["vim", "curl"]),
        ("services", "ssh", ["cron.service"]),
        ("users", "root", [{"name": "admin"}]),
        ("additionalFiles", "/etc/motd", []),
        ("configurations", "ssh-keygen -A", [{"cmd": "true"}]),
        ("partitions", "data", [{"id": "boot"}]),
        ("mounts", "/srv", [{"fsType": "swap", "source": "/swapfile"}]),
        ("mounts", "/swapfile", [{"fsType": "tmpfs", "mountPoint": "/srv"}]),
        ("repositories", "tools", [{"codename": "testing"}]),
        ("repositories", "testing", [{"codename": "stable", "name": "tools"}]),
    ],
)
def test_what_is_named_is_taken_out(kind: str, name: str, left: list[t.Any]) -> None:
    lower = from_data(LOWER, file="default.yml")
    upper = from_data({"remove": {kind: [name]}}, file="mine.yml")
    result, problems = take_out(lower, upper)
    assert problems == []
    value: t.Any = result
    for step in REMOVABLES[kind].lists[0]:
        value = value[step]
    assert value == left
    assert "remove" not in upper
    assert lower == LOWER, "the lower template must stay as it was"


def test_kernel_packages_and_scripts_have_two_lists() -> None:
    lower = from_data(LOWER, file="default.yml")
    result, problems = take_out(lower, from_data({"remove": {"packages": ["linux-*"], "scripts": ["tidy"]}}, file="m"))
    assert problems == []
    assert result["systemConfig"]["kernel"]["packages"] == []
    assert result["systemConfig"]["scripts"]["postInstall"] == [{"name": "", "inline": "y"}]


def test_what_is_not_there_is_an_error(errors: t.Callable[..., list[str]]) -> None:
    assert errors(remove={"packages": ["udevv"], "users": ["bob"], "partitions": ["rootf"]}) == [
        "remove.packages[0]: There is nothing called 'udevv' among the inherited packages. Did you mean 'udev'?",
        "remove.users[0]: There is nothing called 'bob' among the inherited users. Remove the entry.",
        "remove.partitions[0]: There is nothing called 'rootf' among the inherited partitions. Did you mean 'rootfs'?",
    ]


def test_partitions_of_ones_own_leave_nothing_to_remove(errors: t.Callable[..., list[str]]) -> None:
    partitions = [
        {"id": "boot", "type": "esp", "fsType": "fat32", "start": "1MiB", "end": "257MiB", "mountPoint": "/boot/efi"},
        {"id": "root", "fsType": "ext4", "end": "0", "mountPoint": "/"},
    ]
    (line,) = errors(disk={"size": "2GiB", "partitions": partitions}, remove={"partitions": ["rootfs"]})
    assert line.startswith("remove.partitions: disk.partitions of this template replaces all inherited ones")


def test_what_the_same_template_adds_replaces_the_inherited_one(build: Build) -> None:
    config = build(
        remove={"packages": ["iproute2"], "configurations": []},
        systemConfig={"packages": ["sudo", "iproute2"]},
        overrides={"remove": {"packages": ["sudo"]}, "systemConfig": {"users": [{"name": "a", "sshKeys": []}]}},
    ).template["systemConfig"]
    assert config["packages"][-1] == "iproute2"
    assert "sudo" not in config["packages"]


def test_the_result_does_not_say_what_was_removed(build: Build) -> None:
    assert "remove" not in build(remove={"packages": ["kmod"]}).template
