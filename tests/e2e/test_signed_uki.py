# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A unified kernel image that is signed for Secure Boot."""

from __future__ import annotations

import os
import pathlib
import subprocess
import typing as t

import pytest
from ansible_collections.os_image.composer.tests.e2e.support.image import BuiltImage, Workspace, boot, call
from ansible_collections.os_image.composer.tests.e2e.support.template import TestTemplate

Build = t.Callable[[TestTemplate], BuiltImage]

pytestmark = pytest.mark.case("signed-uki")


def _esp_file(image: BuiltImage, directory: pathlib.Path, name: str) -> str:
    """Copy a file out of the ESP."""
    esp = image.extract("boot", str(directory))
    target = str(directory / os.path.basename(name))
    call("mcopy", "-n", "-i", esp, f"::{name}", target)
    return target


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
    return build(
        TestTemplate("e2e-signed", "debian12", {"disk": {"artifacts": [{"type": "raw"}]}, "systemConfig": system})
    )


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


def test_private_key_is_nowhere(signed_image: BuiltImage, keys: str, workspace: Workspace) -> None:
    secret = pathlib.Path(keys, "db.key").read_text(encoding="ascii").splitlines()[5]
    # What layers hold is in the raw image, too. Other builds make and remove files meanwhile.
    quick = ("--exclude-dir=chrootenv", "--exclude-dir=matrix-*", "--no-messages")
    found = call("grep", "-rlF", *quick, secret, signed_image.output_dir, workspace.work_dir, check=False)
    assert found == ""


@pytest.mark.only_by_name("the firmware does not look at signatures, and the matrix boots UKIs")
@pytest.mark.cells("signed UKI", steps=("booted",))
def test_signed_uki_boots(signed_image: BuiltImage, workspace: Workspace) -> None:
    with boot(signed_image, workspace.path("boot-test")) as guest:
        assert guest.say("ls /sys/firmware/efi/efivars | grep -c ^StubInfo-") == "1"
        assert guest.say("systemctl --failed --no-legend --plain") == ""
