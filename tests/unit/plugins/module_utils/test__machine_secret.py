# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of machine secrets: what is in it can be carried out."""

from __future__ import annotations

import subprocess

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._machine_secret import (
    MACHINE_SECRETS,
    MachineSecret,
    machine_secret,
)
from ansible_collections.os_image.composer.tests.support.stage_driver import ROOT


@pytest.mark.parametrize("secret", MACHINE_SECRETS, ids=[secret.name for secret in MACHINE_SECRETS])
def test_each_is_made_in_one_way(secret: MachineSecret) -> None:
    ways = [bool(way) for way in (secret.maker, secret.command, secret.each)]
    assert ways.count(True) == 1
    for pattern in secret.files:
        assert pattern.startswith("/")
        directory = pattern.rpartition("/")[0]
        assert not set(directory) & set("*?[")


@pytest.mark.parametrize(
    "secret", [secret for secret in MACHINE_SECRETS if secret.unit], ids=lambda secret: secret.name
)
def test_commands_are_a_shells(secret: MachineSecret) -> None:
    text = f"file=x files=x\n{secret.command}\n{secret.each}\n"
    done = subprocess.run(["/bin/sh", "-n"], input=text, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/etc/ssh/ssh_host_ed25519_key.pub", "openssh"),
        ("/etc/nvme/hostid", "nvme"),
        ("/etc/dropbear/dropbear_rsa_host_key", "dropbear"),
        ("/etc/dropbear/initramfs/dropbear_rsa_host_key", "dropbear-initramfs"),
        ("/etc/ssl/private/ssl-cert-snakeoil.key", "ssl-cert"),
        ("/etc/ssl/private/other.key", None),
        ("/srv/etc/nvme/hostid", None),
        # A wildcard is for one name, not for a path.
        ("/etc/ssh/ssh_host_x/y_key", None),
    ],
)
def test_a_path_is_found(path: str, name: str | None) -> None:
    found = machine_secret(path)
    assert (found.name if found else None) == name


def test_the_documentation_lists_all() -> None:
    with open(f"{ROOT}/docs/tasks/per-machine-secrets.md", encoding="utf-8") as stream:
        page = stream.read()
    missing = [pattern for secret in MACHINE_SECRETS for pattern in secret.files if f"`{pattern}`" not in page]
    assert missing == []
