# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: configuration
short_description: Read the global configuration of the composer
version_added: 0.2.0
author:
  - The os_image.composer authors (@os-image)
description:
  - Returns settings of the global configuration, a YAML file on the controller. The roles' defaults are these
    settings, so what the inventory or extra variables say wins over them.
  - Without O(file), the first of these files counts - C(os-image-composer.yml) beside the playbook,
    C(os-image-composer.yml) in the current directory, C(~/.config/os-image-composer/config.yml),
    C(/etc/os-image-composer/config.yml), each also with the suffix C(.yaml), and in the end the collection's own
    C(config/os-image-composer.yml).
  - Settings that the file leaves out are those of the collection's own. Unknown keys and values out of range are
    errors, all of which are told at once, each with its line.
  - The file must not be a symbolic link, and is not templated. Relative paths in it begin at its own directory.
options:
  _terms:
    description:
      - Names of settings. Known are V(workers), V(config_dir), V(cache_dir), V(work_dir), V(temp_dir),
        V(logging.level) and V(logging.file).
    type: list
    elements: str
    required: true
  file:
    description:
      - The configuration file. A relative path is looked up beside the playbook, then in the current directory.
    type: str
    env:
      - name: OS_IMAGE_COMPOSER_CONFIG
    vars:
      - name: os_image_composer_config
seealso:
  - name: Global configuration
    description: What the settings are, where the file is looked for, and what wins over it.
    link: https://github.com/os-image/os_image.composer/tree/main/docs/configuration.md
"""

EXAMPLES = r"""
- name: Tell how many workers the stages use
  ansible.builtin.debug:
    msg: "{{ lookup('os_image.composer.configuration', 'workers') }}"

- name: Tell which level the logs of a certain configuration have
  ansible.builtin.debug:
    msg: "{{ lookup('os_image.composer.configuration', 'logging.level', file='/srv/composer/configuration.yml') }}"
"""

RETURN = r"""
_raw:
  description: The values of the settings, in the order of the names.
  type: list
  elements: raw
  sample:
    - 8
"""

import typing as t

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.os_image.composer.plugins.module_utils._errors import ComposerError
from ansible_collections.os_image.composer.plugins.plugin_utils._configuration import (
    find_configuration,
    read_configuration,
    setting_of,
)
from ansible_collections.os_image.composer.plugins.plugin_utils._controller_version import require_version


class LookupModule(LookupBase):
    """Returns settings of the global configuration."""

    def run(self, terms: list[str], variables: dict[str, t.Any] | None = None, **kwargs: t.Any) -> list[t.Any]:
        """Run the lookup; see M(ansible.plugins.lookup)."""
        require_version()
        self.set_options(var_options=variables, direct=kwargs)
        directories = [str((variables or {}).get("playbook_dir") or "."), "."]
        try:
            settings = read_configuration(find_configuration(self.get_option("file"), directories))
            return [setting_of(settings, str(term)) for term in terms]
        except ComposerError as exc:
            raise AnsibleLookupError(str(exc)) from exc


__all__ = ("LookupModule",)
