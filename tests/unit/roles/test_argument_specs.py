# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What core does not check: that a role's argument specification and its defaults say the same."""

from __future__ import annotations

import pathlib
import re
import typing as t

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[3]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())


def load(role: str, name: str) -> t.Any:
    return yaml.safe_load((ROOT / "roles" / role / name).read_text(encoding="utf-8"))


def options(role: str) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", load(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"])


@pytest.mark.parametrize("role", ROLES)
def test_defaults_equal_the_specification(role: str) -> None:
    specified = {name: option["default"] for name, option in options(role).items() if "default" in option}
    assert load(role, "defaults/main.yml") == specified


@pytest.mark.parametrize("role", ROLES)
def test_options_without_a_default_are_required(role: str) -> None:
    assert [
        name for name, option in options(role).items() if ("default" in option) == option.get("required", False)
    ] == []


@pytest.mark.parametrize("role", ROLES)
def test_names_begin_with_the_roles(role: str) -> None:
    assert [name for name in options(role) if not name.startswith(f"{role}_")] == []


@pytest.mark.parametrize("role", ROLES)
def test_every_option_is_used(role: str) -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "roles" / role).glob("[tv]a*/*.yml"))
    assert [name for name in options(role) if not re.search(rf"\b{name}\b", text)] == []
