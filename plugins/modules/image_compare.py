#!/usr/bin/python

# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_compare
short_description: Compare two image files, and tell where they differ
version_added: 0.2.0
author:
  - The os_image.composer authors (@os-image)
description:
  - Tells whether two images hold the same disk, the same but for what two builds of one image may differ in, or
    something else; and where they differ, in the partitions, the files, the packages, or the boot chain.
  - The images need not have the same format or compression; what is compared are the disks in them.
  - Volatile are the identifiers of disks, partitions and file systems, also where texts name them (C(fstab), boot
    entries, the command line in a unified kernel image); a dm-verity root hash on a command line; the times and the
    inner order of file systems; the headers of EFI programs and the time of their signatures, when sections and
    signers are the same; the identity and time of bills of materials; and O(volatile_files).
extends_documentation_fragment:
  - os_image.composer._attributes
  - os_image.composer._report_options
attributes:
  check_mode:
    support: full
    details: The images are only read. O(report_file) is not written in check mode.
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
  first:
    description:
      - Path of the first image on the target.
    type: path
    required: true
  second:
    description:
      - Path of the second image on the target. Additions and removals are told as from O(first) to O(second).
    type: path
    required: true
  volatile_files:
    description:
      - Patterns of files that do not count, as absolute paths in the running system. V(*) stands for slashes too.
    type: list
    elements: str
    default:
      - /boot/efi/loader/random-seed
      - /efi/loader/random-seed
      - /etc/machine-id
      - /etc/ssh/ssh_host_*_key
      - /etc/ssh/ssh_host_*_key.pub
      - /var/cache/ldconfig/aux-cache
      - /var/lib/dbus/machine-id
      - /var/lib/systemd/credential.secret
      - /var/lib/systemd/random-seed
      - /var/log/*
notes:
  - Of files, the kind, the content, the permissions, the owners and the targets of links are compared; extended
    attributes and times are not. FAT and ISO file systems have no owners.
seealso:
  - module: os_image.composer.image_info
"""

EXAMPLES = r"""
- name: Compare a rebuilt image with the published one
  os_image.composer.image_compare:
    first: /srv/images/appliance/appliance-1.0.raw.zst
    second: /srv/rebuilt/appliance-1.0.qcow2
  register: rebuilt

- name: Insist on the same bytes
  ansible.builtin.assert:
    that: rebuilt.verdict == 'identical'
    fail_msg: "{{ rebuilt.msg }}"

- name: See which packages an update brings
  os_image.composer.image_compare:
    first: /srv/images/appliance/appliance-1.0.raw
    second: /srv/images/appliance/appliance-1.1.raw
    report_file: /srv/images/appliance/1.0-1.1.json
  register: update

- name: Show them
  ansible.builtin.debug:
    var: update.differences.packages
"""

RETURN = r"""
verdict:
  description:
    - V(identical) when the disks are the same byte for byte.
    - V(equivalent) when they differ only in what is volatile.
    - V(different) when they differ in something else.
  returned: success
  type: str
  sample: equivalent
msg:
  description: The verdict in words.
  returned: always
  type: str
  sample: "The images are the same but for volatile fields: image 1, partitions 4, files 2, boot 1."
images:
  description: The two images, as RV(os_image.composer.image_info#module:image) of M(os_image.composer.image_info).
  returned: success
  type: list
  elements: dict
  sample:
    - path: /srv/images/appliance/appliance-1.0.raw.zst
      format: raw
      compression: zstd
      file_size: 291508271
      virtual_size: 4294967296
    - path: /srv/rebuilt/appliance-1.0.qcow2
      format: qcow2
      compression: null
      file_size: 301234176
      virtual_size: 4294967296
counts:
  description: How many differences there are in C(image), C(partitions), C(files), C(packages) and C(boot).
  returned: success
  type: dict
  sample:
    files: {volatile: 2, other: 0}
differences:
  description:
    - The differences in C(image), C(partitions), C(files), C(packages) and C(boot); those that are not volatile come
      first.
  returned: success
  type: dict
  contains:
    image:
      description: Those of the disk and its table.
      type: list
      elements: dict
      contains:
        where:
          description: What differs.
          type: str
        change:
          description: V(added), V(removed) or V(changed).
          type: str
        aspects:
          description: What of it has changed.
          type: list
          elements: str
        volatile:
          description: Whether it does not count.
          type: bool
        before:
          description: What O(first) has, when that is short.
          type: raw
        after:
          description: What O(second) has, when that is short.
          type: raw
    partitions:
      description: Those of partitions and their file systems. Items have the form of those of RV(differences.image).
      type: list
      elements: dict
    files:
      description: Those of files. Items have the form of those of RV(differences.image).
      type: list
      elements: dict
    packages:
      description: Those of installed packages. Items have the form of those of RV(differences.image).
      type: list
      elements: dict
    boot:
      description: Those of EFI programs and boot entries. Items have the form of those of RV(differences.image).
      type: list
      elements: dict
  sample:
    packages:
      - where: "openssl:amd64"
        change: changed
        aspects: [version]
        volatile: false
        before: 3.0.17-1~deb12u1
        after: 3.0.18-1~deb12u1
notes:
  description: What could not be compared, in full sentences.
  returned: success
  type: list
  elements: str
  sample: []
left_out:
  description: How many items the lists of this result have lost, by their names. Empty when the result is whole.
  returned: success
  type: dict
  sample: {differences.files: 2100}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.os_image.composer.plugins.module_utils._argspec import REPORT_OPTIONS
from ansible_collections.os_image.composer.plugins.module_utils._image.comparison import VOLATILE_FILES, compare_images
from ansible_collections.os_image.composer.plugins.module_utils._image.inspection import inspect_image
from ansible_collections.os_image.composer.plugins.module_utils._image.report_module import exit_with_report
from ansible_collections.os_image.composer.plugins.module_utils._image.sandbox import ParserSandbox
from ansible_collections.os_image.composer.plugins.module_utils._lease import cancellable
from ansible_collections.os_image.composer.plugins.module_utils._module import failing


def main() -> None:
    """Compare two images as a module."""
    module = AnsibleModule(
        argument_spec={
            "first": {"type": "path", "required": True},
            "second": {"type": "path", "required": True},
            "volatile_files": {"type": "list", "elements": "str", "default": list(VOLATILE_FILES)},
            **REPORT_OPTIONS,
        },
        supports_check_mode=True,
    )
    params = module.params
    temp_dir = params["temp_dir"]
    with failing(module):
        runner = ParserSandbox()
        with (
            cancellable("image_compare", lease_file=None, lease_timeout=0),
            inspect_image(params["first"], temp_dir=temp_dir, runner=runner) as first,
            inspect_image(params["second"], temp_dir=temp_dir, runner=runner) as second,
        ):
            comparison = compare_images(first, second, volatile_files=params["volatile_files"])
            images = [image.source.as_facts() for image in (first, second)]
        report = {"images": images, **comparison.as_facts()}
    exit_with_report(module, report, msg=comparison.in_words)


if __name__ == "__main__":
    main()
