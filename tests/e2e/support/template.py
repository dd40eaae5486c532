# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The image template of the end-to-end tests: everything that a server template uses, and a root who may log in."""

from __future__ import annotations

import copy
import dataclasses
import functools
import os
import subprocess
import typing as t

import yaml
from ansible_collections.os_image.composer.tests.support.stage_driver import ROOT

Template = t.Dict[str, t.Any]

#: The password of root and of the user "operator" in the test images.
PASSWORD = "open sesame"

# Each block of a protected root is hashed by an emulated processor: a host that is busy can need longer for the first
# units than the 90 seconds that systemd waits for the disk's partitions.
#: A command of a template that lets systemd wait longer.
PATIENCE: Template = {
    "cmd": "mkdir -p /etc/systemd/system.conf.d && "
    "printf '[Manager]\\nDefaultDeviceTimeoutSec=600s\\n' > /etc/systemd/system.conf.d/e2e.conf"
}

#: An SSH key that nobody has the other half of.
SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF/pgDVlBAs8oBF1ZILG8+0H1bbrddUTi6ZB/QRO5qSu tester@example.org"

_MOTD = "Welcome to the end-to-end test.\n"
_HOOK = "#!/bin/sh\nset -e\nmkdir -p /var/lib/e2e\ntest ! -e /usr/sbin/sshd\necho early > /var/lib/e2e/pre\n"

_SERVER: Template = {
    "image": {"version": "1.2.3"},
    "target": {"os": "debian", "arch": "x86_64", "imageType": "raw"},
    "disk": {
        "name": "e2e",
        "size": "2GiB",
        "partitionTableType": "gpt",
        "artifacts": [{"type": "raw"}, {"type": "raw", "compression": "zstd"}, {"type": "qcow2"}],
        "partitions": [
            {
                "id": "boot",
                "type": "esp",
                "fsType": "fat32",
                "fsLabel": "ESP",
                "start": "1MiB",
                "end": "201MiB",
                "mountPoint": "/boot/efi",
                "mountOptions": "umask=0077",
            },
            {"id": "swap", "type": "linux-swap", "fsType": "linux-swap", "start": "201MiB", "end": "265MiB"},
            {
                "id": "rootfs",
                "type": "linux-root-amd64",
                "fsType": "ext4",
                "fsLabel": "rootfs",
                "start": "265MiB",
                "end": "1900MiB",
                "mountPoint": "/",
            },
            {
                "id": "data",
                "type": "linux-srv",
                "fsType": "ext4",
                "fsLabel": "data",
                "start": "1900MiB",
                "end": "0",
                "mountPoint": "/srv",
                "mountOptions": "noatime,nodev,nosuid",
            },
        ],
    },
    "systemConfig": {
        "hostname": "e2e-host.example.org",
        "timezone": "Europe/Berlin",
        "locale": "de_DE.UTF-8",
        "packages": ["ca-certificates", "locales", "openssh-server", "sudo"],
        "users": [
            {"name": "root"},
            {
                "name": "operator",
                "groups": ["adm", "staff"],
                "sudo": True,
                "shell": "/bin/bash",
                "sshKeys": [SSH_KEY],
            },
            {"name": "worker", "home": "/var/lib/worker", "shell": "/usr/sbin/nologin"},
        ],
        "network": {"interfaces": [{"match": "en*", "dhcp4": True}]},
        "services": {
            "enable": ["ssh"],
            "disable": ["e2scrub_all.timer"],
            "mask": ["systemd-networkd-wait-online.service"],
        },
        "additionalFiles": [
            {"local": "files/motd", "final": "/etc/motd"},
            {"local": "files/secret", "final": "/srv/keys/secret", "mode": "0640", "owner": "root", "group": "adm"},
        ],
        "configurations": [
            {"cmd": "mkdir -p /var/lib/e2e && echo one > /var/lib/e2e/order"},
            {"cmd": "echo two >> /var/lib/e2e/order"},
        ],
        "scripts": {
            "preInstall": [{"name": "Look around early", "file": "files/pre.sh"}],
            "postInstall": [{"name": "Finish", "inline": "echo three >> /var/lib/e2e/order"}],
        },
    },
}


