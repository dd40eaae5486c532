#!/usr/bin/python

# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_boot_test
short_description: Boot an image in a virtual machine and wait until it is up
version_added: 0.1.0
author:
  - The os_image.composer authors (@os-image)
description:
  - Boots an image with QEMU on the build host, and waits until its serial console shows a login prompt or another
    marker. Can then log in over the serial console and run commands.
  - Boots disks, ISO images (as a CD or as a USB stick), and initrds with their kernel.
  - An image that is compressed as a whole, as C(.gz), C(.xz) or C(.zst), is unpacked into O(temp_dir) for the test.
  - The image is never written to. What the guest writes is kept in an unnamed temporary file that vanishes with the
    virtual machine. The guest gets a network with DHCP, from which it reaches nothing.
  - A boot is made again, twice at most, when QEMU's emulation makes the kernel panic before any program runs, in a way
    that is known (Linux 6.12, int3 in C(sched_clock_cpu)). That says nothing about the image.
  - The image has to use the first serial port as its console, for example with C(console=ttyS0) on its kernel command
    line, or C(console=ttyAMA0) on aarch64.
extends_documentation_fragment:
  - os_image.composer._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - With O(target_disk), each run makes that file anew, and has changed the host.
  async:
    support: full
  platform:
    support: full
    platforms: linux
options:
  image:
    description:
      - Path of the image on the build host.
    type: path
    required: true
  format:
    description:
      - The image's format. By default, the suffix of its file name tells.
    type: str
    choices:
      - auto
      - img
      - initrd
      - iso
      - qcow2
      - raw
      - vdi
      - vhd
      - vhdx
      - vmdk
    default: auto
  architecture:
    description:
      - The architecture of the virtual machine. One that is not the build host's own is emulated, which needs QEMU and
        its firmware for it there.
    type: str
    choices:
      auto: That of the bootloader on the image's EFI system partition, or of the kernel that is started. An image with
        neither is for x86_64.
      aarch64: QEMU's machine C(virt).
      x86_64: QEMU's machine C(q35).
    default: auto
    version_added: 0.2.0
  output_dir:
    description:
      - A directory on the build host for what was seen, C(<file name of the image>.console.log) and
        C(<file name of the image>.png).
      - By default, C(boot-test) beside the image.
    type: path
  marker:
    description:
      - A Python regular expression; the image is up when a part of its console's output matches. Control sequences for
        terminals are taken out before.
    type: str
    default: '[\w.-]+ login:'
  timeout:
    description:
      - After how many seconds without O(marker) the test fails. Logging in and each of O(commands) may take as long
        again.
    type: float
    default: 300
  memory:
    description:
      - Memory of the virtual machine, in MiB.
    type: int
    default: 1024
  cpus:
    description:
      - Number of processors of the virtual machine.
    type: int
    default: 2
  firmware:
    description:
      - The firmware that starts the image.
    type: str
    choices:
      bios: SeaBIOS; only x86_64 has it.
      uefi: OVMF, on aarch64 AAVMF; with fresh variables, and without Secure Boot unless O(secure_boot_variables) is
        given.
    default: uefi
  secure_boot_variables:
    description:
      - Path on the build host of the variables of UEFI firmware in which keys for Secure Boot are enrolled. The machine
        then has firmware that enforces them; what it refuses to start fails the test. The file is never written to.
      - C(virt-fw-vars) of the Python project virt-firmware makes one from the certificates that
        M(os_image.composer.image_finalize) publishes. What Debian installs as C(/usr/share/OVMF/OVMF_VARS_4M.ms.fd) has
        the keys that machines are sold with, for images with the distribution's signed bootloader.
      - With empty variables (C(/usr/share/OVMF/OVMF_VARS_4M.fd)) the firmware is in setup mode, where the image's
        bootloader can enrol keys.
      - On x86_64 only.
    type: path
    version_added: 0.2.0
  accelerator:
    description:
      - How the guest's instructions are run.
    type: str
    choices:
      auto: With KVM when a probe shows that a guest really runs with it, otherwise by emulation.
      kvm: With KVM, or not at all.
      tcg: By emulation. This works everywhere, also in a build host that is a virtual machine itself.
    default: tcg
  commands:
    description:
      - Shell commands to run in the booted image, over its serial console. The test fails at the first that ends with
        another status than 0.
    type: list
    elements: str
    default: []
  login_user:
    description:
      - Who logs in to run O(commands).
    type: str
    default: root
  login_password:
    description:
      - The password of O(login_user).
    type: str
  attach:
    description:
      - What the image is for the virtual machine.
    type: str
    choices:
      auto: An ISO is a CD, everything else a disk.
      disk: A disk of the machine.
      cdrom: A CD.
      usb: A USB stick.
    default: auto
    version_added: 0.2.0
  kernel:
    description:
      - Path of a kernel on the build host that is started without a boot loader.
      - By default, an initrd is started with the kernel beside it, with the suffix C(.vmlinuz); everything else
        boots by itself.
    type: path
    version_added: 0.2.0
  cmdline:
    description:
      - The command line of O(kernel), or of an initrd's kernel.
      - By default, it says that the first serial port is the console, C(console=ttyS0), on aarch64 C(console=ttyAMA0).
    type: str
    version_added: 0.2.0
  target_disk:
    description:
      - Path on the build host of a second disk, which the guest may write to, for what an installer installs. The file
        is made anew, sparse and empty, and stays. Boot it afterwards as O(image).
    type: path
    version_added: 0.2.0
  target_size:
    description:
      - The size of O(target_disk), in MiB.
    type: int
    default: 4096
    version_added: 0.2.0
  temp_dir:
    description:
      - A directory on the build host for what the guest writes while it runs, and for a compressed image, unpacked.
      - By default, the host's own directory for large temporary files, usually C(/var/tmp).
    type: path
