# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
import yaml
from ansible_collections.os_image.composer.plugins.module_utils._template.rendering import (
    as_yaml,
    diff_result,
    unified_diff,
)

TEMPLATE: dict[str, t.Any] = {
    "systemConfig": {
        "packages": ["b", "a"],
        "name": "kiosk",
        "hostname": "",
        "signing": {},
        "services": {"enable": [], "mask": []},
        "immutability": {"enabled": False},
        "additionalFiles": [{"final": "/etc/x", "local": "/etc/x"}, {"final": "/y", "local": "/srv/in/../y"}],
        "scripts": {"postInstall": [{"inline": "one\ntwo\n", "name": "Zwölf"}]},
    },
    "disk": {"partitions": [{"end": "0", "id": "root", "flags": []}]},
    "image": {"version": "1.10", "name": "yes"},
}

TEXT = """\
image:
  name: 'yes'
  version: '1.10'
disk:
  partitions:
    - id: root
      end: '0'
systemConfig:
  name: kiosk
  packages:
    - b
    - a
  additionalFiles:
    - local: x
      final: /etc/x
    - local: /srv/in/../y
      final: /y
  scripts:
    postInstall:
      - name: Zwölf
        inline: |
          one
          two
  immutability:
    enabled: false
"""


def test_a_template_as_yaml() -> None:
    assert as_yaml(TEMPLATE, directory="/etc") == TEXT
    assert yaml.safe_load(TEXT)["image"] == {"name": "yes", "version": "1.10"}


@pytest.mark.parametrize("directory", ["", "/", "/et", "/nowhere"])
def test_files_elsewhere_keep_their_paths(directory: str) -> None:
    shown = yaml.safe_load(as_yaml(TEMPLATE, directory=directory))["systemConfig"]["additionalFiles"]
    assert shown[0] == {"final": "/etc/x", "local": "etc/x" if directory == "/" else "/etc/x"}


def test_equal_values_are_written_out() -> None:
    shared = {"type": "raw"}
    assert "&" not in as_yaml({"disk": {"artifacts": [shared, shared]}})


def test_a_diff() -> None:
    assert unified_diff("a\nb\n", "a\nc\n", before_name="old", after_name="new") == [
        "--- old",
        "+++ new",
        "@@ -1,2 +1,2 @@",
        " a",
        "-b",
        "+c",
    ]
    assert diff_result("a\n", "b\n", before_name="old", after_name="new", limit=100) == {
        "before": "a\n",
        "before_header": "old",
        "after": "b\n",
        "after_header": "new",
    }


def test_a_long_diff_is_cut() -> None:
    after = "".join(f"line {number}\n" for number in range(100))
    whole = diff_result(f"x\n{after}", after, before_name="old", after_name="new", limit=200)
    assert whole["prepared"].splitlines()[:4] == ["--- old", "+++ new", "@@ -1,4 +1,3 @@", "-x"]
    cut = diff_result("", after, before_name="old", after_name="new", limit=200)["prepared"].splitlines()
    assert cut[0] == "--- old"
    assert cut[-1] == f"... and {103 - len(cut) + 1} more lines"
