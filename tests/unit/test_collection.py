# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib

import yaml

ROOT = pathlib.Path(__file__).parents[2]


def test_what_is_made_in_a_checkout_is_not_published() -> None:
    ignored = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["build_ignore"]
    made = [line.strip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()]
    # ansible-galaxy leaves these out by itself.
    made = [path for path in made if path not in ("*.pyc", "__pycache__")]
    assert [path for path in made if path not in ignored and path.split("/")[0] not in ignored] == []