seealso:
  - module: os_image.composer.image_finalize
"""

EXAMPLES = r"""
- name: Boot an image to its login prompt
  os_image.composer.image_boot_test:
    image: /srv/images/edge-1.0.raw

- name: Boot an image and look whether its service runs
  os_image.composer.image_boot_test:
    image: /srv/images/edge-1.0.qcow2
    commands:
      - systemctl is-active nginx
      - curl --silent --fail http://localhost/
    login_user: admin
    login_password: "{{ vault_admin_password }}"

- name: Install from an ISO onto an empty disk
  os_image.composer.image_boot_test:
    image: /srv/images/edge-1.0.iso
    target_disk: /var/tmp/installed.raw
    marker: "reboot: Power down"
    timeout: 900

- name: Boot an image under Secure Boot
  os_image.composer.image_boot_test:
    image: /srv/images/edge-1.0.raw
    secure_boot_variables: /srv/keys/edge-vars.fd
    commands:
      - test "$(od -An -t u1 -j 4 -N 1 /sys/firmware/efi/efivars/SecureBoot-*)" -eq 1
    login_password: "{{ vault_root_password }}"

- name: Boot what was installed
  os_image.composer.image_boot_test:
    image: /var/tmp/installed.raw
"""

RETURN = r"""
console_log:
  description: Path of the file with what the serial console said, as plain text.
  returned: success and failure, outside check mode
  type: str
  sample: /srv/images/boot-test/edge-1.0.raw.console.log
screenshot:
  description: Path of a picture of the display at the end, as PNG. On failure it may not exist.
  returned: success and failure, outside check mode
  type: str
  sample: /srv/images/boot-test/edge-1.0.raw.png
seconds:
  description: Seconds from the start of the virtual machine until O(marker) was seen.
  returned: success, outside check mode
  type: float
  sample: 31.2
architecture:
  description: The architecture of the virtual machine.
  returned: success, outside check mode
  type: str
  sample: x86_64
