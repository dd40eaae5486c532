#!/usr/bin/python

# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_template_copy
short_description: Copy an image template and the files that it names to the build host
version_added: 0.1.0
author:
  - The os_image.composer authors (@os-image)
description:
  - Collects on the controller an image template, the files that it names by relative paths, and the configuration of
    its operating system with what all of them share (C(osv/common/)), and puts them onto the build host, as
    C({work_dir}/inputs/{digest}/). Nothing is transferred when the same is there already.
  - Files and templates that are encrypted by ansible-vault are decrypted.
  - Files that the template names by absolute paths are not copied; they are files of the build host.
  - Inputs that were not used for a week are removed, except for the last ones.
  - Private keys among the files are there while the image is built. M(os_image.composer.image_template_clean) removes
    them afterwards, as the role P(os_image.composer.image_build#role) does, and the next run of this module puts them
    back. That is no change.
extends_documentation_fragment:
  - os_image.composer._attributes
attributes:
  check_mode:
    support: full
    details:
      - In check mode nothing is transferred. On the controller itself the paths of the originals are returned then, so
        that the stages can decide what they would do.
  diff_mode:
    support: none
  idempotent:
    support: full
  async:
    support: none
  platform:
    support: full
    platforms: linux
options:
  template:
    description:
      - The image template, a YAML file on the controller. A relative path is looked up beside the playbook, then in the
        current directory.
      - Exactly one of O(template) and O(content) is needed.
    type: path
  content:
    description:
      - The image template itself, as a mapping or as YAML text. On the build host it becomes a file that is named like
        the image, C({image.name}.yml).
      - Passwords of users may be values that ansible-vault has encrypted (C(!vault)). Other values may not, because
        results and logs would show them; secrets other than passwords belong into encrypted files.
    type: raw
  base_dir:
    description:
      - The directory on the controller that relative paths in O(content) begin at. By default that of the playbook.
    type: path
  config_dir:
    description:
      - The directory on the controller that has the providers, as C(osv/{os}/{dist}/config.yml). By default that of the
        collection.
    type: path
  asset_roots:
    description:
      - Directories on the controller that several templates share. A relative path in a template that names no file
        beside the template, or leaves its directory, may lead into them, or begin at one of them; the first one that
        has the file counts. They come along.
    type: list
    elements: path
    default: []
    version_added: 0.2.0
  work_dir:
    description:
      - The work directory on the build host, as O(os_image.composer.image_template_validate#module:work_dir).
    type: path
    required: true
  keep:
    description:
      - How many inputs to keep at least.
    type: int
    default: 5
  digest:
    description:
      - The SHA-256 digest of what was collected. The action plugin sets it.
    type: str
  archive:
    description:
      - Path on the build host of what was collected, when it had to be transferred. The action plugin sets it.
    type: path
  private_keys:
    description:
      - The names of private keys in it. The action plugin sets it.
    type: list
    elements: str
    default: []
    version_added: 0.2.0
  name:
    description:
      - The file name of the template. The action plugin sets it.
    type: str
    default: template.yml
seealso:
  - module: os_image.composer.image_template_validate
  - module: os_image.composer.image_template_clean
"""

EXAMPLES = r"""
- name: Copy a template with its files
  os_image.composer.image_template_copy:
    template: image-templates/debian12-x86_64-minimal-raw.yml
    work_dir: /var/lib/os-image-composer
  register: image_input

- name: Validate it
  os_image.composer.image_template_validate:
    template: "{{ image_input.template }}"
    config_dir: "{{ image_input.config_dir }}"
    work_dir: /var/lib/os-image-composer
    cache_dir: /var/cache/os-image-composer

- name: Use a template that the inventory holds
  os_image.composer.image_template_copy:
    content: "{{ kiosk_template }}"
    base_dir: "{{ inventory_dir }}/images"
    work_dir: /var/lib/os-image-composer
"""

RETURN = r"""
template:
  description: Path of the template on the build host.
  returned: success
  type: str
  sample: /var/lib/os-image-composer/inputs/9f86d081.../template/minimal.yml
config_dir:
  description: Path of the configuration directory on the build host.
  returned: success
  type: str
  sample: /var/lib/os-image-composer/inputs/9f86d081.../config
shown_paths:
  description: Where on the controller that comes from, for messages of M(os_image.composer.image_template_validate).
  returned: success
  type: dict
  sample:
    /var/lib/os-image-composer/inputs/9f86d081.../template: /home/user/images
    /var/lib/os-image-composer/inputs/9f86d081.../config: /srv/composer/config
  version_added: 0.2.0
digest:
  description: SHA-256 digest of everything that was collected.
  returned: success
  type: str
  sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
restored:
  description:
    - The private keys of the input that were removed and are there again; in check mode, those that would be. It is not
      counted as a change.
  returned: success
  type: list
  elements: str
  sample: [template/keys/db.key]
  version_added: 0.2.0
errors:
  description:
    - Everything that is wrong with the template, as RV(os_image.composer.image_template_validate#module:errors).
  returned: failure, when the template cannot be collected
  type: list
  elements: dict
  sample:
    - file: /home/user/images/minimal.yml
      line: 0
      path: (top level)
      message: The file does not exist. Correct the path.
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.os_image.composer.plugins.module_utils._module import failing
from ansible_collections.os_image.composer.plugins.module_utils._template.inputs import (
    CONFIG_FOLDER,
    TEMPLATE_FOLDER,
    InputStore,
)


def main() -> None:
    """Put what the action plugin has collected into its place."""
    module = AnsibleModule(
        argument_spec={
            "template": {"type": "path"},
            "content": {"type": "raw"},
            "base_dir": {"type": "path"},
            "config_dir": {"type": "path"},
            "asset_roots": {"type": "list", "elements": "path", "default": []},
            "work_dir": {"type": "path", "required": True},
            "keep": {"type": "int", "default": 5},
            "digest": {"type": "str"},
            "archive": {"type": "path"},
            # Names of files, not what they hold.
            "private_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "name": {"type": "str", "default": "template.yml"},
        },
        supports_check_mode=True,
    )
    digest, archive = module.params["digest"], module.params["archive"]
    if digest is None:
        module.fail_json(
            msg="The action plugin of this module did not run. Call it as os_image.composer.image_template_copy."
        )
    store = InputStore(module.params["work_dir"])
    with failing(module):
        store.require_own()
        is_there = store.has(digest)
        if is_there and not module.check_mode:
            store.note_keys(digest, module.params["private_keys"])
        missing = store.missing_keys(digest)
        if archive is not None and not module.check_mode:
            if not is_there:
                store.add(archive, digest, module.params["private_keys"])
            elif missing:
                store.restore_keys(archive, digest)
        if store.has(digest) and not module.check_mode:
            store.touch(digest)
            store.prune(module.params["keep"])
        directory = store.path(digest)
    module.exit_json(
        changed=not is_there,
        msg=_message(is_there=is_there, has_keys=not missing),
        digest=digest,
        restored=missing,
        template=f"{directory}/{TEMPLATE_FOLDER}/{module.params['name']}",
        config_dir=f"{directory}/{CONFIG_FOLDER}",
    )


def _message(*, is_there: bool, has_keys: bool) -> str:
    if not is_there:
        return "The template was copied."
    return "The template is there already." if has_keys else "The template is there already, and gets its keys back."


if __name__ == "__main__":
    main()
