# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Licence tags of RPM packages, old and new."""

from __future__ import annotations

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._artifact.rpm_license import tagged_license


@pytest.mark.parametrize(
    ("tag", "expression"),
    [
        ("MIT", "MIT"),
        ("GPL-2.0-or-later AND (MIT OR Apache-2.0)", "GPL-2.0-or-later AND (MIT OR Apache-2.0)"),
        ("GPL-3.0-or-later WITH GCC-exception-3.1", "GPL-3.0-or-later WITH GCC-exception-3.1"),
        ("GPLv2+ and MIT and GPLv2+", "GPL-2.0-or-later AND MIT"),
        ("(GPLv2+ or LGPLv3+) and ASL 2.0", "(GPL-2.0-or-later OR LGPL-3.0-or-later) AND Apache-2.0"),
        ("GPLv2+ or LGPLv3+ and zlib", "GPL-2.0-or-later OR LGPL-3.0-or-later AND Zlib"),
        ("BSD", "LicenseRef-BSD"),
        ("Public Domain and mit", "LicenseRef-Public-Domain AND MIT"),
        ("GPLv2+ with exceptions", "LicenseRef-GPLv2-with-exceptions"),
        ("LicenseRef-Fedora-Public-Domain", "LicenseRef-Fedora-Public-Domain"),
        ("(MIT", "LicenseRef-MIT"),
        ("MIT and", "LicenseRef-MIT-and"),
        (" ", "NOASSERTION"),
    ],
)
def test_tags(tag: str, expression: str) -> None:
    assert tagged_license(tag).expression == expression


def test_what_is_not_on_the_list_is_described() -> None:
    extracted = tagged_license("BSD and Freely redistributable without restriction").extracted
    assert [entry.identifier for entry in extracted] == [
        "LicenseRef-BSD",
        "LicenseRef-Freely-redistributable-without-restriction",
    ]
    assert extracted[0].name == "BSD"
    assert "call this licence 'BSD'" in extracted[0].text
