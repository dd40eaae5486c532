#!/usr/bin/python

# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_finalize
short_description: Convert, compress, describe and publish a finished image
version_added: 0.1.0
author:
  - The os_image.composer authors (@os-image)
description:
  - Makes the artifacts that C(disk.artifacts) of the template asks for, and publishes them in the output directory
    with a manifest, an SPDX 2.3 bill of materials, C(packages.lock.json), C(chrootpkgs.dot) and C(SHA256SUMS).
    When the template asks for none, the uncompressed raw image is published. Of an ISO, the ISO is published, and of an
    initrd the C(.initrd.img) and its kernel, C(.vmlinuz).
  - With C(systemConfig.signing.checksums) in the template, C(SHA256SUMS) and the manifest are signed. By an OpenPGP
    key, their signatures are C(SHA256SUMS.asc) and C({image.name}-{image.version}.manifest.json.asc), detached and
    dated like the image; by a key on a PKCS#11 token they are detached CMS signatures, and end with C(.p7s).
  - With C(systemConfig.signing.provenance) in the template, C({image.name}-{image.version}.provenance.json) tells from
    what and how the artifacts were made, as an in-toto statement with a SLSA provenance; when there is a key, it is
    signed as well, in the DSSE envelope C({image.name}-{image.version}.provenance.dsse.json).
  - Files get their final names only when all of them are whole. When anything fails before, what was published last is
    as it was.
  - Artifacts are called C({image.name}-{image.version}.{type}), with C(.gz), C(.xz) or C(.zst) behind it when they are
    compressed.
extends_documentation_fragment:
  - os_image.composer._attributes.stage
  - os_image.composer._attributes.actiongroup_composer
  - os_image.composer._stage_options
  - os_image.composer._stage_options.build_dir
options:
  output_dir:
    description:
      - The directory on the build host that gets the finished files. It is made when it does not exist.
      - Artifacts that the last publication of the same image and version left there, and that the template does not
        ask for any longer, are removed. Other files are not touched.
      - Each image should have a directory of its own, as C(packages.lock.json), C(chrootpkgs.dot) and C(SHA256SUMS)
        have the same names for all. It must have one when its checksums are signed, and those of the other images are
        not, or not with the same key.
    type: path
    required: true
  keep_workspace:
    description:
      - Keep the image in the build directory.
      - With V(false), it is removed after the publication to save space. A later run still finds that nothing has
        changed; when something has, the image is composed again.
    type: bool
    default: true
  signing_passphrase:
    description:
      - The passphrase of the OpenPGP key that C(systemConfig.signing.checksums) of the template names, or the PIN of
        the token. It is in no argument of a program, document or log.
    type: str
    version_added: 0.2.0
  gnupg_home:
    description:
      - The GnuPG home on the build host that has the key which C(systemConfig.signing.checksums.fingerprint) of the
        template names. Its agent, which must be running, has the secret half. By default that is C(/root/.gnupg).
    type: path
    version_added: 0.2.0
  builder_id:
    description:
      - A URI that names who builds, for the provenance. By default, that of this collection.
    type: str
    version_added: 0.2.0
  secure_boot_passphrase:
    description:
      - The passphrase of the private key for Secure Boot, or the PIN of its token. It is needed where the boot chain
        has to be signed again, as O(keep_workspace=false) has removed the signed image.
    type: str
    version_added: 0.2.0
  output_mode:
    description:
      - The permissions of the published files, in octal digits.
    type: str
    default: "0640"
    version_added: 0.2.0
  output_owner:
    description:
      - The user, by name or number, to whom the published files belong. Empty for the user who runs the module.
    type: str
    default: ""
    version_added: 0.2.0
  output_group:
    description:
      - The group, by name or number, of the published files. Empty for the group that the output directory has, so
        that whoever may look into a directory by its group can read what is in it.
    type: str
    default: ""
    version_added: 0.2.0
  output_shared:
    description:
      - Whether others may write into the output directory, such as the members of a group that publishes, or a server
        that shows the files of its clients as those of another user.
      - With V(false), it is an error when the output directory, or a directory that it lies in, belongs to somebody
        else than root, the user who runs the module, and who has become that by sudo, or when others can write to it.
    type: bool
    default: false
    version_added: 0.2.0
