# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Other boot chains than the default one: GRUB, a signed unified kernel image, and booting by the role."""

from __future__ import annotations

import os
import pathlib
import subprocess
import typing as t

import pytest
from ansible_collections.os_image.composer.tests.e2e.support.image import (
    BuiltImage,
    Workspace,
    boot,
    call,
    run_playbook,
)
from ansible_collections.os_image.composer.tests.e2e.support.template import PASSWORD, TestTemplate

Build = t.Callable[[TestTemplate], BuiltImage]

_RAW_ONLY = {"disk": {"artifacts": [{"type": "raw"}]}}


def _esp_file(image: BuiltImage, directory: pathlib.Path, name: str) -> str:
    """Copy a file out of the ESP."""
    esp = image.extract("boot", str(directory))
    target = str(directory / os.path.basename(name))
    call("mcopy", "-n", "-i", esp, f"::{name}", target)
    return target


@pytest.mark.case("grub")
def test_grub(build: Build, workspace: Workspace) -> None:
    image = build(
        TestTemplate("e2e-grub", "debian12", {**_RAW_ONLY, "systemConfig": {"bootloader": {"provider": "grub"}}})
    )
    with boot(image, workspace.path("boot-test")) as guest:
        assert guest.say("cat /sys/firmware/efi/fw_platform_size") == "64"
        cmdline = guest.say("cat /proc/cmdline")
        # Only GRUB tells the kernel where it was loaded from.
        assert cmdline.startswith("BOOT_IMAGE=")
        assert f"root=PARTUUID={image.partitions['rootfs']['uuid']}".lower() in cmdline.lower()
        assert guest.say("systemctl --failed --no-legend --plain") == ""


@pytest.fixture(scope="module")
def keys(workspace: Workspace) -> str:
    """A directory with a key and its certificate for Secure Boot; the same for all runs."""
    directory = workspace.path("keys")
    os.makedirs(directory, mode=0o700, exist_ok=True)
    if not os.path.exists(os.path.join(directory, "db.crt")):
        call(
            *("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-new", "-x509", "-sha256", "-days", "3650"),
            *("-subj", "/CN=end-to-end test/", "-keyout", f"{directory}/db.key", "-out", f"{directory}/db.crt"),
        )
    return directory


@pytest.fixture(scope="module")
def signed_image(build: Build, keys: str) -> BuiltImage:
    system = {
        "kernel": {"uki": True},
        "immutability": {"secureBootDBKey": f"{keys}/db.key", "secureBootDBCrt": f"{keys}/db.crt"},
    }
    return build(TestTemplate("e2e-signed", "debian12", {**_RAW_ONLY, "systemConfig": system}))


@pytest.mark.case("signed-uki")
@pytest.mark.cells("signed UKI", steps=("built", "checked"))
def test_every_efi_binary_is_signed(signed_image: BuiltImage, keys: str, tmp_path: pathlib.Path) -> None:
    esp = signed_image.extract("boot", str(tmp_path))
    listed = subprocess.run(["mdir", "-/", "-b", "-i", esp, "::"], stdout=subprocess.PIPE, text=True, check=True)
    binaries = [line for line in listed.stdout.split() if line.lower().endswith(".efi")]
    assert any("/EFI/Linux/" in name for name in binaries), listed.stdout
    for name in binaries:
        copy = _esp_file(signed_image, tmp_path, name.replace("::", ""))
        assert "Signature verification OK" in call("sbverify", "--cert", f"{keys}/db.crt", copy), name
    assert signed_image.manifest["signed"]


@pytest.mark.case("signed-uki")
def test_private_key_is_nowhere(signed_image: BuiltImage, keys: str, workspace: Workspace) -> None:
    secret = pathlib.Path(keys, "db.key").read_text(encoding="ascii").splitlines()[5]
    found = call("grep", "-rlF", secret, signed_image.output_dir, workspace.work_dir, check=False)
    assert found == ""


@pytest.mark.case("signed-uki")
@pytest.mark.cells("signed UKI", steps=("booted",))
def test_signed_uki_boots(signed_image: BuiltImage, workspace: Workspace) -> None:
    with boot(signed_image, workspace.path("boot-test")) as guest:
        assert guest.say("ls /sys/firmware/efi/efivars | grep -c ^StubInfo-") == "1"
        assert guest.say("systemctl --failed --no-legend --plain") == ""


@pytest.mark.case("boot-role")
def test_role_boots_the_image(build: Build, workspace: Workspace) -> None:
    image = build(TestTemplate("e2e-debian12", "debian12"))
    output_dir = workspace.path("boot-role")
    play = run_playbook(
        "boot-image.yml",
        {
            "image_boot_test_image": image.path(".qcow2"),
            "image_boot_test_output_dir": output_dir,
            "image_boot_test_commands": ["hostname", "cat /etc/motd"],
            "image_boot_test_login_password": PASSWORD,
            "image_boot_test_timeout": 600,
        },
    )
    assert play.recap["failed"] == 0
    assert PASSWORD not in play.output
    console = pathlib.Path(output_dir, os.path.basename(image.path(".qcow2")) + ".console.log")
    assert "e2e-host login:" in console.read_text(encoding="utf-8")
    assert console.with_name(console.name.replace(".console.log", ".png")).read_bytes().startswith(b"\x89PNG")
