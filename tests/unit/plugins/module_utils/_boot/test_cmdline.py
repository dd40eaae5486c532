# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kernel command line."""

from __future__ import annotations

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._boot.cmdline import (
    access_control_words,
    kernel_command_line,
    security_words,
)
from ansible_collections.os_image.composer.plugins.module_utils._errors import BootError
from ansible_collections.os_image.composer.plugins.module_utils._template.model import Security
from ansible_collections.os_image.composer.tests.support.template_data import whole_part

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


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("", f"{ROOT} init_on_alloc=1 slab_nomerge page_alloc.shuffle=1"),
        ("quiet", f"{ROOT} quiet init_on_alloc=1 slab_nomerge page_alloc.shuffle=1"),
        # What the template says of the same thing holds; the kernel takes - for _.
        ("init-on-alloc=0 quiet", f"{ROOT} init-on-alloc=0 quiet slab_nomerge page_alloc.shuffle=1"),
        ('"slab_nomerge"', f'{ROOT} "slab_nomerge" init_on_alloc=1 page_alloc.shuffle=1'),
        # Everything behind -- is for init.
        (
            "quiet -- init_on_alloc=0 quiet",
            f"{ROOT} quiet init_on_alloc=1 slab_nomerge page_alloc.shuffle=1 -- init_on_alloc=0 quiet",
        ),
    ],
)
def test_further_words_come_behind_those_of_the_template(given: str, line: str) -> None:
    further = ["init_on_alloc=1", "slab_nomerge", "page_alloc.shuffle=1"]
    assert kernel_command_line("1234", given, further) == line


@pytest.mark.parametrize(
    ("security", "words"),
    [
        ({}, []),
        ({"selinux": "enforcing"}, ["security=selinux", "selinux=1"]),
        ({"selinux": "permissive", "apparmor": "disabled"}, ["security=selinux", "selinux=1", "apparmor=0"]),
        ({"selinux": "disabled", "apparmor": "enabled"}, ["selinux=0", "security=apparmor", "apparmor=1"]),
        ({"hardening": ["kernel"]}, []),
    ],
)
def test_access_control_on_the_command_line(security: dict[str, object], words: list[str]) -> None:
    assert access_control_words(whole_part(Security, security)) == words


def test_hardening_of_the_kernel() -> None:
    assert security_words(whole_part(Security, {"hardening": ["sysctl", "ssh"]}), arch="x86_64") == []
    security = whole_part(Security, {"hardening": ["kernel"], "apparmor": "enabled"})
    words = security_words(security, arch="aarch64")
    assert words[:3] == ["security=apparmor", "apparmor=1", "init_on_alloc=1"]
    # Other architectures have no vsyscalls, and would hand the unknown word to init.
    assert security_words(security, arch="x86_64") == [*words, "vsyscall=none"]
