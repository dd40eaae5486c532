# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An image that starts by shim and GRUB, both signed with the template's keys, on firmware that enforces them."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.os_image.composer.tests.e2e.support.image import Workspace, boot, call
from ansible_collections.os_image.composer.tests.e2e.support.secure_boot import Esp, enrolled_variables
from ansible_collections.os_image.composer.tests.e2e.support.template import ShippedTemplate, overrides_for_boots

pytestmark = pytest.mark.case("signed-grub")


@pytest.mark.cells("Debian 13, signed shim and GRUB with a UKI", steps=("built", "checked", "booted"))
def test_firmware_starts_the_kernel_by_shim_and_grub(workspace: Workspace, tmp_path: pathlib.Path) -> None:
    overrides = overrides_for_boots(
        bootloader={"provider": "grub"},
        kernel={"uki": True},
        signing={"secureBoot": {"generate": True}},
    )
    overrides["image"] = {"name": "signed-grub"}
    template = ShippedTemplate.of("debian13-x86_64-minimal-raw.yml", name="signed-grub")
    image = workspace.build(template, image_build_overrides=overrides)

    esp = Esp(image, tmp_path)
    certificate = str(tmp_path / "db.crt")
    call("openssl", "x509", "-inform", "DER", "-in", image.path(".db.cer"), "-out", certificate)
    assert sorted(esp.programs()) == ["/EFI/BOOT/BOOTX64.EFI", "/EFI/BOOT/grubx64.efi", esp.uki]
    assert sorted(image.manifest["signed"]) == sorted(esp.programs())
    for path in esp.programs():
        assert "Signature verification OK" in call("sbverify", "--cert", certificate, esp.read(path)), path

    # What GRUB would read if it looked for a menu.
    menu = tmp_path / "grub.cfg"
    menu.write_text("halt\n", encoding="ascii")
    esp.write(str(menu), "/EFI/BOOT/grub.cfg")
    variables = enrolled_variables(image, workspace.path("signed-grub-vars.fd"))
    with boot(image, workspace.path("boot-test"), disk=esp.disk, secure_boot_variables=variables) as guest:
        assert guest.say("od -An -t u1 -j 4 /sys/firmware/efi/efivars/SecureBoot-*") == "1"
        assert "Secure boot enabled" in guest.say("dmesg | grep -i 'secure.*boot'")
        # shim says what is revoked, and whom it trusts beside the firmware: else its distribution, but not here.
        assert guest.say("cat /sys/firmware/efi/efivars/SbatLevelRT-* | tail -c +5 | head -n 1").startswith("sbat,")
        assert guest.say("cat /sys/firmware/efi/efivars/MokList* | grep -c 'Debian Secure Boot CA' || :") == "0"
        # GRUB's own linux command would leave this.
        assert "BOOT_IMAGE" not in guest.say("cat /proc/cmdline")
        assert guest.say("systemctl --failed --no-legend --plain") == ""
