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
  - Only a unified kernel image is protected as a whole, so with keys the template must set C(kernel.uki). Type 1
    entries and GRUB's configuration leave the initrd and the kernel command line to whoever writes to the disk.
  - The private key is a PEM file, which O(secure_boot_passphrase) may protect, or a key on a PKCS#11 token. With
    C(generate) in the template, keys for tests are made once for each work directory.
  - When the template names a certificate and no key, another host signs. The module then lays out what is to be signed
    (RV(unsigned)) and has not signed anything yet; once the signed programs are there, it takes them, if they are what
    it laid out with a signature behind it that the certificate verifies. The role
    P(os_image.composer.image_build#role) carries them to C(image_build_secure_boot_host) and back, where
    M(os_image.composer.efi_sign) signs them.
  - With C(systemConfig.immutability.rootHashSignature), also signs the root hash of dm-verity by itself, and writes the
    signature onto the partition for it.
  - Certificates, signature lists and signed updates of the variables PK, KEK and db for enrolment are in RV(enrolment).
    With C(enrol) in the template they also lie on the EFI system partition, from where systemd-boot enrols them.
  - Signatures are reproducible when the build host has osslsigncode or libfaketime.
extends_documentation_fragment:
  - os_image.composer._attributes.stage
  - os_image.composer._attributes.actiongroup_composer
  - os_image.composer._stage_options
  - os_image.composer._stage_options.build_dir
options:
  secure_boot_passphrase:
    description:
      - The passphrase of the private key, or the PIN of its token.
    type: str
    version_added: 0.2.0
seealso:
  - module: os_image.composer.efi_sign
  - module: os_image.composer.disk_compose
  - module: os_image.composer.image_finalize
"""

EXAMPLES = r"""
- name: Sign the boot chain with the keys that the template names
  os_image.composer.image_sign:
    build_dir: "{{ image_template.build_dir }}"
  register: signing

- name: Sign with a key that a passphrase protects
  os_image.composer.image_sign:
    build_dir: "{{ image_template.build_dir }}"
    secure_boot_passphrase: "{{ vault_secure_boot_passphrase }}"

- name: Keep the certificates that have to be enrolled in the firmware
  ansible.builtin.fetch:
    src: "{{ item.path }}"
    dest: certificates/
  loop: "{{ signing.certificates }}"
"""

RETURN = r"""
signed:
  description: Paths of the signed programs on the EFI system partition. Empty when the template names no keys, or when
    another host has to sign first.
  returned: success, in check mode as far as it is known
  type: list
  elements: str
  sample:
    - /EFI/BOOT/BOOTX64.EFI
    - /EFI/Linux/debian-6.1.0-35-amd64.efi
    - /EFI/systemd/systemd-bootx64.efi
unsigned:
  description: What another host has to sign before the image is signed.
  returned: success, outside check mode
  type: list
  elements: dict
  contains:
    path:
      description: Where it lies on the EFI system partition.
      type: str
    sha256:
      description: The SHA-256 digest of the file.
      type: str
    unsigned:
      description: Path of the program on the build host.
      type: str
    signed:
      description: Where on the build host the signed program is to be put. Run the module again then.
      type: str
  sample: []
certificates:
  description: The certificates that firmware needs to trust the image.
  returned: success, in check mode as far as it is known
  type: list
  elements: dict
  contains:
    variable:
      description: The variable of the firmware that it is for, V(db), V(KEK) or V(PK). A pair that the template names
        is for all three.
      type: str
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
    - variable: db
      subject: CN=Fleet db
      sha256: 5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef
      path: /var/lib/os-image-composer/debian-debian12-x86_64/imagebuild/minimal/signed/db.cer
test_keys:
  description: Whether the keys are generated ones, for tests.
  returned: success, outside check mode, when the template has keys
  type: bool
  sample: false
source_date_epoch:
  description: The time in signatures, in seconds since 1970, for M(os_image.composer.efi_sign) on another host.
  returned: success, outside check mode, when the template has keys
  type: int
  sample: 1731600000
enrolment:
  description: What enrols the keys in firmware. M(os_image.composer.image_finalize) publishes it.
  returned: success, outside check mode
  type: list
  elements: dict
  contains:
    name:
      description: The variable and the form, a certificate (C(.cer)), a signature list (C(.esl)) or a signed update
        (C(.auth)).
      type: str
    path:
      description: Path on the build host.
      type: str
    sha256:
      description: The SHA-256 digest of the file.
      type: str
  sample:
    - name: db.auth
      path: /var/lib/os-image-composer/debian-debian12-x86_64/imagebuild/minimal/signed/db.auth
      sha256: 5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef
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
from ansible_collections.os_image.composer.plugins.module_utils._argspec import (
    BUILD_DIR,
    SECURE_BOOT_OPTIONS,
    stage_argument_spec,
)
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory
from ansible_collections.os_image.composer.plugins.module_utils._stage_module import run_stage_module
from ansible_collections.os_image.composer.plugins.module_utils._stages.again import compose_again
from ansible_collections.os_image.composer.plugins.module_utils._stages.image_sign import ImageSign


def main() -> None:
    """Run the stage as a module."""
    module = AnsibleModule(argument_spec=stage_argument_spec(BUILD_DIR, SECURE_BOOT_OPTIONS), supports_check_mode=True)
    run_stage_module(
        module,
        lambda params, options: ImageSign(
            BuildDirectory(params["build_dir"]),
            options,
            compose=compose_again,
            passphrase=params["secure_boot_passphrase"],
        ),
    )


if __name__ == "__main__":
    main()