accelerator:
  description: V(kvm) or V(tcg), how the guest's instructions were run.
  returned: success, outside check mode
  type: str
  sample: tcg
matched:
  description: The text that matched O(marker).
  returned: success, outside check mode
  type: str
  sample: "edge login:"
command_results:
  description: What O(commands) said, in their order.
  returned: success, outside check mode
  type: list
  elements: dict
  contains:
    cmd:
      description: The command.
      type: str
      sample: systemctl is-active nginx
    rc:
      description: Its exit status.
      type: int
      sample: 0
    output:
      description: Its standard output and standard error.
      type: str
      sample: active
    seconds:
      description: How long it took.
      type: float
      sample: 0.4
"""

import dataclasses
import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.os_image.composer.plugins.module_utils._boot_test.console import LOGIN_PROMPT
from ansible_collections.os_image.composer.plugins.module_utils._boot_test.machine import (
    ATTACHMENTS,
    DISK_FORMATS,
    HARDWARE,
)
from ansible_collections.os_image.composer.plugins.module_utils._boot_test.session import BootTest, run_boot_test
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._lease import cancellable
from ansible_collections.os_image.composer.plugins.module_utils._module import failing


def main() -> None:
    """Boot an image as a module."""
    module = AnsibleModule(
        argument_spec={
            "image": {"type": "path", "required": True},
            "format": {
                "type": "str",
                "choices": ["auto", *(suffix[1:] for suffix in DISK_FORMATS)],
                "default": "auto",
            },
            "architecture": {"type": "str", "choices": ["auto", *sorted(HARDWARE)], "default": "auto"},
            "output_dir": {"type": "path"},
            "marker": {"type": "str", "default": LOGIN_PROMPT},
            "timeout": {"type": "float", "default": 300},
            "memory": {"type": "int", "default": 1024},
            "cpus": {"type": "int", "default": 2},
            "firmware": {"type": "str", "choices": ["bios", "uefi"], "default": "uefi"},
            "accelerator": {"type": "str", "choices": ["auto", "kvm", "tcg"], "default": "tcg"},
            "commands": {"type": "list", "elements": "str", "default": []},
            "login_user": {"type": "str", "default": "root"},
            "login_password": {"type": "str", "no_log": True},
            "temp_dir": {"type": "path"},
            "attach": {"type": "str", "choices": ["auto", *ATTACHMENTS], "default": "auto"},
            "kernel": {"type": "path"},
            "cmdline": {"type": "str"},
            "target_disk": {"type": "path"},
            "target_size": {"type": "int", "default": 4096},
            "secure_boot_variables": {"type": "path"},
        },
        supports_check_mode=True,
    )
    params = dict(module.params)
    image = os.path.abspath(params.pop("image"))
    output_dir = params.pop("output_dir") or os.path.join(os.path.dirname(image), "boot-test")
    test = BootTest(
        image=image,
        output_dir=output_dir,
        image_format=params.pop("format"),
        arch=params.pop("architecture"),
        attachment=params.pop("attach"),
        target_size=params.pop("target_size") << 20,
        **params,
    )
    changed = test.target_disk is not None
    if module.check_mode:
        module.exit_json(changed=changed, msg=f"image_boot_test: would boot {image}")
    kept = {"console_log": test.console_log, "screenshot": test.screenshot}
    with failing(module, facts=kept), cancellable("image_boot_test", lease_file=None, lease_timeout=0):
        report = run_boot_test(test, runner=CommandRunner())
    module.exit_json(
        changed=changed,
        msg=f"image_boot_test: {image} was up after {report.seconds} s ({report.arch}, {report.accelerator})",
        seconds=report.seconds,
        architecture=report.arch,
        accelerator=report.accelerator,
        matched=report.matched,
        command_results=[dataclasses.asdict(command) for command in report.commands],
        **kept,
    )


if __name__ == "__main__":
    main()
