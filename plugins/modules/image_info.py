#!/usr/bin/python

# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_info
short_description: Tell what is in an image file, without mounting it
version_added: 0.2.0
author:
  - The os_image.composer authors (@os-image)
description:
  - Looks at a disk image or an ISO, and tells its partition table, file systems, EFI programs with their sections and
    signatures, boot entries, dm-verity, operating system, packages, and the bills of materials that are in it.
  - Takes raw images, qcow2, vhd, vhdx, vmdk, vdi and ISO, also compressed by gzip, xz or zstd, whoever made them.
extends_documentation_fragment:
  - os_image.composer._attributes
  - os_image.composer._report_options
attributes:
  check_mode:
    support: full
    details: The image is only read. O(report_file) is not written in check mode.
  diff_mode:
    support: N/A
  idempotent:
    support: full
  async:
    support: full
  platform:
    support: full
    platforms: linux
options:
  image:
    description:
      - Path of the image on the target. Its format is found out from its content.
    type: path
    required: true
seealso:
  - module: os_image.composer.image_compare
  - module: os_image.composer.image_finalize
"""

EXAMPLES = r"""
- name: Look at an image
  os_image.composer.image_info:
    image: /srv/images/appliance/appliance-1.0.raw.zst
  register: appliance

- name: Insist on a signed boot chain
  ansible.builtin.assert:
    that: appliance.efi_programs | rejectattr('signatures') | length == 0

- name: Keep the whole report, with all packages
  os_image.composer.image_info:
    image: /srv/images/appliance/appliance-1.0.qcow2
    report_file: /srv/images/appliance/appliance-1.0.report.json
"""

RETURN = r"""
image:
  description: The file itself.
  returned: success
  type: dict
  contains:
    path:
      description: Its path.
      type: str
    format:
      description: One of V(raw), V(iso), V(qcow2), V(vhd), V(vhdx), V(vmdk), V(vdi).
      type: str
    compression:
      description: One of V(gz), V(xz), V(zstd); V(null) when the file is not compressed as a whole.
      type: str
    file_size:
      description: Size of the file in bytes.
      type: int
    virtual_size:
      description: Size of the disk in bytes.
      type: int
  sample:
    path: /srv/images/appliance/appliance-1.0.raw.zst
    format: raw
    compression: zstd
    file_size: 291508271
    virtual_size: 4294967296
partition_table:
  description: The partition table. V(null) when there is none.
  returned: success
  type: dict
  contains:
    type:
      description: V(gpt) or V(mbr).
      type: str
    id:
      description: The disk's identifier.
      type: str
    sector_size:
      description: Size of a sector in bytes.
      type: int
    warnings:
      description: What sfdisk finds wrong with it, for example a damaged copy of the table.
      type: list
      elements: str
  sample:
    type: gpt
    id: a36c4575-c957-4830-b7d7-fde5ccda65ee
    sector_size: 512
    warnings: []
partitions:
  description:
    - The partitions in the order of the table, and file systems that are on none, whose RV(partitions[].number) is
      V(null).
  returned: success
  type: list
  elements: dict
  contains:
    number:
      description: The number in the table.
      type: int
    name:
      description: The name in the table.
      type: str
    start:
      description: The first byte.
      type: int
    size:
      description: Size in bytes.
      type: int
    type:
      description: The type, as a GUID or as the hexadecimal number of MBR.
      type: str
    type_name:
      description: The type's name in templates; empty when they have none.
      type: str
    uuid:
      description: The PARTUUID.
      type: str
    flags:
      description: Attributes in the words of sfdisk.
      type: list
      elements: str
    file_system:
      description: The C(type), C(label), C(uuid) and C(version) of the file system. V(null) when there is none.
      type: dict
    mount_point:
      description: Where the image's fstab mounts it; empty when it does not.
      type: str
  sample:
    - number: 1
      name: boot
      start: 1048576
      size: 536870912
      type: c12a7328-f81f-11d2-ba4b-00a0c93ec93b
      type_name: esp
      uuid: 39898398-ffa1-4a8b-aa8f-a1540d045867
      flags: []
      file_system: {type: vfat, label: ESP, uuid: 1a48-db70, version: FAT32}
      mount_point: /boot/efi
efi_programs:
  description: The EFI programs on FAT file systems and in an ISO.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: The path on its partition.
      type: str
    partition:
      description: The number of the partition; V(null) in the tree of an ISO.
      type: int
    size:
      description: Size in bytes.
      type: int
    sha256:
      description: SHA-256 of the file.
      type: str
    kind:
      description: V(uki) for a unified kernel image, else V(program).
      type: str
    sections:
      description: The names of its sections. Empty when it is damaged.
      type: list
      elements: str
    cmdline:
      description: The kernel command line of a unified kernel image.
      type: str
    os_release:
      description: The section C(.osrel).
      type: dict
    kernel_version:
      description: The section C(.uname).
      type: str
    signatures:
      description:
        - The certificates of its Authenticode signatures, C(subject) and C(issuer) of each. That they verify is not
          checked, as that depends on who is trusted.
      type: list
      elements: dict
  sample:
    - path: /EFI/Linux/debian-6.1.0-40-amd64.efi
      partition: 1
      size: 38211584
      sha256: dc69da2be42e18eb6e12ad3d7f2dfbbb7af9c980e12e5b8b46f022e7e2a1ea20
      kind: uki
      sections: [.text, .osrel, .cmdline, .uname, .initrd, .linux]
      cmdline: root=PARTUUID=3e3f450d-87e8-4581-b1eb-1c4f266a7cee console=ttyS0
      os_release: {ID: debian}
      kernel_version: 6.1.0-40-amd64
      signatures:
        - {subject: /CN=Example db, issuer: /CN=Example db}
