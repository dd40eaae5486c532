# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The keys that the build signs with."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._signing.secure_boot import template_problem
from ansible_collections.os_image.composer.plugins.module_utils._template.checks.rule import Finding, Subject
from ansible_collections.os_image.composer.plugins.module_utils._template.located import Mapping

SUBJECT = Subject("Signing")


@SUBJECT.rule("systemConfig.immutability", "systemConfig.signing", "systemConfig.kernel", "systemConfig.bootloader")
def keys_protect_the_boot_chain(template: Mapping) -> t.Iterator[Finding]:
    """What Secure Boot keys sign is all that is booted."""
    problem = template_problem(template)
    if problem:
        yield ("systemConfig", "signing", "secureBoot", "key"), problem


__all__ = ("SUBJECT",)
