# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Machine secrets: two copies of an image, each booted twice, have keys of their own, and keep them."""

from __future__ import annotations

import concurrent.futures
import re
import subprocess

import pytest
from ansible_collections.os_image.composer.tests.e2e.support.image import BuiltImage, Workspace, boot_disk
from ansible_collections.os_image.composer.tests.e2e.support.template import TestTemplate

pytestmark = [
    pytest.mark.case("machine-secrets"),
    pytest.mark.cells("two copies of an image, each booted twice", steps=("built", "checked", "booted")),
]

# What is told of each file: its path, mode, owner, group, and what is in it.
FILES = {
    "/etc/dropbear/dropbear_ecdsa_host_key": "600 root root",
    "/etc/dropbear/dropbear_ed25519_host_key": "600 root root",
    "/etc/dropbear/dropbear_rsa_host_key": "600 root root",
    "/etc/iscsi/initiatorname.iscsi": "600 root root",
    "/etc/munge/munge.key": "600 munge munge",
    "/etc/nvme/hostid": "644 root root",
    "/etc/nvme/hostnqn": "644 root root",
    "/etc/ssl/certs/ssl-cert-snakeoil.pem": "644 root root",
    "/etc/ssl/private/ssl-cert-snakeoil.key": "640 root ssl-cert",
}

# An ordinary service, which has not heard of any of them: it tells at each boot what it finds.
_UNIT = f"""\
[Unit]
ConditionPathExists=!/run/witness

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'for file in {" ".join(FILES)}; do \\
    echo "$$file $$(stat --format="%%a %%U %%G" $$file) $$(sha256sum < $$file)"; done >> /var/lib/witness'
ExecStart=/bin/touch /run/witness

[Install]
WantedBy=multi-user.target
"""


def _template(directory: str) -> TestTemplate:
    unit = f"{directory}/witness.service"
    with open(unit, "w", encoding="utf-8") as stream:
        stream.write(_UNIT)
    disk = {
        "size": "content",
        "artifacts": [{"type": "raw"}],
        "partitions": [
            {"id": "boot", "type": "esp", "fsType": "fat32", "size": "content", "mountPoint": "/boot/efi"},
            {"id": "rootfs", "fsType": "ext4", "size": "1500MiB", "mountPoint": "/"},
        ],
    }
    config = {
        "packages": ["ca-certificates", "dropbear", "locales", "munge", "nvme-cli", "open-iscsi", "ssl-cert", "sudo"],
        "additionalFiles": [{"local": unit, "final": "/etc/systemd/system/witness.service"}],
        "services": {"enable": ["witness"]},
    }
    return TestTemplate("e2e-machine-secrets", "debian12", {"disk": disk, "systemConfig": config})


@pytest.fixture(scope="module")
def strict_image(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> BuiltImage:
    """The image, installed twice on the way; what no table knows would be an error."""
    template = _template(str(tmp_path_factory.mktemp("files")))
    return workspace.build(template, image_build_strict=True)


def _twice(image: BuiltImage, workspace: Workspace, copy: str) -> tuple[list[str], list[str]]:
    """Boot a copy of an image twice; returns what its witness has seen each time."""
    disk = workspace.path(f"copy-{copy}.raw")
    subprocess.run(["cp", "--sparse=always", image.raw, disk], check=True)
    for time in ("first", "second"):
        log = workspace.path("boot-test", f"{image.template.name}-{copy}-{time}.log")
        # As a disk that keeps what is written, which one that is only looked at does not.
        with boot_disk(disk, log, image=None, target_disks=(disk,)) as guest:
            assert guest.say("systemctl --failed --no-legend --plain") == ""
            assert guest.say("systemctl is-active dropbear munge").split() == ["active", "active"]
            seen = guest.lines("cat /var/lib/witness")
            guest.say("sync")
    return seen[: len(FILES)], seen[len(FILES) :]


def test_copies_have_keys_of_their_own_and_keep_them(strict_image: BuiltImage, workspace: Workspace) -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        machines = list(pool.map(lambda copy: _twice(strict_image, workspace, copy), ("a", "b")))
    for first, second in machines:
        # Nothing was missing when an ordinary service looked, and nothing is made again.
        told = {line.split()[0]: " ".join(line.split()[1:4]) for line in first}
        assert told == FILES
        assert second == first
    contents = [{line.split()[4] for line in first} for first, _second in machines]
    assert [len(content) for content in contents] == [len(FILES), len(FILES)]
    assert not contents[0] & contents[1]


def test_the_image_has_none_of_them(strict_image: BuiltImage, workspace: Workspace) -> None:
    root = strict_image.extract("rootfs", workspace.path())
    for path in FILES:
        said = subprocess.run(["debugfs", "-R", f"stat {path}", root], check=True, capture_output=True, text=True)
        assert re.search("File not found", said.stderr), path
    warnings = strict_image.manifest["warnings"]
    assert [warning for warning in warnings if "machines" in warning] == []
