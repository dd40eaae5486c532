# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Roles, in what core does not check: their argument specifications and their defaults say the same."""

from __future__ import annotations

import pathlib
import re
import typing as t

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
OWN_CONFIGURATION = ROOT / "config" / "os-image-composer.yml"
LOOKUP = re.compile(r"\{\{ lookup\('os_image\.composer\.configuration', '([a-z_.]+)'\) \}\}")
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())


def load(role: str, name: str) -> t.Any:
    return yaml.safe_load((ROOT / "roles" / role / name).read_text(encoding="utf-8"))


def options(role: str) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", load(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"])


def shipped(default: t.Any) -> t.Any:
    """Return a default; what is looked up in the global configuration as the collection's own has it."""
    found = LOOKUP.fullmatch(default) if isinstance(default, str) else None
    if found is None:
        return default
    value = yaml.safe_load(OWN_CONFIGURATION.read_text(encoding="utf-8"))
    for key in found[1].split("."):
        value = value[key]
    return value


@pytest.mark.parametrize("role", ROLES)
def test_defaults_equal_the_specification(role: str) -> None:
    specified = {name: option["default"] for name, option in options(role).items() if "default" in option}
    assert {name: shipped(value) for name, value in load(role, "defaults/main.yml").items()} == specified


def test_the_global_configuration_shapes_the_defaults() -> None:
    looked_up = {
        name: found[1]
        for role in ROLES
        for name, value in load(role, "defaults/main.yml").items()
        if (found := LOOKUP.fullmatch(str(value)))
    }
    assert looked_up == {
        "build_host_cache_dir": "cache_dir",
        "build_host_work_dir": "work_dir",
        "image_boot_test_temp_dir": "temp_dir",
        "image_build_cache_dir": "cache_dir",
        "image_build_config_dir": "config_dir",
        "image_build_download_min_rate": "download.min_rate",
        "image_build_download_timeout": "download.timeout",
        "image_build_log_file": "logging.file",
        "image_build_log_level": "logging.level",
        "image_build_refresh_timeout": "download.refresh_timeout",
        "image_build_temp_dir": "temp_dir",
        "image_build_work_dir": "work_dir",
        "image_build_workers": "workers",
    }


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


@pytest.mark.parametrize("role", ROLES)
def test_true_and_false_may_be_words(role: str) -> None:
    # A survey gives "false", and a text that is not empty is true.
    words = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "roles" / role).glob("[tv]a*/*.yml"))
    for name in (name for name, option in options(role).items() if option["type"] == "bool"):
        for use in re.findall(rf"\b(?:if|when:|and|or|not) {name}\b.*", words):
            assert f"{name} | bool" in use


def test_every_entry_point_takes_options_of_the_role() -> None:
    for role in ROLES:
        for name, entry in load(role, "meta/argument_specs.yml")["argument_specs"].items():
            file = ROOT / "roles" / role / "tasks" / f"{name}.yml"
            used = set(re.findall(rf"\b{role}_[a-z_]+", file.read_text(encoding="utf-8"))) & set(options(role))
            assert used <= set(entry["options"])
            assert all(options(role)[option] == value for option, value in entry["options"].items())


def test_a_build_may_begin_at_each_stage() -> None:
    (build,) = load("image_build", "tasks/main.yml")
    stages = [task for task in build["block"] if "__image_build_template.build_dir" in str(task)]
    assert len(stages) == 6
    for stage in stages:
        # ansible-playbook --start-at-task begins at the first task of a name.
        first = next(task for task in build["block"] if task["name"] == stage["name"])
        assert first["ansible.builtin.include_tasks"]["file"] == "template.yml"
        assert (first["when"], first["tags"]) == ("__image_build_template is undefined", stage["tags"])