firmware:
  description:
    - The kinds of firmware that find something to start, as far as the boot sector and the EFI programs tell.
  returned: success
  type: list
  elements: str
  sample: [bios, uefi]
boot_entries:
  description:
    - What the bootloaders can start. C(type) is V(loader) for an entry of the Boot Loader
      Specification, V(uki) for a unified kernel image, V(grub) for an entry of a C(grub.cfg).
  returned: success
  type: list
  elements: dict
  sample:
    - type: loader
      path: /loader/entries/debian-6.1.0-40-amd64.conf
      partition: 1
      title: Debian GNU/Linux 12 (bookworm)
      version: 6.1.0-40-amd64
      linux: /debian/6.1.0-40-amd64/linux
      initrd: [/debian/6.1.0-40-amd64/initrd.img]
      cmdline: root=PARTUUID=3e3f450d-87e8-4581-b1eb-1c4f266a7cee console=ttyS0
verity:
  description:
    - What is known of dm-verity. V(null) when there is no superblock and no root hash.
    - Each of C(root_hashes) that kernel command lines demand tells which partitions it belongs to by the rule of the
      Discoverable Partitions Specification, that their PARTUUIDs are the halves of the hash. All blocks of the data are
      then checked; C(intact) is V(null) when they cannot be, and C(damage) names the first one that does not have its
      hash.
    - Each of C(signatures) is a signature of a root hash on a partition for that. C(valid) tells whether it is one, by
      the certificate that comes with it (C(certificate) is its SHA-256), which nothing is said to trust by that;
      C(demanded) whether a kernel command line demands this root hash.
  returned: success
  type: dict
  sample:
    superblocks:
      - partition: 3
        uuid: 5fa2b7d2-1f5d-4ab5-9d28-5b0d21f0a7b1
        hash_type: 1
        algorithm: sha256
        data_block_size: 4096
        hash_block_size: 4096
        data_size: 734003200
        salt: 0b2c1d9f6e0f5a3b
    root_hashes:
      - target: root
        root_hash: 0b2c1d9f6e0f5a3b6d4c8e7f9a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d
        data_partition: 2
        hash_partition: 3
        found_by_uuid: true
        intact: true
        damage: ""
    signatures:
      - partition: 4
        root_hash: 0b2c1d9f6e0f5a3b6d4c8e7f9a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d
        certificate: 5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef
        subject: CN = Fleet db
        valid: true
        demanded: true
os_release:
  description: The fields of C(os-release) of the operating system in the image.
  returned: success
  type: dict
  sample: {ID: debian, VERSION_ID: "12"}
package_count:
  description: How many packages are installed.
  returned: success
  type: int
  sample: 155
packages:
  description: The installed packages, from the database of dpkg or RPM.
  returned: success
  type: list
  elements: dict
  sample:
    - {name: bash, version: 5.2.15-2+b7, arch: amd64}
sboms:
  description: The bills of materials in C(/usr/share/sbom) of the image.
  returned: success
  type: list
  elements: dict
  sample:
    - path: /usr/share/sbom/appliance-1.0.spdx.json
      format: spdx
      size: 191508
      sha256: 352a010e9ef7e832273842dfd6bd3c5e9cbcf705b71191d4a8c6d3dc69779c29
      packages: 155
iso:
  description: What makes an ISO boot, in the words of xorriso, and the files in it. V(null) for disks.
  returned: success
  type: dict
  sample:
    boot: ["-volid 'LIVE'", "-boot_image any partition_table=on"]
    file_count: 2
    files:
      - {path: /live/filesystem.squashfs, size: 237000000}
notes:
  description: What could not be found out, in full sentences.
  returned: success
  type: list
  elements: str
  sample: ["The file system xfs on partition 3 cannot be read without mounting it. What is in it is unknown."]
left_out:
  description: How many items the lists of this result have lost, by their names. Empty when the result is whole.
  returned: success
  type: dict
  sample: {packages: 210}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.os_image.composer.plugins.module_utils._argspec import REPORT_OPTIONS
from ansible_collections.os_image.composer.plugins.module_utils._image.inspection import inspect_image
from ansible_collections.os_image.composer.plugins.module_utils._image.report_module import exit_with_report
from ansible_collections.os_image.composer.plugins.module_utils._lease import cancellable
from ansible_collections.os_image.composer.plugins.module_utils._module import failing


def main() -> None:
    """Look at an image as a module."""
    module = AnsibleModule(
        argument_spec={"image": {"type": "path", "required": True}, **REPORT_OPTIONS},
        supports_check_mode=True,
    )
    params = module.params
    with (
        failing(module),
        cancellable("image_info", lease_file=None, lease_timeout=0),
        inspect_image(params["image"], temp_dir=params["temp_dir"]) as inspection,
    ):
        report = inspection.as_facts()
    exit_with_report(module, report)


if __name__ == "__main__":
    main()
