#!/usr/bin/python

# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_sign
short_description: Sign the boot chain of an image for Secure Boot
version_added: 0.1.0
author:
  - The os_image.composer authors (@os-image)
description:
  - Signs the EFI programs on the EFI system partition with the keys that the template names in
    C(systemConfig.signing.secureBoot) or C(systemConfig.immutability), and verifies the signatures. The image that
    M(os_image.composer.disk_compose) made is left as it is; the signed one is a copy that shares its blocks where the
    file system can.
  - What is signed is what M(os_image.composer.disk_compose) put there, as it put it there, and what the template names
    by its digest in C(systemConfig.signing.secureBoot.programs). Any other program is an error, because with your key
    it would run on every machine that trusts that key; packages, additional files and scripts can bring such programs.
  - When the template names no keys, nothing is signed and nothing is changed.
  - Only a unified kernel image is protected as a whole, so with keys the template must set C(kernel.uki).
  - Signatures are reproducible when the build host has osslsigncode or libfaketime. The private key must not be
    protected by a passphrase.
extends_documentation_fragment:
  - os_image.composer._attributes.stage
  - os_image.composer._attributes.actiongroup_composer
  - os_image.composer._stage_options
  - os_image.composer._stage_options.build_dir
seealso:
  - module: os_image.composer.disk_compose
  - module: os_image.composer.image_finalize
"""

EXAMPLES = r"""
- name: Sign the boot chain with the keys that the template names
  os_image.composer.image_sign:
    build_dir: "{{ image_template.build_dir }}"
  register: signing

- name: Keep the certificate that has to be enrolled in the firmware
  ansible.builtin.fetch:
    src: "{{ item.path }}"
    dest: certificates/
  loop: "{{ signing.certificates }}"
"""

RETURN = r"""
signed:
  description: Paths of the signed programs on the EFI system partition. Empty when the template names no keys.
  returned: success, in check mode as far as it is known
  type: list
  elements: str
  sample:
    - /EFI/BOOT/BOOTX64.EFI
    - /EFI/Linux/debian-6.1.0-35-amd64.efi
    - /EFI/systemd/systemd-bootx64.efi
certificates:
  description: The certificates that firmware needs to trust the image.
  returned: success, in check mode as far as it is known
  type: list
  elements: dict
  contains:
    subject:
      description: Whose it is.
      type: str
    sha256:
      description: Its fingerprint.
      type: str
    path:
      description: Path of its DER form on the build host.
      type: str
  sample:
    - subject: CN=Fleet db
      sha256: 5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef
      path: /var/lib/os-image-composer/debian-debian12-x86_64/imagebuild/minimal/signed/db.cer
image:
  description: Path of the image that is to be published, signed or not.
  returned: success, in check mode as far as it is known
  type: str
  sample: /var/lib/os-image-composer/debian-debian12-x86_64/imagebuild/minimal/signed/image.raw
rebuild_reason:
  description: Why the stage did its work, in words. Empty when there was nothing to do.
  returned: success
  type: str
  sample: "disk image changed: 0f3a1c2b4d5e -> 9b8c7d6e5f40"
duration:
  description: Seconds that the stage took.
  returned: success
  type: float
  sample: 0.8
log_path:
  description: The log with all that the stage did, on the build host.
  returned: failure, once the stage had begun
  type: str
  sample: /var/lib/os-image-composer/debian-debian12-x86_64/imagebuild/minimal/log/image_sign.log
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.os_image.composer.plugins.module_utils._argspec import BUILD_DIR, stage_argument_spec
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory
from ansible_collections.os_image.composer.plugins.module_utils._stage_module import run_stage_module
from ansible_collections.os_image.composer.plugins.module_utils._stages.image_sign import ImageSign


def main() -> None:
    """Run the stage as a module."""
    module = AnsibleModule(argument_spec=stage_argument_spec(BUILD_DIR), supports_check_mode=True)
    run_stage_module(module, lambda params, options: ImageSign(BuildDirectory(params["build_dir"]), options))


if __name__ == "__main__":
    main()
