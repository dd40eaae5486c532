#!/usr/bin/python

# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: build_host_info
short_description: Tell what a build host has and can do
version_added: 0.1.0
author:
  - The os_image.composer authors (@os-image)
description:
  - Looks for the programs, Python libraries, kernel features and the space that building images needs.
  - Kernel features are tried out in namespaces that are gone when the module ends.
extends_documentation_fragment:
  - os_image.composer._attributes
attributes:
  check_mode:
    support: full
    details: This module does not change the host.
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
  work_dir:
    description:
      - The directory in which images will be built. When it does not exist, the nearest directory above it is looked
        at.
    type: path
    default: /var/lib/os-image-composer/work
  space:
    description:
      - Directories of the build host, and how much must be free there. Numbers are bytes; V(4G) and the like is
        understood.
    type: dict
    default: {}
  packages:
    description:
      - Packages of the build host's distribution that should be installed.
      - Keys are families of distributions (V(debian)), a family and a machine (V(debian-x86_64)), or a family and one
        of O(foreign_architectures) (V(debian-for-aarch64)); values are lists of names. What does not fit the build
        host is ignored.
    type: dict
    default: {}
  boot_test_packages:
    description:
      - Further packages in the form of O(packages).
    type: dict
    default: {}
  purposes:
    description:
      - What the build host is for. The packages that this collection needs for that should be installed, beside
        O(packages); the module knows what the host's distribution calls them.
      - V(build) is to build images, V(boot_test) to boot them in virtual machines, V(picture) to draw dependency
        graphs.
    type: list
    elements: str
    choices:
      - build
      - boot_test
      - picture
    default: []
    version_added: 0.2.0
  extra_packages:
    description:
      - Names of further packages, whatever the distribution is.
    type: list
    elements: str
    default: []
  foreign_architectures:
    description:
      - Architectures of images that will be built here, beside the host's own. Their programs run through an emulator,
        which the kernel has to know.
    type: list
    elements: str
    choices:
      - aarch64
      - x86_64
    default: []
    version_added: 0.2.0
seealso:
  - module: os_image.composer.image_template_validate
"""

EXAMPLES = r"""
- name: Look at the build hosts
  os_image.composer.build_host_info:
    work_dir: /srv/images/work
    space:
      /srv/images/work: 10G
    purposes: [build]
  become: true
  register: build_host

- name: Stop where images cannot be built
  ansible.builtin.assert:
    that: build_host.problems | length == 0
    fail_msg: "{{ build_host.problems | join('\n') }}"
"""

RETURN = r"""
distribution:
  description: The distribution of the build host.
  returned: success
  type: dict
  sample:
    id: debian
    version: "12"
    name: Debian GNU/Linux 12 (bookworm)
    family: debian
architecture:
  description: The machine's architecture, as C(uname -m) says it.
  returned: success
  type: str
  sample: x86_64
architectures:
  description:
    - The architectures whose programs the host runs, itself or through an emulator, so that images can be built for
      them.
  returned: success
  type: list
  elements: str
  sample: [aarch64, x86_64]
processors:
  description: How many processors the module may use.
  returned: success
  type: int
  sample: 8
memory:
  description: The size of the main memory in bytes.
  returned: success
  type: int
  sample: 16777216000
root:
  description: Whether the module runs as root.
  returned: success
  type: bool
  sample: true
python:
  description: The interpreter, and those of the needed libraries that it can import.
  returned: success
  type: dict
  sample:
    executable: /usr/bin/python3
    version: 3.11.2
    libraries:
      yaml: "6.0"
tools:
  description: The programs that were found, each with its path and version.
  returned: success
  type: dict
  sample:
    sfdisk:
      path: /usr/sbin/sfdisk
      version: sfdisk from util-linux 2.38.1
kernel:
  description: The kernel's release, which features work, and what the first that does not was refused with.
  returned: success
  type: dict
  sample:
    complaint: ""
    release: 6.1.0-40-amd64
    namespaces: true
    overlay: true
    proc: true
    tmpfs: true
kvm:
  description:
    - Whether there is a device for hardware virtualization, and whether a virtual machine can be made with it. That
      does not prove that a guest runs; M(os_image.composer.image_boot_test) tries that.
  returned: success
  type: dict
  sample:
    device: true
    accessible: true
free_space:
  description: The free bytes of each directory of O(space).
  returned: success
  type: dict
  sample:
    /srv/images/work: 53687091200
missing_tools:
  description: Programs that are not there.
  returned: success
  type: list
  elements: str
  sample: [sbsign]
missing_libraries:
  description: Python libraries that the interpreter cannot import, or of which it has a version that is too old.
  returned: success
  type: list
  elements: str
  sample: [solv]
missing_packages:
  description:
    - Those of O(packages), O(boot_test_packages) and O(extra_packages), and of the packages for O(purposes), that are
      not installed.
  returned: success
  type: list
  elements: str
  sample: [python3-solv]
missing_emulators:
  description:
    - Those of O(foreign_architectures) whose programs the host cannot run, each with the reason.
  returned: success
  type: dict
  sample:
    aarch64: no emulator for it is registered with the kernel
problems:
  description:
    - What prevents building images here, beside missing programs, libraries and emulators, in full sentences. Empty
      when nothing does.
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.text.formatters import human_to_bytes
from ansible_collections.os_image.composer.plugins.module_utils._build_host import probe_build_host
from ansible_collections.os_image.composer.plugins.module_utils._emulation import ARCHITECTURES
from ansible_collections.os_image.composer.plugins.module_utils._host_tools.table import PURPOSES
from ansible_collections.os_image.composer.plugins.module_utils._module import failing


def main() -> None:
    """Tell what the build host has."""
    module = AnsibleModule(
        argument_spec={
            "work_dir": {"type": "path", "default": "/var/lib/os-image-composer/work"},
            "space": {"type": "dict", "default": {}},
            "packages": {"type": "dict", "default": {}},
            "boot_test_packages": {"type": "dict", "default": {}},
            "extra_packages": {"type": "list", "elements": "str", "default": []},
            "purposes": {"type": "list", "elements": "str", "choices": list(PURPOSES), "default": []},
            "foreign_architectures": {
                "type": "list",
                "elements": "str",
                "choices": list(ARCHITECTURES),
                "default": [],
            },
        },
        supports_check_mode=True,
    )
    space = {}
    for path, size in module.params["space"].items():
        try:
            space[path] = human_to_bytes(size)
        except ValueError:
            module.fail_json(msg=f"The space for {path} is {size!r}, which is not a size such as 4G.")
    params = module.params
    with failing(module):
        facts = probe_build_host(
            work_dir=params["work_dir"],
            space=space,
            packages=[params["packages"], params["boot_test_packages"], {"all": params["extra_packages"]}],
            purposes=params["purposes"],
            foreign_architectures=params["foreign_architectures"],
        )
    module.exit_json(changed=False, **facts)


if __name__ == "__main__":
    main()
