# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Payloads of modules: what goes to a build host with each is no more than it was."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.os_image.composer.tests.support.payload import MODULES, ROOT, imported_files, payload

MODULE_UTILS = ROOT / "plugins" / "module_utils"

# Module -> the most KiB. A larger payload has a reason: an import that is needed, not one for a constant that could lie
# in a file of its own.
LIMITS = {
    "build_host_info": 70,
    "chroot_configure": 590,
    "disk_compose": 676,
    "efi_sign": 135,
    "image_boot_test": 230,
    "image_compare": 290,
    "image_finalize": 900,
    "image_info": 270,
    "image_sign": 762,
    "image_template_clean": 35,
    "image_template_copy": 40,
    "image_template_validate": 688,
    "pkg_fetch": 310,
    "pkg_resolve": 635,
}


def test_every_module_has_a_limit() -> None:
    assert list(LIMITS) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_no_payload_grows_beyond_its_limit(module: str) -> None:
    sent = payload(module)
    largest = sorted(sent.files, key=lambda path: -path.stat().st_size)[:10]
    assert sent.size <= LIMITS[module] * 1024, f"{sent.size / 1024:.0f} KiB; the largest: {[p.name for p in largest]}"


def test_imports_inside_of_functions_and_of_files_count(tmp_path: pathlib.Path) -> None:
    prefix = "ansible_collections.os_image.composer.plugins.module_utils"
    source = tmp_path / "module.py"
    source.write_text(
        f"from {prefix}._errors import ComposerError\n"
        f"from {prefix}._repository import deb\n"
        f"def late():\n    import {prefix}._io\n"
        "import ansible.module_utils.basic\n"
    )
    expected = {MODULE_UTILS / "_errors.py", MODULE_UTILS / "_io.py", MODULE_UTILS / "_repository" / "deb.py"}
    assert set(imported_files(source)) == expected
