#!/usr/bin/python

# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: efi_sign
short_description: Sign an EFI program for Secure Boot
version_added: 0.2.0
author:
  - The os_image.composer authors (@os-image)
description:
  - Signs an EFI program, such as a unified kernel image, and verifies the signature. It is for hosts that have the key
    and build nothing; M(os_image.composer.image_sign) tells what they are to sign, and takes it back.
  - The signature has the time of the image, so that it is the same each time when the host has osslsigncode or
    libfaketime.
extends_documentation_fragment:
  - os_image.composer._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
  async:
    support: full
  platform:
    support: full
    platforms: linux
options:
  src:
    description:
      - Path of the EFI program.
    type: path
    required: true
  dest:
    description:
      - Path of the signed EFI program. One that is there is left as it is when it is O(src) with a signature that
        O(certificate) verifies.
    type: path
    required: true
  key:
    description:
      - Path of the private key (PEM), or its PKCS#11 URI, for example V(pkcs11:token=fleet;object=db). The URI's
        attribute C(module-path) names the library of the token; without it, p11-kit has to know it.
    type: str
    required: true
  certificate:
    description:
      - Path of its certificate (PEM).
    type: path
    required: true
  passphrase:
    description:
      - The passphrase of O(key), or the PIN of its token.
    type: str
  source_date_epoch:
    description:
      - The time in the signature, in seconds since 1970.
    type: int
    required: true
seealso:
  - module: os_image.composer.image_sign
"""

EXAMPLES = r"""
- name: Sign a unified kernel image with a key on a token
  os_image.composer.efi_sign:
    src: /var/tmp/linux.efi
    dest: /var/tmp/linux.signed.efi
    key: pkcs11:token=fleet;object=db
    certificate: /etc/fleet/db.crt
    passphrase: "{{ vault_token_pin }}"
    source_date_epoch: 1731600000
  delegate_to: signer.example.org
"""

RETURN = r"""
dest:
  description: Path of the signed EFI program.
  returned: success
  type: str
  sample: /var/tmp/linux.signed.efi
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._module import failing
from ansible_collections.os_image.composer.plugins.module_utils._signing.secure_boot import (
    SecureBootKeys,
    is_signed,
    sign_program,
)


def main() -> None:
    """Sign an EFI program as a module."""
    module = AnsibleModule(
        argument_spec={
            "src": {"type": "path", "required": True},
            "dest": {"type": "path", "required": True},
            "key": {"type": "str", "required": True, "no_log": False},
            "certificate": {"type": "path", "required": True},
            "passphrase": {"type": "str", "no_log": True},
            "source_date_epoch": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    source, destination = (os.path.abspath(module.params[name]) for name in ("src", "dest"))
    keys, runner = SecureBootKeys(module.params["key"], module.params["certificate"]), CommandRunner()
    with failing(module):
        changed = not is_signed(source, destination, keys, runner)
        if changed and not module.check_mode:
            sign_program(
                source,
                destination,
                keys,
                runner,
                passphrase=module.params["passphrase"],
                epoch=module.params["source_date_epoch"],
            )
    did = "would sign" if module.check_mode else "signed"
    module.exit_json(
        changed=changed, msg=f"efi_sign: {f'{did} {source}' if changed else 'nothing to do'}", dest=destination
    )


if __name__ == "__main__":
    main()