notes:
  - An uncompressed raw image is published without a second copy of its data where the file system allows that. On btrfs
    and xfs it shares its blocks with the image in the build directory until one of them is written to. On other file
    systems it is a hard link when the output directory and the build directory are on the same one. Stages never write
    into a finished image, so a later build does not change a published file; but whoever boots the published image for
    writing also changes the one in the build directory, which M(os_image.composer.disk_compose) notices and repairs.
    Boot a copy, or use C(snapshot=on) of QEMU.
  - Compressed artifacts depend on the content and on the version of zlib, liblzma or libzstd alone. A C(.zst) file has
    several frames, so programs that unpack only the first one (some Python libraries do by default) are not fit for it.
  - The manifest and the bill of materials hold no times and no names of the build host or of its mirrors.
    C(packages.lock.json) does hold the URLs from which the packages came.
seealso:
  - module: os_image.composer.image_sign
  - module: os_image.composer.image_boot_test
"""

EXAMPLES = r"""
- name: Publish the image
  os_image.composer.image_finalize:
    build_dir: "{{ image_template.build_dir }}"
    output_dir: /srv/images/appliance

- name: Publish the image and remove the one in the build directory
  os_image.composer.image_finalize:
    build_dir: "{{ image_template.build_dir }}"
    output_dir: /srv/images/appliance
    keep_workspace: false
"""

RETURN = r"""
artifacts:
  description: The published artifacts, in the order of the template.
  returned: success, in check mode as far as it is known
  type: list
  elements: dict
  contains:
    path:
      description: Absolute path on the build host.
      type: str
    format:
      description:
        - One of V(raw), V(qcow2), V(vhd), V(vhdx), V(vmdk), V(vdi); for images that are no disks V(iso), or V(initrd)
          and V(kernel).
      type: str
    subformat:
      description: The variant of V(vhd) or V(vmdk), for example V(streamOptimized); V(null) for other formats.
      type: str
    compression:
      description: One of V(gz), V(xz), V(zstd); V(null) when the artifact is not compressed as a whole.
      type: str
    level:
      description: The level of the compression; V(null) when the artifact is not compressed as a whole.
      type: int
    size:
      description: Size in bytes.
      type: int
    sha256:
      description: SHA-256 of the file.
      type: str
  sample:
    - path: /srv/images/appliance/appliance-1.0.raw.zst
      format: raw
      subformat: null
      compression: zstd
      level: 3
      size: 291508271
      sha256: 352a010e9ef7e832273842dfd6bd3c5e9cbcf705b71191d4a8c6d3dc69779c29
manifest:
  description: Absolute path of the manifest.
  returned: success, in check mode as far as it is known
  type: str
  sample: /srv/images/appliance/appliance-1.0.manifest.json
manifest_signature:
  description: Absolute path of the manifest's signature. Empty when the template names no key.
  returned: success, in check mode as far as it is known
  type: str
  sample: /srv/images/appliance/appliance-1.0.manifest.json.asc
provenance:
  description:
    - Absolute path of the provenance. Empty when C(systemConfig.signing.provenance) does not ask for it.
  returned: success, in check mode as far as it is known
  type: str
  sample: /srv/images/appliance/appliance-1.0.provenance.json
provenance_envelope:
  description: Absolute path of the signed provenance. Empty when there is none, or the template names no key.
  returned: success, in check mode as far as it is known
  type: str
  sample: /srv/images/appliance/appliance-1.0.provenance.dsse.json
sbom:
  description: Absolute path of the SPDX bill of materials.
  returned: success, in check mode as far as it is known
  type: str
  sample: /srv/images/appliance/appliance-1.0.spdx.json
