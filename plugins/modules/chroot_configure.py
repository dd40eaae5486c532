#!/usr/bin/python

# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroot_configure
short_description: Install the locked packages into a root tree and configure it
version_added: 0.1.0
author:
  - The os_image.composer authors (@os-image)
description:
  - Installs exactly the packages of C(packages.lock.json) into the root tree of the image, and then does everything
    that the template's C(systemConfig) asks for.
  - The tree is a stack of layers, each kept on the build host by the digest of what it is made from. The chroot
    environment, which is the provider's essential packages, is shared by all images of a provider. Changing a file, a
    user or the host name makes only the uppermost layer again.
  - Scripts of packages and of the template run in private namespaces which end with the module, without a network
    unless the template asks for it, and without a sight of the build host's files.
  - C(scripts.preInstall) runs in the chroot environment before the packages of the image are installed, and
    C(scripts.postInstall) after everything else. The initramfs is made once, after that.
  - An image does not keep what belongs to one machine. Its machine ID is empty, and its SSH host keys are generated at
    the first boot. So are the keys and identities that packages make when they are installed, such as those of
    C(ssl-cert), C(nvme-cli), C(open-iscsi) and C(dropbear), see RV(machine_secrets). Private keys in the tree that are
    no file of the template are told in RV(shared_secrets).
  - Package sources are left in the image for repositories that are named by URL, not for mirrors of the build host.
extends_documentation_fragment:
  - os_image.composer._attributes.stage
  - os_image.composer._attributes.actiongroup_composer
  - os_image.composer._stage_options
  - os_image.composer._stage_options.build_dir
options:
  install_twice:
    description:
      - Make each layer of the tree a second time, and tell each file that is another one then in RV(shared_secrets). It
        may hold a secret that no table knows. This takes as long again as making the tree. What was compared once is
        not compared again.
    type: bool
    default: false
    version_added: 0.2.0
  strict:
    description:
      - What would be in RV(shared_secrets) is an error. This includes O(install_twice).
    type: bool
    default: false
    version_added: 0.2.0
notes:
  - The module must run as root.
seealso:
  - module: os_image.composer.pkg_fetch
  - module: os_image.composer.disk_compose
"""

EXAMPLES = r"""
- name: Install and configure the root tree of an image
  os_image.composer.chroot_configure:
    build_dir: "{{ image_template.build_dir }}"
  become: true

- name: Make all of it again
  os_image.composer.chroot_configure:
    build_dir: "{{ image_template.build_dir }}"
    rebuild: always
  become: true
"""

RETURN = r"""
installed:
  description: How many packages the tree holds.
  returned: success, in check mode as far as it is known
  type: int
  sample: 155
chrootenv_reused:
  description: Whether the chroot environment was there already, as a layer or as a tarball.
  returned: success, in check mode as far as it is known
  type: bool
  sample: true
layers:
  description: The layers of the tree, the lowest first.
  returned: success, in check mode as far as it is known
  type: list
  elements: dict
  contains:
    name:
      description: What the layer is, one of V(chrootenv), V(packages), V(configuration), and V(initramfs).
      returned: success
      type: str
      sample: chrootenv
    digest:
      description: The SHA-256 over everything that the layer is made from.
      returned: success
      type: str
      sample: 7c2f09a2b3ad0a1d1e6fb8bfb76a1cf1dba2c5b6f8a5d8be10f31f9a7a3d9c51
    path:
      description: The directory of the layer's files.
      returned: success
      type: str
      sample: /var/lib/os-image-composer/debian-debian12-x86_64/chrootenv/7c2f09a2b3ad0a1d/root
machine_secrets:
  description: The files that were taken out of the tree because each machine makes its own, and who makes them.
  returned: success
  type: dict
  sample:
    /etc/nvme/hostnqn: machine-secret-nvme.service
shared_secrets:
  description:
    - What all machines that are made from the image would share and should not, or could not make, as sentences. The
      manifest has them among its warnings.
  returned: success
  type: list
  elements: str
  sample:
    - All machines that are made from the image share /etc/mandos/seckey.txt, an OpenPGP private key.
rebuild_reason:
  description: Why the stage did its work, in words. Empty when there was nothing to do.
  returned: success
  type: str
  sample: "package lock changed: openssl 3.0.17-1 -> 3.0.18-1"
duration:
  description: Seconds that the stage took.
  returned: success
  type: float
  sample: 15.3
log_path:
  description: The log with all that the stage did, on the build host.
  returned: failure, once the stage had begun
  type: str
  sample: /var/lib/os-image-composer/debian-debian12-x86_64/imagebuild/minimal/log/chroot_configure.log
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.os_image.composer.plugins.module_utils._argspec import BUILD_DIR, stage_argument_spec
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory
from ansible_collections.os_image.composer.plugins.module_utils._stage_module import run_stage_module
from ansible_collections.os_image.composer.plugins.module_utils._stages.chroot_configure import ChrootConfigure


def main() -> None:
    """Run the stage as a module."""
    module = AnsibleModule(
        argument_spec=stage_argument_spec(
            BUILD_DIR,
            {
                "install_twice": {"type": "bool", "default": False},
                "strict": {"type": "bool", "default": False},
            },
        ),
        supports_check_mode=True,
    )
    run_stage_module(
        module,
        lambda params, options: ChrootConfigure(
            BuildDirectory(params["build_dir"]),
            options,
            strict=params["strict"],
            install_twice=params["install_twice"],
        ),
    )


if __name__ == "__main__":
    main()
