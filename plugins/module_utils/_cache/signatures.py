# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Signatures of packages themselves, for the families that have them.

Packages of the DEB family have none: the digests of the signed metadata stand for them.
"""

from __future__ import annotations

import os
import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._build_directory import Facts
from ansible_collections.os_image.composer.plugins.module_utils._command import CommandRunner
from ansible_collections.os_image.composer.plugins.module_utils._repository.keys import with_kept_keys
from ansible_collections.os_image.composer.plugins.module_utils._repository.rpm_signature import (
    SignedRepository,
    verify_packages,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.document import TemplateDocument


def check_rpm_signatures(
    document: TemplateDocument, packages: t.Sequence[Facts], *, runner: CommandRunner, workers: int
) -> int:
    """Check the packages of a lock, each with the keys of its own repository; returns how many were checked.

    Repositories with C(gpgcheck: false) are left out.

    :param packages: C(packages) of the lock; their files are in the cache.
    :raises SignatureError: A package is not signed as it should be; the message names it.
    """
    wanted = {}
    for entry in document.provider.repositories:
        if not entry.gpgcheck:
            continue
        repository = with_kept_keys(entry, metadata_dir=document.metadata_dir)
        signed = SignedRepository(repository.name, repository.keys, repository.fingerprints)
        wanted[signed] = {
            f"{package['name']} {package['version']}": os.path.join(document.package_cache, package["filename"])
            for package in packages
            if package["repository"] == repository.name
        }
    return verify_packages(wanted, runner=runner, workers=workers)


#: What checks the packages of a family.
SIGNATURE_CHECKS: t.Mapping[str, t.Callable[..., int]] = {"rpm": check_rpm_signatures}

__all__ = ("SIGNATURE_CHECKS", "check_rpm_signatures")
