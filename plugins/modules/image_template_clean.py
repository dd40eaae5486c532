#!/usr/bin/python

# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_template_clean
short_description: Remove the private keys that were copied with an image template
version_added: 0.2.0
author:
  - The os_image.composer authors (@os-image)
description:
  - Removes the private keys that M(os_image.composer.image_template_copy) has put below C({work_dir}/inputs/{digest}/),
    when the build is done or has failed. The template and all other files stay, for the next build.
  - The keys are those that the template, or a default template, names by relative paths in
    C(systemConfig.signing.secureBoot.key), C(systemConfig.signing.checksums.key) and
    C(systemConfig.immutability.secureBootDBKey). Other files that are secret, such as one of C(additionalFiles), stay.
    So do files that the template names by absolute paths; they belong to the build host.
  - Which keys they were, with their SHA-256 digests, is in C(private-keys.json) beside them.
    M(os_image.composer.image_template_copy) puts them back when it runs again.
  - Builds that run at the same time with the same template and files in one work directory share their input. A stage
    that misses its key then says so, and succeeds when the template is copied again.
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
  work_dir:
    description:
      - The work directory on the build host, as O(os_image.composer.image_template_copy#module:work_dir).
    type: path
    required: true
  digest:
    description:
      - What RV(os_image.composer.image_template_copy#module:digest) was.
    type: str
    required: true
seealso:
  - module: os_image.composer.image_template_copy
"""

EXAMPLES = r"""
- name: Build an image, and leave no key behind
  block:
    - name: Copy the template with its files
      os_image.composer.image_template_copy:
        template: greeter.yml
        work_dir: /var/lib/os-image-composer/work
      register: copied

    # The seven stages follow here.
  always:
    - name: Remove the private keys that were copied with the template
      os_image.composer.image_template_clean:
        work_dir: /var/lib/os-image-composer/work
        digest: "{{ copied.digest }}"
      when: copied.digest is defined
"""

RETURN = r"""
removed:
  description: The private keys that were there, by their paths below C({work_dir}/inputs/{digest}/).
  returned: success
  type: list
  elements: str
  sample: [template/keys/db.key]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.os_image.composer.plugins.module_utils._module import failing
from ansible_collections.os_image.composer.plugins.module_utils._template.inputs import InputStore


def main() -> None:
    """Remove the private keys of one input."""
    module = AnsibleModule(
        argument_spec={
            "work_dir": {"type": "path", "required": True},
            "digest": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    store, digest = InputStore(module.params["work_dir"]), module.params["digest"]
    with failing(module):
        store.require_own()
        removed = store.present_keys(digest) if module.check_mode else store.remove_keys(digest)
    module.exit_json(changed=bool(removed), removed=removed)


if __name__ == "__main__":
    main()
