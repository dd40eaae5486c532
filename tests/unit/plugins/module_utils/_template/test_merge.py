# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._template.located import from_data, origin_of
from ansible_collections.os_image.composer.plugins.module_utils._template.merge import merge_templates
from ansible_collections.os_image.composer.tests.unit.plugins.module_utils.conftest import Build


def merged(lower: dict[str, t.Any], upper: dict[str, t.Any]) -> t.Any:
    return merge_templates(from_data(lower, file="default"), from_data(upper, file="user"))


def merged_config(lower: dict[str, t.Any], upper: dict[str, t.Any]) -> t.Any:
    return merged({"systemConfig": lower}, {"systemConfig": upper})["systemConfig"]


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [
        ({"hostname": "a"}, {"hostname": "b"}, {"hostname": "b"}),
        ({"hostname": "a"}, {"hostname": ""}, {"hostname": "a"}),
        # The section counts even when it has no name.
        ({"name": "d", "packages": ["a"]}, {"packages": ["b"]}, {"name": "d", "packages": ["a", "b"]}),
        ({"packages": ["c", "a"]}, {"packages": ["b", "a"]}, {"packages": ["c", "a", "b"]}),
        (
            {"kernel": {"cmdline": "x", "packages": ["k1"]}},
            {"kernel": {"packages": ["k2"]}},
            {"kernel": {"cmdline": "x", "packages": ["k2"]}},
        ),
        (
            {"bootloader": {"bootType": "efi", "provider": "systemd-boot"}},
            {"bootloader": {"provider": "grub"}},
            {"bootloader": {"bootType": "efi", "provider": "grub"}},
        ),
        (
            {"users": [{"name": "a", "groups": ["x"], "sudo": True}, {"name": "b"}]},
            {"users": [{"name": "c"}, {"name": "a", "groups": ["y", "x"], "sudo": False}]},
            {"users": [{"name": "a", "groups": ["x", "y"], "sudo": False}, {"name": "b"}, {"name": "c"}]},
        ),
        (
            {"users": [{"name": "a", "password": "old", "hash_algo": "sha256"}]},
            {"users": [{"name": "a", "password": "new"}]},
            {"users": [{"name": "a", "password": "new"}]},
        ),
        (
            {"additionalFiles": [{"local": "1", "final": "/a", "mode": "0600"}, {"local": "2", "final": "/b"}]},
            {"additionalFiles": [{"local": "3", "final": "/c"}, {"local": "4", "final": "/a"}]},
            {
                "additionalFiles": [
                    {"local": "4", "final": "/a"},
                    {"local": "2", "final": "/b"},
                    {"local": "3", "final": "/c"},
                ]
            },
        ),
        (
            {"configurations": [{"cmd": "a"}]},
            {"configurations": [{"cmd": "b"}, {"cmd": "a"}]},
            {"configurations": [{"cmd": "a"}, {"cmd": "b"}, {"cmd": "a"}]},
        ),
        (
            {"network": {"backend": "systemd-networkd", "interfaces": [{"match": "en*", "dhcp4": True}]}},
            {"network": {"interfaces": [{"name": "ens3"}]}},
            {"network": {"backend": "systemd-networkd", "interfaces": [{"name": "ens3"}]}},
        ),
        (
            {"services": {"enable": ["a", "b"], "disable": ["c"]}},
            {"services": {"enable": ["c"], "mask": ["b"]}},
            {"services": {"enable": ["a", "c"], "disable": [], "mask": ["b"]}},
        ),
        (
            {"scripts": {"postInstall": [{"inline": "1"}]}},
            {"scripts": {"preInstall": [{"inline": "0"}], "postInstall": [{"inline": "2"}]}},
            {"scripts": {"postInstall": [{"inline": "1"}, {"inline": "2"}], "preInstall": [{"inline": "0"}]}},
        ),
    ],
)
def test_system_config(lower: dict[str, t.Any], upper: dict[str, t.Any], expected: dict[str, t.Any]) -> None:
    assert merged_config(lower, upper) == expected


DISK = {"size": "2GiB", "partitions": [{"id": "root"}], "artifacts": [{"type": "raw"}]}


@pytest.mark.parametrize(
    ("upper", "expected"),
    [
        ({"size": "8GiB"}, {**DISK, "size": "8GiB"}),
        ({"artifacts": [{"type": "qcow2"}]}, {**DISK, "artifacts": [{"type": "qcow2"}]}),
        ({"partitions": [{"id": "x"}]}, {"partitions": [{"id": "x"}]}),
    ],
)
def test_disk(upper: dict[str, t.Any], expected: dict[str, t.Any]) -> None:
    assert merged({"disk": DISK}, {"disk": upper})["disk"] == expected


def test_mounts_are_merged_by_their_places() -> None:
    swap = {"fsType": "swap", "source": "/swapfile", "mountPoint": "none", "size": "1GiB"}
    tmp = {"fsType": "tmpfs", "mountPoint": "/tmp"}
    lower = {**DISK, "mounts": [tmp, swap, {"fsType": "swap", "source": "LABEL=s"}]}
    larger, smaller = {**tmp, "mountOptions": "size=1g"}, {**swap, "size": "1MiB"}
    data = {"fsType": "ext4", "source": "LABEL=data", "mountPoint": "/srv"}
    upper = {"mounts": [data, smaller, larger]}
    assert merged({"disk": lower}, {"disk": upper})["disk"] == {
        **DISK,
        "mounts": [larger, smaller, {"fsType": "swap", "source": "LABEL=s"}, data],
    }
    assert merged({"disk": DISK}, {"disk": upper})["disk"] == {**DISK, **upper}


def test_repositories_are_merged_by_name() -> None:
    result = merged(
        {"packageRepositories": [{"codename": "a", "url": "1"}, {"codename": "b", "url": "2"}]},
        {"packageRepositories": [{"codename": "x", "name": "b", "url": "3"}, {"codename": "c", "url": "4"}]},
    )
    assert [item["url"] for item in result["packageRepositories"]] == ["1", "3", "4"]


def test_neither_template_is_changed_and_origins_stay() -> None:
    lower = from_data({"systemConfig": {"packages": ["a"], "hostname": "x"}}, file="default")
    upper = from_data({"systemConfig": {"packages": ["b"]}}, file="user")
    result = merge_templates(lower, upper)
    assert lower["systemConfig"]["packages"] == ["a"]
    assert upper["systemConfig"]["packages"] == ["b"]
    assert origin_of(result, ("systemConfig", "packages", 0)).file == "default"
    assert origin_of(result, ("systemConfig", "packages", 1)).file == "user"
    assert origin_of(result, ("systemConfig", "packages", 1)).path == ("systemConfig", "packages", 0)
    assert origin_of(result, ("systemConfig", "hostname")).file == "default"


def test_overrides_may_say_a_part_of_a_section(build: Build) -> None:
    assert build(overrides={"image": {"version": "2.1"}}).template["image"] == {"name": "web", "version": "2.1"}