cyclonedx:
  description:
    - Absolute path of the CycloneDX bill of materials. Empty when C(systemConfig.sbom.cyclonedx) does not ask for one.
  returned: success, in check mode as far as it is known
  type: str
  sample: /srv/images/appliance/appliance-1.0.cdx.json
enrolment:
  description: Absolute paths of what enrols the keys for Secure Boot in firmware, certificates, signature lists and
    signed updates. Empty when the template names no keys.
  returned: success
  type: list
  elements: str
  sample:
    - /srv/images/appliance/appliance-1.0.db.cer
    - /srv/images/appliance/appliance-1.0.db.auth
signature:
  description: Absolute path of the signature of C(SHA256SUMS). Empty when the template names no key.
  returned: success, in check mode as far as it is known
  type: str
  sample: /srv/images/appliance/SHA256SUMS.asc
signed_by:
  description:
    - The fingerprint of the key that signed C(SHA256SUMS); of a key on a token, the SHA-256 of its certificate. Empty
      when the template names no key.
  returned: success, in check mode as far as it is known
  type: str
  sample: 0B2C1D9F6E0F5A3B6D4C8E7F9A1B2C3D4E5F6071
build_id:
  description: What the image was built from, as one digest. The same template and lock have the same.
  returned: success, in check mode as far as it is known
  type: str
  sample: 0b2c1d9f6e0f5a3b6d4c8e7f9a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d
rebuild_reason:
  description: Why the stage did its work, in words. Empty when there was nothing to do.
  returned: success
  type: str
  sample: "artifacts changed: appliance-1.0.qcow2 added"
duration:
  description: Seconds that the stage took.
  returned: success
  type: float
  sample: 4.2
log_path:
  description: The log with all that the stage did, on the build host.
  returned: failure, once the stage had begun
  type: str
  sample: /var/lib/os-image-composer/debian-debian12-x86_64/imagebuild/minimal/log/image_finalize.log
"""

import functools

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.os_image.composer.plugins.module_utils._argspec import (
    BUILD_DIR,
    SECURE_BOOT_OPTIONS,
    stage_argument_spec,
)
from ansible_collections.os_image.composer.plugins.module_utils._artifact.access import Access
from ansible_collections.os_image.composer.plugins.module_utils._build_directory import BuildDirectory
from ansible_collections.os_image.composer.plugins.module_utils._stage_module import run_stage_module
from ansible_collections.os_image.composer.plugins.module_utils._stages.again import compose_again, sign_again
from ansible_collections.os_image.composer.plugins.module_utils._stages.image_finalize import ImageFinalize


def main() -> None:
    """Run the stage as a module."""
    module = AnsibleModule(
        argument_spec=stage_argument_spec(
            BUILD_DIR,
            SECURE_BOOT_OPTIONS,
            {
                "output_dir": {"type": "path", "required": True},
                "keep_workspace": {"type": "bool", "default": True},
                "signing_passphrase": {"type": "str", "no_log": True},
                "gnupg_home": {"type": "path"},
                "builder_id": {"type": "str"},
                "output_mode": {"type": "str", "default": "0640"},
                "output_owner": {"type": "str", "default": ""},
                "output_group": {"type": "str", "default": ""},
                "output_shared": {"type": "bool", "default": False},
            },
        ),
        supports_check_mode=True,
    )
    run_stage_module(
        module,
        lambda params, options: ImageFinalize(
            BuildDirectory(params["build_dir"]),
            options,
            output_dir=params["output_dir"],
            image_stages=(
                compose_again,
                functools.partial(sign_again, passphrase=params["secure_boot_passphrase"]),
            ),
            keep_workspace=params["keep_workspace"],
            passphrase=params.get("signing_passphrase"),
            gnupg_home=params.get("gnupg_home"),
            builder_id=params.get("builder_id"),
            access=Access.of(
                params["output_mode"],
                params["output_owner"],
                params["output_group"],
                is_shared=params["output_shared"],
            ),
        ),
    )


if __name__ == "__main__":
    main()
