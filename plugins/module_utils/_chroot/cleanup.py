# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The cleanup of a tree from what belongs to one machine or one build, and not to an image."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._chroot.installer import Leftovers
from ansible_collections.os_image.composer.plugins.module_utils._tree_files import TreeFiles

_SSHD = "/usr/sbin/sshd"
_KEYGEN_UNIT = "sshd-keygen.service"
_UNIT_DIRECTORY = "/etc/systemd/system"

_TEMPORARY_DIRECTORIES = ("/dev", "/run", "/tmp", "/var/tmp")  # noqa: S108

# Copies that tools make before they write, and what they say; times and names of the build are in all of them.
_LEFTOVERS = (
    ("/etc", "passwd-"),
    ("/etc", "group-"),
    ("/etc", "shadow-"),
    ("/etc", "gshadow-"),
    ("/etc", "subuid-"),
    ("/etc", "subgid-"),
    ("/etc", ".pwd.lock"),
    ("/etc/ssh", "ssh_host_*_key"),
    ("/etc/ssh", "ssh_host_*_key.pub"),
    ("/var/cache/ldconfig", "aux-cache"),
    ("/var/lib/systemd", "random-seed"),
)

# Empty logs keep the owners and modes that packages gave them.
_LOGS = ("btmp", "faillog", "lastlog", "tallylog", "wtmp")

_GENERATE_HOST_KEYS = """\
[Unit]
Description=Generate the SSH host keys of this machine
ConditionPathIsReadWrite=/etc/ssh
ConditionPathExists=|!/etc/ssh/ssh_host_ed25519_key
ConditionPathExists=|!/etc/ssh/ssh_host_ecdsa_key
ConditionPathExists=|!/etc/ssh/ssh_host_rsa_key
Before=ssh.service ssh.socket sshd.service

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A
RemainAfterExit=yes

[Install]
WantedBy=ssh.service ssh.socket sshd.service
"""


def clean_up(files: TreeFiles, leftovers: Leftovers, *, brought: t.Collection[str] = ()) -> None:
    """Remove what would make two images differ, or two machines alike.

    :param leftovers: What the family's package manager leaves.
    :param brought: Paths of files that the template brings. They stay.
    """
    for directory in _TEMPORARY_DIRECTORIES:
        files.empty(directory)
    for directory in leftovers.downloads:
        files.empty(directory, keep_directories=True)
    for directory, pattern in (*_LEFTOVERS, *leftovers.files):
        for path in files.glob(directory, pattern):
            if path not in brought:
                files.remove(path)
    for name in _LOGS:
        path = f"/var/log/{name}"
        if files.is_file(path) and not files.is_link(path):
            status = files.status(path)
            if status is not None and status.st_size:
                files.truncate(path)
    _forget_machine(files)


def _forget_machine(files: TreeFiles) -> None:
    # Empty, not V(uninitialized): with that word systemd would apply all presets at the first boot, and undo what the
    # template says about services. See machine-id(5).
    needs_reset = files.read("/etc/machine-id") != "" or not files.exists("/etc/machine-id")
    if files.exists("/usr/lib/systemd/systemd") and needs_reset:
        files.write("/etc/machine-id", "", mode=0o444)
    if files.exists("/var/lib/dbus/machine-id") and not files.is_link("/var/lib/dbus/machine-id"):
        files.link("/var/lib/dbus/machine-id", "/etc/machine-id")


def generate_host_keys_at_boot(files: TreeFiles) -> None:
    """Have the SSH server's keys made at the first boot: those of the image would be everybody's."""
    if not files.exists(_SSHD):
        return
    # A distribution's own unit of this name makes keys at what systemd takes for the first boot. With an empty
    # machine-id there is none, so that unit is overridden. One that the template brings is not.
    if files.exists(f"{_UNIT_DIRECTORY}/{_KEYGEN_UNIT}"):
        return
    files.write(f"{_UNIT_DIRECTORY}/{_KEYGEN_UNIT}", _GENERATE_HOST_KEYS)
    for unit in ("ssh.service", "ssh.socket", "sshd.service"):
        if files.exists(f"/usr/lib/systemd/system/{unit}"):
            files.link(f"{_UNIT_DIRECTORY}/{unit}.wants/{_KEYGEN_UNIT}", f"{_UNIT_DIRECTORY}/{_KEYGEN_UNIT}")


__all__ = ("clean_up", "generate_host_keys_at_boot")
