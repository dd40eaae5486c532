#!/usr/bin/python

# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pkg_fetch
short_description: Fetch the locked packages of an image into the package cache
version_added: 0.1.0
author:
  - The os_image.composer authors (@os-image)
description:
  - Downloads the packages that C(packages.lock.json) names into the package cache of the build host, over several
    connections, continuing downloads that were cut off, and checks the size and digest of each.
  - Files that are in the cache already are checked and kept; damaged ones are replaced.
  - A time zone, locale, unit or login shell of the template that no package brings is an error, before anything is
    installed. Packages' lists of files tell; what scripts of packages make is left to
    M(os_image.composer.chroot_configure), and so is everything when the template has C(scripts.preInstall).
extends_documentation_fragment:
  - os_image.composer._attributes.stage
  - os_image.composer._attributes.actiongroup_composer
  - os_image.composer._stage_options
  - os_image.composer._stage_options.build_dir
  - os_image.composer._download_options
options:
  offline:
    description:
      - Use the package cache alone. Packages that are not in it are named in the error message.
    type: bool
    default: false
  peer_caches:
    description:
      - Base URLs of other build hosts' package caches, asked before the repositories. What comes from there is checked
        against the lock like everything else.
    type: list
    elements: str
    default: []
seealso:
  - module: os_image.composer.pkg_resolve
  - module: os_image.composer.chroot_configure
"""

EXAMPLES = r"""
- name: Fetch the packages of an image
  os_image.composer.pkg_fetch:
    build_dir: "{{ image_template.build_dir }}"
    workers: 16

- name: Build without a network, from the cache alone
  os_image.composer.pkg_fetch:
    build_dir: "{{ image_template.build_dir }}"
    offline: true
"""

RETURN = r"""
cached:
  description: How many packages were in the cache already.
  returned: success, in check mode as far as it is known
  type: int
  sample: 155
downloaded:
  description: How many packages were downloaded.
  returned: success, in check mode as far as it is known
  type: int
  sample: 0
bytes:
  description: How many bytes were downloaded.
  returned: success, in check mode as far as it is known
  type: int
  sample: 0
verified:
  description: How many packages have the size and the digest that the lock demands.
  returned: success, in check mode as far as it is known
  type: int
  sample: 155
rebuild_reason:
  description: Why the stage did its work, in words. Empty when there was nothing to do.
  returned: success
  type: str
  sample: "package lock changed: openssl 3.0.17-1 -> 3.0.18-1"
duration:
  description: Seconds that the stage took.
  returned: success
  type: float
  sample: 1.2
log_path:
  description: The log with all that the stage did, on the build host.
  returned: failure, once the stage had begun
  type: str
  sample: /var/lib/os-image-composer/debian-debian12-x86_64/imagebuild/minimal/log/pkg_fetch.log
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.os_image.composer.plugins.module_utils._argspec import (
    BUILD_DIR,
    DOWNLOAD_OPTIONS,
    stage_argument_spec,
)
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory
from ansible_collections.os_image.composer.plugins.module_utils._download.model import limits_of
from ansible_collections.os_image.composer.plugins.module_utils._stage_module import run_stage_module
from ansible_collections.os_image.composer.plugins.module_utils._stages.pkg_fetch import PackageFetch


def main() -> None:
    """Run the stage as a module."""
    module = AnsibleModule(
        argument_spec=stage_argument_spec(
            BUILD_DIR,
            DOWNLOAD_OPTIONS,
            {
                "offline": {"type": "bool", "default": False},
                "peer_caches": {"type": "list", "elements": "str", "default": []},
            },
        ),
        supports_check_mode=True,
    )
    run_stage_module(
        module,
        lambda params, options: PackageFetch(
            BuildDirectory(params["build_dir"]),
            options,
            offline=params["offline"],
            limits=limits_of(params),
            peer_caches=params["peer_caches"],
        ),
    )


if __name__ == "__main__":
    main()
