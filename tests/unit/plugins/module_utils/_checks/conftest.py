# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Parts of templates, and what the rules say about them."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.os_image.composer.plugins.module_utils._checks.catalogue import ADVICE, RULES
from ansible_collections.os_image.composer.tests.support import template_laboratory
from ansible_collections.os_image.composer.tests.support.template_laboratory import Part

#: Returns the errors of a part of a template, else its warnings, each as "path: message".
Judge = t.Callable[[Part], list[str]]

#: Fails when a part of a template has errors, or the named rule something to say about it.
Approve = t.Callable[[str, Part], None]

#: Rule -> parts of templates that are nearly wrong, and are right.
Right = dict[str, list[Part]]

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF/pgDVlBAs8oBF1ZILG8+0H1bbrddUTi6ZB/QRO5qSu admin@example.org"
SHA512 = "$6$salt$" + "x" * 86
ESP: Part = {
    "id": "boot",
    "type": "esp",
    "fsType": "fat32",
    "start": "1MiB",
    "end": "257MiB",
    "mountPoint": "/boot/efi",
}
ROOT: Part = {
    "id": "root",
    "type": "linux-root-amd64",
    "fsType": "ext4",
    "start": "257MiB",
    "end": "0",
    "mountPoint": "/",
}
#: A root partition that leaves room for another one.
SMALL_ROOT: Part = {**ROOT, "end": "1GiB"}


def disk(*partitions: Part, size: str = "2GiB", **values: t.Any) -> Part:
    return {"disk": {"name": "d", "size": size, **values, "partitions": list(partitions)}}


def data(**values: t.Any) -> Part:
    """A partition behind the small root."""
    return {"id": "data", "fsType": "ext4", "start": "1GiB", "end": "0", **values}


def config(**values: t.Any) -> Part:
    return {"systemConfig": values}


def user(**values: t.Any) -> Part:
    return config(users=[{"name": "a", **values}])


def interfaces(*items: Part) -> Part:
    return config(network={"interfaces": list(items)})


def cmdline(text: str) -> Part:
    return config(kernel={"cmdline": text})


def target(**values: str) -> Part:
    return {"target": values}


def repository(**values: t.Any) -> Part:
    return {"packageRepositories": [{"codename": "stable", **values}]}


def neighbours(right: Right) -> list[tuple[str, Part]]:
    """Make test parameters of right parts."""
    return [(name, part) for name, parts in right.items() for part in parts]


@pytest.fixture(scope="session")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return template_laboratory.make_configuration(tmp_path_factory.mktemp("laboratory"))


@pytest.fixture
def judge(tmp_path: pathlib.Path, laboratory: pathlib.Path) -> Judge:
    return lambda part: template_laboratory.errors_and_warnings(part, tmp_path, config=laboratory)


@pytest.fixture
def approve(tmp_path: pathlib.Path, laboratory: pathlib.Path) -> Approve:
    def run(name: str, part: Part) -> None:
        template = template_laboratory.assemble(part, tmp_path, config=laboratory).template
        (rule,) = [rule for rule in (*RULES, *ADVICE) if rule.name == name]
        assert list(rule.check(template)) == []

    return run
