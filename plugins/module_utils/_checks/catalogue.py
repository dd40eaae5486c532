# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The catalogue of all rules, in the order of the template's sections."""

from __future__ import annotations

import typing as t

from ansible_collections.os_image.composer.plugins.module_utils._checks import (
    boot,
    credentials,
    disk,
    file_systems,
    files,
    immutability,
    iso,
    mounts,
    network,
    packages,
    partitions,
    repositories,
    security,
    services,
    signing,
    system,
    users,
)
from ansible_collections.os_image.composer.plugins.module_utils._template.rule import Rule, Subject

SUBJECTS: t.Tuple[Subject, ...] = (
    disk.SUBJECT,
    partitions.SUBJECT,
    file_systems.SUBJECT,
    mounts.SUBJECT,
    iso.SUBJECT,
    system.SUBJECT,
    packages.SUBJECT,
    boot.SUBJECT,
    users.SUBJECT,
    credentials.SUBJECT,
    network.SUBJECT,
    services.SUBJECT,
    files.SUBJECT,
    immutability.SUBJECT,
    security.SUBJECT,
    signing.SUBJECT,
    repositories.SUBJECT,
)

#: Rules whose findings are errors.
RULES: t.Tuple[Rule, ...] = tuple(rule for subject in SUBJECTS for rule in subject.rules)

#: Rules whose findings are warnings.
ADVICE: t.Tuple[Rule, ...] = tuple(rule for subject in SUBJECTS for rule in subject.advices)

__all__ = ("ADVICE", "RULES", "SUBJECTS")
