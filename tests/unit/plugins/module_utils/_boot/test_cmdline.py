# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kernel command line."""

from __future__ import annotations

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._boot.cmdline import kernel_command_line
from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError

ROOT = "root=PARTUUID=1234"


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("", ROOT),
        ("  quiet \n splash\t", f"{ROOT} quiet splash"),
        ("console=tty0 console=ttyS0", f"{ROOT} console=tty0 console=ttyS0"),
        # The last console= is /dev/console: the order must stay.
        ("console=ttyS0 quiet console=tty0 console=ttyS0", f"{ROOT} quiet console=tty0 console=ttyS0"),
        ("root=/dev/sda1 ro root=LABEL=data", "root=LABEL=data ro"),
        ('dyndbg="file a.c +p; file b.c +p" quiet', f'{ROOT} dyndbg="file a.c +p; file b.c +p" quiet'),
    ],
)
def test_root_and_the_templates_words_are_joined(given: str, line: str) -> None:
    assert kernel_command_line("1234", given) == line


def test_control_characters_are_refused() -> None:
    with pytest.raises(BootError, match=r"has the control character '\\x1b'\. Remove it from kernel\.cmdline\."):
        kernel_command_line("1234", "quiet\x1b")


def test_the_kernel_reads_no_more_than_2047_bytes() -> None:
    assert len(kernel_command_line(None, "a" * 2047)) == 2047
    with pytest.raises(BootError, match=r"has 2048 bytes, but the kernel reads only 2047\. Shorten kernel\.cmdline\."):
        kernel_command_line(None, "a" * 2048)
