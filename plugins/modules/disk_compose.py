#!/usr/bin/python

# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: disk_compose
short_description: Compose the disk image, the ISO or the initrd from the root tree
version_added: 0.1.0
author:
  - The os_image.composer authors (@os-image)
description:
  - Lays out the disk that the template describes, installs the bootloader, writes C(/etc/fstab), and writes each
    partition with its part of the root tree into a raw, sparse image file in the build directory.
  - For C(imageType) C(iso), writes an ISO that boots by BIOS and UEFI, from a CD and from a USB stick. It holds the
    root tree as a live system, which runs from the medium and writes nothing to the machine. An installer (see the
    template's C(iso.type)) also holds the disk that the template describes, no larger than its content needs, and a
    program that writes it to a disk of the machine.
  - For C(imageType) C(initrd), writes the whole root tree into an archive that the kernel unpacks into memory.
  - Nothing is mounted where others could see it, so that a build can be stopped at any time. Only XFS and Btrfs, which
    the kernel has to fill, take a loop device for a moment; it goes with the module.
  - All identifiers in the image derive from what is in it, and all times are the date of the packages, so that the
    same lock and the same template give the same bytes. Only XFS and Btrfs choose some of their bytes themselves; the
    result says so in RV(reproducible).
  - Whether the content fits on its partitions is found out before anything is written.
extends_documentation_fragment:
  - os_image.composer._attributes.stage
  - os_image.composer._attributes.actiongroup_composer
  - os_image.composer._stage_options
  - os_image.composer._stage_options.build_dir
seealso:
  - module: os_image.composer.chroot_configure
  - module: os_image.composer.image_sign
"""

EXAMPLES = r"""
- name: Compose the disk image
  os_image.composer.disk_compose:
    build_dir: "{{ image_template.build_dir }}"
  register: disk

- name: Show how the image boots
  ansible.builtin.debug:
    msg: "{{ disk.boot.loader }} starts {{ disk.boot.entries[0] }}"
"""

RETURN = r"""
image:
  description: Path of the raw image, the ISO or the initrd in the build directory.
  returned: success, in check mode as far as it is known
  type: str
  sample: /var/lib/os-image-composer/debian-debian12-x86_64/imagebuild/minimal/disk/image.raw
kernel:
  description: Path of the kernel that starts an initrd.
  returned: success, for an initrd
  type: str
  sample: /var/lib/os-image-composer/debian-debian12-x86_64/imagebuild/rescue/disk/vmlinuz
lost_permissions:
  description:
    - The files whose capabilities or access control lists an initrd cannot hold, each with the names of what it loses.
  returned: success, for an initrd
  type: dict
  sample: {"/usr/bin/ping": ["capabilities"]}
iso:
  description: What the ISO is.
  returned: success, for an ISO
  type: dict
  contains:
    type:
      description: V(live) or V(installer).
      type: str
    volume_id:
      description: Its volume identifier.
      type: str
    live_system:
      description: The generator whose initramfs mounts the root file system of the live system.
      type: str
    installs:
      description:
        - What an installer writes, with the C(path) on the medium and the C(sha256) of that file, the C(size) that is
          written, and C(least_disk_size), which the machine's disk must have.
      type: dict
  sample:
    type: live
    volume_id: KIOSK_1_0
    live_system: initramfs-tools
table:
  description: The kind of partition table, V(gpt) or V(mbr).
  returned: success, in check mode as far as it is known
  type: str
  sample: gpt
reproducible:
  description: Whether another run gives the same bytes. XFS and Btrfs do not allow that.
  returned: success, in check mode as far as it is known
  type: bool
  sample: true
partitions:
  description:
    - The partitions, in the template's order; for an installer those of the disk that it writes. Empty when there is no
      disk.
  returned: success, in check mode as far as it is known
  type: list
  elements: dict
  contains:
    id:
      description: The partition's id in the template.
      type: str
    number:
      description: Its number in the partition table.
      type: int
    start:
      description: Its first byte in the image.
      type: int
    size:
      description: Its bytes.
      type: int
    type:
      description: The GUID of its type; on an MBR disk its number, such as V(0x83).
      type: str
    uuid:
      description: Its PARTUUID. On a GPT disk it is its own GUID.
      type: str
    fs_type:
      description: Its file system, as fstab names it. Empty when it has none.
      type: str
    label:
      description: The label of its file system.
      type: str
    fs_uuid:
      description: The identifier of its file system.
      type: str
    mount_point:
      description: Where it is mounted. Empty when it is not.
      type: str
  sample:
    - id: boot
      number: 1
      start: 1048576
      size: 268435456
      type: c12a7328-f81f-11d2-ba4b-00a0c93ec93b
      uuid: 3b1d08e8-ab1c-4f09-9998-8918b5e71762
      fs_type: vfat
      label: ESP
      fs_uuid: FCDC-2334
      mount_point: /boot/efi
efi_programs:
  description:
    - The EFI programs that the build put onto the EFI system partition. M(os_image.composer.image_sign) signs these,
      and of others only those that the template names.
  returned: success, for a disk
  type: list
  elements: dict
  contains:
    path:
      description: Where it lies on the partition.
      type: str
    sha256:
      description: The SHA-256 digest of the file.
      type: str
  sample:
    - path: /EFI/BOOT/BOOTX64.EFI
      sha256: 5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef
boot:
  description: How the image boots.
  returned: success, in check mode as far as it is known
  type: dict
  contains:
    loader:
      description: The bootloader; for an ISO that of the ISO. Empty for an initrd.
      type: str
    entries:
      description: The entries of its menu, the default one first.
      type: list
      elements: str
    kernel_version:
      description: The version of the kernel that is booted by default.
      type: str
    cmdline:
      description: The kernel command line.
      type: str
  sample:
    loader: systemd-boot
    entries:
      - debian-6.1.0-35-amd64.conf
    kernel_version: 6.1.0-35-amd64
    cmdline: root=PARTUUID=90af7cb1-5bf0-45af-b61b-bf35c7febe8b console=ttyS0
rebuild_reason:
  description: Why the stage did its work, in words. Empty when there was nothing to do.
  returned: success
  type: str
  sample: "root tree changed: configuration 0f3a1c2b4d5e -> 9b8c7d6e5f40"
duration:
  description: Seconds that the stage took.
  returned: success
  type: float
  sample: 3.1
log_path:
  description: The log with all that the stage did, on the build host.
  returned: failure, once the stage had begun
  type: str
  sample: /var/lib/os-image-composer/debian-debian12-x86_64/imagebuild/minimal/log/disk_compose.log
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.os_image.composer.plugins.module_utils._argspec import BUILD_DIR, stage_argument_spec
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory
from ansible_collections.os_image.composer.plugins.module_utils._stage_module import run_stage_module
from ansible_collections.os_image.composer.plugins.module_utils._stages.disk_compose import DiskCompose


def main() -> None:
    """Run the stage as a module."""
    module = AnsibleModule(argument_spec=stage_argument_spec(BUILD_DIR), supports_check_mode=True)
    run_stage_module(module, lambda params, options: DiskCompose(BuildDirectory(params["build_dir"]), options))


if __name__ == "__main__":
    main()
