#!/usr/bin/python

# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pkg_resolve
short_description: Decide which packages an image gets, and lock them
version_added: 0.1.0
author:
  - The os_image.composer authors (@os-image)
description:
  - Brings the signed metadata of the provider's and the template's repositories up to date, resolves the essential
    packages of the provider, the kernel, the bootloader and the packages of the template against it, and writes
    C(packages.lock.json) with every package, its version, digest, place and reason, in the order of installation.
  - For Debian and its descendants the answer is what C(apt-get install) without recommended packages would install in
    an empty system. Where apt's manner of choosing leads to packages that do not fit together, a solver decides.
  - Packages may be asked for as C(name), C(name=version), C(name-version), C(name_version), C(name:arch),
    C(name/repository), and as globs such as C(firmware-*). A version may be given without its epoch and its Debian
    revision, and after an equals sign as a glob.
  - C(systemConfig.kernel.version) of the template selects among the versions of the kernel packages; its
    beginning (C(6.12)) is enough.
  - The dependency graph is written in Graphviz' language as C(chrootpkgs.dot), grouped and coloured by the reason for
    which each package is in the image, and as C(chrootpkgs.svg) in the build directory where C(graphviz) is installed.
extends_documentation_fragment:
  - os_image.composer._attributes.stage
  - os_image.composer._attributes.actiongroup_composer
  - os_image.composer._stage_options
  - os_image.composer._stage_options.build_dir
  - os_image.composer._download_options
options:
  mirrors:
    description:
      - URLs of mirrors by the names that repositories use, for example C(debian) and C(debian-security). The name of a
        repository that has a URL stands for it as well, so that a vendor's repository can be had from a mirror of
        your own; it is still verified with the vendor's keys.
      - For a mirror that is not named here the build host's own package sources are used. On a host with C(.repo) files
        it is the repository with that id.
    type: dict
    default: {}
  lock_file:
    description:
      - A C(packages.lock.json) of an earlier build on the target. Exactly its packages are used, and nothing is
        resolved. It has to be of the same provider, and made for all packages that the template asks for.
    type: path
  dot_file:
    description:
      - Another file that gets the dependency graph.
    type: path
  graph:
    description:
      - What of the dependency graph is shown. V(requested) has what the template, the kernel and the bootloader bring,
        and the essential packages with all that they need as one box. V(full) has every package. V(why:PACKAGE) has the
        shortest chain to a package from each requested one that needs it, for example V(why:libx11-6).
    type: str
    default: requested
  offline:
    description:
      - Use the metadata that an earlier run has left on the build host. It is verified again, and still has to be
        valid.
    type: bool
    default: false
  refresh_timeout:
    description:
      - The most seconds that bringing the metadata of all repositories up to date may take.
    type: float
    default: 1800
notes:
  - In check mode the metadata on the build host is used, as with O(offline=true).
seealso:
  - module: os_image.composer.image_template_validate
  - module: os_image.composer.pkg_fetch
"""

EXAMPLES = r"""
- name: Resolve the packages of an image
  os_image.composer.pkg_resolve:
    build_dir: "{{ image_template.build_dir }}"

- name: Resolve against a local mirror, and keep the dependency graph
  os_image.composer.pkg_resolve:
    build_dir: "{{ image_template.build_dir }}"
    mirrors:
      debian: http://mirror.example.com/debian
      debian-security: http://mirror.example.com/debian-security
    dot_file: /srv/images/packages.dot

- name: Build exactly what was built before
  os_image.composer.pkg_resolve:
    build_dir: "{{ image_template.build_dir }}"
    lock_file: /srv/images/2026-01/packages.lock.json
"""

RETURN = r"""
lock_file:
  description: The package lock.
  returned: success, in check mode as far as it is known
  type: str
  sample: /var/lib/os-image-composer/debian-debian12-x86_64/imagebuild/minimal/packages.lock.json
packages:
  description: How many packages the image gets.
  returned: success, in check mode as far as it is known
  type: int
  sample: 155
download_size:
  description: How many bytes all of them have together.
  returned: success, in check mode as far as it is known
  type: int
  sample: 115343360
package_changes:
  description: The difference to the lock that was there before. Everything is empty when nothing was done.
  returned: success, in check mode as far as it is known
  type: dict
  contains:
    added:
      description: Packages that are new, with their versions.
      returned: success
      type: list
      elements: str
    removed:
      description: Packages that are gone, with the versions that they had.
      returned: success
      type: list
      elements: str
    changed:
      description: Packages that have other versions.
      returned: success
      type: list
      elements: str
  sample:
    added: [vim-tiny 2:9.0.1378-2]
    removed: []
    changed: [openssl 3.0.17-1 -> 3.0.18-1]
older_versions:
  description: Packages that nobody asked for in a version and that are older than they would be otherwise, with the
    package that needs it so.
  returned: success, in check mode as far as it is known
  type: list
  elements: str
  sample: [libsystemd0 252.36-1 in place of 252.39-1, which systemd 252.36-1 needs]
dot_file:
  description: The dependency graph.
  returned: success, in check mode as far as it is known
  type: str
  sample: /var/lib/os-image-composer/debian-debian12-x86_64/imagebuild/minimal/chrootpkgs.dot
svg_file:
  description: The dependency graph, drawn. Empty when C(graphviz) is not installed, or takes too long.
  returned: success
  type: str
  sample: /var/lib/os-image-composer/debian-debian12-x86_64/imagebuild/minimal/chrootpkgs.svg
rebuild_reason:
  description: Why the stage did its work, in words. Empty when there was nothing to do.
  returned: success
  type: str
  sample: "requested packages changed: vim-tiny (system) added"
duration:
  description: Seconds that the stage took.
  returned: success
  type: float
  sample: 0.6
log_path:
  description: The log with all that the stage did, on the build host.
  returned: failure, once the stage had begun
  type: str
  sample: /var/lib/os-image-composer/debian-debian12-x86_64/imagebuild/minimal/log/pkg_resolve.log
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.os_image.composer.plugins.module_utils._argspec import (
    BUILD_DIR,
    DOWNLOAD_OPTIONS,
    stage_argument_spec,
)
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory
from ansible_collections.os_image.composer.plugins.module_utils._download.model import limits_of
from ansible_collections.os_image.composer.plugins.module_utils._resolver.picture import View
from ansible_collections.os_image.composer.plugins.module_utils._stage_module import run_stage_module
from ansible_collections.os_image.composer.plugins.module_utils._stages.pkg_resolve import PackageResolve


def main() -> None:
    """Run the stage as a module."""
    module = AnsibleModule(
        argument_spec=stage_argument_spec(
            BUILD_DIR,
            DOWNLOAD_OPTIONS,
            {
                "mirrors": {"type": "dict", "default": {}},
                "lock_file": {"type": "path"},
                "dot_file": {"type": "path"},
                "graph": {"type": "str", "default": "requested"},
                "offline": {"type": "bool", "default": False},
                "refresh_timeout": {"type": "float", "default": 1800},
            },
        ),
        supports_check_mode=True,
    )
    run_stage_module(
        module,
        lambda params, options: PackageResolve(
            BuildDirectory(params["build_dir"]),
            options,
            mirrors=params["mirrors"],
            lock_file=params["lock_file"],
            dot_file=params["dot_file"],
            view=View.parse(params["graph"]),
            offline=params["offline"],
            limits=limits_of(params),
            refresh_timeout=params["refresh_timeout"],
        ),
    )


if __name__ == "__main__":
    main()
