# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.os_image.composer.tests.unit.plugins.module_utils._checks.conftest import (
    Approve,
    Judge,
    Part,
    Right,
    config,
    neighbours,
)


def files(*finals: str, **values: str) -> Part:
    return config(additionalFiles=[{"local": "f", "final": final, **values} for final in finals])


def command(text: str) -> Part:
    return config(configurations=[{"cmd": text}])


def scripts(*items: Part) -> Part:
    return config(scripts={"postInstall": list(items)})


WRONG: list[tuple[Part, str]] = [
    (files("/"), "must name a file"),
    (files("/a/../b"), "additionalFiles[0].final: The path '/a/../b' must name a file, without //, . and .. in it."),
    (files("/a/"), "must name a file"),
    (files("/proc/x"), "/proc/x would not stay in the image, as /proc is empty there."),
    (files("/tmp/x"), "/tmp/x would not stay in the image, as the build empties /tmp."),
    (files("/var/tmp/a/b"), "/var/tmp/a/b would not stay in the image, as the build empties /var/tmp."),
    (files("/var/lib/apt/lists/x"), "would not stay in the image, as the build empties /var/lib/apt/lists."),
    (files("/var/run/x"), "/var/run/x would not stay in the image, as /run is empty there."),
    (
        files("/srv/cache/x/y") | {"disk": {"mounts": [{"fsType": "tmpfs", "mountPoint": "/srv/cache"}]}},
        "/srv/cache/x/y would not be seen, as disk.mounts has something at /srv/cache.",
    ),
    (files("/boot/efi/x"), "/boot/efi/x lies on the EFI system partition"),
    (files("/a", "/a"), "additionalFiles[1].final: Two files go to /a."),
    (files("/usr/bin/a", "/bin/a"), "Two files go to /usr/bin/a."),
    (files("/dir/file", "/dir/file/x"), "/dir/file/x lies below /dir/file, to which a file goes too."),
    (files("/etc/machine-id"), "would share /etc/machine-id"),
    (files("/etc/ssh/ssh_host_rsa_key.pub"), "would share /etc/ssh/ssh_host_rsa_key.pub"),
    (files("/etc/shadow"), "Use users instead."),
    (files("/a", mode="0646"), "additionalFiles[0].mode: Everybody on the machine can change /a (mode 0646)."),
    (files("/a", mode="2755"), "Whoever runs /a gets the rights of its owner or group (mode 2755)."),
    (command(" "), "systemConfig.configurations[0].cmd: The command is blank."),
    (scripts({"inline": "\n"}), "The script is blank."),
    (command("apt-get -y -q install curl"), "What 'apt-get -y -q install' installs is in no lock"),
    (scripts({"inline": "set -e\ntdnf update -y\n"}), "postInstall[0].inline: What 'tdnf update' installs"),
    (command("systemctl --now restart x"), "'systemctl --now restart' has no effect while the image is built"),
    (command("service ssh restart"), "'service ssh restart' has no effect"),
    (
        config(scripts={"preInstall": [{"name": "a", "inline": "x"}], "postInstall": [{"name": "a", "inline": "y"}]}),
        "postInstall[0].name: Two scripts are called 'a'",
    ),
    (scripts({"inline": "x", "network": True}), "What this script gets from the network is in no lock"),
]

RIGHT: Right = {
    "final_paths_are_sound": [
        files("/a", "/a.b", "/lib/x", "/usr/library/x", "/boot/efi.txt", "/etc/fstab", "/var/tmp.d/x")
    ],
    "files_are_for_all_machines": [files("/etc/ssh/ssh_config", "/etc/machine-info", "/etc/ssh/sshd_config.d/x.conf")],
    "files_do_not_replace_settings": [files("/etc/hostname.d/x", "/etc/motd", "/etc/passwd-policy")],
    "file_modes_are_narrow": [files("/a", mode="0775"), files("/a", mode="1755"), files("/a")],
    "commands_say_something": [command("true"), scripts({"file": "empty.sh"})],
    "packages_come_from_the_lock": [
        command("apt-get clean"),
        command("install -m 0755 /a /b"),
        command("apt-mark hold curl"),
    ],
    "commands_wait_for_the_boot": [
        command("systemctl enable nginx"),
        command("systemctl set-default multi-user.target"),
        command("echo service is set up, start when ready"),
    ],
    "script_names_are_unique": [scripts({"name": "a", "inline": "x"}, {"name": "b", "inline": "x"}, {"inline": "y"})],
    "scripts_stay_off_the_network": [scripts({"inline": "x", "network": False})],
}


@pytest.mark.parametrize(("part", "expected"), WRONG, ids=[text[:60] for _part, text in WRONG])
def test_wrong(part: Part, expected: str, judge: Judge) -> None:
    found = judge(part)
    assert any(expected in line for line in found), found


@pytest.mark.parametrize(("name", "part"), neighbours(RIGHT))
def test_right(name: str, part: Part, approve: Approve) -> None:
    approve(name, part)
