# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Formats of disk images, in what templates may ask of them."""

from __future__ import annotations

from ansible_collections.os_image.composer.plugins.module_utils._artifact_format import size_problem, subformat_problem


def test_a_variant_of_another_format_is_refused() -> None:
    assert subformat_problem("vhd", "fixed") is None
    assert subformat_problem("qcow2", None) is None
    assert (
        subformat_problem("vmdk", "fixed")
        == "The format vmdk has no subformat 'fixed'. Use one of: monolithicSparse, streamOptimized."
    )
    assert subformat_problem("raw", "fixed") == "The format raw has no subformat 'fixed'. Remove the key."


def test_a_disk_that_is_too_large_is_refused() -> None:
    assert size_problem("vhdx", 5 << 40) is None
    assert size_problem("vhd", 2040 << 30) is None
    assert size_problem("vhd", 2041 << 30) == "The format vhd ends at 2040 GiB, but the disk has 2041 GiB. Use vhdx."
