#!/usr/bin/python

# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_template_validate
short_description: Validate an image template and merge it over the default template
version_added: 0.1.0
author:
  - The os_image.composer authors (@os-image)
description:
  - Reads an image template, merges it over the default template of its operating system, checks the result, and writes
    C(template.json) into the build directory, which it makes.
  - All errors are reported at once, each with its file, line and YAML path.
  - Plain passwords of users are hashed at once and stored nowhere.
  - The fields of a template are described in C(docs/template-reference.md) of the collection.
extends_documentation_fragment:
  - os_image.composer._attributes.stage
  - os_image.composer._attributes.actiongroup_composer
  - os_image.composer._stage_options
options:
  template:
    description:
      - The image template, a YAML file on the build host. Use M(os_image.composer.image_template_copy) to bring one
        there from the controller.
    type: path
    required: true
  config_dir:
    description:
      - The directory on the build host that has the providers, as C(osv/{os}/{dist}/config.yml).
    type: path
    required: true
  work_dir:
    description:
      - The directory on the build host for build directories and installed trees. The build directory is made below
        it, as C({provider_id}/imagebuild/{systemConfig.name}).
    type: path
    required: true
  cache_dir:
    description:
      - The directory on the build host for downloaded packages and metadata.
    type: path
    required: true
  overrides:
    description:
      - Parts of a template, which are merged over the template by the rules by which that is merged over the default
        one.
    type: dict
    default: {}
  shown_paths:
    description:
      - Paths on the build host, or beginnings of paths, each with what stands for it in messages.
      - RV(os_image.composer.image_template_copy#module:shown_paths) leads from the copies to the files on the
        controller, which the user knows.
    type: dict
    default: {}
    version_added: 0.2.0
  asset_roots:
    description:
      - Directories on the build host that several templates share. A relative path in a template that names no file
        beside the template, or leaves its directory, may lead into them, or begin at one of them; the first one that
        has the file counts. The directory of the default template always is such a one.
    type: list
    elements: path
    default: []
    version_added: 0.2.0
  output_dir:
    description:
      - The directory on the build host in which os_image.composer.image_finalize will publish the image. When it is
        named, files that its file system cannot hold are told at once.
    type: path
    version_added: 0.2.0
  show:
    description:
      - Display the merged template as YAML, and in diff mode what it changes in the default template. Passwords are
        hidden, and what is empty is left out.
      - The action plugin of this module does it, so that the text can be read in a terminal and in AWX, and copied.
    type: bool
    default: false
    version_added: 0.2.0
seealso:
  - module: os_image.composer.image_template_copy
  - module: os_image.composer.pkg_resolve
"""

EXAMPLES = r"""
- name: Validate a template
  os_image.composer.image_template_validate:
    template: /srv/templates/debian12-x86_64-minimal-raw.yml
    config_dir: /srv/composer/config
    work_dir: /var/lib/os-image-composer
    cache_dir: /var/cache/os-image-composer
  register: image_template

- name: Display what would be built with another host name, and how that differs from the default template
  os_image.composer.image_template_validate:
    template: /srv/templates/debian12-x86_64-minimal-raw.yml
    config_dir: /srv/composer/config
    work_dir: /var/lib/os-image-composer
    cache_dir: /var/cache/os-image-composer
    overrides:
      systemConfig:
        hostname: kiosk
    show: true
  check_mode: true
  diff: true
"""

RETURN = r"""
build_dir:
  description: The build directory, which all other stages take.
  returned: success
  type: str
  sample: /var/lib/os-image-composer/debian-debian12-x86_64/imagebuild/minimal
provider_id:
  description: The operating system, release and architecture of the image.
  returned: success
  type: str
  sample: debian-debian12-x86_64
template:
  description: The merged template, without passwords.
  returned: success
  type: dict
  sample:
    image:
      name: minimal
      version: "1.0"
warnings:
  description: What is allowed, but perhaps not meant.
  returned: success
  type: list
  elements: str
  sample: []
errors:
  description: Everything that is wrong with the template.
  returned: failure
  type: list
  elements: dict
  contains:
    file:
      description: The file that has the error, or C(overrides).
      type: str
      sample: /srv/templates/minimal.yml
    line:
      description: The line in the file, from 1. 0 when there is none.
      type: int
      sample: 12
    path:
      description: The YAML path of the culprit in that file.
      type: str
      sample: disk.partitions[1].end
    message:
      description: What is wrong, why, and what to do about it.
      type: str
      sample: "Unknown key 'hostnam'. Did you mean 'hostname'?"
rebuild_reason:
  description: Why the stage did its work, in words. Empty when there was nothing to do.
  returned: success
  type: str
  sample: "template changed: systemConfig.hostname debian -> kiosk"
duration:
  description: Seconds that the stage took.
  returned: success
  type: float
  sample: 0.1
log_path:
  description: The log with all that the stage did, on the build host.
  returned: failure, once the stage had begun
  type: str
  sample: /var/lib/os-image-composer/debian-debian12-x86_64/imagebuild/minimal/log/image_template_validate.log
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.os_image.composer.plugins.module_utils._argspec import stage_argument_spec
from ansible_collections.os_image.composer.plugins.module_utils._stage import StageOptions
from ansible_collections.os_image.composer.plugins.module_utils._stage_module import run_stage_module
from ansible_collections.os_image.composer.plugins.module_utils._stages.image_template_validate import TemplateValidate
from ansible_collections.os_image.composer.plugins.module_utils._template.secrets import redacted


def main() -> None:
    """Run the stage as a module."""
    module = AnsibleModule(
        argument_spec=stage_argument_spec(
            {
                "template": {"type": "path", "required": True},
                "config_dir": {"type": "path", "required": True},
                "work_dir": {"type": "path", "required": True},
                "cache_dir": {"type": "path", "required": True},
                "overrides": {"type": "dict", "default": {}},
                "shown_paths": {"type": "dict", "default": {}},
                "asset_roots": {"type": "list", "elements": "path", "default": []},
                "output_dir": {"type": "path"},
                # The action plugin displays the result; nothing about it depends on this.
                "show": {"type": "bool", "default": False},
            },
        ),
        # Overrides may hold passwords: neither the system's log nor the result shows them. Declaring them as values
        # to hide would also hide every path that happens to contain one.
        no_log=True,
        supports_check_mode=True,
    )
    overrides = module.params["overrides"]
    module.params["overrides"] = redacted(overrides)

    def stage(params: t.Mapping[str, t.Any], options: StageOptions) -> TemplateValidate:
        return TemplateValidate.open(
            params["template"],
            config_dir=params["config_dir"],
            work_dir=params["work_dir"],
            cache_dir=params["cache_dir"],
            overrides=overrides,
            output_dir=params["output_dir"],
            asset_roots=params["asset_roots"],
            options=options,
        )

    run_stage_module(module, stage, shown_paths=module.params["shown_paths"])


if __name__ == "__main__":
    main()