#: What raw images have beside what all have: what is mounted beside the partitions, by the template and by a command,
#: which also makes a swap file; and a file in a home directory.
RAW_IMAGE: Template = {
    "disk": {
        "mounts": [
            {"fsType": "tmpfs", "mountPoint": "/mnt/my scratch", "mountOptions": "size=16m"},
            {"fsType": "bind", "source": "/srv/keys", "mountPoint": "/opt/keys", "mountOptions": "ro"},
            {"fsType": "swap", "source": "/srv/swap file", "size": "16MiB"},
        ]
    },
    "systemConfig": {
        "additionalFiles": [
            {"local": "files/motd", "final": "/etc/motd"},
            {"local": "files/secret", "final": "/srv/keys/secret", "mode": "0640", "owner": "root", "group": "adm"},
            {"local": "files/motd", "final": "/home/operator/.config/tool/greeting", "owner": "operator"},
        ],
        "configurations": [
            {"cmd": "mkdir -p /var/lib/e2e && echo one > /var/lib/e2e/order"},
            {"cmd": "echo two >> /var/lib/e2e/order"},
            {"cmd": "echo 'tmpfs /mnt/scratch tmpfs size=32m 0 0' >> /etc/fstab"},
            {"cmd": "dd if=/dev/zero of=/swapfile bs=1M count=8 && echo '/swapfile none swap sw 0 0' >> /etc/fstab"},
        ],
    },
}


@functools.cache
def password_hash(password: str, salt: str) -> str:
    """Return the crypt(3) hash of a password; the same for the same salt."""
    done = subprocess.run(
        ["openssl", "passwd", "-6", "-salt", salt, "-stdin"],
        input=password,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def merged(base: Template, more: Template) -> Template:
    """Return C(base) with the keys of C(more) in place of its own; dictionaries are merged."""
    result = copy.deepcopy(base)
    for key, value in more.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else copy.deepcopy(value)
    return result


@dataclasses.dataclass(frozen=True)
class TestTemplate:
    """A template and the files beside it.

    :ivar name: Of the template, the image, and the system configuration.
    :ivar more: What differs from the server template.
    """

    __test__ = False

    name: str
    dist: str
    more: Template = dataclasses.field(default_factory=dict)

    @property
    def content(self) -> Template:
        """The template."""
        own = {"image": {"name": self.name}, "target": {"dist": self.dist}, "systemConfig": {"name": self.name}}
        content = merged(merged(_SERVER, own), self.more)
        for user in content["systemConfig"]["users"]:
            if user["name"] in ("root", "operator"):
                user["password"] = password_hash(PASSWORD, "e2esalt0")
        return content

    def write(self, directory: str) -> str:
        """Write the template with its files into a directory of its own and return its path."""
        base = os.path.join(directory, self.name)
        os.makedirs(os.path.join(base, "files"), exist_ok=True)
        for name, text, mode in (("motd", _MOTD, 0o644), ("secret", "hush\n", 0o600), ("pre.sh", _HOOK, 0o755)):
            path = os.path.join(base, "files", name)
            with open(path, "w", encoding="utf-8") as stream:
                stream.write(text)
            os.chmod(path, mode)
        path = os.path.join(base, f"{self.name}.yml")
        with open(path, "w", encoding="utf-8") as stream:
            yaml.safe_dump(self.content, stream, sort_keys=False)
        return path


def raw_template(dist: str) -> TestTemplate:
    """Return the template of the raw image of a Debian release, which several tests share."""
    return TestTemplate(f"e2e-{dist}", dist, RAW_IMAGE)


@dataclasses.dataclass(frozen=True)
class ShippedTemplate(TestTemplate):
    """A template of C(image-templates), which is built as it is.

    :ivar path: The file.
    """

    path: str = ""

    @classmethod
    def of(cls, file: str, *, name: str = "") -> ShippedTemplate:
        """Read one.

        :param file: Its name.
        :param name: The name of the image, where an override says another one.
        """
        path = os.path.join(ROOT, "image-templates", file)
        with open(path, encoding="utf-8") as stream:
            content = yaml.safe_load(stream)
        return cls(name or content["image"]["name"], content["target"]["dist"], content, path)

    @property
    def content(self) -> Template:
        """The template."""
        return copy.deepcopy(self.more)

    def write(self, directory: str) -> str:
        """Return the path of the template."""
        return self.path


def overrides_for_boots(**system: t.Any) -> Template:
    """Return what a boot test needs beside a template that is shipped.

    Root may log in, the disk is not compressed, and systemd is patient.

    :param system: More of C(systemConfig).
    """
    users = [{"name": "root", "password": password_hash(PASSWORD, "e2esalt0")}]
    return {
        "disk": {"artifacts": [{"type": "raw"}]},
        "systemConfig": {"users": users, "configurations": [PATIENCE], **system},
    }
