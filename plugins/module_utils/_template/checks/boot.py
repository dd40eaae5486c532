# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""What boots the image: kernel, initramfs and bootloader."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._template.checks.packages import has_package
from ansible_collections.os_image.composer.plugins.module_utils._template.checks.rule import Finding, Subject
from ansible_collections.os_image.composer.plugins.module_utils._template.located import Mapping

SUBJECT = Subject("Kernel, initramfs and bootloader")


@SUBJECT.rule("systemConfig.kernel", "systemConfig.bootloader")
def kernel_can_boot(template: Mapping) -> t.Iterator[Finding]:
    """There is a kernel, and a command line that says nothing that the build has to say."""
    kernel = template["systemConfig"]["kernel"]
    path = ("systemConfig", "kernel", "cmdline")
    cmdline = kernel["cmdline"]
    if not kernel["packages"]:
        yield (
            ("systemConfig", "kernel"),
            "No kernel package is named. Add one to systemConfig.kernel.packages, for example linux-image-amd64.",
        )
    if not re.match(r"[ -~]*\Z", cmdline):
        yield path, "The kernel command line may only have printable ASCII characters, in one line."
    elif cmdline.count('"') % 2:
        yield path, "A quotation mark of the kernel command line is not closed. Add the second one."
    for word in cmdline.split():
        name = word.partition("=")[0]
        if name in ("root", "rootfstype", "roothash", "initrd", "BOOT_IMAGE"):
            yield path, f"{name}= is set by the build itself. Remove {word!r}."
    if kernel["uki"] and template["systemConfig"]["bootloader"]["provider"] != "systemd-boot":
        yield (
            ("systemConfig", "kernel", "uki"),
            "A unified kernel image is started by systemd-boot. Use bootloader.provider: systemd-boot, or uki: false.",
        )


@SUBJECT.rule("systemConfig.initramfs", "systemConfig.packages")
def initramfs_generator_is_installed(template: Mapping) -> t.Iterator[Finding]:
    """A generator that is no default has its package in the image."""
    if template["systemConfig"]["initramfs"]["generator"] == "dracut" and not has_package(
        template, "dracut", "dracut-core"
    ):
        yield (
            ("systemConfig", "initramfs", "generator"),
            "The generator dracut needs the package dracut. Add it to systemConfig.packages.",
        )


__all__ = ("SUBJECT",)
