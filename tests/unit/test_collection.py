# Copyright (c) 2026 The os_image.composer authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection as a whole: what is published, what all stages have in common, and where tests lie."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
TESTS = ROOT / "tests" / "unit"
STAGES = sorted(
    path.stem
    for path in (ROOT / "plugins" / "modules").glob("*.py")
    if "os_image.composer._stage_options\n" in path.read_text(encoding="utf-8")
)

# tests/unit/<key>/ mirrors this.
_MIRRORED: t.Mapping[str, pathlib.Path] = {
    "plugins": ROOT / "plugins",
    "attacks": ROOT / "tests" / "attacks",
    "fuzz": ROOT / "tests" / "fuzz",
    "matrix": ROOT / "tests" / "matrix",
    "support": ROOT / "tests" / "support",
}
# What is about a part of the collection as a whole lies beside its folder, or is named after it.
_WHOLE = ("test_collection.py", "plugins/test_floors.py")


def test_what_is_made_in_a_checkout_is_not_published() -> None:
    ignored = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["build_ignore"]
    made = [line.strip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()]
    # ansible-galaxy leaves these out by itself.
    made = [path for path in made if path not in ("*.pyc", "__pycache__")]
    assert [path for path in made if path not in ignored and path.split("/")[0] not in ignored] == []


def test_there_are_seven_stages() -> None:
    assert len(STAGES) == 7


def test_the_action_group_has_the_stages() -> None:
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8"))
    assert runtime["action_groups"]["composer"] == STAGES


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "image_template_validate"])
def test_stages_that_take_long_show_their_progress(stage: str) -> None:
    source = (ROOT / "plugins" / "action" / f"{stage}.py").read_text(encoding="utf-8")
    assert "class ActionModule(ProgressActionBase):" in source


def _is_named_after_what_it_tests(test: pathlib.PurePath) -> bool:
    """Return whether a file or folder has the name of a test, or what stands before an aspect of it.

    C(_x/test_y_z.py) is for C(_x/y_z.py), or for the aspect z of C(_x/y.py).
    """
    if len(test.parts) == 1:
        words = test.stem.split("_")[1:]
        return (ROOT / "-".join(words)).is_dir()
    place = _MIRRORED[test.parts[0]].joinpath(*test.parts[1:-1])
    words = test.stem.removeprefix("test_").split("_")
    names = ["_".join(words[:end]) for end in range(1, len(words) + 1)]
    return any((place / f"{name}.py").is_file() or (place / name).is_dir() for name in names if name)


@pytest.mark.parametrize(
    "test", sorted(str(path.relative_to(TESTS)) for path in TESTS.rglob("test_*.py")), ids=lambda name: name
)
def test_tests_have_the_name_of_what_they_test(test: str) -> None:
    assert test in _WHOLE or _is_named_after_what_it_tests(pathlib.PurePath(test))


def test_a_test_of_nothing_is_noticed() -> None:
    for name in ("plugins/module_utils/_chroot/test_nothing.py", "support/test_nothing.py", "test_nothing.py"):
        assert not _is_named_after_what_it_tests(pathlib.PurePath(name))
